import { createHash } from 'node:crypto'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { afterEach, describe, expect, it } from '@jest/globals'
import type WebSocket from 'ws'
import { sha256Hex } from '../../../src/base/digest.js'
import { sealProviderKey } from '../../../src/seal/provider-key.js'
import { parseRsaPublicJwk } from '../../../src/seal/rsa-key.js'
import { Cleanup, until } from './harness.js'
import {
  bare,
  begin,
  closed,
  closing,
  handshake,
  nextMessage,
  open,
  rawProvider,
  refusal,
  routerFor,
  switching,
  untilEmpty,
  websocketProvider
} from './websocket-harness.js'

const cleanup = new Cleanup()
afterEach(() => cleanup.run())

/** A router to one provider, `test`, that wants a bearer key; the router has none of its own. */
const keyed = (origin: string, more: object = {}) => ({
  CONFROUTER_PROVIDERS: JSON.stringify({ test: { baseUrl: `${origin}/base`, allowPrivate: true }, ...more })
})

/** A router that has a key for its provider. */
const withKey = (origin: string, settings = {}) => ({
  CONFROUTER_PROVIDERS: JSON.stringify({ openai: { baseUrl: `${origin}/base`, allowPrivate: true, ...settings } }),
  OPENAI_API_KEY: 'sk-of-the-router'
})

