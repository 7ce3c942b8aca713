import { once } from 'node:events'
import type { RequestListener } from 'node:http'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it } from '@jest/globals'
import { sha256Hex } from '../../../src/base/digest.js'
import { sealEnvelopeRequest } from '../../../src/seal/envelope.js'
import { parseRsaPublicJwk } from '../../../src/seal/rsa-key.js'
import { Cleanup, fakeSidecar, oneProvider, post, readAll, serve, startRouter, until } from './harness.js'

const cleanup = new Cleanup()
afterEach(() => cleanup.run())

type Options = Parameters<typeof startRouter>[2]

async function routerTo(listener: RequestListener, environment = {}, options: Options = {}) {
  const [sidecar, origin] = await Promise.all([fakeSidecar(cleanup), serve(cleanup, listener)])
  return startRouter(
    cleanup,
    { SKR_URL: sidecar.url, CONFROUTER_PROVIDERS: oneProvider(origin, { auth: 'none' }), ...environment },
    options
  )
}

const answering: RequestListener = (request, response) => {
  void readAll(request).then(
    () => response.end('{}'),
    () => undefined
  )
}

/** A connection that sends bytes, and reads only when told to. */
async function open(url: string): Promise<Socket> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  socket.on('error', () => undefined)
  socket.pause()
  cleanup.add(async () => socket.destroy())
  await once(socket, 'connect')
  return socket
}

async function textOf(socket: Socket): Promise<string> {
  socket.resume()
  let text = ''
  socket.on('data', (chunk) => (text += chunk.toString()))
  await once(socket, 'close')
  return text
}

const head = (length: number, path = '/v1/chat/completions') =>
  `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${length}\r\n\r\n`

const call = (url: string, headers = {}) => post(`${url}/v1/chat/completions`, { model: 'm' }, headers)

describe('slots', () => {
  it('go to one caller in part only, however few connections it uses', async () => {
    const router = await routerTo(() => undefined, { CONFROUTER_MAX_CONCURRENT_CALLS: '20' })
    const socket = await open(router.url)
    socket.write('GET /providers/test/hang HTTP/1.1\r\nhost: x\r\n\r\n'.repeat(10))
    await until(() => router.context.calls.inside === 2)
    await sleep(100)
    expect(router.context.calls.inside).toBe(2)
    expect(await call(router.url)).toMatchObject({ status: 503, json: { error: { code: 'overloaded' } } })
    expect(router.context.calls.enter('192.0.2.1')).toBeDefined()
  })

  it('come back when the connection ends, also of calls that wait behind others', async () => {
    const router = await routerTo(() => undefined)
    const socket = await open(router.url)
    socket.write('GET /providers/test/hang HTTP/1.1\r\nhost: x\r\n\r\n'.repeat(5))
    await until(() => router.context.calls.inside === 5)
    socket.destroy()
    await until(() => router.context.calls.inside === 0)
    await until(() => router.requestLines().length === 5)
    expect(new Set(router.requestLines().map(({ outcome }) => outcome))).toEqual(new Set(['caller_gone']))
  })

  it('come back when a connection has sent more calls at once than it may', async () => {
    const router = await routerTo(() => undefined)
    const socket = await open(router.url)
    socket.write('GET /providers/test/hang HTTP/1.1\r\nhost: x\r\n\r\n'.repeat(1000))
    expect(await textOf(socket)).toBe('')
    await until(() => router.requestLines().length === 16)
    expect(router.context.calls.inside).toBe(0)
  })

  it('are counted by token where access is by token', async () => {
    const router = await routerTo((_, response) => void response.writeHead(200).write('{'), {
      CONFROUTER_MAX_CALLS_PER_CALLER: '1',
      ACCESS_TOKENS: [sha256Hex('a'), sha256Hex('b')].join()
    })
    const send = (token: string) =>
      fetch(`${router.url}/providers/test/x`, { headers: { authorization: `Bearer ${token}` } })
    expect((await send('a')).status).toBe(200)
    expect((await send('a')).status).toBe(503)
    expect((await send('b')).status).toBe(200)
  })

  it('of connections are limited', async () => {
    const router = await routerTo(answering)
    expect(router.server.maxConnections).toBe(4000)
  })

  it('of connections go to one address in part only', async () => {
    const router = await routerTo(answering, { CONFROUTER_MAX_CONCURRENT_CALLS: '1' })
    expect(router.server.maxConnections).toBe(128)
    const sockets = await Promise.all(Array.from({ length: 70 }, () => open(router.url)))
    for (const socket of sockets) socket.resume()
    await until(() => sockets.filter(({ closed }) => closed).length === 6)
    await sleep(50)
    expect(sockets.filter(({ closed }) => closed)).toHaveLength(6)
  })
})

