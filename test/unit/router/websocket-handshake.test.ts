import { once } from 'node:events'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it } from '@jest/globals'
import { acceptFor } from '../../../src/router/websocket-handshake.js'
import { Cleanup, fakeSidecar, oneProvider, readAll, serve, startRouter, until } from './harness.js'
import {
  bare,
  closed,
  codeOf,
  handshake,
  open,
  rawProvider,
  refusal,
  routerFor,
  untilEmpty,
  websocketProvider
} from './websocket-harness.js'

const cleanup = new Cleanup()
afterEach(() => cleanup.run())

/** All that comes until the router ends the connection, which it must do by itself. */
async function answersOf(socket: Socket): Promise<string> {
  let text = ''
  socket.on('data', (chunk) => (text += chunk.toString()))
  await once(socket, 'end')
  return text
}

const bodyOf = (answer: string): string => answer.slice(answer.indexOf('\r\n\r\n') + 4)

describe('the key of a handshake', () => {
  it('is answered as in the example of RFC 6455', () => {
    expect(acceptFor('dGhlIHNhbXBsZSBub25jZQ==')).toBe('s3pPLMBiTxaQ9kYGzzhZRbK+xOo=')
  })
})

describe('a handshake', () => {
  const path = '/v1/realtime'
  const key = 'sec-websocket-key'
  const version = 'sec-websocket-version'
  const protocol = 'sec-websocket-protocol'

  it.each([
    ['with another method', handshake(path, {}, 'POST'), 405, 'method_not_allowed'],
    ['with another method, of a provider', handshake('/providers/test/x', {}, 'PUT'), 405, 'method_not_allowed'],
    ['with OPTIONS', handshake('/providers/test/x', {}, 'OPTIONS'), 405, 'method_not_allowed'],
    ['of HTTP/1.0', handshake(path).replace('HTTP/1.1', 'HTTP/1.0'), 400, 'invalid_request'],
    ['without a host', handshake(path, { host: undefined }), 400, 'invalid_request'],
    ['for a protocol beside it', handshake(path, { upgrade: 'h2c, websocket' }), 400, 'invalid_request'],
    ['for a version of the protocol in Upgrade', handshake(path, { upgrade: 'websocket/13' }), 400, 'invalid_request'],
    ['without a version', handshake(path, { [version]: undefined }), 426, 'upgrade_required'],
    ['of an older version', handshake(path, { [version]: '8' }), 426, 'upgrade_required'],
    ['of two versions', handshake(path, { [version]: '13, 8' }), 426, 'upgrade_required'],
    ['without a key', handshake(path, { [key]: undefined }), 400, 'invalid_request'],
    ['with a short key', handshake(path, { [key]: 'dGhlIHNhbXBsZQ==' }), 400, 'invalid_request'],
    ['with a long key', handshake(path, { [key]: 'dGhlIHNhbXBsZSBub25jZQAA' }), 400, 'invalid_request'],
    ['with a key in another alphabet', handshake(path, { [key]: 'dGhlIHNhbXBsZSBub25j_-==' }), 400, 'invalid_request'],
    [
      'with two keys',
      handshake(path, { [key]: 'dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==' }),
      400,
      'invalid_request'
    ],
    ['with an empty sub-protocol', handshake(path, { [protocol]: 'a,,b' }), 400, 'invalid_request'],
    ['with a sub-protocol that is no token', handshake(path, { [protocol]: 'a b' }), 400, 'invalid_request'],
    ['with a sub-protocol twice', handshake(path, { [protocol]: 'a, b, a' }), 400, 'invalid_request'],
    ['with a length', handshake(path, { 'content-length': '0' }), 400, 'unexpected_body'],
    ['with a body', `${handshake(path, { 'content-length': '5' })}hello`, 400, 'unexpected_body'],
    [
      'with a body that is not all there',
      `${handshake(path, { 'content-length': '500' })}hello`,
      400,
      'unexpected_body'
    ],
    [
      'with a body in chunks',
      `${handshake(path, { 'transfer-encoding': 'chunked' })}5\r\nhello\r\n0\r\n\r\n`,
      400,
      'unexpected_body'
    ],
    ['that is sealed', handshake(path, { 'ehbp-encapsulated-key': '0'.repeat(64) }), 400, 'invalid_request'],
    ['with the seal of the extension', handshake(path, { 'confrouter-seal': 'x' }), 400, 'invalid_request'],
    ['of no such path', handshake('/nothing'), 404, 'not_found'],
    ['of a path that is something else', handshake('/healthz'), 400, 'invalid_request']
  ])('%s is refused, and nothing behind it is a request', async (_, head, status, code) => {
    const provider = await websocketProvider(cleanup)
    const router = await routerFor(cleanup, provider.origin)
    const socket = await bare(cleanup, router)
    socket.write(`${head}GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n`)
    const answer = await answersOf(socket)
    expect(answer.match(/HTTP\/1\.1 /g)).toHaveLength(1)
    expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `))
    expect(answer).toMatch(/\r\nconnection: (Upgrade, )?close\r\n/i)
    expect(answer).toMatch(/\r\ncontent-type: application\/json; charset=utf-8\r\n/)
    expect(codeOf(bodyOf(answer))).toBe(code)
    expect(provider.requests).toEqual([])
    await untilEmpty(router, provider)
    expect(router.requestLines()).toMatchObject([{ status, outcome: code }])
  })

  it('of another version is told which one there is', async () => {
    const provider = await websocketProvider(cleanup)
    const router = await routerFor(cleanup, provider.origin)
    const socket = await bare(cleanup, router)
    socket.write(handshake('/v1/realtime', { 'sec-websocket-version': '7' }))
    const answer = await answersOf(socket)
    expect(answer).toMatch(/^HTTP\/1\.1 426 Upgrade Required\r\n/)
    for (const line of ['sec-websocket-version: 13', 'upgrade: websocket', 'connection: Upgrade, close']) {
      expect(answer).toContain(`\r\n${line}\r\n`)
    }
  })

  it('with another method is told which one there is', async () => {
    const provider = await websocketProvider(cleanup)
    const router = await routerFor(cleanup, provider.origin)
    const socket = await bare(cleanup, router)
    socket.write(handshake('/v1/realtime', {}, 'DELETE'))
    expect(await answersOf(socket)).toContain('\r\nallow: GET\r\n')
  })

  it('may have its words in any case and other options of the connection', async () => {
    const provider = await websocketProvider(cleanup)
    const router = await routerFor(cleanup, provider.origin)
    const socket = await bare(cleanup, router)
    socket.write(handshake('/v1/realtime', { connection: 'keep-alive, UPGRADE', upgrade: 'WebSocket' }))
    expect(String((await once(socket, 'data'))[0])).toMatch(/^HTTP\/1\.1 101 /)
  })

  it('may have the key in the example of RFC 6455, whose spare bits are not zero', async () => {
    const provider = await websocketProvider(cleanup)
    const router = await routerFor(cleanup, provider.origin)
    const socket = await bare(cleanup, router)
    socket.write(handshake('/v1/realtime', { 'sec-websocket-key': 'AQIDBAUGBwgJCgsMDQ4PEC==' }))
    expect(String((await once(socket, 'data'))[0])).toContain(`accept: ${acceptFor('AQIDBAUGBwgJCgsMDQ4PEC==')}\r\n`)
  })

  it('comes in any pieces', async () => {
    const provider = await websocketProvider(cleanup)
    const router = await routerFor(cleanup, provider.origin)
    const socket = await bare(cleanup, router)
    socket.setNoDelay(true)
    let text = ''
    socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')))
    const ping = '\u0089\u0080\u0001\u0002\u0003\u0004'
    for (const character of `${handshake('/v1/realtime')}${ping}`) {
      socket.write(Buffer.from(character, 'latin1'))
      await new Promise((resolve) => setImmediate(resolve))
    }
    await until(() => text.endsWith('\r\n\r\n\u008a\u0000'))
  })
})

describe('what comes behind a handshake', () => {
  it('is no request, also when the provider declines', async () => {
    const provider = await websocketProvider(cleanup, undefined, {
      decline: () => 'HTTP/1.1 401 No\r\ncontent-length: 2\r\n\r\nno'
    })
    const router = await routerFor(cleanup, provider.origin)
    const socket = await bare(cleanup, router)
    socket.write(`${handshake('/v1/realtime')}GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n`.repeat(20))
    const answer = await answersOf(socket)
    expect(answer.match(/HTTP\/1\.1 /g)).toHaveLength(1)
    expect(answer).toMatch(/^HTTP\/1\.1 401 [\s\S]*\r\n\r\nno$/)
    expect(provider.requests).toHaveLength(1)
    await untilEmpty(router, provider)
    expect(router.requestLines()).toHaveLength(1)
  })

  it('may be more than a buffer, and does not cost the caller the answer', async () => {
    const provider = await websocketProvider(cleanup)
    const router = await routerFor(cleanup, provider.origin)
    const socket = await bare(cleanup, router)
    const sent = new Promise((resolve) => socket.write(handshake('/nothing') + 'x'.repeat(8_000_000), resolve))
    expect(codeOf(bodyOf(await answersOf(socket)))).toBe('not_found')
    expect((await sent) ?? undefined).toBeUndefined()
    await untilEmpty(router, provider)
  })

  it('may come for a moment behind the answer too', async () => {
    const provider = await websocketProvider(cleanup)
    const router = await routerFor(cleanup, provider.origin)
    const socket = await bare(cleanup, router, { allowHalfOpen: true })
    const errors: unknown[] = []
    socket.on('error', (error) => errors.push(error))
    socket.write(handshake('/nothing'))
    await answersOf(socket)
    for (let count = 0; count < 3; count++) {
      socket.write('x')
      await sleep(20)
    }
    socket.end()
    await closed(socket)
    expect(errors).toEqual([])
    await untilEmpty(router, provider)
  })

  it('ends when the caller never stops sending', async () => {
    const provider = await websocketProvider(cleanup)
    const router = await routerFor(cleanup, provider.origin)
    const socket = await bare(cleanup, router, { allowHalfOpen: true })
    socket.write(handshake('/nothing'))
    const sending = setInterval(() => socket.write('x'), 20)
    await closed(socket)
    clearInterval(sending)
    await untilEmpty(router, provider)
  })
})

describe('a handshake behind another request', () => {
  it('breaks the connection, because that one would be answered into the websocket', async () => {
    const silent = await rawProvider(cleanup, () => undefined)
    const router = await routerFor(cleanup, silent.origin)
    const socket = await bare(cleanup, router)
    socket.write(`GET /providers/test/x HTTP/1.1\r\nhost: x\r\n\r\n${handshake('/v1/realtime')}`)
    socket.resume()
    await closed(socket)
    await untilEmpty(router, silent)
    expect(router.requestLines()).toMatchObject([{ route: '/providers/*', outcome: 'caller_gone' }])
  })

  it.each([
    ['has no host', 'GET / HTTP/1.1\r\n\r\n'],
    ['expects what there is not', 'GET / HTTP/1.1\r\nhost: x\r\nexpect: miracles\r\n\r\n']
  ])('does no harm when the server itself answers that one: it %s', async (_, request) => {
    const provider = await websocketProvider(cleanup)
    const router = await routerFor(cleanup, provider.origin)
    const socket = await bare(cleanup, router)
    socket.write(`${request}${handshake('/v1/realtime')}`)
    socket.resume()
    await closed(socket)
    await untilEmpty(router, provider)
    expect(provider.requests).toEqual([])
    await open(cleanup, router)
  })
})

describe('an upgrade to something else', () => {
  const h2c = { connection: 'Upgrade, HTTP2-Settings', upgrade: 'h2c', 'http2-settings': 'AAEAAEAA' }

  it('is ignored, with and without a body', async () => {
    const origin = await serve(cleanup, (request, response) => {
      void readAll(request).then((body) => response.end(JSON.stringify({ got: body.toString() })))
    })
    const router = await routerFor(cleanup, origin)
    const socket = await bare(cleanup, router)
    const body = '{"model":"m"}'
    const headers = { host: 'x', ...h2c, 'content-type': 'application/json', 'content-length': String(body.length) }
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
    let text = ''
    socket.on('data', (chunk) => (text += chunk.toString()))
    socket.write(`POST /v1/chat/completions HTTP/1.1\r\n${lines.join('')}\r\n${body}`)
    await until(() => text.endsWith(JSON.stringify({ got: body })))
    expect(text).toMatch(/^HTTP\/1\.1 200 /)
    text = ''
    socket.write(handshake('/healthz', h2c))
    await until(() => text.includes('"status":"ok"'))
    expect(text).toMatch(/^HTTP\/1\.1 200 /)
  })

  it('is ignored without the word in Connection, also when it is for a websocket', async () => {
    const provider = await websocketProvider(cleanup)
    const router = await routerFor(cleanup, provider.origin)
    const socket = await bare(cleanup, router)
    socket.write(handshake('/healthz', { connection: 'close' }))
    expect(await answersOf(socket)).toMatch(/^HTTP\/1\.1 200 /)
    const other = await bare(cleanup, router)
    other.write(handshake('/v1/realtime', { connection: 'close' }))
    expect(await answersOf(other)).toMatch(/^HTTP\/1\.1 4\d\d /)
    expect(provider.requests).toEqual([])
  })
})

describe('what other calls are refused for', () => {
  it('is refused for a websocket too: a router that is not ready', async () => {
    const provider = await websocketProvider(cleanup)
    const sidecar = await fakeSidecar(cleanup)
    sidecar.failures['/key/release'] = Array<string>(1000).fill('25-release-akv-429')
    const router = await startRouter(
      cleanup,
      { SKR_URL: sidecar.url, CONFROUTER_PROVIDERS: oneProvider(provider.origin) },
      { untilReady: false }
    )
    expect(await refusal(cleanup, router)).toMatchObject({ status: 503, code: 'not_ready' })
  })

  it('is refused for a websocket too: nothing but sealed requests', async () => {
    const provider = await websocketProvider(cleanup)
    const router = await routerFor(cleanup, provider.origin, { ENCRYPTION: 'required' })
    for (const path of ['/v1/realtime', '/providers/test/x']) {
      expect(await refusal(cleanup, router, path)).toMatchObject({ status: 403, code: 'encryption_required' })
    }
    expect(provider.requests).toEqual([])
  })

  it('is refused for a websocket too: too many of an address', async () => {
    const provider = await websocketProvider(cleanup)
    const router = await routerFor(cleanup, provider.origin, { CONFROUTER_CALLS_PER_MINUTE: '2' })
    await open(cleanup, router)
    await open(cleanup, router)
    expect(await refusal(cleanup, router)).toMatchObject({
      status: 429,
      code: 'rate_limited',
      headers: { 'retry-after': '30' }
    })
  })

  it('is refused for a websocket too: no room, until one has ended', async () => {
    const provider = await websocketProvider(cleanup)
    const router = await routerFor(cleanup, provider.origin, { CONFROUTER_MAX_CALLS_PER_CALLER: '1' })
    const websocket = await open(cleanup, router)
    expect(await refusal(cleanup, router)).toMatchObject({ status: 503, code: 'overloaded' })
    websocket.close()
    await untilEmpty(router, provider)
    await open(cleanup, router)
  })

  it('is refused for a websocket too: a router that is stopping', async () => {
    const provider = await websocketProvider(cleanup)
    const router = await routerFor(cleanup, provider.origin)
    router.context.state.stage = 'stopping'
    expect(await refusal(cleanup, router)).toMatchObject({ status: 503, code: 'stopping' })
  })
})