describe('a websocket', () => {
  it('passes text and binary messages both ways', async () => {
    const provider = await websocketProvider(cleanup)
    const router = await routerFor(cleanup, provider.origin)
    const websocket = await open(cleanup, router)
    websocket.send('{"type":"session.update"}')
    expect(await nextMessage(websocket)).toEqual({ data: Buffer.from('{"type":"session.update"}'), isBinary: false })
    const bytes = randomBytes(1000)
    websocket.send(bytes)
    expect(await nextMessage(websocket)).toEqual({ data: bytes, isBinary: true })
    websocket.close()
    await untilEmpty(router, provider)
  })

  it('passes messages of 8 MB, also several at once', async () => {
    const provider = await websocketProvider(cleanup)
    const router = await routerFor(cleanup, provider.origin)
    const websocket = await open(cleanup, router)
    const sent = [0, 1, 2].map(() => randomBytes(8 * 1024 ** 2))
    const got: Buffer[] = []
    websocket.on('message', (data) => got.push(data as Buffer))
    for (const message of sent) websocket.send(message)
    await until(() => got.length === 3, 20_000)
    expect(got.every((message, index) => message.equals(sent[index]!))).toBe(true)
    websocket.close()
    await untilEmpty(router, provider)
    expect(router.requestLines()[0]).toMatchObject({ outcome: 'ok', bytesIn: expect.any(Number) })
    const { bytesIn, bytesOut } = router.requestLines()[0] as { bytesIn: number; bytesOut: number }
    for (const bytes of [bytesIn, bytesOut]) {
      expect(bytes).toBeGreaterThan(24 * 1024 ** 2)
      expect(bytes).toBeLessThan(24 * 1024 ** 2 + 100)
    }
  })

  it('passes pings and pongs', async () => {
    const provider = await websocketProvider(cleanup)
    const router = await routerFor(cleanup, provider.origin)
    const websocket = await open(cleanup, router)
    const [remote] = provider.websockets as [WebSocket]
    for (const [from, to] of [
      [websocket, remote],
      [remote, websocket]
    ] as const) {
      const pinged = once(to, 'ping')
      const ponged = once(from, 'pong')
      from.ping('are you there')
      expect(String((await pinged)[0])).toBe('are you there')
      expect(String((await ponged)[0])).toBe('are you there')
    }
  })

  it('ends with the code and the reason of the side that closes it', async () => {
    const provider = await websocketProvider(cleanup)
    const router = await routerFor(cleanup, provider.origin)
    const first = await open(cleanup, router)
    const ended = closing(provider.websockets[0]!)
    first.close(4001, 'enough')
    expect(await ended).toEqual([4001, 'enough'])
    await untilEmpty(router, provider)
    const second = await open(cleanup, router)
    provider.websockets[0]!.close(1013, 'try again later')
    expect(await closing(second)).toEqual([1013, 'try again later'])
    await untilEmpty(router, provider)
    await until(() => router.requestLines().length === 2)
    expect(router.requestLines().map(({ outcome }) => outcome)).toEqual(['ok', 'ok'])
  })

  it('begins with what both sides sent right behind the handshake', async () => {
    const provider = await rawProvider(cleanup, (socket, head) => {
      socket.write(`${switching(head, 'content-length: 4', 'keep-alive: timeout=5')}first of the provider`)
      socket.on('data', (chunk) => socket.write(`,${chunk.toString()}`))
      const early = head.slice(head.indexOf('\r\n\r\n') + 4)
      if (early !== '') socket.write(`early ${early}`)
    })
    const router = await routerFor(cleanup, provider.origin)
    const socket = await bare(cleanup, router)
    let text = ''
    socket.on('data', (chunk) => (text += chunk.toString()))
    socket.write(`${handshake('/v1/realtime')}first of the caller`)
    await until(() => text.endsWith('first of the provider,first of the caller'))
    expect(text).toMatch(/^HTTP\/1\.1 101 Switching Protocols\r\n/)
    // RFC 6455 section 1.3 has this answer to the key of that handshake.
    expect(text).toContain('\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n')
    expect(text).not.toMatch(/content-length|transfer-encoding|keep-alive|sec-websocket-(key|extensions|protocol)/i)
  })

  it('leaves one log line, when it has ended, with nothing of what was said', async () => {
    const provider = await websocketProvider(cleanup, undefined, { headers: ['x-marker: MARKER'] })
    const router = await routerFor(cleanup, provider.origin)
    const websocket = await open(cleanup, router, '/v1/realtime?model=MARKER&intent=MARKER', {
      protocols: ['MARKER', 'openai-insecure-api-key.MARKER']
    })
    websocket.send('MARKER')
    await nextMessage(websocket)
    expect(router.requestLines()).toEqual([])
    websocket.close(4000, 'MARKER')
    await until(() => router.requestLines().length === 1)
    const [line] = router.requestLines()
    expect(line).toMatchObject({
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      method: 'GET',
      route: '/v1/realtime',
      provider: 'test',
      status: 101,
      upstreamStatus: 101,
      // A message of 6 bytes, once masked; and a close frame with 8.
      bytesIn: 2 + 4 + 6 + 2 + 4 + 8,
      bytesOut: 2 + 6 + 2 + 8,
      durationMs: expect.any(Number),
      firstByteMs: expect.any(Number),
      outcome: 'ok'
    })
    expect(router.logText()).not.toContain('MARKER')
  })

  it('can be opened on a connection that has served calls', async () => {
    const provider = await websocketProvider(cleanup)
    const router = await routerFor(cleanup, provider.origin)
    const socket = await bare(cleanup, router)
    let text = ''
    socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')))
    for (let served = 1; served <= 2; served++) {
      socket.write('GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n')
      await until(() => text.split('"status":"ok"').length === served + 1)
    }
    socket.write(handshake('/v1/realtime'))
    await until(() => text.includes('HTTP/1.1 101 '))
    const ping = Buffer.from([0x89, 0x80, 1, 2, 3, 4])
    socket.write(ping)
    await until(() => text.endsWith('\r\n\r\n\u008a\u0000'))
    socket.destroy()
    await untilEmpty(router, provider)
  })
})

