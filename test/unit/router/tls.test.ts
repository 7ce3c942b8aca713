import { createHash } from 'node:crypto'
import { once } from 'node:events'
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import https from 'node:https'
import { connect, type Socket } from 'node:net'
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls'
import { afterEach, describe, expect, it } from '@jest/globals'
import WebSocket from 'ws'
import { drain } from '../../../src/router/shutdown.js'
import { websocketProvider } from './websocket-harness.js'
import { type Answer, Cleanup, fakeSidecar, oneProvider, post, readAll, serve, startRouter, until } from './harness.js'

const cleanup = new Cleanup()
afterEach(() => cleanup.run())

const answering: RequestListener = (request, response) => void readAll(request).then(() => response.end('{"answer":1}'))

async function routerWithTls(listener = answering, environment: Record<string, string> = {}) {
  const [sidecar, origin] = await Promise.all([fakeSidecar(cleanup), serve(cleanup, listener)])
  return startRouter(cleanup, {
    SKR_URL: sidecar.url,
    CONFROUTER_TLS_PORT: '0',
    CONFROUTER_PROVIDERS: oneProvider(origin, { auth: 'none' }),
    ...environment
  })
}

const spkiSha256 = (socket: TLSSocket): string | undefined => {
  const key = socket.getPeerX509Certificate()?.publicKey.export({ type: 'spki', format: 'der' })
  return key && createHash('sha256').update(key).digest('hex')
}

/** A connection to whoever has the key with this hash; to nobody else anything is sent. */
async function connectPinned(url: string, tls: string, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const { hostname, port } = new URL(url)
  // The hash says more than any certificate could.
  const socket = connectTls({ host: hostname, port: Number(port), rejectUnauthorized: false, ...options })
  cleanup.add(async () => socket.destroy())
  await once(socket, 'secureConnect')
  if (spkiSha256(socket) !== tls) {
    socket.destroy()
    throw new Error('this is another key than that of the evidence')
  }
  socket.on('error', () => undefined)
  return socket
}

async function request(
  socket: TLSSocket,
  path: string,
  { body, ...options }: https.RequestOptions & { body?: string } = {}
): Promise<IncomingMessage> {
  // One connection and no agent: what was pinned is what is used.
  const sent = https.request({ path, createConnection: () => socket, ...options })
  sent.on('error', () => undefined).end(body)
  const [answer] = (await once(sent, 'response')) as [IncomingMessage]
  return answer
}

const jsonOf = async (answer: IncomingMessage): Promise<Answer> => JSON.parse((await readAll(answer)).toString())

/** The runtime data of an evidence, once the report binds it. */
function runtimeDataOf(evidence: Answer): Answer {
  const bytes = Buffer.from(evidence.runtimeData, 'base64')
  const reportData = Buffer.from(evidence.snp.report, 'base64').subarray(80, 144)
  expect(reportData).toEqual(Buffer.concat([createHash('sha256').update(bytes).digest(), Buffer.alloc(32)]))
  return JSON.parse(bytes.toString()).confrouter
}

const evidenceOf = async (url: string): Promise<Answer> => (await fetch(`${url}/.well-known/confrouter`)).json()

const call = {
  method: 'POST',
  headers: { 'content-type': 'application/json', connection: 'close' },
  body: '{"model":"m"}'
}

