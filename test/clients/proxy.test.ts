import { createHash } from 'node:crypto'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import OpenAI, { toFile } from 'openai'
import { type CallRecord, createProxy, type Proxy, type ProxyOptions } from '../../src/client/proxy/index.js'
import type { ProxyStatus } from '../../src/client/proxy/status.js'
import { claims } from '../../src/verify/index.js'
import { type Answer, Cleanup, until } from '../unit/router/harness.js'
import { put } from '../unit/verify/forge.js'
import { type AttestedRouter, startAttestedRouter, startWire, type Wire } from './attested.js'
import { rawCall, rawRequest } from './raw-http.js'
import { all, local, untilQuiet } from './setup.js'
import * as faults from './upstreams/faults.js'
import { startOpenai } from './upstreams/openai.js'
import type { Upstream } from './upstreams/upstream.js'

const cleanup = new Cleanup()
const ofTest = new Cleanup()
afterAll(() => cleanup.run())

let upstream: Upstream
let attested: AttestedRouter
let wire: Wire
let calls: CallRecord[]

beforeAll(async () => {
  upstream = await startOpenai(cleanup, { keys: ['sk-secret-of-caller'] })
  attested = await startAttestedRouter(cleanup, { openai: local(upstream) }, { ENCRYPTION: 'required' })
})

beforeEach(async () => {
  wire = await startWire(ofTest, attested.router.url)
  calls = []
})

afterEach(async () => {
  attested.breakEvidence({})
  await ofTest.run()
  upstream.calls.length = 0
  await untilQuiet(attested.router, upstream)
})

const marked = 'marked-prompt-5d1c'
const key = 'sk-secret-of-caller'
const question = [{ role: 'user' as const, content: marked }]
const debugging = { report: (view: { u64(at: number, value: bigint): void }) => view.u64(8, 0x3001fn | (1n << 19n)) }

interface Running {
  readonly proxy: Proxy
  readonly origin: string
  readonly client: OpenAI
  readonly status: () => Promise<ProxyStatus>
}

async function start(options: Partial<ProxyOptions> = {}): Promise<Running> {
  const proxy = createProxy({
    url: wire.origin,
    trust: attested.trust,
    fetch: attested.fetch,
    port: 0,
    onCall: (call) => calls.push(call),
    ...options,
    limits: { graceMs: 0, ...options.limits }
  })
  const origin = await proxy.listen()
  ofTest.add(() => proxy.close())
  return {
    proxy,
    origin,
    client: new OpenAI({ baseURL: `${origin}/v1`, apiKey: key, maxRetries: 0 }),
    status: async () => (await (await fetch(`${origin}/status.json`)).json()) as ProxyStatus
  }
}

const chat = (client: OpenAI, model = 'gpt-4o-mini'): Promise<OpenAI.ChatCompletion> =>
  client.chat.completions.create({ model, messages: question })

const codeIn = (body: string): Answer => JSON.parse(body).error.code

const hostOf = (origin: string): string => new URL(origin).host

const streamBody = JSON.stringify({ model: 'gpt-4o-mini', stream: true, messages: question })
const streamHead = (origin: string, version = '1.1'): string =>
  `POST /v1/chat/completions HTTP/${version}\r\nhost: ${hostOf(origin)}\r\nauthorization: Bearer ${key}\r\n` +
  `content-type: application/json\r\ncontent-length: ${streamBody.length}\r\n\r\n`

function expectNothingOnTheWire(): void {
  const seen = wire.sent() + wire.received()
  for (const secret of [marked, key, 'gpt-4o-mini', 'You said']) expect(seen).not.toContain(secret)
}

function expectOnlyEvidenceWasAsked(): void {
  expect(new Set(wire.sent().match(/(?:GET|POST) \S+(?= HTTP)/g))).toEqual(new Set(['POST /.well-known/confrouter']))
  expect(upstream.calls).toEqual([])
  expectNothingOnTheWire()
}