describe('the place of a websocket', () => {
  it.each([
    ['/v1/realtime', '/base/realtime'],
    ['/v1/realtime?model=gpt-realtime', '/base/realtime?model=gpt-realtime'],
    ['/v1/realtime?model=test:gpt-realtime', '/base/realtime?model=gpt-realtime'],
    ['/v1/realtime?model=test%3Agpt-realtime', '/base/realtime?model=gpt-realtime'],
    ['/v1/realtime?a=%7e&&model=test/openai/x&b=+%2B', '/base/realtime?a=%7e&&model=openai%2Fx&b=+%2B'],
    ['/v1/realtime?mod%65l=test:x', '/base/realtime?mod%65l=x'],
    ['/v1/realtime?%6dodel%zz=test:x&intent=transcription', '/base/realtime?%6dodel%zz=test:x&intent=transcription'],
    ['/v1/realtime?model=ft:gpt:me', '/base/realtime?model=ft:gpt:me'],
    ['/providers/test/some/path?model=test:x', '/base/some/path?model=test:x']
  ])('is, for %s, %s of the provider', async (path, expected) => {
    const provider = await websocketProvider(cleanup)
    const router = await routerFor(cleanup, provider.origin)
    await open(cleanup, router, path)
    expect(provider.requests.map(({ url }) => url)).toEqual([expected])
  })

  it('is with the provider that the model names', async () => {
    const [first, second] = await Promise.all([websocketProvider(cleanup), websocketProvider(cleanup)])
    const local = { allowPrivate: true, auth: 'none' }
    const router = await routerFor(cleanup, '', {
      CONFROUTER_PROVIDERS: JSON.stringify({
        one: { ...local, baseUrl: first.origin },
        two: { ...local, baseUrl: second.origin }
      })
    })
    await open(cleanup, router, '/v1/realtime?model=two:m')
    await open(cleanup, router, '/v1/realtime?model=m')
    await open(cleanup, router, '/providers/two/realtime')
    expect(first.requests.map(({ url }) => url)).toEqual(['/realtime?model=m'])
    expect(second.requests.map(({ url }) => url)).toEqual(['/realtime?model=m', '/realtime'])
  })

  it.each([
    ['/v1/realtime?model=a&model=b', 400, 'invalid_model'],
    ['/v1/realtime?model=a&mod%65l=b', 400, 'invalid_model'],
    ['/v1/realtime?model=', 400, 'invalid_model'],
    ['/v1/realtime?model', 400, 'invalid_model'],
    ['/v1/realtime?model=%ff', 400, 'invalid_model'],
    ['/v1/realtime?model=test:', 400, 'invalid_model'],
    ['/v1/realtime?model=nobody:m', 404, 'unknown_provider'],
    ['/v1/realtime?model=fal:m', 400, 'unsupported_by_provider'],
    ['/providers/nobody/realtime', 404, 'unknown_provider'],
    ['/providers/test/a/%2Fb', 400, 'invalid_path'],
    ['/providers/', 404, 'not_found'],
    ['/v1/realtime/', 404, 'not_found'],
    ['/v1/realtime/client_secrets', 400, 'invalid_request'],
    ['/v1/nothing', 404, 'not_found'],
    ['/healthz', 400, 'invalid_request'],
    ['/v1/embeddings', 405, 'method_not_allowed']
  ])('is not %s (%i %s)', async (path, status, code) => {
    const provider = await websocketProvider(cleanup)
    const router = await routerFor(cleanup, provider.origin, {
      CONFROUTER_PROVIDERS: JSON.stringify({
        test: { baseUrl: provider.origin, allowPrivate: true, auth: 'none' },
        fal: {}
      })
    })
    expect(await refusal(cleanup, router, path)).toMatchObject({ status, code })
    expect(provider.requests).toEqual([])
    await untilEmpty(router, provider)
  })
})

