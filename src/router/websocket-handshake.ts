import { createHash } from 'node:crypto'
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { Problem } from './problem.js'

/** What a caller asks for when it opens a websocket. */
export interface Handshake {
  /** Its `Sec-WebSocket-Key` as it wrote it, since the answer is a hash of that text. */
  readonly key: string
  /** The sub-protocols that it offers, in its order. */
  readonly protocols: readonly string[]
}

/**
 * Checks what RFC 6455 section 4.2.1 demands of a client. Throws a `Problem`.
 *
 * But for "Upgrade" in Connection: without it Node takes a request for one that stays in HTTP.
 */
export function readHandshake({ method, httpVersion, headers }: IncomingMessage): Handshake {
  if (method !== 'GET') {
    throw new Problem('method_not_allowed', 'a websocket is opened with GET', { headers: { allow: 'GET' } })
  }
  if (httpVersion !== '1.1') throw invalid('a websocket is opened with HTTP/1.1')
  if (headers.upgrade?.toLowerCase() !== 'websocket') throw invalid('the Upgrade header must be "websocket"')
  if (headers['sec-websocket-version'] !== '13') throw wrongVersion()
  const key = headers['sec-websocket-key']
  // Not decoded: clients differ in the spare bits, and the RFC's own example is not canonical.
  if (key === undefined || !/^[A-Za-z0-9+/]{22}==$/.test(key)) {
    throw invalid('the Sec-WebSocket-Key header must be 16 bytes in base64')
  }
  return { key, protocols: readProtocols(headers['sec-websocket-protocol']) }
}

function readProtocols(text: string | undefined): readonly string[] {
  if (text === undefined) return []
  const protocols = text.split(',').map((protocol) => protocol.trim())
  // Nothing is quoted here: one of them may be a key.
  if (!protocols.every((protocol) => /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(protocol))) {
    throw invalid('the Sec-WebSocket-Protocol header must be a list of tokens')
  }
  if (new Set(protocols).size < protocols.length) throw invalid('a sub-protocol is offered twice')
  return protocols
}

/**
 * Whether an answer with status 101 is what RFC 6455 section 4.1 demands of a server, for a handshake with
 * `key` that offered `protocols` and no extension.
 */
export function isAccepted(headers: IncomingHttpHeaders, { key, protocols }: Handshake): boolean {
  const protocol = headers['sec-websocket-protocol']
  // Without the word in Connection undici takes it for no upgrade.
  return (
    headers.upgrade?.toLowerCase() === 'websocket' &&
    headers['sec-websocket-accept'] === acceptFor(key) &&
    headers['sec-websocket-extensions'] === undefined &&
    (protocol === undefined || protocols.includes(protocol))
  )
}

/** The `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key`, RFC 6455 section 4.2.2. */
export const acceptFor = (key: string): string =>
  createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')

const invalid = (message: string): Problem => new Problem('invalid_request', message)

/** RFC 6455 section 4.4: the answer says which version there is. */
const wrongVersion = (): Problem =>
  new Problem('upgrade_required', 'the version of the websocket protocol must be 13', {
    headers: { 'sec-websocket-version': '13', upgrade: 'websocket', connection: 'Upgrade, close' }
  })
