import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from 'node:net'
import WebSocket, { WebSocketServer } from 'ws'
import { acceptFor } from '../../../src/router/websocket-handshake.js'
import { type Cleanup, fakeSidecar, oneProvider, type RunningRouter, startRouter, until } from './harness.js'

export interface WebsocketProvider {
  readonly origin: string
  /** Handshakes that came, in order. */
  readonly requests: IncomingMessage[]
  /** Open websockets, in the order in which they were opened. */
  readonly websockets: WebSocket[]
  /** Open connections over which a handshake came; the router may keep others for its next calls. */
  readonly connections: Set<Socket>
}

/** A provider that takes every websocket, or answers what `decline` says. */
export async function websocketProvider(
  cleanup: Cleanup,
  onWebsocket: (websocket: WebSocket, request: IncomingMessage) => void = echo,
  {
    decline = () => undefined,
    choose = (offered) => [...offered][0] ?? false,
    headers = []
  }: {
    decline?: (request: IncomingMessage) => string | undefined
    choose?: (offered: Set<string>) => string | false
    /** Lines that go into the answer with status 101. */
    headers?: string[]
  } = {}
): Promise<WebsocketProvider> {
  const provider: Omit<WebsocketProvider, 'origin'> = { requests: [], websockets: [], connections: new Set() }
  const websockets = new WebSocketServer({ noServer: true, handleProtocols: choose })
  websockets.on('headers', (lines) => void lines.push(...headers))
  const server = createServer((_, response) => response.writeHead(404).end('{"error":"no websocket"}'))
  server.on('upgrade', (request, socket, head) => {
    provider.requests.push(request)
    provider.connections.add(request.socket)
    socket.once('close', () => provider.connections.delete(request.socket))
    const answer = decline(request)
    if (answer !== undefined) {
      socket.on('error', () => undefined)
      socket.end(answer)
      return
    }
    websockets.handleUpgrade(request, socket, head, (websocket) => {
      provider.websockets.push(websocket)
      websocket.on('error', () => undefined)
      websocket.once('close', () => provider.websockets.splice(provider.websockets.indexOf(websocket), 1))
      onWebsocket(websocket, request)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  cleanup.add(async () => {
    for (const socket of provider.connections) socket.destroy()
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  return { ...provider, origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
}

const echo = (websocket: WebSocket): void => {
  websocket.on('message', (data, isBinary) => websocket.send(data as Buffer, { binary: isBinary }))
}

/** A provider that writes what it likes; `answer` is called with the head, and what came with it. */
export async function rawProvider(
  cleanup: Cleanup,
  answer: (socket: Socket, head: string) => void,
  { allowHalfOpen = false } = {}
): Promise<{ readonly origin: string; readonly connections: Set<Socket> }> {
  const connections = new Set<Socket>()
  const server = createTcpServer({ allowHalfOpen }, (socket) => {
    connections.add(socket)
    socket.once('close', () => connections.delete(socket))
    socket.on('error', () => undefined)
    let head = ''
    const onData = (chunk: Buffer): void => {
      head += chunk.toString('latin1')
      if (!head.includes('\r\n\r\n')) return
      socket.off('data', onData)
      answer(socket, head)
    }
    socket.on('data', onData)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  cleanup.add(async () => {
    for (const socket of connections) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
  })
  return { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, connections }
}

/** What answers a handshake of this router, with other header lines behind. */
export const switching = (head: string, ...lines: string[]): string =>
  [
    'HTTP/1.1 101 Switching Protocols',
    'upgrade: websocket',
    'connection: Upgrade',
    `sec-websocket-accept: ${acceptFor(/^sec-websocket-key: (.*)$/im.exec(head)?.[1] ?? '')}`,
    ...lines,
    '',
    ''
  ].join('\r\n')

type Options = Parameters<typeof startRouter>[2]

/** A router with one provider, which wants no key. */
export async function routerFor(
  cleanup: Cleanup,
  origin: string,
  environment = {},
  options: Options = {}
): Promise<RunningRouter> {
  const sidecar = await fakeSidecar(cleanup)
  const providers = { CONFROUTER_PROVIDERS: oneProvider(origin, { auth: 'none' }) }
  return startRouter(cleanup, { SKR_URL: sidecar.url, ...providers, ...environment }, options)
}

/** Begins to open a websocket of the router. */
export function begin(
  cleanup: Cleanup,
  router: { readonly url: string },
  path = '/v1/realtime',
  { protocols = [], headers = {} }: { protocols?: string[]; headers?: Record<string, string> } = {}
): WebSocket {
  const websocket = new WebSocket(`${router.url.replace('http', 'ws')}${path}`, protocols, { headers })
  websocket.on('error', () => undefined)
  cleanup.add(async () => websocket.terminate())
  return websocket
}

/** Opens a websocket of the router. */
export async function open(...args: Parameters<typeof begin>): Promise<WebSocket> {
  const websocket = begin(...args)
  await once(websocket, 'open')
  return websocket
}

/** The answer to a handshake that fails. */
export async function refusal(
  ...args: Parameters<typeof begin>
): Promise<{ status: number; headers: IncomingMessage['headers']; text: string; code: unknown }> {
  const websocket = begin(...args)
  const [, response] = (await once(websocket, 'unexpected-response')) as [unknown, IncomingMessage]
  let text = ''
  for await (const chunk of response) text += String(chunk)
  return { status: response.statusCode ?? 0, headers: response.headers, text, code: codeOf(text) }
}

export function codeOf(text: string): unknown {
  try {
    return JSON.parse(text).error.code
  } catch {
    return undefined
  }
}

export async function nextMessage(websocket: WebSocket): Promise<{ data: Buffer; isBinary: boolean }> {
  const [data, isBinary] = (await once(websocket, 'message')) as [Buffer, boolean]
  return { data, isBinary }
}

/** The code and the reason with which a websocket ended. */
export async function closing(websocket: WebSocket): Promise<[code: number, reason: string]> {
  const [code, reason] = (await once(websocket, 'close')) as [number, Buffer]
  return [code, reason.toString()]
}

/** A bare connection to the router; nothing is read before somebody listens. */
export async function bare(
  cleanup: Cleanup,
  { url }: { readonly url: string },
  { allowHalfOpen = false } = {}
): Promise<Socket> {
  const { hostname, port } = new URL(url)
  const socket = connect({ host: hostname, port: Number(port), allowHalfOpen })
  socket.on('error', () => undefined)
  cleanup.add(async () => socket.destroy())
  await once(socket, 'connect')
  return socket
}

/** Waits until a connection is closed, with or without an error. */
export const closed = (socket: Socket): Promise<void> =>
  new Promise((resolve) => (socket.closed ? resolve() : socket.once('close', () => resolve())))

/** The head of a good handshake; a header whose value is `undefined` is left out. */
export function handshake(path: string, headers: Record<string, string | undefined> = {}, line = 'GET'): string {
  const all = {
    host: 'x',
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': '13',
    'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
    ...headers
  }
  const lines = Object.entries(all).flatMap(([name, value]) => (value === undefined ? [] : [`${name}: ${value}`]))
  return `${line} ${path} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`
}

/** Waits until the router holds nothing of a websocket any more. */
export async function untilEmpty(
  router: RunningRouter,
  { connections }: { readonly connections: Set<Socket> }
): Promise<void> {
  await until(() => router.context.calls.inside === 0 && connections.size === 0)
  const open = (): Promise<number> =>
    new Promise((resolve, reject) => {
      router.server.getConnections((error, count) => (error === null ? resolve(count) : reject(error)))
    })
  const deadline = performance.now() + 5000
  while ((await open()) > 0) {
    if (performance.now() > deadline) throw new Error('the router still has connections')
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