describe('the openai package at a proxy', () => {
  it('chats, and on the way to the router is neither prompt nor key nor answer', async () => {
    const { client } = await start()
    const answer = await chat(client)
    expect(answer.choices[0]?.message.content).toBe(`You said: ${marked}`)
    expect(upstream.calls[0]?.headers.authorization).toBe(`Bearer ${key}`)
    expectNothingOnTheWire()
  })

  it('streams', async () => {
    const { client } = await start()
    const stream = await client.chat.completions.create({ model: 'gpt-4o-mini', messages: question, stream: true })
    const text = (await all(stream)).map(({ choices }) => choices[0]?.delta.content ?? '').join('')
    expect(text).toBe(`You said: ${marked}`)
    expectNothingOnTheWire()
  })

  it('gets each event at once', async () => {
    const { client } = await start()
    let begin: (value: unknown) => void = () => undefined
    upstream.faults.push(faults.errorEvent(new Promise((resolve) => (begin = resolve))))
    const stream = await client.chat.completions.create({ model: 'gpt-4o-mini', messages: question, stream: true })
    const events = stream[Symbol.asyncIterator]()
    for (const word of ['one', ' two']) {
      expect((await events.next()).value?.choices[0]?.delta.content).toBe(word)
    }
    begin(undefined)
    await expect(events.next()).rejects.toThrow('the model is gone')
  })

  it.each([
    ['held', {}],
    ['passed on as a stream', { heldBytes: 1000 }]
  ])('uploads files, their bodies %s, lists, reads and deletes them, and lists models', async (_, limits) => {
    const { client, origin } = await start({ limits })
    const content = `${marked}\n`.repeat(50_000)
    const file = await client.files.create({ file: await toFile(Buffer.from(content), 'a.jsonl'), purpose: 'batch' })
    expect(await (await client.files.content(file.id)).text()).toBe(content)
    expect((await client.files.list()).data.map(({ id }) => id)).toContain(file.id)
    expect(await client.files.delete(file.id)).toMatchObject({ deleted: true })
    expect((await client.models.list()).data.length).toBeGreaterThan(0)
    const other = new OpenAI({ baseURL: `${origin}/providers/openai`, apiKey: key, maxRetries: 0 })
    expect((await other.files.list()).data.map(({ id }) => id)).not.toContain(file.id)
    expectNothingOnTheWire()
  })

  it('ends a call at the provider too when it aborts', async () => {
    const { client } = await start()
    upstream.faults.push(faults.stall)
    const stop = new AbortController()
    const stream = await client.chat.completions.create(
      { model: 'gpt-4o-mini', messages: question, stream: true },
      { signal: stop.signal }
    )
    await stream[Symbol.asyncIterator]().next()
    expect(upstream.open()).toBe(1)
    stop.abort()
    await until(() => upstream.open() === 0)
    await until(() => calls.length === 1)
    expect(calls[0]).toMatchObject({ state: 'left', status: 200 })
  })

  it('ends a call at the provider too when it aborts before there is an answer', async () => {
    const { client } = await start()
    upstream.faults.push(faults.silent)
    const stop = new AbortController()
    const answer = client.chat.completions.create({ model: 'gpt-4o-mini', messages: question }, { signal: stop.signal })
    await until(() => upstream.open() === 1)
    stop.abort()
    await expect(answer).rejects.toThrow(OpenAI.APIUserAbortError)
    await until(() => upstream.open() === 0)
    await until(() => calls.length === 1)
    expect(calls[0]).toMatchObject({ state: 'left', status: null })
  })

  it('sends no key where there is none to send', async () => {
    const { origin } = await start()
    const client = new OpenAI({ baseURL: `${origin}/v1`, apiKey: 'none', maxRetries: 0 })
    await expect(chat(client)).rejects.toMatchObject({ status: 401, code: 'missing_api_key' })
    expect(wire.sent()).not.toMatch(/authorization|x-stainless/i)
  })

  it("gets the provider's errors as the provider wrote them", async () => {
    const { origin, client } = await start()
    const wrong = new OpenAI({ baseURL: `${origin}/v1`, apiKey: 'sk-wrong', maxRetries: 0 })
    await expect(chat(wrong)).rejects.toMatchObject({ status: 401, code: 'invalid_api_key' })
    upstream.faults.push(faults.refuse(429, { 'retry-after': '7' }, 'slow_down'))
    const error = await chat(client).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ status: 429, code: 'slow_down' })
    expect((error as { headers: Headers }).headers.get('retry-after')).toBe('7')
  })

  it('verifies once for many calls at the same time, and tells each its own receipt', async () => {
    const { client, status } = await start()
    const models = Array.from({ length: 12 }, (_, index) => `model-${index}`)
    await Promise.all(models.map((model) => chat(client, model)))
    await until(() => calls.length === models.length)
    expect(wire.sent().match(/POST \/\.well-known\/confrouter HTTP/g)).toHaveLength(1)
    const shown = (await status()).calls
    expect(shown.map(({ receipt }) => receipt?.model).sort()).toEqual([...models].sort())
    for (const { receipt } of shown) expect(receipt).toMatchObject({ provider: 'openai', origin: upstream.origin })
    // Longer names make longer answers: so a receipt in another's place would show.
    for (const { receipt, requestBytes } of shown) {
      const body = { model: receipt?.model, messages: question }
      expect(requestBytes).toBe(JSON.stringify(body).length)
    }
  })

  it('slows the router down when it reads slowly, and gets all of it', async () => {
    const bytes = 64 * 1024 * 1024
    let read = 0
    const counting: typeof globalThis.fetch = async (input, init) => {
      const { body, status, headers } = await attested.fetch(input, init)
      const count = new TransformStream<Uint8Array, Uint8Array>({
        transform: (piece, controller) => {
          read += piece.length
          controller.enqueue(piece)
        }
      })
      return new Response(body?.pipeThrough(count) ?? null, { status, headers })
    }
    const { origin } = await start({ url: attested.router.url, fetch: counting })
    upstream.faults.push(faults.huge(bytes))
    const call = rawCall(origin, streamHead(origin), streamBody)
    call.socket.pause()
    await until(() => read > 100_000)
    await new Promise((resolve) => setTimeout(resolve, 500))
    expect(read).toBeLessThan(bytes / 2)
    let received = 0
    call.socket.on('data', (piece: Buffer) => (received += piece.length))
    call.socket.resume()
    await until(() => calls.length === 1, 20_000)
    expect(calls[0]).toMatchObject({ state: 'answered', responseBytes: bytes })
    await until(() => received > bytes)
    call.socket.destroy()
  })

  it('is slowed down when the provider reads slowly, and sends all of it', async () => {
    const { origin } = await start()
    // The system may keep up to 38 MB for a connection whose reader is slow (tcp_rmem and tcp_wmem): half is twice that.
    const bytes = 160 * 1024 * 1024
    let goOn: () => void = () => undefined
    let arrived = 0
    upstream.faults.push({
      when: 'head',
      act: (response, request) => {
        goOn = () => {
          request.on('data', (piece: Buffer) => (arrived += piece.length))
          request.on('end', () => response.setHeader('content-type', 'application/json').end('{}'))
        }
      }
    })
    const call = rawCall(
      origin,
      `POST /v1/files HTTP/1.1\r\nhost: ${hostOf(origin)}\r\nauthorization: Bearer ${key}\r\n` +
        `content-type: application/octet-stream\r\ncontent-length: ${bytes}\r\n\r\n`
    )
    const piece = Buffer.alloc(64 * 1024, 'x')
    let taken = 0
    const write = (): void => {
      while (taken < bytes) {
        taken += piece.length
        if (!call.socket.write(piece)) return
      }
    }
    call.socket.on('drain', write)
    write()
    await until(() => upstream.open() === 1)
    await new Promise((resolve) => setTimeout(resolve, 700))
    expect(taken).toBeLessThan(bytes / 2)
    goOn()
    await until(() => calls.length === 1, 20_000)
    expect(calls[0]).toMatchObject({ state: 'answered', status: 200, requestBytes: bytes })
    expect(arrived).toBe(bytes)
    call.socket.destroy()
  })
})

