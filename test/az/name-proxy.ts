import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'

export interface NameProxy {
  /** For HTTPS_PROXY. */
  readonly url: string
  close(): Promise<void>
}

/**
 * A proxy that knows one domain, `*.vault.localhost`, and leads it to 127.0.0.1: the test needs no line in this
 * machine's hosts file. It connects nowhere else.
 */
export async function startNameProxy(): Promise<NameProxy> {
  const sockets = new Set<Socket>()
  const server = createServer((_, response) => response.writeHead(405).end())
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('error', () => socket.destroy()).on('close', () => sockets.delete(socket))
  })
  server.on('connect', ({ url = '' }, client) => {
    const [, port] = /^[a-z0-9-]+\.vault\.localhost:(\d+)$/.exec(url) ?? []
    if (port === undefined) {
      client.end('HTTP/1.1 403 Forbidden\r\n\r\n')
      return
    }
    const target = connect(Number(port), '127.0.0.1', () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n')
      client.pipe(target).pipe(client)
    })
    target.on('error', () => client.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    }
  }
}
