import { createHash, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import http, { type IncomingHttpHeaders, type RequestListener } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it } from '@jest/globals'
import { type EhbpExtension, type OpenedEhbpResponse, sealEhbp } from '../../../src/seal/ehbp-client.js'
import { type Receipt, verifyReceipt } from '../../../src/seal/receipt.js'
import { sealProviderKey } from '../../../src/seal/provider-key.js'
import { sealEnvelopeRequest } from '../../../src/seal/envelope.js'
import { deriveKeys } from '../../../src/seal/node/derive-keys.js'
import { sendJson, serveTls } from '../client/loopback.js'
import { vectorKey } from '../seal/test-keys.js'
import { bundleRouter, startProcess } from './router-process.js'
import { Cleanup, fakeSidecar, oneProvider, readAll, serve, startRouter, until } from './harness.js'

const cleanup = new Cleanup()
afterEach(() => cleanup.run())

type Options = Parameters<typeof startRouter>[2]

interface Call {
  readonly method?: string
  readonly path?: string
  readonly body?: string
  readonly headers?: Record<string, string>
  readonly cover?: readonly string[]
  readonly extension?: Partial<EhbpExtension>
  /** Changes what goes over the wire, as somebody in between would. */
  readonly alter?: (sent: { path: string; method: string; headers: Record<string, string>; body: Buffer }) => void
}

async function routerTo(
  listener: RequestListener,
  environment = {},
  options: Options = {},
  settings: object = { auth: 'none' }
) {
  const [sidecar, origin] = await Promise.all([fakeSidecar(cleanup), serve(cleanup, listener)])
  const router = await startRouter(
    cleanup,
    {
      SKR_URL: sidecar.url,
      CONFROUTER_PROVIDERS: oneProvider(origin, settings),
      CONFROUTER_RETRIES: '0',
      ...environment
    },
    options
  )
  const { keys } = router.context.state.active ?? {}
  if (keys === undefined) throw new Error('the router is not ready')
  const call = async ({
    method = 'POST',
    path = '/v1/chat/completions',
    body = '{"model":"m"}',
    headers = {},
    cover,
    extension = {},
    alter
  }: Call) => {
    const all: Record<string, string> = { 'content-type': 'application/json', ...headers }
    const sealed = await sealEhbp({
      recipient: keys.hpke.publicKey,
      method,
      path,
      headers: all,
      body: Buffer.from(body),
      extension: { timeMs: Date.now(), cover: cover ?? Object.keys(all), ...extension }
    })
    const sent = { path, method, headers: { ...all, ...sealed.headers }, body: Buffer.from(sealed.body as Uint8Array) }
    alter?.(sent)
    const answer = await fetch(`${router.url}${sent.path}`, {
      method: sent.method,
      headers: sent.headers,
      body: sent.body
    })
    // Not opened at once: some tests read what came over the wire.
    let opened: OpenedEhbpResponse | undefined
    const open = () => (opened ??= sealed.openResponse(answer))
    return { answer, sealed, sent, open, text: () => new Response(open().body).text() }
  }
  const receiptOf = async (jws: string | undefined): Promise<Receipt> =>
    verifyReceipt(jws ?? '', keys.ed25519.publicKey)
  return { ...router, origin, keys, call, receiptOf }
}

const streamOf = (bytes: Uint8Array) => new Blob([new Uint8Array(bytes)]).stream()
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

const echo: RequestListener = (request, response) => {
  void readAll(request).then((body) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(
      JSON.stringify({ method: request.method, url: request.url, headers: request.headers, body: body.toString() })
    )
  })
}