describe('who may call a proxy', () => {
  let running: Running
  beforeEach(async () => {
    running = await start()
  })

  const get = (path: string, headers: Parameters<typeof rawRequest>[2]) =>
    rawRequest(running.origin, `GET ${path} HTTP/1.1`, headers)
  const port = (): string => new URL(running.origin).port

  it.each(['127.0.0.1', 'localhost', 'LOCALHOST', '[::1]'])('whoever calls it %s', async (name) => {
    expect((await get('/status.json', { host: `${name}:${port()}` })).status).toBe(200)
  })

  it.each([
    ['a name that was rebound to this machine', 'evil.example:PORT'],
    ['a name that begins like its own', 'localhost.evil.example:PORT'],
    ['another port', '127.0.0.1:1'],
    ['no port', '127.0.0.1'],
    ['another address of this machine', '127.0.0.2:PORT'],
    ['nothing', '']
  ])('not with the Host of %s', async (_, host) => {
    for (const path of ['/', '/status.json', '/v1/models']) {
      const { status, body } = await get(path, { host: host.replace('PORT', port()) })
      expect(status).toBe(403)
      expect(JSON.parse(body)).toMatchObject({ error: { code: 'foreign_page', type: 'confrouter_error', param: null } })
    }
    expect(wire.sent()).toBe('')
  })

  it('not with two of them', async () => {
    const host = `127.0.0.1:${port()}`
    const { status } = await get('/v1/models', [
      ['host', host],
      ['host', 'evil.example']
    ])
    expect([400, 403]).toContain(status)
    expect(wire.sent()).toBe('')
  })

  it('not without one, in HTTP/1.0', async () => {
    const call = rawCall(running.origin, 'GET /v1/models HTTP/1.0\r\n\r\n')
    await call.ended
    expect(call.text()).toMatch(/^HTTP\/1\.1 403 /)
    expect(wire.sent()).toBe('')
  })

  it.each([
    ['of another origin', { origin: 'https://evil.example' }],
    ['of another port of this machine', { origin: 'http://127.0.0.1:1' }],
    ['under another name of this machine', { origin: 'http://localhost:PORT' }],
    ['of its own place by https', { origin: 'https://127.0.0.1:PORT' }],
    ['without an origin, such as a sandboxed frame', { origin: 'null' }],
    ['of another site, by what the browser says', { 'sec-fetch-site': 'cross-site' }],
    ['of the same site, by what the browser says', { 'sec-fetch-site': 'same-site' }]
  ])('no page %s', async (_, given) => {
    const [[name, value] = ['', '']] = Object.entries(given)
    const headers = { host: `127.0.0.1:${port()}`, [name]: value.replace('PORT', port()) }
    for (const line of ['GET /', 'GET /status.json', 'POST /verify', 'GET /v1/models', 'OPTIONS /v1/models']) {
      const answer = await rawRequest(running.origin, `${line} HTTP/1.1`, headers)
      expect(answer.status).toBe(403)
      expect([...answer.headers.keys()].filter((header) => header.startsWith('access-control-'))).toEqual([])
    }
    expect(wire.sent()).toBe('')
  })

  it('its own page, and an address that a person typed', async () => {
    const own = { host: `127.0.0.1:${port()}`, origin: running.origin, 'sec-fetch-site': 'same-origin' }
    expect((await get('/status.json', own)).status).toBe(200)
    expect((await get('/', { host: `127.0.0.1:${port()}`, 'sec-fetch-site': 'none' })).status).toBe(200)
  })

  it('nobody from outside of this machine: it listens on 127.0.0.1 alone', () => {
    expect(running.origin).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/)
  })
})