describe('a body that stalls', () => {
  it.each([
    ['a body that is read', '/v1/chat/completions'],
    ['a body that is passed through', '/providers/test/files']
  ])('ends the call: %s', async (_, path) => {
    const router = await routerTo(answering, {}, { limits: { requestIdleMs: 150 } })
    const socket = await open(router.url)
    socket.write(`${head(100, path)}{"model":`)
    await until(() => router.context.calls.inside === 1)
    const text = await textOf(socket)
    expect(text).toMatch(/^HTTP\/1\.1 408 /)
    expect(text).toContain('"request_timeout"')
    await until(() => router.context.calls.inside === 0)
  })

  it('may be slow as long as bytes come', async () => {
    const router = await routerTo(answering, {}, { limits: { requestIdleMs: 250 } })
    for (const path of ['/v1/chat/completions', '/providers/test/files']) {
      const socket = await open(router.url)
      const body = '{"model":"m"}'
      socket.write(head(body.length, path).replace('host: x', 'host: x\r\nconnection: close'))
      for (const byte of body) {
        socket.write(byte)
        await sleep(40)
      }
      expect(await textOf(socket)).toMatch(/^HTTP\/1\.1 200 /)
    }
  })

  it('is not what waits for a provider that has all of it', async () => {
    const router = await routerTo(
      (request, response) => {
        void readAll(request).then(() => setTimeout(() => response.end('{}'), 500))
      },
      {},
      { limits: { requestIdleMs: 100 } }
    )
    expect((await post(`${router.url}/providers/test/files`, { a: 'b' })).status).toBe(200)
    expect((await call(router.url)).status).toBe(200)
  })
})

describe('memory for bodies and sealed answers', () => {
  const environment = { CONFROUTER_MAX_BODY_BYTES: '100000', CONFROUTER_MAX_BUFFERED_BYTES: '400000' }

  it('is shared: when it is used up calls are refused, and it comes back when they end', async () => {
    const router = await routerTo(answering, environment)
    const sockets = await Promise.all([1, 2].map(() => open(router.url)))
    for (const socket of sockets) socket.write(`${head(99_000)}${'x'.repeat(98_000)}`)
    await until(() => router.context.buffers.inside === 196_000)
    const refused = await post(`${router.url}/v1/chat/completions`, { model: 'm', text: 'x'.repeat(5000) })
    expect(refused).toMatchObject({ status: 503, json: { error: { code: 'overloaded' } } })
    expect(refused.headers.get('retry-after')).toBe('1')
    expect(router.context.buffers.take('192.0.2.1', 150_000)).toBe(true)
    router.context.buffers.give('192.0.2.1', 150_000)
    for (const socket of sockets) socket.destroy()
    await until(() => router.context.buffers.inside === 0)
    expect((await call(router.url)).status).toBe(200)
    await until(() => router.context.buffers.inside === 0)
  })

  it('is counted for a sealed answer, whose error is sealed too', async () => {
    const router = await routerTo((_, response) => response.end(JSON.stringify('x'.repeat(300_000))), environment)
    const recipient = parseRsaPublicJwk(await (await fetch(`${router.url}/v1/crypto/jwk`)).json(), 'jwk')
    const sealed = await sealEnvelopeRequest({ request: { model: 'm' }, recipient })
    const { status, json } = await post(`${router.url}/v1/chat/completions`, sealed.body)
    expect(status).toBe(503)
    expect(await sealed.openResponse(json)).toMatchObject({ error: { code: 'overloaded' } })
    await until(() => router.context.buffers.inside === 0)
  })
})