describe('the key of a websocket', () => {
  const seen = ({ requests }: { requests: { headers: object }[] }) => requests.at(-1)?.headers as Record<string, string>

  it('comes in the headers as for other calls, and nothing else of the caller is passed on', async () => {
    const provider = await websocketProvider(cleanup)
    const router = await routerFor(cleanup, provider.origin, keyed(provider.origin))
    await open(cleanup, router, '/v1/realtime', {
      headers: { authorization: 'Bearer sk-own', 'openai-beta': 'realtime=v1', cookie: 'a=b', 'x-forwarded-for': '::1' }
    })
    expect(seen(provider)).toEqual({
      host: new URL(provider.origin).host,
      connection: 'upgrade',
      upgrade: 'websocket',
      'user-agent': 'confrouter',
      authorization: 'Bearer sk-own',
      'openai-beta': 'realtime=v1',
      'sec-websocket-version': '13',
      'sec-websocket-key': expect.stringMatching(/^[A-Za-z0-9+/]{22}==$/)
    })
    await open(cleanup, router, '/v1/realtime', { headers: { 'api-key': 'sk-other' } })
    expect(seen(provider).authorization).toBe('Bearer sk-other')
  })

  it('comes in a sub-protocol, and is passed on as a header alone', async () => {
    const provider = await websocketProvider(cleanup)
    const router = await routerFor(cleanup, provider.origin, keyed(provider.origin))
    const websocket = await open(cleanup, router, '/v1/realtime', {
      protocols: ['realtime', 'openai-insecure-api-key.sk-own', 'openai-organization.org-1', 'openai-beta.realtime-v1']
    })
    expect(websocket.protocol).toBe('realtime')
    expect(seen(provider)).toMatchObject({
      authorization: 'Bearer sk-own',
      'sec-websocket-protocol': 'realtime, openai-organization.org-1, openai-beta.realtime-v1'
    })
    const other = begin(cleanup, router, '/v1/realtime', { protocols: ['OpenAI-Insecure-API-Key.sk-own'] })
    await until(() => provider.requests.length === 2)
    expect(seen(provider)).toMatchObject({ authorization: 'Bearer sk-own' })
    expect(seen(provider)['sec-websocket-protocol']).toBeUndefined()
    other.terminate()
  })

  it('goes to the provider in the way that it wants', async () => {
    const provider = await websocketProvider(cleanup)
    const environment = keyed(provider.origin, { other: { baseUrl: provider.origin, allowPrivate: true, auth: 'Key' } })
    const router = await routerFor(cleanup, provider.origin, environment)
    await open(cleanup, router, '/providers/other/x', { protocols: ['a', 'openai-insecure-api-key.sk-own'] })
    expect(seen(provider).authorization).toBe('Key sk-own')
  })

  it('may be sealed to the router, in either place', async () => {
    const provider = await websocketProvider(cleanup)
    const router = await routerFor(cleanup, provider.origin, keyed(provider.origin))
    const recipient = parseRsaPublicJwk(await (await fetch(`${router.url}/v1/crypto/jwk`)).json(), 'jwk')
    const sealed = await sealProviderKey({ key: 'sk-sealed', recipient, provider: 'test' })
    await open(cleanup, router, '/v1/realtime', { protocols: ['realtime', `openai-insecure-api-key.${sealed}`] })
    await open(cleanup, router, '/v1/realtime', { headers: { authorization: `Bearer ${sealed}` } })
    expect(provider.requests.map(({ headers }) => headers.authorization)).toEqual([
      'Bearer sk-sealed',
      'Bearer sk-sealed'
    ])
    const broken = `${sealed.slice(0, -4)}AAAA`
    expect(
      await refusal(cleanup, router, '/v1/realtime', { protocols: [`openai-insecure-api-key.${broken}`] })
    ).toMatchObject({ status: 400, code: 'bad_sealed_key' })
  })

  it("is an access token where access is by token, and the account stays the router's", async () => {
    const provider = await websocketProvider(cleanup)
    const router = await routerFor(cleanup, provider.origin, {
      ...withKey(provider.origin),
      ACCESS_TOKENS: sha256Hex('token')
    })
    const account = ['openai-organization.org-1', 'openai-project.proj-1']
    const websocket = await open(cleanup, router, '/v1/realtime', {
      protocols: ['realtime', ...account, 'openai-insecure-api-key.token'],
      headers: { 'openai-organization': 'org-1', origin: 'https://a.example' }
    })
    expect(websocket.protocol).toBe('realtime')
    expect(seen(provider)).toMatchObject({
      authorization: 'Bearer sk-of-the-router',
      'sec-websocket-protocol': 'realtime'
    })
    expect(seen(provider)['openai-organization']).toBeUndefined()
    expect(seen(provider).origin).toBeUndefined()
    await open(cleanup, router, '/providers/openai/x?call_id=1', { headers: { authorization: 'Bearer token' } })
    for (const protocols of [[], ['openai-insecure-api-key.tokem']]) {
      expect(await refusal(cleanup, router, '/v1/realtime', { protocols })).toMatchObject({
        status: 401,
        code: 'invalid_access_token'
      })
    }
    expect(provider.requests).toHaveLength(2)
  })

  it.each([
    ['in a header and in a sub-protocol', { authorization: 'Bearer sk-a' }, ['openai-insecure-api-key.sk-a']],
    ['in two sub-protocols', {}, ['openai-insecure-api-key.sk-a', 'openai-insecure-api-key.sk-b']],
    ['in x-api-key and in a sub-protocol', { 'x-api-key': 'sk-a' }, ['openai-insecure-api-key.sk-a']],
    ['empty', {}, ['realtime', 'openai-insecure-api-key.']],
    ['malformed in its header', { authorization: 'Basic xyz' }, []]
  ])('is refused when it is %s', async (_, headers, protocols) => {
    const provider = await websocketProvider(cleanup)
    const router = await routerFor(cleanup, provider.origin, keyed(provider.origin))
    const answer = await refusal(cleanup, router, '/v1/realtime', { headers, protocols })
    expect(answer).toMatchObject({ status: 401, code: 'invalid_authorization' })
    expect(answer.text).not.toContain('sk-a')
    expect(provider.requests).toEqual([])
  })

  it('is asked for where the router has none', async () => {
    const provider = await websocketProvider(cleanup)
    const router = await routerFor(cleanup, provider.origin, keyed(provider.origin))
    expect(await refusal(cleanup, router)).toMatchObject({ status: 401, code: 'missing_api_key' })
  })
})