describe('what a proxy does not take', () => {
  const host = ({ origin }: Running): { host: string } => ({ host: hostOf(origin) })

  it.each([
    '/v1',
    '/v1/',
    '/providers/',
    '/metrics',
    '/.well-known/confrouter',
    '/v1/../.well-known/confrouter',
    '/v1/%2e%2e/.well-known/confrouter',
    '/v1/..\\.well-known/confrouter',
    '//evil.example/v1/models',
    'http://evil.example/v1/models',
    '*'
  ])('the path %s', async (path) => {
    const running = await start()
    const { status, body } = await rawRequest(running.origin, `GET ${path} HTTP/1.1`, host(running))
    expect(status).toBe(404)
    expect(JSON.parse(body)).toMatchObject({ error: { code: 'not_found', type: 'confrouter_error', param: null } })
    expect(wire.sent()).toBe('')
  })

  it.each(['PUT', 'PATCH', 'HEAD', 'OPTIONS', 'TRACE'])('the method %s, which cannot be sealed', async (method) => {
    const running = await start()
    const { status, headers } = await rawRequest(running.origin, `${method} /v1/files HTTP/1.1`, host(running))
    expect({ status, allow: headers.get('allow') }).toEqual({ status: 405, allow: 'GET, POST, DELETE' })
    expect(wire.sent()).toBe('')
  })

  it('another method than GET for its page', async () => {
    const running = await start()
    for (const line of ['POST /', 'DELETE /status.json', 'GET /verify']) {
      expect((await rawRequest(running.origin, `${line} HTTP/1.1`, host(running))).status).toBe(405)
    }
  })

  it('a websocket', async () => {
    const running = await start()
    const call = rawCall(
      running.origin,
      `GET /v1/realtime?model=m HTTP/1.1\r\nhost: ${hostOf(running.origin)}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n`
    )
    await until(() => call.text().includes('\r\n\r\n'))
    call.socket.destroy()
    expect(call.text()).toMatch(/^HTTP\/1\.1 400 [^]*call_unsealable/)
    expect(wire.sent()).toBe('')
  })

  it('a key that is none', async () => {
    const running = await start()
    const headers = { ...host(running), authorization: 'Basic c2VjcmV0', 'content-length': '2' }
    const { status, body } = await rawRequest(running.origin, 'POST /v1/embeddings HTTP/1.1', headers, '{}')
    expect({ status, code: codeIn(body) }).toEqual({ status: 400, code: 'call_unsealable' })
    expect(body).not.toContain('c2VjcmV0')
  })

  it('a GET with a body', async () => {
    const running = await start()
    const headers = { ...host(running), 'content-length': '2' }
    const { status, body } = await rawRequest(running.origin, 'GET /v1/models HTTP/1.1', headers, '{}')
    expect({ status, code: codeIn(body) }).toEqual({ status: 400, code: 'unexpected_body' })
  })

  it.each([
    ['a length', 'content-length: 5000\r\n\r\n', 'x'.repeat(5000)],
    [
      'chunks',
      'transfer-encoding: chunked\r\n\r\n',
      `${'x'.repeat(500)}`.replace(/^[^]*$/, (piece) => `1f4\r\n${piece}\r\n`.repeat(10)) + '0\r\n\r\n'
    ]
  ])('a body that is too long, by %s; the connection serves the next call', async (_, framing, body) => {
    const running = await start({ limits: { bodyBytes: 2000, heldBytes: 1000 } })
    const line = (text: string) => `${text} HTTP/1.1\r\nhost: ${hostOf(running.origin)}\r\n`
    const call = rawCall(running.origin, `${line('POST /v1/files')}${framing}`, body)
    await until(() => call.text().includes('body_too_large'))
    expect(call.text()).toMatch(/^HTTP\/1\.1 413 /)
    call.socket.write(`${line('GET /status.json')}\r\n`)
    await until(() => call.text().includes('"schemaVersion":1'))
    call.socket.destroy()
    expect(upstream.calls).toEqual([])
    await until(() => upstream.open() === 0)
  })

  it('a body that does not come', async () => {
    const running = await start({ limits: { idleMs: 50 } })
    const call = rawCall(running.origin, streamHead(running.origin), streamBody.slice(0, 10))
    await until(() => call.text().includes('request_timeout'))
    expect(call.text()).toMatch(/^HTTP\/1\.1 408 /)
    call.socket.destroy()
    expect(wire.sent()).toBe('')
  })

  it('a body that ends in the middle: nothing of it goes on as if it were whole', async () => {
    const running = await start({ limits: { heldBytes: 10 } })
    await running.proxy.verify()
    const call = rawCall(running.origin, streamHead(running.origin), streamBody.slice(0, 30))
    await until(() => wire.sent().includes('POST /v1/chat/completions'))
    call.socket.destroy()
    await until(() => calls.length === 1)
    expect(calls[0]).toMatchObject({ state: 'left' })
    expect(upstream.calls).toEqual([])
  })
})