describe('a request sealed by the extension', () => {
  it('reaches the provider with the headers that it protects and no others, and its answer ends with a receipt', async () => {
    const router = await routerTo(echo, { ENCRYPTION: 'required' })
    const { answer, sealed, sent, open, text } = await router.call({
      path: '/v1/chat/completions?a=b',
      body: '{"model":"test:m"}',
      headers: { 'openai-beta': 'in', 'idempotency-key': 'out' },
      cover: ['content-type', 'openai-beta']
    })
    expect(answer.status).toBe(200)
    const seen = JSON.parse(await text())
    expect(seen).toMatchObject({ method: 'POST', url: '/base/chat/completions?a=b', body: '{"model":"m"}' })
    expect(seen.headers).toMatchObject({ 'openai-beta': 'in' })
    expect(seen.headers).not.toHaveProperty('idempotency-key')
    const receipt = await router.receiptOf(await open().receipt)
    expect(receipt).toEqual({
      v: 1,
      id: answer.headers.get('x-confrouter-request-id'),
      iat: expect.any(Number),
      request: { method: 'POST', path: '/v1/chat/completions', sha256: sha256(sent.body), bytes: sent.body.length },
      upstream: { provider: 'test', origin: router.origin, spki: null },
      model: 'm',
      response: { status: 200, bytes: JSON.stringify(seen).length }
    })
    expect(await sealed.sha256).toBe(receipt.request.sha256)
    expect(Math.abs(receipt.iat * 1000 - Date.now())).toBeLessThan(5000)
    await until(() => router.requestLines().some((line) => line.sealed === 'ehbp-extended'))
  })

  it('is refused when anything that it binds was changed on the way', async () => {
    const router = await routerTo(echo, { ENCRYPTION: 'required' })
    const alterations: Call['alter'][] = [
      (sent) => (sent.path = '/v1/responses'),
      (sent) => (sent.path = '/v1/chat/completions?store=true'),
      (sent) => (sent.path = '/providers/test/chat/completions'),
      (sent) => (sent.headers['content-type'] = 'application/json; charset=utf-8'),
      (sent) => (sent.headers['openai-beta'] = 'changed'),
      (sent) => delete sent.headers['openai-beta'],
      (sent) => delete sent.headers['confrouter-seal'],
      (sent) => (sent.headers['confrouter-seal'] += ';pad=1'),
      (sent) => (sent.headers['confrouter-seal'] = String(sent.headers['confrouter-seal']).replace('+openai-beta', '')),
      (sent) => (sent.body = sent.body.subarray(0, -21)),
      (sent) => (sent.body = Buffer.concat([sent.body, sent.body.subarray(-21)])),
      (sent) => (sent.body[30] = (sent.body[30] ?? 0) ^ 1)
    ]
    for (const [index, alter] of alterations.entries()) {
      const { answer } = await router.call({ headers: { 'openai-beta': 'x' }, ...(alter && { alter }) })
      expect({ index, status: [400, 422].includes(answer.status) }).toEqual({ index, status: true })
    }
    expect((await router.call({ headers: { 'openai-beta': 'x' } })).answer.status).toBe(200)
  })

  it('uses no credential that somebody put beside it', async () => {
    const seen: IncomingHttpHeaders[] = []
    const router = await routerTo(
      (request, response) => {
        seen.push(request.headers)
        response.end('{}')
      },
      {},
      {},
      { auth: 'Bearer' }
    )
    router.context.state.providerKeys = new Map([['test', 'sk-router']])
    const foreign: Call['alter'] = (sent) => (sent.headers['authorization'] = 'Bearer sk-foreign')
    expect((await router.call({ alter: foreign })).answer.status).toBe(200)
    expect((await router.call({ headers: { authorization: 'Bearer sk-own' } })).answer.status).toBe(200)
    expect((await router.call({ headers: { authorization: 'Bearer sk-own' }, alter: foreign })).answer.status).toBe(400)
    expect(seen.map(({ authorization }) => authorization)).toEqual(['Bearer sk-router', 'Bearer sk-own'])
  })

  it('names its key, so that a stale one is told apart from a forgery', async () => {
    const router = await routerTo(echo)
    const stale: Call['alter'] = (sent) =>
      (sent.headers['confrouter-seal'] = String(sent.headers['confrouter-seal']).replace(
        /kid=[^;]+/,
        `kid=${'A'.repeat(16)}`
      ))
    const { answer } = await router.call({ alter: stale })
    expect(answer.status).toBe(422)
    expect(answer.headers.get('confrouter-seal-error')).toBe('key-config')
  })

  it('is taken once, and only near the time that it says', async () => {
    let reached = 0
    const router = await routerTo((_, response) => {
      reached++
      response.end('{}')
    })
    const { sent, answer } = await router.call({})
    expect(answer.status).toBe(200)
    const again = await fetch(`${router.url}${sent.path}`, { method: 'POST', headers: sent.headers, body: sent.body })
    // Whoever sealed the request is told, and nobody else.
    expect({ status: again.status, nonce: again.headers.has('ehbp-response-nonce') }).toEqual({
      status: 409,
      nonce: true
    })
    for (const difference of [-90_000, 90_000]) {
      const late = await router.call({ extension: { timeMs: Date.now() + difference } })
      expect({ status: late.answer.status, text: await late.text() }).toEqual({
        status: 400,
        text: expect.stringContaining('request_expired')
      })
    }
    expect((await router.call({ extension: { timeMs: Date.now() - 50_000 } })).answer.status).toBe(200)
    expect(reached).toBe(2)
  })

  it('is not taken twice when the clock of the router jumps', async () => {
    let jumpMs = 0
    const clocks = { steadyMs: () => performance.now(), unixMs: () => Date.now() + jumpMs }
    const router = await routerTo(echo, {}, { clocks })
    const first = await router.call({})
    for (jumpMs of [86_400_000, -86_400_000, 0, 59_000, -59_000, 0]) {
      const { status } = await fetch(`${router.url}${first.sent.path}`, {
        method: 'POST',
        headers: first.sent.headers,
        body: first.sent.body
      })
      expect({ jumpMs, refused: [400, 409].includes(status) }).toEqual({ jumpMs, refused: true })
    }
    expect((await router.call({})).answer.status).toBe(200)
  })

  it('carries the method of a request that has no content', async () => {
    const router = await routerTo(echo, { ENCRYPTION: 'required' })
    const ask = (method: string, path: string, more: Call = {}) =>
      router.call({ path, body: '', headers: { 'confrouter-method': method }, ...more })
    for (const [method, path, url] of [
      ['GET', '/providers/test/requests/r-1/status?logs=1', '/base/requests/r-1/status?logs=1'],
      ['DELETE', '/v1/files/f-1', '/base/files/f-1'],
      ['GET', '/v1/models/test:m', '/base/models/m']
    ] as const) {
      const { answer, text } = await ask(method, path)
      expect(answer.status).toBe(200)
      expect(JSON.parse(await text())).toMatchObject({ method, url, body: '' })
    }
    const models = await ask('GET', '/v1/models')
    expect(models.answer.headers.has('ehbp-response-nonce')).toBe(true)
    for (const more of [{ headers: { 'confrouter-method': 'PUT' } }, { body: '{}' }, { method: 'PUT' }]) {
      expect((await ask('GET', '/providers/test/x', more)).answer.status).toBe(400)
    }
    // Not protected, so it does not count.
    const { answer } = await ask('GET', '/v1/files/f-1', { cover: ['content-type'] })
    expect(answer.status).toBe(200)
  })

  it('has an answer whose end is missing when the provider broke off', async () => {
    const router = await routerTo((_, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n')
      setTimeout(() => response.destroy(), 500)
    })
    const { open } = await router.call({})
    const opened = open()
    const reader = opened.body.getReader()
    expect(Buffer.from((await reader.read()).value ?? []).toString()).toBe('data: 1\n\n')
    await expect(reader.read()).rejects.toThrow()
    await expect(opened.receipt).rejects.toThrow()
  })

  it('has an answer that somebody cut, or whose status was changed, noticed', async () => {
    const router = await routerTo((_, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).end('data: 1\n\ndata: [DONE]\n\n')
    })
    const { answer, sealed } = await router.call({})
    const bytes = Buffer.from(await answer.arrayBuffer())
    const reopen = (body: Uint8Array, status = 200, headers = answer.headers) =>
      new Response(sealed.openResponse({ status, headers, body: streamOf(body) }).body).text()
    const firstFrame = 4 + bytes.readUInt32BE()
    await expect(reopen(bytes.subarray(0, firstFrame))).rejects.toMatchObject({ code: 'truncated_answer' })
    await expect(reopen(bytes.subarray(0, -1))).rejects.toMatchObject({ code: 'truncated_answer' })
    await expect(reopen(bytes, 500)).rejects.toMatchObject({ code: 'bad_sealed_answer' })
    const other = new Headers(answer.headers)
    other.set('content-type', 'application/json')
    await expect(reopen(bytes, 200, other)).rejects.toMatchObject({ code: 'bad_sealed_answer' })
    expect(await reopen(bytes)).toBe('data: 1\n\ndata: [DONE]\n\n')
  })

  it('has answers of few sizes when it asks for padding', async () => {
    const words = ['a', 'hello', 'x'.repeat(200), 'x'.repeat(300)]
    const router = await routerTo((_, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      let at = 0
      const next = () => {
        const word = words[at++]
        if (word === undefined) response.end()
        else response.write(`data: ${word}\n\n`, () => setTimeout(next, 20))
      }
      next()
    })
    const { answer, sealed } = await router.call({ extension: { pad: true } })
    const bytes = Buffer.from(await answer.arrayBuffer())
    const sizes: number[] = []
    for (let at = 0; at < bytes.length; at += 4 + bytes.readUInt32BE(at)) sizes.push(bytes.readUInt32BE(at))
    expect(sizes.slice(0, -1)).toEqual([273, 273, 273, 529])
    const { body } = sealed.openResponse({ status: 200, headers: answer.headers, body: streamOf(bytes) })
    expect(await new Response(body).text()).toBe(words.map((word) => `data: ${word}\n\n`).join(''))
  })

  it('has a sealed body also where the provider’s answer has none', async () => {
    const router = await routerTo((_, response) => void response.writeHead(204).end())
    const { answer, text, open } = await router.call({ path: '/providers/test/x', body: '{}' })
    expect({ status: answer.status, text: await text() }).toEqual({ status: 200, text: '' })
    expect((await router.receiptOf(await open().receipt)).response).toEqual({ status: 200, bytes: 0 })
  })

  it('is not passed on compressed, since only the caller reads the answer', async () => {
    const router = await routerTo(
      (_, response) => void response.writeHead(200, { 'content-encoding': 'gzip' }).end('x')
    )
    const { answer, text } = await router.call({})
    expect({ status: answer.status, text: await text() }).toEqual({
      status: 502,
      text: expect.stringContaining('upstream_encoded')
    })
  })
})