describe("the router's key", () => {
  it('is for whoever has a token, within the rate', async () => {
    const provider = await websocketProvider(cleanup)
    const router = await routerFor(cleanup, provider.origin, {
      ...withKey(provider.origin),
      ACCESS_TOKENS: createHash('sha256').update('letmein').digest('hex'),
      RATE_LIMIT_PER_MINUTE: '2'
    })
    const headers = { authorization: 'Bearer letmein' }
    await open(cleanup, router, '/v1/realtime?model=openai:gpt-realtime', { headers })
    await open(cleanup, router, '/v1/realtime?intent=transcription', { headers })
    expect(provider.requests.map(({ headers }) => headers.authorization)).toEqual([
      'Bearer sk-of-the-router',
      'Bearer sk-of-the-router'
    ])
    const answer = await refusal(cleanup, router, '/v1/realtime', { headers })
    expect(answer).toMatchObject({ status: 429, code: 'rate_limited' })
    expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0)
  })

  it.each([
    ['a session, which no rate would limit, where anybody may use the key', '/v1/realtime?model=m', {}],
    ["a provider's own path", '/providers/openai/realtime?model=m', {}],
    ['a session that the account has', '/v1/realtime?call_id=rtc_1', {}],
    ['that in another spelling', '/v1/realtime?model=m&call%5Fid=rtc_1', {}],
    ['a page in a browser', '/v1/realtime?model=m', { origin: 'https://a.example' }],
    ['a page whose name was rebound', '/v1/realtime?model=m', { 'sec-fetch-site': 'same-origin' }]
  ])('is not for %s', async (_, path, headers) => {
    const provider = await websocketProvider(cleanup)
    const router = await routerFor(cleanup, provider.origin, withKey(provider.origin))
    expect(await refusal(cleanup, router, path, { headers })).toMatchObject({ status: 403, code: 'own_key_required' })
    expect(provider.requests).toEqual([])
    await open(cleanup, router, path, { headers: { ...headers, authorization: 'Bearer sk-own' } })
    expect(provider.requests.map(({ headers }) => headers.authorization)).toEqual(['Bearer sk-own'])
  })
})