describe('a router that cannot be trusted', () => {
  it('is sent nothing, and the caller is told what differs', async () => {
    attested.breakEvidence(debugging)
    const { client, status } = await start()
    const error = await chat(client).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ status: 503, code: 'attestation_failed', type: 'confrouter_error', param: null })
    expect((error as Error).message).toContain('guest.debug (expected forbidden, found allowed)')
    expectOnlyEvidenceWasAsked()
    expect(await status()).toMatchObject({ state: 'rejected', calls: [{ status: 503, problem: 'attestation_failed' }] })
  })

  it('is not asked again and again by an SDK that repeats what failed', async () => {
    attested.breakEvidence({ claims: put('none', 'x-ms-attestation-type') })
    const { origin } = await start()
    const client = new OpenAI({ baseURL: `${origin}/v1`, apiKey: key, maxRetries: 2 })
    await expect(chat(client)).rejects.toMatchObject({ code: 'attestation_failed' })
    expect(wire.sent().match(/POST \S+(?= HTTP)/g)).toHaveLength(1)
  })

  it('is sent nothing any more once a verification that somebody asked for rejects it', async () => {
    const { client, proxy, origin, status } = await start()
    await chat(client)
    attested.breakEvidence(debugging)
    const answer = await fetch(`${origin}/verify`, { method: 'POST' })
    expect(await answer.json()).toMatchObject({ state: 'rejected' })
    await expect(chat(client)).rejects.toMatchObject({ code: 'attestation_failed' })
    expect(upstream.calls).toHaveLength(1)
    attested.breakEvidence({})
    expect((await proxy.verify()).verdict).toBe('trusted')
    expect(await status()).toMatchObject({ state: 'trusted' })
    await chat(client)
  })

  it('is sent nothing if it could not be checked, which is another error', async () => {
    const { client, status, origin } = await start({ fetch: globalThis.fetch })
    const error = await chat(client).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ status: 503, code: 'attestation_unavailable' })
    expectOnlyEvidenceWasAsked()
    expect(await status()).toMatchObject({ state: 'unavailable', verifiedAt: null, problem: { code: 'check.network' } })
    expect((await fetch(`${origin}/verify`, { method: 'POST' })).status).toBe(200)
  })
})

describe('an answer that is not what the router sealed', () => {
  const bodyOf = (piece: Buffer): number => piece.indexOf('\r\n\r\n') + 4

  it.each(['1.0', '1.1'])('breaks the connection of HTTP/%s if it was cut between two frames', async (version) => {
    const { origin, proxy } = await start()
    await proxy.verify()
    await chat((await start()).client)
    let begin: (value: unknown) => void = () => undefined
    upstream.faults.push(faults.errorEvent(new Promise((resolve) => (begin = resolve))))
    const call = rawCall(origin, streamHead(origin, version), streamBody)
    await until(() => call.text().includes(' two'))
    // The end that HTTP has for a whole answer, in place of the last frames.
    wire.alter(() => Buffer.from('0\r\n\r\n'))
    begin(undefined)
    expect(await call.ended).toBe('ECONNRESET')
    expect(call.text()).not.toMatch(/\r\n0\r\n\r\n$/)
    await until(() => calls.some(({ state }) => state === 'broken'))
    expect(calls.at(-1)).toMatchObject({ state: 'broken', problem: 'truncated_answer' })
  })

  it('is an error for the SDK if it was cut', async () => {
    const { client } = await start()
    await chat(client)
    wire.alter((piece) => {
      let end = bodyOf(piece)
      for (let frame = 0; frame < 2; frame++) {
        const size = piece.indexOf('\r\n', end)
        end = size + 2 + Number.parseInt(piece.toString('latin1', end, size), 16) + 2
      }
      return Buffer.concat([piece.subarray(0, end), Buffer.from('0\r\n\r\n')])
    })
    const stream = await client.chat.completions.create({ model: 'gpt-4o-mini', messages: question, stream: true })
    await expect(all(stream)).rejects.toThrow()
  })

  it('is an error for the SDK if a byte of it was changed', async () => {
    const { client } = await start()
    await chat(client)
    wire.alter((piece) => {
      const changed = Buffer.from(piece)
      const at = bodyOf(changed) + 40
      changed.writeUInt8(changed.readUInt8(at) ^ 1, at)
      return changed
    })
    await expect(chat(client)).rejects.toThrow()
    await until(() => calls.length === 2)
    expect(calls[1]).toMatchObject({ state: 'broken', problem: 'bad_sealed_answer' })
  })

  it('is an error of the proxy if it was written in the open by whoever stands between', async () => {
    const { client } = await start()
    await chat(client)
    wire.alter(() => Buffer.from('HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}'))
    await expect(chat(client)).rejects.toMatchObject({ status: 502, code: 'call_unsealed' })
  })

  it('is a status and no more if it refuses in the open', async () => {
    const { client } = await start()
    await chat(client)
    const text = '{"error":{"message":"send it in the open"}}'
    wire.alter(() =>
      Buffer.from(`HTTP/1.1 429 Too Many Requests\r\nretry-after: 7\r\ncontent-length: ${text.length}\r\n\r\n${text}`)
    )
    const error = await chat(client).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ status: 429, code: 'refused_in_the_open' })
    expect((error as Error).message).not.toContain('send it in the open')
  })

  it.each([
    ['no content-type', undefined, 'the request has no content-type'],
    ['another content-type', 'text/plain', 'its content-type is "text/plain"']
  ])('says what to mend if the request has %s', async (_name, type, found) => {
    const { origin } = await start()
    const headers: Record<string, string> = type === undefined ? {} : { 'content-type': type }
    const call = { method: 'POST', headers, body: Buffer.from('{"model":"gpt-4o-mini"}') }
    const answer = await fetch(`${origin}/v1/chat/completions`, call)
    expect(answer.status).toBe(415)
    expect(await answer.json()).toEqual({
      error: {
        message: expect.stringContaining(`${found}, and a router takes application/json or multipart/form-data`),
        type: 'confrouter_error',
        code: 'refused_in_the_open',
        param: null
      }
    })
  })

  it('is an error of the proxy if it says that the key is stale, and the evidence has the same one', async () => {
    const { client } = await start()
    await chat(client)
    wire.alter((piece) =>
      piece.includes('ehbp-response-nonce')
        ? Buffer.from('HTTP/1.1 422 Unprocessable Entity\r\ncontent-length: 0\r\n\r\n')
        : piece
    )
    await expect(chat(client)).rejects.toMatchObject({ status: 502, code: 'call_unsealed' })
  })

  it('is an error of the proxy if there is none', async () => {
    const { client } = await start()
    await chat(client)
    wire.alter(() => undefined)
    await expect(chat(client)).rejects.toMatchObject({ status: 502, code: 'call_network' })
  })
})