describe('a receipt', () => {
  it('names no provider where none was called', async () => {
    const router = await routerTo(echo)
    const { open, text } = await router.call({ body: '{"model":"nosuch:m"}' })
    expect(await text()).toContain('unknown_provider')
    expect(await router.receiptOf(await open().receipt)).toMatchObject({
      upstream: null,
      model: null,
      response: { status: 404 }
    })
  })

  it('of plain EHBP comes sealed in a trailer, or in a header where that is asked for and possible', async () => {
    const router = await routerTo((request, response) => {
      void readAll(request).then((body) => {
        const stream = body.includes('"stream"')
        response.writeHead(200, { 'content-type': stream ? 'text/event-stream' : 'application/json' })
        response.end(body.includes('"large"') ? 'x'.repeat(2_000_000) : '{"ok":true}')
      })
    })
    const ask = async (body: string, headers: Record<string, string> = {}) => {
      const sealed = await sealEhbp({
        recipient: router.keys.hpke.publicKey,
        method: 'POST',
        path: '/v1/chat/completions',
        headers: {},
        body: Buffer.from(body)
      })
      const request = http.request(`${router.url}/v1/chat/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers, ...sealed.headers }
      })
      request.end(sealed.body as Uint8Array)
      const [response] = (await once(request, 'response')) as [http.IncomingMessage]
      const bytes = await readAll(response)
      const opened = sealed.openResponse({
        status: response.statusCode ?? 0,
        headers: new Headers({ 'ehbp-response-nonce': String(response.headers['ehbp-response-nonce']) }),
        body: streamOf(bytes)
      })
      const text = await new Response(opened.body).text()
      const { 'confrouter-receipt': header } = response.headers
      const { 'confrouter-receipt': trailer } = response.trailers
      const receipt = await router.receiptOf(await opened.openReceiptHeader(String(header ?? trailer)))
      return { place: header === undefined ? 'trailer' : 'header', text, receipt, hash: await sealed.sha256 }
    }
    const inHeader = { 'confrouter-receipt': 'header' }
    for (const [body, headers, place] of [
      ['{"model":"m"}', {}, 'trailer'],
      ['{"model":"m"}', inHeader, 'header'],
      ['{"model":"m","stream":true}', inHeader, 'trailer'],
      ['{"model":"large"}', inHeader, 'trailer'],
      ['{"model":"nosuch:m"}', inHeader, 'header']
    ] as const) {
      const result = await ask(body, headers)
      expect({ body, place: result.place }).toEqual({ body, place })
      expect(result.receipt.request.sha256).toBe(result.hash)
      expect(result.receipt.response.bytes).toBe(result.text.length)
    }
  })

  it('is beside the answer to an envelope', async () => {
    const router = await routerTo(echo)
    const { body, ...sealed } = await sealEnvelopeRequest({ request: { model: 'm' }, recipient: router.keys.publicJwk })
    const text = JSON.stringify(body)
    const answer = await fetch(`${router.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: text
    })
    const jws = await sealed.openReceipt(await answer.json(), String(answer.headers.get('confrouter-receipt')))
    expect((await router.receiptOf(jws)).request).toMatchObject({
      sha256: sha256(Buffer.from(text)),
      bytes: text.length
    })
  })

  it('has the TLS key that the provider showed', async () => {
    const provider = await serveTls(async (_, __, response) => {
      await sleep(50)
      sendJson(response, 200, {})
    })
    cleanup.add(() => provider.close())
    const { origin, certificate } = provider
    const [sidecar, bundle, folder] = await Promise.all([
      fakeSidecar(cleanup),
      bundleRouter(),
      mkdtemp(join(tmpdir(), 'confrouter-'))
    ])
    cleanup.add(() => rm(folder, { recursive: true }))
    await writeFile(join(folder, 'ca.pem'), certificate)
    const router = await startProcess(cleanup, bundle, {
      SKR_URL: sidecar.url,
      NODE_EXTRA_CA_CERTS: join(folder, 'ca.pem'),
      CONFROUTER_PROVIDERS: oneProvider(origin, { auth: 'none' })
    })
    const url = await router.url()
    await until(() => router.output().includes('"ready"'), 10_000)
    const keys = await vectorKey()
    const { hpke, ed25519 } = deriveKeys(keys.privateKey)
    const spki = sha256(new X509Certificate(certificate).publicKey.export({ type: 'spki', format: 'der' }))
    // Several at once after a first one: each over a connection of its own, which could take up the session of the first.
    const call = async () => {
      const sealed = await sealEhbp({
        recipient: hpke.publicKey,
        method: 'POST',
        path: '/v1/chat/completions',
        headers: { 'content-type': 'application/json' },
        body: Buffer.from('{"model":"m"}'),
        extension: { timeMs: Date.now(), cover: ['content-type'] }
      })
      const answer = await fetch(`${url}/v1/chat/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...sealed.headers },
        body: sealed.body as Uint8Array<ArrayBuffer>
      })
      const opened = sealed.openResponse(answer)
      expect(await new Response(opened.body).text()).toBe('{}')
      return (await verifyReceipt((await opened.receipt) ?? '', ed25519.publicKey)).upstream
    }
    const expected = { provider: 'test', origin, spki }
    expect(await call()).toEqual(expected)
    expect(await Promise.all([call(), call(), call()])).toEqual([expected, expected, expected])
  })

  it('names everybody who was sent the request, in order', async () => {
    const [failing, working] = await Promise.all([
      serve(cleanup, (_, response) => void response.writeHead(500).end('{}')),
      serve(cleanup, echo)
    ])
    const local = (baseUrl: string) => ({ baseUrl, allowPrivate: true, auth: 'none' })
    const router = await routerTo(echo, {
      CONFROUTER_PROVIDERS: JSON.stringify({
        one: local(failing),
        closed: local('http://127.0.0.1:1'),
        two: local(working)
      }),
      CONFROUTER_FALLBACKS: '{"one:a":["closed:b","two:c"],"one:x":["closed:y"]}'
    })
    const receiptOf = async (body: string) => {
      const { open, text } = await router.call({ body })
      await text()
      return router.receiptOf(await open().receipt)
    }
    const first = { provider: 'one', origin: failing, spki: null }
    expect(await receiptOf('{"model":"one:a"}')).toMatchObject({
      upstream: { provider: 'two', origin: working },
      model: 'c',
      before: [{ ...first, model: 'a' }]
    })
    // The last place got nothing, and what the first one answered is not what the caller got.
    expect(await receiptOf('{"model":"one:x"}')).toMatchObject({
      upstream: first,
      model: 'x',
      response: { status: 502 }
    })
  })
})

describe('a sealed provider key', () => {
  it('is opened here and sent to the provider that it is for', async () => {
    const seen: (string | undefined)[] = []
    const router = await routerTo(
      (request, response) => {
        seen.push(request.headers.authorization)
        response.end('{}')
      },
      {},
      {},
      { auth: 'Bearer' }
    )
    const send = async (options: object) => {
      const key = await sealProviderKey({ key: 'sk-own', recipient: router.keys.publicJwk, ...options })
      const answer = await fetch(`${router.url}/v1/chat/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
        body: '{"model":"m"}'
      })
      return { status: answer.status, code: (await answer.json()).error?.code }
    }
    const soon = new Date(Date.now() + 60_000)
    expect((await send({})).status).toBe(200)
    expect((await send({ provider: 'test', expiresAt: soon })).status).toBe(200)
    expect(await send({ provider: 'other' })).toEqual({ status: 403, code: 'key_of_another_provider' })
    expect(await send({ expiresAt: new Date(Date.now() - 60_000) })).toEqual({ status: 400, code: 'bad_sealed_key' })
    expect(seen).toEqual(['Bearer sk-own', 'Bearer sk-own'])
    expect(router.logText()).not.toContain('sk-own')
  })

  it('may be an access token', async () => {
    const router = await routerTo(echo, { ACCESS_TOKENS: sha256(Buffer.from('letmein')) })
    const send = async (text: string) => {
      const token = await sealProviderKey({ key: text, recipient: router.keys.publicJwk })
      const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
      return (await fetch(`${router.url}/v1/chat/completions`, { method: 'POST', headers, body: '{}' })).status
    }
    expect([await send('letmein'), await send('guess')]).toEqual([200, 401])
  })
})