describe('an answer that nobody reads', () => {
  const large = JSON.stringify({ text: 'x'.repeat(20_000_000) })
  const limits = { idleMs: 200 }

  it('ends when it is sealed', async () => {
    const router = await routerTo((_, response) => response.end(large), {}, { limits })
    const recipient = parseRsaPublicJwk(await (await fetch(`${router.url}/v1/crypto/jwk`)).json(), 'jwk')
    const { body } = await sealEnvelopeRequest({ request: { model: 'm' }, recipient })
    const text = JSON.stringify(body)
    const socket = await open(router.url)
    socket.write(head(text.length) + text)
    await until(() => router.requestLines().some(({ outcome }) => outcome === 'caller_stalled'), 10_000)
    expect(router.context.calls.inside).toBe(0)
  })

  it('ends when it is a document of the router', async () => {
    const router = await routerTo(answering, {}, { limits })
    const socket = await open(router.url)
    let outcome: unknown = 'ok'
    for (let sent = 1; outcome === 'ok'; sent++) {
      socket.write('GET /.well-known/confrouter HTTP/1.1\r\nhost: x\r\n\r\n')
      await until(() => router.requestLines().length === sent)
      outcome = router.requestLines().at(-1)?.outcome
    }
    expect(outcome).toBe('caller_stalled')
  })

  it('goes on while the caller reads, however slowly', async () => {
    const router = await routerTo((_, response) => response.end(large), {}, { limits })
    const recipient = parseRsaPublicJwk(await (await fetch(`${router.url}/v1/crypto/jwk`)).json(), 'jwk')
    const sealed = await sealEnvelopeRequest({ request: { model: 'm' }, recipient })
    const text = JSON.stringify(sealed.body)
    const socket = await open(router.url)
    socket.write(head(text.length).replace('host: x', 'host: x\r\nconnection: close') + text)
    const chunks: Buffer[] = []
    let bytes = 0
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      bytes += chunk.length
      if (bytes < 3_000_000) return
      bytes = 0
      socket.pause()
      setTimeout(() => socket.resume(), 100)
    })
    socket.resume()
    await once(socket, 'close')
    const answer = Buffer.concat(chunks).toString()
    const opened = await sealed.openResponse(JSON.parse(answer.slice(answer.indexOf('\r\n\r\n') + 4)))
    expect(JSON.stringify(opened)).toHaveLength(large.length)
  })
})

describe('the rate of an address', () => {
  it("counts calls with the caller's own key, with none, and those that are opened", async () => {
    const router = await routerTo(answering, { CONFROUTER_CALLS_PER_MINUTE: '3' })
    const recipient = parseRsaPublicJwk(await (await fetch(`${router.url}/v1/crypto/jwk`)).json(), 'jwk')
    const sealed = await sealEnvelopeRequest({ request: { model: 'm' }, recipient })
    expect((await call(router.url, { authorization: 'Bearer sk-own' })).status).toBe(200)
    expect((await call(router.url)).status).toBe(200)
    expect((await post(`${router.url}/v1/chat/completions`, sealed.body)).status).toBe(200)
    for (const path of ['/v1/chat/completions', '/providers/test/x']) {
      const { status, headers, json } = await post(`${router.url}${path}`, { model: 'm' })
      expect({ status, code: json.error.code }).toEqual({ status: 429, code: 'rate_limited' })
      expect(headers.get('retry-after')).toBe('20')
    }
    expect((await fetch(`${router.url}/healthz`)).status).toBe(200)
  })
})