describe('what a proxy holds', () => {
  const mebibyte = 1024 * 1024

  it('is no more of an endless frame than its budget: the call is broken off, and others go on', async () => {
    const { client, origin } = await start({ limits: { totalHeldBytes: mebibyte } })
    await chat(client)
    const head = `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nehbp-response-nonce: ${'0'.repeat(64)}\r\n`
    const frame = Buffer.alloc(32 * mebibyte)
    frame.writeUInt32BE(frame.length)
    wire.alter((piece) =>
      piece.includes('ehbp-response-nonce')
        ? Buffer.concat([Buffer.from(`${head}content-length: ${frame.length}\r\n\r\n`), frame])
        : Buffer.alloc(0)
    )
    const hostile = rawCall(origin, streamHead(origin), streamBody)
    expect(await hostile.ended).toBe('ECONNRESET')
    await until(() => calls.length === 2)
    expect(calls[1]).toMatchObject({ state: 'broken', problem: 'local_overload' })
    wire.alter(undefined)
    await chat(client)
  })

  it('is given back piece by piece: a long answer needs no more than one frame of it', async () => {
    const { origin } = await start({ limits: { totalHeldBytes: mebibyte } })
    upstream.faults.push(faults.huge(16 * mebibyte))
    const call = rawCall(origin, streamHead(origin), streamBody)
    await until(() => calls.length === 1, 20_000)
    expect(calls[0]).toMatchObject({ state: 'answered', responseBytes: 16 * mebibyte })
    call.socket.destroy()
  })

  it('is one budget for all calls: a body that does not fit into it is refused, and fits later', async () => {
    const { client, origin } = await start({ limits: { totalHeldBytes: 8000, heldBytes: 1500, idleMs: 10_000 } })
    const head = (length: number): string =>
      `POST /v1/embeddings HTTP/1.1\r\nhost: ${hostOf(origin)}\r\ncontent-type: application/json\r\ncontent-length: ${length}\r\n\r\n`
    const first = rawCall(origin, head(1400), 'x'.repeat(1300))
    const { proxy } = await start()
    await proxy.verify()
    const headers = { host: hostOf(origin), 'content-type': 'application/json', 'content-length': '1000' }
    const refused = await rawRequest(origin, 'POST /v1/embeddings HTTP/1.1', headers, 'y'.repeat(1000))
    expect({ status: refused.status, code: codeIn(refused.body) }).toEqual({ status: 503, code: 'local_overload' })
    expect(refused.headers.get('retry-after')).toBe('1')
    first.socket.destroy()
    await until(() => calls.some(({ state }) => state === 'left'))
    await chat(client)
  })

  /** Answers whose heads come at once and whose ends do not, from somebody who keeps nothing of a request. */
  const openAnswers = () => {
    const ends: (() => void)[] = []
    const open: typeof fetch = (input, init) => {
      if (!(input instanceof URL) || input.pathname !== '/v1/embeddings') return attested.fetch(input, init)
      const body = new ReadableStream({ start: (controller) => void ends.push(() => controller.close()) })
      const headers = { 'content-type': 'text/event-stream', 'ehbp-response-nonce': 'a'.repeat(64) }
      return Promise.resolve(new Response(body, { headers }))
    }
    return { fetch: open, ends }
  }
  const upload = (origin: string, length: number) =>
    rawCall(
      origin,
      `POST /v1/embeddings HTTP/1.1\r\nhost: ${hostOf(origin)}\r\ncontent-type: application/json\r\ncontent-length: ${length}\r\n\r\n`,
      'x'.repeat(length)
    )

  it('is nothing of a body of its own once the answer has begun, however long that stays open', async () => {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    const { fetch, ends } = openAnswers()
    const { origin, proxy } = await start({ fetch })
    await proxy.verify()
    collect()
    const before = process.memoryUsage().arrayBuffers
    const length = 4 * mebibyte
    const open = [1, 2, 3, 4].map(() => upload(origin, length))
    await until(() => open.every((call) => call.text().startsWith('HTTP/1.1 200')), 10_000)
    await until(() => {
      collect()
      return process.memoryUsage().arrayBuffers - before < length
    }, 5_000)
    for (const end of ends) end()
    await until(() => calls.length === open.length)
    for (const call of open) call.socket.destroy()
  })

  it('is counted until the answer has ended: what has sent a body may keep it so long', async () => {
    const { fetch, ends } = openAnswers()
    const { origin, proxy } = await start({ fetch, limits: { totalHeldBytes: 45_000, heldBytes: 10_000 } })
    await proxy.verify()
    const first = upload(origin, 10_000)
    await until(() => first.text().startsWith('HTTP/1.1 200'))
    const second = upload(origin, 10_000)
    await until(() => second.text().startsWith('HTTP/1.1 503'))
    expect(second.text()).toContain('local_overload')
    ends[0]?.()
    await until(() => calls.some(({ state }) => state === 'broken'))
    const third = upload(origin, 10_000)
    await until(() => third.text().startsWith('HTTP/1.1 200'))
    for (const { socket } of [first, second, third]) socket.destroy()
  })
})

