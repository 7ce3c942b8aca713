import type { IncomingMessage } from 'node:http'
import { Problem } from './problem.js'

/** More than any client sends; the parser's limit on bytes would allow thousands. */
const maximumHeaders = 100

/**
 * What every request must have, whatever it asks for: one host (RFC 9112 section 3.2), at most one credential in
 * its header, and not more headers than a client sends. Throws a `Problem` that ends the connection.
 */
export function checkHead({ headers, httpVersion, rawHeaders }: IncomingMessage): void {
  if (httpVersion === '1.1' && headers.host === undefined) throw refused('the Host header is missing')
  if (rawHeaders.length > 2 * maximumHeaders) throw refused(`a request has at most ${maximumHeaders} headers`)
  // Node takes the first, and a server in front of this one perhaps the last.
  if (count(rawHeaders, 'host') > 1) throw refused('the Host header stands there twice')
  if (count(rawHeaders, 'authorization') > 1) throw refused('the Authorization header stands there twice')
}

function count(rawHeaders: readonly string[], wanted: string): number {
  let found = 0
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]
    if (name?.length === wanted.length && name.toLowerCase() === wanted) found++
  }
  return found
}

const refused = (message: string): Problem =>
  new Problem('invalid_request', message, { headers: { connection: 'close' } })