describe('the handshake with the provider', () => {
  it('is another one than that with the caller, and offers no extension', async () => {
    const provider = await websocketProvider(cleanup)
    const router = await routerFor(cleanup, provider.origin)
    const websocket = await open(cleanup, router, '/v1/realtime', {
      headers: { 'sec-websocket-extensions': 'permessage-deflate; client_max_window_bits' }
    })
    expect(websocket.extensions).toBe('')
    const socket = await bare(cleanup, router)
    socket.write(handshake('/v1/realtime', { 'sec-websocket-extensions': 'permessage-deflate' }))
    await until(() => provider.requests.length === 2)
    const headers = provider.requests.map(({ headers }) => headers)
    expect(headers.map((sent) => sent['sec-websocket-extensions'])).toEqual([undefined, undefined])
    const keys = new Set(headers.map((sent) => sent['sec-websocket-key']))
    expect(keys.size).toBe(2)
    expect(keys).not.toContain('dGhlIHNhbXBsZSBub25jZQ==')
  })

  it('gives the caller the sub-protocol that the provider has chosen, or none', async () => {
    const provider = await websocketProvider(cleanup, undefined, {
      choose: (offered) => (offered.has('none') ? false : ([...offered].at(-1) ?? false))
    })
    const router = await routerFor(cleanup, provider.origin)
    expect((await open(cleanup, router, '/v1/realtime', { protocols: ['a', 'b'] })).protocol).toBe('b')
    const socket = await bare(cleanup, router)
    socket.write(handshake('/v1/realtime', { 'sec-websocket-protocol': 'none, a' }))
    expect(String((await once(socket, 'data'))[0])).not.toContain('sec-websocket-protocol')
  })

  it("passes the provider's other headers on, but those that are of its origin", async () => {
    const provider = await websocketProvider(cleanup, undefined, {
      headers: [
        'x-request-id: req_1',
        'set-cookie: a=b',
        'openai-version: 2020-10-01',
        'access-control-allow-origin: *'
      ]
    })
    const router = await routerFor(cleanup, provider.origin)
    const websocket = begin(cleanup, router)
    const [response] = (await once(websocket, 'upgrade')) as [{ headers: object }]
    const {
      date,
      'sec-websocket-accept': accept,
      'x-confrouter-request-id': id,
      ...headers
    } = response.headers as Record<string, string>
    expect([date, accept, id].every((value) => typeof value === 'string')).toBe(true)
    expect(headers).toEqual({
      connection: 'Upgrade',
      upgrade: 'websocket',
      'x-request-id': 'req_1',
      'openai-version': '2020-10-01'
    })
    websocket.terminate()
    await until(() => router.requestLines().length === 1)
    expect(router.requestLines()[0]?.id).toBe(id)
  })

  it.each([
    ['a wrong hash', (head: string) => switching(head).replace(/accept: .{4}/, 'accept: AAAA')],
    ['no hash', (head: string) => switching(head).replace(/sec-websocket-accept: .*\r\n/, '')],
    ['two hashes', (head: string) => switching(head, 'sec-websocket-accept: x')],
    ['another protocol', (head: string) => switching(head).replace('upgrade: websocket', 'upgrade: h2c')],
    ['an extension that nobody offered', (head: string) => switching(head, 'sec-websocket-extensions: x')],
    ['a sub-protocol that nobody offered', (head: string) => switching(head, 'sec-websocket-protocol: b')],
    ['two sub-protocols', (head: string) => switching(head, 'sec-websocket-protocol: a, c')]
  ])('fails when the provider answers with %s', async (_, answer) => {
    const provider = await rawProvider(cleanup, (socket, head) => socket.write(answer(head), 'latin1'))
    const router = await routerFor(cleanup, provider.origin)
    expect(
      await refusal(cleanup, router, '/v1/realtime', { protocols: ['a', 'c', 'openai-insecure-api-key.b'] })
    ).toMatchObject({ status: 502, code: 'upstream_failed' })
    await untilEmpty(router, provider)
    expect(router.requestLines()).toMatchObject([{ status: 502, upstreamStatus: 101, outcome: 'upstream_failed' }])
  })

  it('fails when the provider does not say that the connection is one', async () => {
    const provider = await rawProvider(cleanup, (socket, head) => {
      socket.write(switching(head).replace('connection: Upgrade\r\n', ''))
    })
    const router = await routerFor(cleanup, provider.origin)
    expect(await refusal(cleanup, router)).toMatchObject({ status: 502, code: 'upstream_failed' })
    await untilEmpty(router, provider)
  })
})