describe('a proxy that nobody calls', () => {
  const minuteMs = 60_000
  // Tokens are of the real clock: what is added to it here must stay within this age.
  const trust = () => ({ ...attested.trust, maximumAgeSeconds: 1000 })
  let clockMs: number
  let look: () => void

  async function startIdle(): Promise<Running & { readonly asked: () => number; readonly stopped: () => boolean }> {
    clockMs = Date.now()
    let isStopped = false
    const running = await start({
      trust: trust(),
      now: () => new Date(clockMs),
      every: (_, callback) => {
        look = callback
        return () => (isStopped = true)
      }
    })
    const asked = () => wire.sent().match(/POST \/\.well-known\/confrouter HTTP/g)?.length ?? 0
    return { ...running, asked, stopped: () => isStopped }
  }

  const settled = async ({ status }: Running): Promise<void> => {
    for (;;) if (!(await status()).verifying) return
  }

  it('asks nobody before somebody has asked it once', async () => {
    const running = await startIdle()
    clockMs += 10 * minuteMs
    look()
    await settled(running)
    expect(running.asked()).toBe(0)
  })

  it('verifies again before the evidence is too old, and not earlier', async () => {
    const running = await startIdle()
    await running.proxy.verify()
    clockMs += 799_000
    look()
    await settled(running)
    expect(running.asked()).toBe(1)
    clockMs += 1_000
    look()
    look()
    await settled(running)
    expect(running.asked()).toBe(2)
    expect((await running.status()).verifiedAt).toBe(new Date(clockMs).toISOString())
  })

  it('shows that a router is rejected by now, tries again after pauses that grow, and trusts it when it passes', async () => {
    const running = await startIdle()
    await running.proxy.verify()
    attested.breakEvidence(debugging)
    clockMs += 800_000
    look()
    await settled(running)
    expect(await running.status()).toMatchObject({ state: 'rejected' })
    const pauses: number[] = []
    for (let seconds = 1; pauses.length < 3; seconds++) {
      const before = running.asked()
      clockMs += 1_000
      look()
      await settled(running)
      if (running.asked() > before) {
        pauses.push(seconds)
        seconds = 0
      }
    }
    expect(pauses).toEqual([10, 20, 40])
    attested.breakEvidence({})
    clockMs += 80_000
    look()
    await settled(running)
    expect(await running.status()).toMatchObject({ state: 'trusted' })
  })

  it('shows that it could not check, and goes on trying', async () => {
    const running = await startIdle()
    await running.proxy.verify()
    wire.alter(() => undefined)
    clockMs += 800_000
    look()
    await settled(running)
    expect(await running.status()).toMatchObject({ state: 'unavailable', problem: { code: 'check.network' } })
    wire.alter(undefined)
    clockMs += 10_000
    look()
    await settled(running)
    expect(await running.status()).toMatchObject({ state: 'trusted', problem: null })
  })

  it('verifies after a clock that went back, and stops with the proxy', async () => {
    const running = await startIdle()
    await running.proxy.verify()
    clockMs -= minuteMs
    look()
    await settled(running)
    expect(running.asked()).toBe(2)
    expect(running.stopped()).toBe(false)
    await running.proxy.close()
    expect(running.stopped()).toBe(true)
  })
})

