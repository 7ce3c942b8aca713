import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

/** One connection on which bytes are sent as they are, and everything that comes back is kept. */
export interface RawCall {
  readonly socket: Socket
  readonly text: () => string
  /** Name of the system's error with which it ended; undefined if it was closed in an orderly way. */
  readonly ended: Promise<string | undefined>
}

export function rawCall(origin: string, ...parts: readonly (string | Uint8Array)[]): RawCall {
  const { port } = new URL(origin)
  const socket = connect(Number(port), '127.0.0.1')
  const pieces: Buffer[] = []
  let error: NodeJS.ErrnoException | undefined
  socket.on('data', (piece: Buffer) => pieces.push(piece))
  socket.on('error', (thrown) => (error = thrown))
  for (const part of parts) socket.write(part)
  const ended = once(socket, 'close').then(
    () => error?.code,
    () => error?.code
  )
  return { socket, text: () => Buffer.concat(pieces).toString('latin1'), ended }
}

export interface RawAnswer {
  readonly status: number
  readonly headers: Headers
  readonly body: string
}

/** Sends one request with exactly these header lines and reads the answer; the connection ends with it. */
export async function rawRequest(
  origin: string,
  line: string,
  headers: Readonly<Record<string, string>> | readonly (readonly [string, string])[],
  body = ''
): Promise<RawAnswer> {
  const pairs = Symbol.iterator in headers ? [...headers] : Object.entries(headers)
  const lines = [...pairs, ['connection', 'close']].map(([name, value]) => `${name}: ${value}\r\n`)
  const call = rawCall(origin, `${line}\r\n${lines.join('')}\r\n${body}`)
  await call.ended
  const [head = '', ...rest] = call.text().split('\r\n\r\n')
  const [first = '', ...headerLines] = head.split('\r\n')
  return {
    status: Number(/^HTTP\/1\.1 (\d{3})/.exec(first)?.[1]),
    headers: new Headers(headerLines.map((text) => text.split(/: ?(.*)/).slice(0, 2) as [string, string])),
    body: rest.join('\r\n\r\n')
  }
}