describe('a provider that declines', () => {
  const declining = async (answer: string, environment = {}) => {
    const provider = await websocketProvider(cleanup, undefined, { decline: () => answer })
    return { provider, router: await routerFor(cleanup, provider.origin, environment) }
  }

  it('is passed on with its status, headers and body, and the connection ends', async () => {
    const body = '{"error":{"message":"Incorrect API key","code":"invalid_api_key"}}'
    const { provider, router } = await declining(
      `HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\nset-cookie: a=b\r\nx-request-id: req_1\r\n` +
        `content-length: ${body.length}\r\n\r\n${body}`
    )
    const answer = await refusal(cleanup, router)
    expect(answer).toMatchObject({ status: 401, text: body })
    expect(answer.headers).toMatchObject({
      'content-type': 'application/json',
      'x-request-id': 'req_1',
      connection: 'close',
      'x-confrouter-request-id': expect.any(String)
    })
    expect(answer.headers['set-cookie']).toBeUndefined()
    await untilEmpty(router, provider)
    expect(router.requestLines()).toMatchObject([
      { status: 401, upstreamStatus: 401, outcome: 'ok', bytesOut: body.length, route: '/v1/realtime' }
    ])
  })

  it('may do so with an answer of any kind', async () => {
    const chunked = 'HTTP/1.1 503 Busy\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n'
    const first = await declining(chunked)
    expect(await refusal(cleanup, first.router)).toMatchObject({ status: 503, text: 'abcde' })
    const second = await declining('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi')
    expect(await refusal(cleanup, second.router)).toMatchObject({ status: 200, text: 'hi' })
    const third = await declining('HTTP/1.1 204 No Content\r\n\r\n')
    expect(await refusal(cleanup, third.router)).toMatchObject({ status: 204, text: '' })
    const fourth = await declining(`HTTP/1.1 400 Bad\r\ncontent-length: 60000\r\n\r\n${'x'.repeat(60_000)}`)
    expect((await refusal(cleanup, fourth.router)).text).toHaveLength(60_000)
    for (const { router, provider } of [first, second, third, fourth]) await untilEmpty(router, provider)
  })

  it('cannot do so at any length', async () => {
    const first = await declining(`HTTP/1.1 400 Bad\r\ncontent-length: 70000\r\n\r\n${'x'.repeat(70_000)}`)
    expect(await refusal(cleanup, first.router)).toMatchObject({ status: 502, code: 'answer_too_large' })
    const endless = await rawProvider(cleanup, (socket) => {
      socket.write('HTTP/1.1 400 Bad\r\n\r\n')
      const more = (): void => {
        while (socket.write('x'.repeat(10_000)));
        socket.once('drain', more)
      }
      more()
    })
    const router = await routerFor(cleanup, endless.origin)
    const socket = await bare(cleanup, router)
    let bytes = 0
    socket.on('data', (chunk: Buffer) => (bytes += chunk.length))
    socket.write(handshake('/v1/realtime'))
    await closed(socket)
    expect(bytes).toBeLessThan(100_000)
    await untilEmpty(router, endless)
    expect(router.requestLines()).toMatchObject([{ status: 400, outcome: 'upstream_broke_off' }])
  })

  it('cannot lead the caller to another place', async () => {
    const { router, provider } = await declining('HTTP/1.1 302 Found\r\nlocation: https://evil.example/\r\n\r\n')
    expect(await refusal(cleanup, router)).toMatchObject({ status: 502, code: 'redirect_refused' })
    await untilEmpty(router, provider)
  })
})

describe('a provider without an answer', () => {
  it('is told apart: not there, not answering in time, broken off, private', async () => {
    const closed = await routerFor(cleanup, 'http://127.0.0.1:1')
    expect(await refusal(cleanup, closed)).toMatchObject({ status: 502, code: 'upstream_unreachable' })
    const silent = await rawProvider(cleanup, () => undefined)
    const waiting = await routerFor(cleanup, silent.origin, {}, { limits: { firstByteMs: 300 } })
    expect(await refusal(cleanup, waiting)).toMatchObject({ status: 504, code: 'upstream_timeout' })
    await untilEmpty(waiting, silent)
    const rude = await rawProvider(cleanup, (socket) => socket.destroy())
    const broken = await routerFor(cleanup, rude.origin)
    expect(await refusal(cleanup, broken)).toMatchObject({ status: 502, code: 'upstream_failed' })
    const provider = await websocketProvider(cleanup)
    const inside = await routerFor(cleanup, '', {
      CONFROUTER_PROVIDERS: JSON.stringify({
        test: { baseUrl: provider.origin.replace('http:', 'https:').replace('127.0.0.1', 'localhost'), auth: 'none' }
      })
    })
    expect(await refusal(cleanup, inside)).toMatchObject({ status: 502, code: 'egress_refused' })
    expect(provider.requests).toEqual([])
    for (const router of [closed, waiting, broken, inside]) {
      await until(() => router.context.calls.inside === 0 && router.requestLines().length === 1)
    }
  })
})