describe('what a proxy shows', () => {
  it('is every check with what was expected and found, and the chain', async () => {
    const { proxy, status } = await start()
    expect(await status()).toMatchObject({ state: 'unchecked', checks: [], verifiedAt: null })
    await proxy.verify()
    const shown = await status()
    expect(shown).toMatchObject({ state: 'trusted', simulated: true, verifying: false, problem: null })
    expect(shown.checks.map(({ claim }) => claim)).toEqual(claims)
    for (const { claim, expected, actual, outcome } of shown.checks) {
      expect({ claim, outcome, expected: typeof expected, actual: typeof actual }).toEqual({
        claim,
        outcome: 'match',
        expected: 'string',
        actual: 'string'
      })
    }
    const hostData = createHash('sha256').update('package policy\n').digest('hex')
    const valueOf = (claim: string) => shown.checks.find((check) => check.claim === claim)?.actual
    expect(valueOf('hostData')).toBe(hostData)
    expect(valueOf('ccePolicy.digest')).toBe(hostData)
    expect(valueOf('maa.issuer')).toBe(attested.attestationProvider.origin)
    const parts = [...shown.chain.line, ...shown.chain.branches]
    expect(parts.every(({ outcome }) => outcome === 'match')).toBe(true)
    expect(parts.flatMap((part) => part.claims).sort()).toEqual([...claims].sort())
  })

  it('is what differs, as the verdict says it', async () => {
    attested.breakEvidence(debugging)
    const { proxy, status } = await start()
    await proxy.verify()
    const { checks, chain } = await status()
    expect(checks.find(({ claim }) => claim === 'guest.debug')).toMatchObject({
      outcome: 'mismatch',
      expected: 'forbidden',
      actual: 'allowed'
    })
    expect(chain.line.find(({ id }) => id === 'report')?.outcome).toBe('mismatch')
  })

  it('is what the trust policy leaves open, and never as if it had been compared', async () => {
    const { proxy, status } = await start({ trust: { ...attested.trust, hostData: 'any' } })
    await proxy.verify()
    const { state, chain, checks } = await status()
    expect(state).toBe('trusted')
    expect(checks.find(({ claim }) => claim === 'hostData')).toMatchObject({ outcome: 'not-required', actual: null })
    expect(chain.branches.find(({ id }) => id === 'policy')?.outcome).toBe('not-required')
  })

  it('is evidence that cannot be read, as the verdict says it', async () => {
    const cut: typeof globalThis.fetch = async (input, init) => {
      const answer = await attested.fetch(input, init)
      if (!new Request(input).url.endsWith('/.well-known/confrouter')) return answer
      const evidence: Answer = await answer.json()
      return Response.json({ ...evidence, snp: { ...evidence.snp, report: 'AAAA', certificates: 'none' } })
    }
    const { proxy, status } = await start({ fetch: cut })
    await proxy.verify()
    const { state, checks, chain } = await status()
    expect(state).toBe('rejected')
    expect(checks.find(({ claim }) => claim === 'report.format')).toMatchObject({
      outcome: 'mismatch',
      actual: 'report has 3 bytes, not 1184'
    })
    expect(chain.line.map(({ outcome }) => outcome)).toEqual(['mismatch', 'mismatch', 'mismatch', 'mismatch'])
  })

  it('is the last fifty calls, newest first, and nothing of what they said', async () => {
    const { client, origin, status } = await start()
    const secrets = [marked, key, 'You said', 'secret-in-query']
    await chat(client)
    await fetch(`${origin}/v1/files?after=secret-in-query`, { headers: { authorization: `Bearer ${key}` } })
    await fetch(`${origin}/v1/chat/completions`, { method: 'POST', body: `{"${marked}` })
    await until(() => calls.length === 3)
    const first = await status()
    expect(first.calls.map(({ path, status: code }) => `${path} ${code}`)).toEqual([
      expect.stringMatching(/^\/v1\/chat\/completions 4/),
      '/v1/files 200',
      '/v1/chat/completions 200'
    ])
    for (const secret of secrets) expect(JSON.stringify([first, calls])).not.toContain(secret)
    for (let index = 0; index < 55; index++) await (await fetch(`${origin}/v1/x`, { method: 'PUT' })).arrayBuffer()
    expect((await status()).calls).toHaveLength(50)
  })

  it('is a page that nothing can be put into', async () => {
    const { origin } = await start()
    const page = await fetch(`${origin}/`)
    expect(Object.fromEntries(page.headers)).toMatchObject({
      'content-type': 'text/html; charset=utf-8',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'referrer-policy': 'no-referrer'
    })
    const policy = page.headers.get('content-security-policy') ?? ''
    expect(policy).toMatch(/^default-src 'none'; script-src 'sha256-[^']+'; style-src 'sha256-[^']+';/)
    expect(policy).not.toMatch(/unsafe|\*|https?:/)
    expect(await page.text()).not.toMatch(/(?:src|href)="(?:https?:)?\/\//)
  })

  it('is an answer of a provider that no browser would run as a page of the proxy', async () => {
    const { origin } = await start()
    upstream.faults.push({
      when: 'body',
      act: (response) => {
        response.writeHead(200, { 'content-type': 'text/html', 'set-cookie': 'a=b' }).end('<script>1</script>')
      }
    })
    const answer = await fetch(`${origin}/v1/files/file-1/content`, { headers: { authorization: `Bearer ${key}` } })
    expect(answer.headers.get('content-type')).toBe('text/html')
    expect(answer.headers.get('content-security-policy')).toBe("default-src 'none'; frame-ancestors 'none'; sandbox")
    expect(answer.headers.get('x-content-type-options')).toBe('nosniff')
    expect(answer.headers.get('set-cookie')).toBeNull()
  })
})

describe('the end of a proxy', () => {
  it('waits for the calls that run, and takes no others', async () => {
    const { client, proxy, origin } = await start({ limits: { graceMs: 10_000 } })
    let begin: (value: unknown) => void = () => undefined
    upstream.faults.push(faults.errorEvent(new Promise((resolve) => (begin = resolve))))
    const stream = await client.chat.completions.create({ model: 'gpt-4o-mini', messages: question, stream: true })
    const events = stream[Symbol.asyncIterator]()
    await events.next()
    const closed = proxy.close()
    await expect(fetch(`${origin}/status.json`)).rejects.toThrow()
    await events.next()
    begin(undefined)
    await expect(events.next()).rejects.toThrow('the model is gone')
    await closed
  })

  it('ends what runs for too long, at the provider too', async () => {
    const { client, proxy } = await start({ limits: { graceMs: 50 } })
    upstream.faults.push(faults.stall)
    const stream = await client.chat.completions.create({ model: 'gpt-4o-mini', messages: question, stream: true })
    const read = all(stream)
    await proxy.close()
    await expect(read).rejects.toThrow()
    await until(() => upstream.open() === 0)
  })

  it('may come before its beginning, or twice', async () => {
    const proxy = createProxy({ url: wire.origin, trust: attested.trust, port: 0 })
    await proxy.close()
    await proxy.listen()
    await Promise.all([proxy.close(), proxy.close()])
  })

  it('is at once where the port is taken', async () => {
    const { origin } = await start()
    const second = createProxy({ url: wire.origin, trust: attested.trust, port: Number(new URL(origin).port) })
    await expect(second.listen()).rejects.toMatchObject({ code: 'EADDRINUSE' })
  })

  it.each(['ftp://127.0.0.1', 'https://user:secret@127.0.0.1', 'router', ''])('is at once for %j', (url) => {
    expect(() => createProxy({ url, trust: attested.trust, port: 0 })).toThrow('the URL of the router')
  })
})