describe('the TLS listener', () => {
  it('has the key whose hash the evidence binds', async () => {
    const router = await routerWithTls()
    const { tls } = runtimeDataOf(await evidenceOf(router.url))
    expect(tls).toMatch(/^[0-9a-f]{64}$/)
    const socket = await connectPinned(router.tlsUrl, tls, { ALPNProtocols: ['h2', 'http/1.1'] })
    expect(socket.alpnProtocol).toBe('http/1.1')
    expect(await jsonOf(await request(socket, '/v1/chat/completions', call))).toEqual({ answer: 1 })
    // Over the connection itself the same evidence comes.
    const again = await connectPinned(router.tlsUrl, tls)
    expect(runtimeDataOf(await jsonOf(await request(again, '/.well-known/confrouter'))).tls).toBe(tls)
  })

  it('has another one in every router, and whoever pins notices', async () => {
    const [router, other] = await Promise.all([routerWithTls(), routerWithTls()])
    const { tls } = runtimeDataOf(await evidenceOf(router.url))
    await expect(connectPinned(other.tlsUrl, tls)).rejects.toThrow('another key')
  })

  it('is bound by fresh evidence and by /attest as well, and in neither without it', async () => {
    const nonce = Buffer.alloc(16, 3).toString('base64url')
    const compatible = { runtime_data: Buffer.alloc(16, 3).toString('base64') }
    const found = []
    for (const environment of [{}, { CONFROUTER_TLS_PORT: '' }]) {
      const router = await routerWithTls(answering, environment)
      const cached = runtimeDataOf(await evidenceOf(router.url))
      const fresh = runtimeDataOf((await post(`${router.url}/.well-known/confrouter`, { nonce })).json)
      const { json } = await post(`${router.url}/attest`, compatible)
      const attested = JSON.parse(Buffer.from(json.runtime_data, 'base64').toString()).confrouter
      expect(fresh.nonce).toBe(nonce)
      expect(attested).toEqual(fresh)
      expect(cached.tls).toBe(fresh.tls)
      expect(Object.keys(cached)).not.toContain('keys')
      found.push(Object.keys(fresh).join())
    }
    expect(found).toEqual(['v,rsa,hpke,ed25519,nonce,tls', 'v,rsa,hpke,ed25519,nonce'])
  })

  it('is open beside the plain one, and both answer', async () => {
    const router = await routerWithTls()
    const { tls } = runtimeDataOf(await evidenceOf(router.url))
    const socket = await connectPinned(router.tlsUrl, tls)
    const answer = await request(socket, '/healthz')
    expect({ status: answer.statusCode, json: await jsonOf(answer) }).toEqual({
      status: 200,
      json: { status: 'ok', stage: 'ready' }
    })
    expect((await fetch(`${router.url}/healthz`)).status).toBe(200)
    await until(() => router.requestLines().filter(({ route }) => route === '/healthz').length === 2)
  })

  it.each<[string, ConnectionOptions]>([
    ['TLS 1.1', { maxVersion: 'TLSv1.1', minVersion: 'TLSv1.1', ciphers: 'ALL@SECLEVEL=0' }],
    ['HTTP/2 alone', { ALPNProtocols: ['h2'] }]
  ])('refuses %s', async (_, options) => {
    const router = await routerWithTls()
    const { tls } = runtimeDataOf(await evidenceOf(router.url))
    await expect(connectPinned(router.tlsUrl, tls, options)).rejects.toThrow()
    expect((await fetch(`${router.url}/healthz`)).status).toBe(200)
  })

  it('breaks what is no TLS, and answers nothing in clear', async () => {
    const router = await routerWithTls()
    const socket = await open(router.tlsUrl)
    let text = ''
    socket.on('data', (chunk) => (text += chunk.toString('latin1')))
    socket.write('GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n')
    await once(socket, 'close')
    expect(text).not.toContain('HTTP')
    const { tls } = runtimeDataOf(await evidenceOf(router.url))
    const pinned = await connectPinned(router.tlsUrl, tls)
    expect((await request(pinned, '/healthz')).statusCode).toBe(200)
    expect(router.logText()).not.toContain('unexpected error')
  })

  it('takes websockets', async () => {
    const provider = await websocketProvider(cleanup)
    const router = await startRouter(cleanup, {
      SKR_URL: (await fakeSidecar(cleanup)).url,
      CONFROUTER_TLS_PORT: '0',
      CONFROUTER_PROVIDERS: oneProvider(provider.origin, { auth: 'none' })
    })
    const { tls } = runtimeDataOf(await evidenceOf(router.url))
    const pinned = await connectPinned(router.tlsUrl, tls)
    const websocket = new WebSocket('ws://router/providers/test/x', { createConnection: () => pinned })
    websocket.on('open', () => websocket.send('through TLS'))
    const [message] = (await once(websocket, 'message')) as [Buffer]
    expect(message.toString()).toBe('through TLS')
    websocket.close()
    await until(() => router.context.calls.inside === 0)
    await until(() => router.requestLines().some(({ route, outcome }) => route === '/providers/*' && outcome === 'ok'))
  })

  it('refuses what is no HTTP inside TLS with words', async () => {
    const router = await routerWithTls()
    const { tls } = runtimeDataOf(await evidenceOf(router.url))
    const socket = await connectPinned(router.tlsUrl, tls)
    socket.write('hello\r\n\r\n')
    let text = ''
    socket.on('data', (chunk: Buffer) => (text += chunk.toString()))
    await once(socket, 'close')
    expect(text).toMatch(/^HTTP\/1.1 400 [^]*invalid_request/)
  })
})

