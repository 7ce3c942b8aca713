import { createHash, generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import http from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { afterAll, describe, expect, it } from '@jest/globals'
import { Agent, fetch as fetchWith, FormData } from 'undici'
import WebSocket, { WebSocketServer } from 'ws'
import { type EhbpExtension, sealEhbp } from '../../../src/seal/ehbp-client.js'
import { sealEnvelopeRequest } from '../../../src/seal/envelope.js'
import { deriveKeys } from '../../../src/seal/node/derive-keys.js'
import { sealProviderKey } from '../../../src/seal/provider-key.js'
import { signedSecrets } from '../seal/signed-bundle.js'
import { type TestKey, vectorKey } from '../seal/test-keys.js'
import { Cleanup, fakeSidecar, readAll, until } from './harness.js'
import { bundleRouter, type RouterProcess, startProcess } from './router-process.js'

const cleanup = new Cleanup()
afterAll(() => cleanup.run())

/** In everything that must not be written anywhere: prompts, answers, keys, tokens, queries, names. */
const marker = 'MARKER-5e1f'
const token = `token-${marker}`
const routersKeys = { openai: `sk-routers-${marker}`, fal: `fal-routers-${marker}` }

/** The marker as it is, and as other writers spell it. */
const spellings = [
  marker,
  marker.toLowerCase(),
  Buffer.from(marker).toString('hex'),
  // Whatever stands before it: three alignments, without what depends on the neighbours.
  ...['', 'x', 'xx'].map((before) => {
    const text = Buffer.from(`${before}${marker}`).toString('base64').replace(/=+$/, '')
    return text.slice(before.length === 0 ? 0 : before.length + 1, -2)
  })
]

interface Provider {
  readonly origin: string
  /** All that came, by the first segment of the path: the provider's name. */
  readonly seen: { readonly name: string; readonly head: string; readonly body: string }[]
}

/** Does what a word in the request says, and answers with what it got. */
async function provider(): Promise<Provider> {
  const seen: Provider['seen'] = []
  const see = ({ url = '', rawHeaders }: http.IncomingMessage, body: string): void => {
    seen.push({ name: url.split('/')[1] ?? '', head: [url, ...rawHeaders].join('\n'), body })
  }
  const server = http.createServer((request, response) => {
    void readAll(request)
      .catch(() => Buffer.alloc(0))
      .then((bytes) => {
        const body = bytes.toString('latin1')
        see(request, body)
        const text = `${request.url} ${body}`
        const answer = JSON.stringify({ answer: marker, echo: body })
        if (text.includes('break-before')) request.socket.destroy()
        else if (text.includes('break-after')) {
          response.writeHead(200, { 'content-length': '99999' }).write(answer)
          setTimeout(() => response.destroy(), 10)
        } else if (text.includes('error')) {
          response.writeHead(500, { 'x-marker': marker, 'retry-after-ms': '1' })
          response.end(`{"error":{"message":${JSON.stringify(`${marker} ${body}`)}}}`)
        } else if (text.includes('again')) {
          response.writeHead(429, { 'retry-after-ms': '1', 'x-request-id': marker }).end(answer)
        } else if (text.includes('elsewhere')) {
          response.writeHead(307, { location: `https://${marker}.example/${marker}` }).end()
        } else if (text.includes('packed')) response.writeHead(200, { 'content-encoding': marker }).end(answer)
        else if (text.includes('bad-header')) response.socket?.end(`HTTP/1.1 200 OK\r\nx: \u0001${marker}\r\n\r\n`)
        else if (text.includes('no-http')) response.socket?.end(`${marker}\r\n\r\n`)
        else if (!text.includes('stall')) response.end(answer)
      })
  })
  const websockets = new WebSocketServer({ noServer: true })
  server.on('upgrade', (request, socket, head) => {
    see(request, '')
    socket.on('error', () => undefined)
    if (request.url?.includes('refuse') === true) {
      socket.end(`HTTP/1.1 403 Forbidden\r\nx: ${marker}\r\ncontent-length: ${marker.length}\r\n\r\n${marker}`)
    } else if (request.url?.includes('break') === true) socket.end(`${marker}\r\n\r\n`)
    else {
      websockets.handleUpgrade(request, socket, head, (websocket) => {
        websocket
          .on('error', () => undefined)
          .on('message', (data: Buffer) => websocket.send(`${marker} ${data.toString()}`))
      })
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  cleanup.add(async () => {
    for (const websocket of websockets.clients) websocket.terminate()
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  return { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen }
}

interface Started {
  readonly router: RouterProcess
  readonly upstream: Provider
  /** Plain, and behind TLS if there is such a listener. */
  readonly origins: readonly string[]
  /** Of callers who may use the router's keys. */
  readonly credentials: Record<string, string>
}

async function start(bundle: string, key: TestKey, more: Record<string, string>): Promise<Started> {
  const [sidecar, upstream] = await Promise.all([fakeSidecar(cleanup), provider()])
  sidecar.failures['/key/release'] = ['25-release-akv-429']
  const at = (name: string) => ({ baseUrl: `${upstream.origin}/${name}`, allowPrivate: true })
  const router = await startProcess(cleanup, bundle, {
    SKR_URL: sidecar.url,
    CONFROUTER_PROVIDERS: JSON.stringify({
      openai: { ...at('openai'), default: true },
      closed: { ...at('closed'), baseUrl: 'http://127.0.0.1:1', auth: 'none' },
      fal: { ...at('fal'), syncUrl: `${upstream.origin}/fal-sync` },
      other: { ...at('other'), auth: 'none' }
    }),
    CONFROUTER_FALLBACKS: '{"closed:first":["openai:second"]}',
    CONFROUTER_SECRETS: await signedSecrets({
      values: { openai: routersKeys.openai },
      version: 1,
      recipient: key.publicJwk
    }),
    FAL_KEY: routersKeys.fal,
    RATE_LIMIT_PER_MINUTE: '1000000',
    CONFROUTER_CALLS_PER_MINUTE: '1000000',
    CONFROUTER_EVIDENCE_PER_MINUTE: '100000',
    CONFROUTER_MAX_BODY_BYTES: '8192',
    CONFROUTER_MAX_CALLS_PER_CALLER: '1000',
    CONFROUTER_FIRST_BYTE_SECONDS: '1',
    ...more
  })
  const origins = [await router.url(), ...(more.CONFROUTER_TLS_PORT === undefined ? [] : [await router.tlsUrl()])]
  await until(() => router.lines().some(({ msg }) => msg === 'ready'), 15_000)
  // Of all workers, to which the state is on its way.
  for (let ready = 0; ready < 8;) ready = (await fetchOnce(`${origins[0]}/readyz`)).status === 200 ? ready + 1 : 0
  const credentials: Record<string, string> =
    more.ACCESS_TOKENS === undefined ? {} : { authorization: `Bearer ${token}` }
  return { router, upstream, origins, credentials }
}

const fetchOnce = (url: string) => fetch(url, { headers: { connection: 'close' } })

const hash = (text: string): string => createHash('sha256').update(text).digest('hex')

/** The listener with TLS has a certificate of its own making. */
const dispatcher = new Agent({ connect: { rejectUnauthorized: false }, connections: 8 })
cleanup.add(() => dispatcher.destroy())

type Init = RequestInit & { readonly body?: RequestInit['body'] }

async function send(url: string, init: Init): Promise<Response | undefined> {
  const answer = fetchWith(url, { ...init, dispatcher, redirect: 'manual' } as Parameters<typeof fetchWith>[1])
  return (answer as unknown as Promise<Response>).catch(() => undefined)
}

/** What no provider needs, and whoever stands between caller and router may add. */
const notForProviders = {
  'user-agent': `agent-${marker}`,
  cookie: `cookie-${marker}`,
  'x-forwarded-for': `192.0.2.1, forwarded-${marker}`,
  forwarded: `for=forwarded-${marker}`,
  'x-real-ip': `forwarded-${marker}`,
  'proxy-authorization': `Basic proxy-${marker}`
}

const json = { 'content-type': 'application/json', ...notForProviders }

async function* everything({ origins, credentials }: Started, key: TestKey): AsyncGenerator<() => Promise<unknown>> {
  const { hpke } = deriveKeys(key.privateKey)
  const responseKey = await crypto.subtle.generateKey(
    { name: 'RSA-OAEP', modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: 'SHA-256' },
    false,
    ['encrypt', 'decrypt']
  )
  let count = 0
  const call = (path: string, init: Init = {}) => {
    const origin = origins[count++ % origins.length]
    return async () => (await send(`${origin}${path}`, init))?.arrayBuffer().catch(() => undefined)
  }
  const post = (path: string, body: string | Uint8Array, headers: Record<string, string>) =>
    call(path, { method: 'POST', headers, body: body as Init['body'] & {} })
  const sealed = async (
    body: string,
    headers: Record<string, string>,
    extension?: EhbpExtension,
    recipient = hpke.publicKey
  ) => {
    const path = '/v1/chat/completions'
    const all = { ...json, ...headers }
    const request = await sealEhbp({
      recipient,
      method: 'POST',
      path,
      headers: all,
      body: Buffer.from(body),
      extension
    })
    return { bytes: Buffer.from(request.body as Uint8Array), headers: { ...all, ...request.headers } }
  }
  const foreign = deriveKeys(generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey).hpke.publicKey
  // A page's request, which only a key of its own pays for.
  const ownKey = { authorization: `Bearer sk-own-${marker}`, referer: `https://referer-${marker}.example/` }
  const sealedKey = await sealProviderKey({ key: `sk-sealed-${marker}`, recipient: key.publicJwk })
  const expiredKey = await sealProviderKey({
    key: `sk-expired-${marker}`,
    recipient: key.publicJwk,
    expiresAt: new Date(1000)
  })
  const words = 'ok break-before break-after error bad-header no-http stall again elsewhere packed'.split(' ')
  for (const word of words) {
    const prompt = `${word} ${marker}`
    const text = JSON.stringify({ model: 'm', prompt })
    for (const headers of [credentials, ownKey, { authorization: `Bearer ${sealedKey}` }]) {
      yield post(`/v1/chat/completions?q=${marker}`, text, { ...json, ...headers })
      yield post(`/providers/fal/${marker}/x?q=${marker}&${word}`, prompt, { ...json, ...headers })
    }
    for (const model of ['closed:first', 'fal:fal-ai/x', 'other:m', `other:${marker}`]) {
      yield post('/v1/images/generations', JSON.stringify({ model, prompt }), { ...json, ...credentials })
    }
    yield post('/providers/fal', prompt, {
      ...json,
      ...credentials,
      'x-fal-target-url': `https://queue.fal.run/${marker}?${word}`
    })
    const form = new FormData()
    form.set('model', 'm')
    form.set('prompt', prompt)
    form.set('file', new Blob([prompt]), `${marker}.png`)
    yield call('/v1/audio/transcriptions', {
      method: 'POST',
      headers: { ...notForProviders, ...credentials },
      body: form as unknown as NonNullable<RequestInit['body']>
    })
    const now = { timeMs: Date.now(), cover: ['content-type', 'authorization'] }
    for (const extension of [undefined, now, { ...now, pad: true }]) {
      const { bytes, headers } = await sealed(text, credentials, extension)
      yield post('/v1/chat/completions', bytes, headers)
      // The second one is a replay.
      yield post('/v1/chat/completions', bytes, headers)
      yield post('/v1/chat/completions', bytes.subarray(0, -3), headers)
      yield post('/v1/chat/completions', Buffer.concat([bytes, Buffer.from(marker)]), headers)
      yield post('/v1/responses', bytes, headers)
      yield post('/v1/chat/completions', bytes, { ...headers, 'confrouter-seal': marker })
      const stale = await sealed(text, credentials, extension, foreign)
      yield post('/v1/chat/completions', stale.bytes, stale.headers)
    }
    const { bytes, headers } = await sealed(text, credentials, { ...now, timeMs: now.timeMs - 3_600_000 })
    yield post('/v1/chat/completions', bytes, headers)
    const envelope = await sealEnvelopeRequest({
      request: { model: 'm', prompt },
      recipient: key.publicJwk,
      responseKey
    })
    yield post('/v1/chat/completions', JSON.stringify(envelope.body), { ...json, ...credentials })
    const broken = { ...envelope.body, encrypted_payload: Buffer.from(prompt).toString('base64') }
    yield post('/v1/chat/completions', JSON.stringify(broken), { ...json, ...credentials })
  }
  for (const body of [
    `{"model":"${marker}:x"}`,
    `{"model":"${marker}/x","model":"${marker}"}`,
    `{"model":"closed:${marker}"}`,
    `{"model":{"${marker}":1}}`,
    `{"model":"${marker}`,
    marker,
    `{"encrypted_payload":"${marker}","encode_response_pub":"${marker}"}`,
    `{"encrypted_payload":"${marker}.${marker}.a.b.c","encode_response_pub":{"kty":"RSA","n":"${marker}"}}`,
    `{"model":"fal:${marker}?","size":"${marker}"}`,
    `{"model":"fal:a/b","size":"${marker}"}`,
    `{"model":"${marker.repeat(1000)}"}`
  ]) {
    for (const headers of [
      credentials,
      { authorization: `Basic ${marker}` },
      { authorization: `Bearer ${expiredKey}` }
    ]) {
      for (const path of ['/v1/chat/completions', '/v1/images/generations', '/.well-known/confrouter', '/attest/maa']) {
        yield post(path, body, { ...json, ...headers })
      }
    }
    const { bytes, headers } = await sealed(body, credentials)
    yield post('/v1/chat/completions', bytes, headers)
  }
  const part = (head: string, value: string) => `--b\r\n${head}\r\n\r\n${value}\r\n`
  for (const form of [
    part(`content-disposition: form-data; name="model"; filename="${marker}"`, marker),
    part('content-disposition: form-data; name="model"', marker).repeat(2),
    part(`content-disposition: form-data; name="${marker}\\""`, marker),
    part(`${marker}`, marker),
    part('content-disposition: form-data; name="model"', `${marker}\n${marker}`),
    marker
  ]) {
    const type = { 'content-type': 'multipart/form-data; boundary=b' }
    yield post('/v1/audio/transcriptions', `${form}--b--\r\n`, { ...notForProviders, ...credentials, ...type })
  }
  yield post('/v1/chat/completions', marker, { ...credentials, 'content-type': marker })
  yield post('/v1/chat/completions', '{}', { ...json, ...credentials, 'ehbp-encapsulated-key': marker })
  yield post('/v1/chat/completions', '{}', { ...json, ...credentials, 'ehbp-encapsulated-key': '00'.repeat(32) })
  yield post('/providers/fal', '{}', { ...json, ...credentials, 'x-fal-target-url': `https://${marker}.example/` })
  yield post('/attest', JSON.stringify({ runtime_data: Buffer.from(marker).toString('base64') }), json)
  yield post(
    '/.well-known/confrouter',
    JSON.stringify({ nonce: Buffer.from(marker.repeat(2)).toString('base64url') }),
    json
  )
  for (const path of [
    '/v1/models',
    `/v1/models/${marker}`,
    `/v1/files?${marker}`,
    `/${marker}?${marker}`,
    `/providers/${marker}/x`,
    `/providers/fal/%2f${marker}`,
    `/providers/openai/${marker}?q=${marker}`
  ]) {
    for (const headers of [credentials, ownKey]) yield call(path, { headers: { ...notForProviders, ...headers } })
  }
  yield call(`/healthz?${marker}`, { method: 'PATCH' })
  for (const path of [
    `/v1/realtime?model=m&q=${marker}`,
    '/v1/realtime?model=m',
    `/v1/realtime?model=refuse-${marker}`,
    `/v1/realtime?model=break-${marker}`,
    `/v1/realtime?model=${marker}:x`,
    `/v1/realtime?model=closed:${marker}`,
    `/providers/openai/${marker}`,
    `/${marker}`
  ]) {
    for (const [protocols, headers] of [
      [[], credentials],
      [['realtime', `openai-insecure-api-key.sk-protocol-${marker}`, `openai-organization.${marker}`], {}],
      [[`openai-insecure-api-key.sk-protocol-${marker}`], ownKey]
    ] as const) {
      const origin = (origins[count++ % origins.length] ?? '').replace('http', 'ws')
      yield () =>
        converse(
          new WebSocket(`${origin}${path}`, [...protocols], {
            headers: { ...notForProviders, ...headers },
            rejectUnauthorized: false
          })
        )
    }
  }
  for (const text of [
    `${marker} / HTTP/1.1\r\n${marker}\r\n\r\n`,
    `GET /healthz HTTP/1.1\r\nhost: x\r\na: ${marker.repeat(3000)}\r\n\r\n`,
    `GET /healthz HTTP/1.1\r\nhost: x\r\n${`${marker}: a\r\n`.repeat(150)}\r\n`,
    `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 99\r\n\r\n${marker}`
  ]) {
    for (const origin of origins) yield () => malformed(origin, text)
  }
}

/** Says something and hears something, if the websocket opens. */
async function converse(websocket: WebSocket): Promise<void> {
  websocket.on('error', () => undefined)
  websocket.on('open', () => websocket.send(marker))
  websocket.on('message', () => websocket.close(1000, marker))
  // Not `once`, for which an error is the end.
  await new Promise((resolve) => websocket.once('close', resolve))
}

/** Also to the listener with TLS, for which it is no handshake. */
async function malformed(url: string, text: string): Promise<void> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  socket.on('error', () => undefined)
  socket.resume()
  socket.end(text)
  await new Promise((resolve) => socket.once('close', resolve))
}

/** Some at the same time, so that all of it takes no longer than what stalls. */
async function runAll(started: Started, key: TestKey): Promise<number> {
  let count = 0
  const queue = everything(started, key)
  const worker = async (): Promise<void> => {
    for (let next = await queue.next(); next.done !== true; next = await queue.next()) {
      await next.value()
      count++
    }
  }
  await Promise.all(Array.from({ length: 24 }, worker))
  return count
}

async function documents({ origins }: Started): Promise<string[]> {
  const texts: string[] = []
  for (const origin of origins) {
    for (const path of ['/healthz', '/readyz', '/metrics', '/.well-known/confrouter', '/v1/crypto/jwk']) {
      const answer = await send(`${origin}${path}`, { headers: { authorization: `Bearer ${token}` } })
      expect({ path, status: answer?.status }).toEqual({ path, status: 200 })
      const text = (await answer?.text()) ?? ''
      texts.push(
        text,
        ...(text.includes('runtimeData') ? [Buffer.from(JSON.parse(text).runtimeData, 'base64').toString()] : [])
      )
    }
  }
  return texts
}

/** The search is worth something only if all of this has happened. */
const outcomes = [
  'ok',
  'upstream_failed',
  'upstream_unreachable',
  'upstream_timeout',
  'upstream_broke_off',
  'upstream_encoded',
  'redirect_refused',
  'invalid_json',
  'invalid_model',
  'invalid_path',
  'invalid_request',
  'invalid_multipart',
  'invalid_authorization',
  'unknown_provider',
  'unsupported_media_type',
  'body_too_large',
  'bad_encrypted_payload',
  'bad_sealed_request',
  'bad_sealed_key',
  'request_expired',
  'request_replayed',
  'stale_key',
  'not_found',
  'method_not_allowed'
]

describe('what callers, providers and the sidecar send', () => {
  it('is in no output of the router, whatever happens, and reaches no provider that it is not for', async () => {
    const [key, bundle] = await Promise.all([vectorKey(), bundleRouter()])
    const all = await Promise.all([
      start(bundle, key, {}),
      start(bundle, key, {
        ACCESS_TOKENS: [hash(token), hash(`${token}-a`), hash(`${token}-b`)].join(),
        CONFROUTER_WORKERS: '2',
        CONFROUTER_TLS_PORT: '0'
      })
    ])
    const counts = await Promise.all(all.map((started) => runAll(started, key)))
    for (const count of counts) expect(count).toBeGreaterThan(500)
    const privateParts = key.privateKey.export({ format: 'jwk' })
    for (const started of all) {
      const { router, upstream, credentials } = started
      const texts = await documents(started)
      await callersApart(started, key)
      router.child.kill('SIGTERM')
      expect((await router.exit).code).toBe(0)
      const seen = new Set(router.lines().map(({ outcome }) => outcome))
      expect(outcomes.filter((outcome) => !seen.has(outcome))).toEqual([])
      texts.push(router.output())
      for (const text of texts) {
        for (const spelling of spellings) expect(text).not.toContain(spelling)
        for (const part of [privateParts.d, privateParts.p, privateParts.q]) expect(text).not.toContain(part)
        expect(text).not.toContain('PRIVATE KEY')
      }
      expect(router.output()).not.toMatch(/eyJ[A-Za-z0-9_-]{10}|127\.0\.0\.1:\d+ \(|unexpected error/)
      const isWithTokens = Object.keys(credentials).length > 0
      for (const { name, head, body } of upstream.seen) {
        const text = `${head}\n${body}`
        for (const word of ['agent-', 'cookie', 'forwarded', 'referer-', 'proxy-', 'real-ip'])
          expect(text).not.toContain(word)
        // A credential that was sealed is opened, and one that is for the router stays with it.
        expect(text).not.toMatch(/eyJ[A-Za-z0-9_-]{10}/)
        if (isWithTokens) expect(text).not.toMatch(/token-|sk-own-|sk-sealed-|sk-protocol-/)
        for (const [other, routersKey] of Object.entries(routersKeys)) {
          if (!name.startsWith(other)) expect(text).not.toContain(routersKey)
        }
        if (name === 'other') expect(head).not.toMatch(/\nauthorization\n/i)
      }
      // This search too must have had something to find.
      for (const name of ['openai', 'fal', 'fal-sync', 'other'])
        expect(upstream.seen.map((one) => one.name)).toContain(name)
      expect(upstream.seen.some(({ head }) => head.includes(routersKeys.openai))).toBe(true)
      expect(upstream.seen.some(({ head }) => head.includes(`sk-sealed-${marker}`))).toBe(!isWithTokens)
      expect(upstream.seen.some(({ body }) => body.includes(`name="file"; filename="${marker}.png"`))).toBe(true)
    }
  }, 120_000)
})

/** Two callers whose calls go over the same few connections, also where some fail. */
async function callersApart({ origins, credentials }: Started, key: TestKey): Promise<void> {
  const { hpke } = deriveKeys(key.privateKey)
  const shared = new Agent({ connect: { rejectUnauthorized: false }, connections: 3 })
  cleanup.add(() => shared.destroy())
  const words = ['ok', 'error', 'ok', 'break-before', 'again', 'ok', 'break-after', 'packed']
  const wholes = { a: 0, b: 0 }
  const one = async (index: number): Promise<void> => {
    const caller = index % 2 === 0 ? 'a' : 'b'
    const own = `${marker}-of-${caller}`
    const url = `${origins[index % origins.length]}/v1/chat/completions`
    const prompt = `${words[(index >> 1) % words.length]} ${own} ${index}`
    const body = Buffer.from(JSON.stringify({ model: 'm', prompt }))
    const isOfToken = Object.keys(credentials).length > 0
    const headers = {
      'content-type': 'application/json',
      authorization: `Bearer ${isOfToken ? token : 'sk'}-${caller}`
    }
    const sealed =
      index % 3 === 0
        ? await sealEhbp({
            recipient: hpke.publicKey,
            method: 'POST',
            path: '/v1/chat/completions',
            headers,
            body,
            extension: index % 2 === 0 ? undefined : { timeMs: Date.now(), cover: Object.keys(headers) }
          })
        : undefined
    const init = {
      method: 'POST',
      headers: { ...headers, ...sealed?.headers },
      body: sealed?.body ?? body,
      dispatcher: shared
    }
    const answer = (await fetchWith(url, init as Parameters<typeof fetchWith>[1]).catch(() => undefined)) as
      Response | undefined
    if (answer === undefined) return
    let text = JSON.stringify([...answer.headers])
    try {
      const opened = sealed?.openResponse(answer)
      opened?.receipt.catch(() => undefined)
      text += await new Response(opened?.body ?? answer.body).text()
    } catch {
      // It broke, and what came of it is not known; nothing of it is taken for an answer either.
    }
    expect(text).not.toContain(`${marker}-of-${caller === 'a' ? 'b' : 'a'}`)
    for (const other of text.matchAll(/-of-[ab] (\d+)/g)) expect(Number(other[1])).toBe(index)
    if (answer.status === 200 && text.includes(`${own} ${index}`)) wholes[caller]++
  }
  for (let index = 0; index < 240; index += 24) {
    await Promise.all(Array.from({ length: 24 }, (_, offset) => one(index + offset)))
  }
  expect(Math.min(wholes.a, wholes.b)).toBeGreaterThan(30)
}
