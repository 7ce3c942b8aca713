import type { IncomingMessage } from 'node:http'
import { Problem } from './problem.js'

/** More than any client sends; the parser's limit on bytes would allow thousands. */
const maximumHeaders = 100

/**
 * What every request must have, whatever it asks for: a host (RFC 9112 section 3.2), and not more
 * headers than a client sends. Throws a `Problem` that ends the connection.
 */
export function checkHead({ headers, httpVersion, rawHeaders }: IncomingMessage): void {
  if (httpVersion === '1.1' && headers.host === undefined) throw refused('the Host header is missing')
  if (rawHeaders.length > 2 * maximumHeaders) throw refused(`a request has at most ${maximumHeaders} headers`)
}

const refused = (message: string): Problem =>
  new Problem('invalid_request', message, { headers: { connection: 'close' } })
