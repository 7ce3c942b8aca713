import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Cleanup, readAll } from '../unit/router/harness.js'

/** One request as the provider understood it. */
export interface Arrived {
  readonly method: string
  readonly url: string
  readonly headers: IncomingHttpHeaders
  readonly rawHeaders: readonly string[]
  readonly body: string
}

export interface RecordingProvider {
  readonly origin: string
  readonly arrived: Arrived[]
  /** What came and was no HTTP. */
  readonly malformed: string[]
}

/** A provider that keeps what it gets and answers with the path that it was asked for. */
export async function recordingProvider(cleanup: Cleanup): Promise<RecordingProvider> {
  const arrived: Arrived[] = []
  const malformed: string[] = []
  const server = createServer((request, response) => {
    const { method = '', url = '', headers, rawHeaders } = request
    void readAll(request).then(
      (body) => {
        arrived.push({ method, url, headers, rawHeaders, body: body.toString('latin1') })
        response.setHeader('x-answer-to', url).end(`{"url":${JSON.stringify(url)}}`)
      },
      // A body that ended too early is a request that did not arrive.
      () => undefined
    )
  })
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    // A body that is broken off on purpose is no request either.
    if (error.code !== 'HPE_INVALID_EOF_STATE' && error.code !== 'ECONNRESET') malformed.push(String(error.code))
    socket.destroy()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  cleanup.add(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  return { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, arrived, malformed }
}

export interface Exchange {
  /** Everything that came back. */
  readonly text: string
  /** The statuses of the answers in it; 1xx are none. */
  readonly statuses: readonly number[]
  /** Whether the router closed the connection. */
  readonly closed: boolean
}

/**
 * Writes bytes (a text is Latin-1) on a connection of its own and gives what comes back until the router closes
 * it, or until `answers` answers are there and no more comes for a moment. Fails when neither happens.
 */
export async function exchange(
  url: string,
  bytes: string | readonly string[],
  { answers = 1, timeoutMs = 15_000 }: { answers?: number; timeoutMs?: number } = {}
): Promise<Exchange> {
  const { hostname, port } = new URL(url)
  const socket = connect({ host: hostname, port: Number(port), noDelay: true })
  let text = ''
  let isClosed = false
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  void closed.then(() => (isClosed = true))
  socket.on('error', () => undefined)
  socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')))
  for (const piece of typeof bytes === 'string' ? [bytes] : bytes) {
    if (socket.destroyed) break
    await new Promise((resolve) => socket.write(piece, 'latin1', resolve))
  }
  const deadline = performance.now() + timeoutMs
  while (!isClosed && statusesOf(text).length < answers) {
    if (performance.now() > deadline) {
      socket.destroy()
      throw new Error(`neither an answer nor an end, but ${JSON.stringify(text.slice(0, 200))}`)
    }
    await sleep(5)
  }
  // What comes too much comes right behind.
  if (!isClosed) await Promise.race([closed, sleep(60)])
  const result = { text, statuses: statusesOf(text), closed: isClosed }
  socket.destroy()
  return result
}

/** Heads that begin where an answer can begin: at the start, or behind the whole of another one. */
function statusesOf(text: string): number[] {
  const statuses: number[] = []
  for (let rest = text; rest !== '';) {
    const head = /^HTTP\/1\.1 (\d{3}) [^]*?\r\n\r\n/.exec(rest)
    if (head === null) break
    const status = Number(head[1])
    const length = /^content-length: (\d+)\r$/im.exec(head[0])?.[1]
    const behind = rest.slice(head[0].length)
    if (status < 200) {
      rest = behind
      continue
    }
    if (length !== undefined && behind.length < Number(length)) break
    const end = length === undefined ? chunkedEnd(head[0], behind) : Number(length)
    if (end === undefined) break
    statuses.push(status)
    rest = behind.slice(end)
  }
  return statuses
}

function chunkedEnd(head: string, body: string): number | undefined {
  if (!/^transfer-encoding: chunked\r$/im.test(head)) return 0
  const end = body.indexOf('0\r\n\r\n')
  return end === -1 ? undefined : end + 5
}
