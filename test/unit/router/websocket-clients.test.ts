import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from '@jest/globals'
import OpenAI from 'openai'
import { OpenAIRealtimeWebSocket } from 'openai/realtime/websocket'
import { OpenAIRealtimeWS } from 'openai/realtime/ws'
import { Agent } from 'undici'
import WebSocket, { WebSocketServer } from 'ws'
import { createTlsIdentity } from '../../../src/router/self-signed.js'
import { Cleanup, until } from './harness.js'
import { closing, nextMessage, refusal, routerFor, untilEmpty, websocketProvider } from './websocket-harness.js'

const cleanup = new Cleanup()
afterEach(() => cleanup.run())

/** Says that there is a session, and answers each event with the next one. */
async function realtime() {
  const provider = await websocketProvider(cleanup, (websocket, { url }) => {
    const model = new URL(url ?? '', 'http://x').searchParams.get('model')
    websocket.send(JSON.stringify({ type: 'session.created', session: { type: 'realtime', model } }))
    websocket.on('message', (data) => {
      if (JSON.parse((data as Buffer).toString()).type === 'response.create') {
        websocket.send(JSON.stringify({ type: 'response.done', response: { status: 'completed' } }))
      }
    })
  })
  const router = await routerFor(cleanup, provider.origin, {
    CONFROUTER_PROVIDERS: JSON.stringify({
      other: { baseUrl: 'http://127.0.0.1:1', allowPrivate: true },
      openai: { baseUrl: `${provider.origin}/v1`, allowPrivate: true }
    }),
    CONFROUTER_TLS_PORT: '0'
  })
  const client = new OpenAI({ apiKey: 'sk-own', baseURL: `${router.tlsUrl}/v1` })
  return { provider, router, client }
}

/** The clients insist on TLS; whose key it is, is not what is tested here. */
const options = { rejectUnauthorized: false }

type Realtime = Pick<OpenAIRealtimeWS | OpenAIRealtimeWebSocket, 'on' | 'send'>

async function converse(session: Realtime): Promise<unknown[]> {
  const created = new Promise((resolve) => session.on('session.created', resolve))
  const done = new Promise((resolve) => session.on('response.done', resolve))
  const failed = new Promise((_, reject) => session.on('error', reject))
  const first = await Promise.race([created, failed])
  session.send({ type: 'response.create' })
  return [first, await Promise.race([done, failed])]
}

const conversation = [
  { type: 'session.created', session: { type: 'realtime', model: 'gpt-realtime' } },
  { type: 'response.done', response: { status: 'completed' } }
]

describe("OpenAI's realtime client", () => {
  it('talks through the router, with the key in its header', async () => {
    const { provider, router, client } = await realtime()
    const session = new OpenAIRealtimeWS({ model: 'openai:gpt-realtime', options }, client)
    cleanup.add(async () => session.socket.terminate())
    expect(await converse(session)).toEqual(conversation)
    expect(provider.requests[0]?.url).toBe('/v1/realtime?model=gpt-realtime')
    expect(provider.requests[0]?.headers.authorization).toBe('Bearer sk-own')
    session.close()
    await once(session.socket, 'close')
    await untilEmpty(router, provider)
    expect(router.requestLines()).toMatchObject([
      { route: '/v1/realtime', provider: 'openai', status: 101, outcome: 'ok' }
    ])
  })

  it('talks through the router as in a browser, with the key in a sub-protocol', async () => {
    const { provider, router, client } = await realtime()
    /** What a browser has under this name. */
    class BrowserWebSocket extends WebSocket {
      constructor(url: string, protocols: string[]) {
        super(url, protocols, { ...options, origin: 'https://page.example' })
        cleanup.add(async () => this.terminate())
      }
    }
    Object.assign(globalThis, { WebSocket: BrowserWebSocket })
    cleanup.add(async () => void Reflect.deleteProperty(globalThis, 'WebSocket'))
    const session = new OpenAIRealtimeWebSocket({ model: 'openai:gpt-realtime' }, client)
    expect(await converse(session)).toEqual(conversation)
    expect(session.socket.protocol).toBe('realtime')
    expect(provider.requests[0]?.headers).toMatchObject({
      authorization: 'Bearer sk-own',
      'sec-websocket-protocol': 'realtime'
    })
    session.close()
    await untilEmpty(router, provider)
  })

  it('is told why when the provider refuses its key', async () => {
    const { client } = await realtime()
    const session = new OpenAIRealtimeWS({ model: 'nobody:gpt-realtime', options }, client)
    const error = await new Promise<Error>((resolve) => session.on('error', resolve))
    expect(error.message).toContain('404')
  })
})

describe('TLS on both sides', () => {
  /** A provider behind TLS, with a certificate that no authority has signed. */
  async function secureProvider() {
    const { key, certificate } = createTlsIdentity(new Date())
    const server = createServer({ key, cert: certificate })
    const websockets = new WebSocketServer({ server })
    websockets.on('connection', (websocket) => {
      websocket.on('message', (data) => {
        websocket.send(data as Buffer)
        websocket.close(4002, 'that was all')
      })
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    cleanup.add(async () => {
      for (const websocket of websockets.clients) websocket.terminate()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    })
    const origin = `https://127.0.0.1:${(server.address() as AddressInfo).port}`
    const router = await routerFor(cleanup, origin, { CONFROUTER_TLS_PORT: '0' })
    return { certificate, router, websockets }
  }

  it('changes nothing for the bytes, nor for how the websocket ends', async () => {
    const { certificate, router, websockets } = await secureProvider()
    const agent = new Agent({ connect: { ca: certificate, servername: 'confrouter' } })
    cleanup.add(() => agent.destroy())
    Object.assign(router.context, { egress: { ...router.context.egress, dispatcher: () => agent } })
    const message = randomBytes(8 * 1024 ** 2)
    const websocket = new WebSocket(`${router.tlsUrl.replace('https', 'wss')}/v1/realtime`, options)
    cleanup.add(async () => websocket.terminate())
    await once(websocket, 'open')
    const ended = closing(websocket)
    websocket.send(message)
    expect((await nextMessage(websocket)).data.equals(message)).toBe(true)
    expect(await ended).toEqual([4002, 'that was all'])
    await until(() => websockets.clients.size === 0 && router.requestLines().length === 1)
    expect(router.requestLines()).toMatchObject([{ status: 101, outcome: 'ok' }])
    expect(router.context.connections.size).toBe(0)
    expect(router.context.calls.inside).toBe(0)
  })

  it('is demanded of the provider with a certificate that is good', async () => {
    const { router, websockets } = await secureProvider()
    expect(await refusal(cleanup, router)).toMatchObject({ status: 502, code: 'upstream_failed' })
    expect(websockets.clients.size).toBe(0)
  })
})