async function open(url: string): Promise<Socket> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  socket.on('error', () => undefined)
  cleanup.add(async () => socket.destroy())
  await once(socket, 'connect')
  return socket
}

describe('connections to the TLS listener', () => {
  it('count from their first packet on, together with the others', async () => {
    const router = await routerWithTls()
    const { tls } = runtimeDataOf(await evidenceOf(router.url))
    const { connections } = router.context
    const sockets = await Promise.all(Array.from({ length: 20 }, () => open(router.tlsUrl)))
    await until(() => connections.size >= 20)
    const pinned = await connectPinned(router.tlsUrl, tls)
    expect((await request(pinned, '/healthz')).statusCode).toBe(200)
    for (const socket of sockets) socket.destroy()
    pinned.destroy()
    // The one that fetched the evidence may be kept for a next request.
    await until(() => connections.size <= 1)
  })

  it('are refused like the others when one address has all it may', async () => {
    const router = await routerWithTls(answering, { CONFROUTER_MAX_CONCURRENT_CALLS: '1' })
    const handshakes = await Promise.all(Array.from({ length: 64 }, () => open(router.tlsUrl)))
    await until(() => router.context.connections.size >= 60)
    for (const url of [router.tlsUrl, router.url]) {
      const socket = await open(url)
      await once(socket.resume(), 'close')
    }
    const [first] = handshakes
    first?.destroy()
    await until(() => router.context.connections.size < 64)
    expect((await fetch(`${router.url}/healthz`)).status).toBe(200)
  })

  it('with a stream are let finish, and those in a handshake are not waited for', async () => {
    const upstreams: ServerResponse[] = []
    const router = await routerWithTls((_, response) => {
      upstreams.push(response)
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n')
    })
    const { tls } = runtimeDataOf(await evidenceOf(router.url))
    const answer = await request(await connectPinned(router.tlsUrl, tls), '/v1/chat/completions', call)
    await open(router.tlsUrl)
    const idle = await connectPinned(router.tlsUrl, tls)
    const idleClosed = once(idle.resume(), 'close')
    const drained = drain(router.servers, router.context, 5000)
    await idleClosed
    const startedAt = performance.now()
    upstreams[0]?.end('data: [DONE]\n\n')
    expect((await readAll(answer)).toString()).toBe('data: 1\n\ndata: [DONE]\n\n')
    expect(await drained).toBe(true)
    expect(performance.now() - startedAt).toBeLessThan(2000)
  })

  it('that have not finished in time are broken off', async () => {
    const router = await routerWithTls((_, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n')
    })
    const { tls } = runtimeDataOf(await evidenceOf(router.url))
    const answer = await request(await connectPinned(router.tlsUrl, tls), '/v1/chat/completions', call)
    const broken = readAll(answer).catch(() => 'broken')
    expect(await drain(router.servers, router.context, 100)).toBe(false)
    expect(await broken).toBe('broken')
    await until(() => router.context.connections.size === 0 && router.context.calls.inside === 0)
  })
})
