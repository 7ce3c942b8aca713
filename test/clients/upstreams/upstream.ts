import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { gzipSync } from 'node:zlib'
import type { Cleanup } from '../../unit/router/harness.js'

/** What a provider was asked, once all of it had come. */
export interface SeenCall {
  readonly method: string
  /** Path and query. */
  readonly url: string
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

/** Does something else than the provider usually does, with one call. */
export interface Fault {
  /** `head`: as soon as the headers are there; `body`: when all of the request has come. */
  readonly when: 'head' | 'body'
  act(this: void, response: ServerResponse, request: IncomingMessage): void | Promise<void>
}

export type Answerer = (call: SeenCall, response: ServerResponse) => void | Promise<void>

/** A server of this machine that behaves like a provider, and can be told to fail. */
export interface Upstream {
  readonly origin: string
  /** In the order in which they began; those whose body never came whole are not there. */
  readonly calls: SeenCall[]
  /** One for each of the next calls. */
  readonly faults: Fault[]
  /** Calls that have begun, whole or not. */
  readonly begun: () => number
  /** Calls whose answer has neither ended nor broken off. */
  readonly open: () => number
  /** Answers whose connection ended before they did. */
  readonly brokenOff: () => number
  /** Connections that are left once those that wait for their next call are closed. */
  readonly busySockets: () => number
}

export async function startUpstream(cleanup: Cleanup, answer: Answerer): Promise<Upstream> {
  const calls: SeenCall[] = []
  const faults: Fault[] = []
  const sockets = new Set<Socket>()
  let begun = 0
  let open = 0
  let brokenOff = 0

  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    begun++
    open++
    response.once('close', () => {
      open--
      if (!response.writableFinished) brokenOff++
    })
    const fault = faults.shift()
    if (fault?.when === 'head') {
      await fault.act(response, request)
      return
    }
    const chunks: Buffer[] = []
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
    const { method = '', url = '', headers } = request
    const call = { method, url, headers, body: Buffer.concat(chunks) }
    calls.push(call)
    await (fault === undefined ? answer(call, response) : fault.act(response, request))
  }

  const server = createServer((request, response) => {
    handle(request, response).catch((error: unknown) => {
      // A caller that went away in the middle of its body is what some tests want.
      if (request.complete) throw error
    })
  })
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  cleanup.add(async () => {
    server.closeAllConnections()
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
  })
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls,
    faults,
    begun: () => begun,
    open: () => open,
    brokenOff: () => brokenOff,
    busySockets: () => {
      server.closeIdleConnections()
      return sockets.size
    }
  }
}

/** Answers with JSON, compressed where the caller takes it, as content networks do. */
export function sendJson(
  { headers: asked }: SeenCall,
  response: ServerResponse,
  value: unknown,
  { status = 200, headers = {} }: { status?: number; headers?: Record<string, string | string[]> } = {}
): void {
  const plain = Buffer.from(JSON.stringify(value))
  const compress = /\bgzip\b/.test(String(asked['accept-encoding'] ?? ''))
  const body = compress ? gzipSync(plain) : plain
  response.writeHead(status, {
    'content-type': 'application/json',
    ...headers,
    ...(compress ? { 'content-encoding': 'gzip', vary: 'accept-encoding' } : {}),
    'content-length': String(body.length)
  })
  response.end(body)
}

/** One server-sent event: `event:` where there is a name, and `data:` in one line. */
export const event = (data: unknown, name?: string): string =>
  `${name === undefined ? '' : `event: ${name}\n`}data: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`

/** Each text is a write of its own; between two of them others get their turn. */
export async function writeEach(response: ServerResponse, texts: Iterable<string>): Promise<void> {
  for (const text of texts) {
    response.write(text)
    await new Promise((resolve) => setImmediate(resolve))
  }
}
