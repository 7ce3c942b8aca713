import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Cleanup, readAll } from '../unit/router/harness.js'

export interface StreamingProvider {
  readonly origin: string
  /** Answers that have begun and not ended. */
  readonly open: Set<ServerResponse>
  readonly sockets: Set<Socket>
  /** Sends all open answers to their end, event by event and all of them at the same time. */
  finish(): Promise<void>
  /** Breaks all connections, as the end of its process would. */
  kill(): void
}

const eventsOfStream = 12

/** The whole answer to a prompt, as the provider sends it. */
export const answerTo = (prompt: string): string =>
  Array.from({ length: eventsOfStream }, (_, index) => eventOf(prompt, index)).join('') + 'data: [DONE]\n\n'

const eventOf = (prompt: string, index: number): string =>
  `data: ${JSON.stringify({ prompt, index, text: 'x'.repeat(index * 40) })}\n\n`

/** A provider that answers each prompt with a stream, whose first event goes out at once. */
export async function streamingProvider(cleanup: Cleanup): Promise<StreamingProvider> {
  const open = new Set<ServerResponse>()
  const sockets = new Set<Socket>()
  const prompts = new WeakMap<ServerResponse, string>()
  const server = createServer((request, response) => {
    void readAll(request).then(
      (body) => {
        const { prompt = '', megabytes = 0 } = JSON.parse(body.toString() || '{}')
        response.writeHead(200, { 'content-type': 'text/event-stream' })
        if (megabytes > 0) {
          void pour(response, megabytes)
          return
        }
        prompts.set(response, prompt)
        open.add(response)
        response.once('close', () => open.delete(response))
        response.write(eventOf(prompt, 0))
      },
      () => undefined
    )
  })
  // The router believes what is said of this, so that the connections are gone soon.
  server.keepAliveTimeout = 3_000
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  server.listen(0, '127.0.0.1', 4096)
  await once(server, 'listening')
  cleanup.add(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    open,
    sockets,
    async finish() {
      const streams = [...open]
      for (let index = 1; index < eventsOfStream; index++) {
        for (const stream of streams) stream.write(eventOf(prompts.get(stream) ?? '', index))
        await sleep(10)
      }
      for (const stream of streams) stream.end('data: [DONE]\n\n')
    },
    kill() {
      for (const socket of sockets) socket.destroy()
    }
  }
}

/** So much as the other end takes. */
async function pour(response: ServerResponse, megabytes: number): Promise<void> {
  const chunk = Buffer.alloc(64 * 1024, 'y')
  for (let sent = 0; sent < megabytes * 16; sent++) {
    if (response.destroyed) return
    if (!response.write(chunk)) await Promise.race([once(response, 'drain'), once(response, 'close')])
  }
  response.end()
}
