import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import OpenAI, { toFile } from 'openai'
import { sealEhbp } from '../../src/seal/ehbp-client.js'
import { createFetch, type CreateFetchOptions, noKey } from '../../src/client/create-fetch.js'
import { AttestedRouter as Attested } from '../../src/client/attested-router.js'
import { AttestationError, CallError, CheckError } from '../../src/client/errors.js'
import type { ReceiptResult } from '../../src/client/receipt-check.js'
import { type RouterVerdict, verifyRouter } from '../../src/client/verify-router.js'
import { Cleanup, until } from '../unit/router/harness.js'
import type { TrustPolicy } from '../../src/verify/index.js'
import { type Changes, put } from '../unit/verify/forge.js'
import { type AttestedRouter, startAttestedRouter, startWire, type Wire } from './attested.js'
import { all, local, untilQuiet } from './setup.js'
import * as faults from './upstreams/faults.js'
import { startOpenai } from './upstreams/openai.js'
import type { Upstream } from './upstreams/upstream.js'

const cleanup = new Cleanup()
afterAll(() => cleanup.run())

let upstream: Upstream
let attested: AttestedRouter
let wire: Wire

beforeAll(async () => {
  upstream = await startOpenai(cleanup, { keys: ['sk-secret-of-caller'] })
  attested = await startAttestedRouter(cleanup, { openai: local(upstream) }, { ENCRYPTION: 'required' })
})

// A new one each time: connections that a test has broken are not used again.
beforeEach(async () => {
  wire = await startWire(cleanup, attested.router.url)
})

afterEach(async () => {
  attested.breakEvidence({})
  upstream.calls.length = 0
  await untilQuiet(attested.router, upstream)
})

const marked = 'marked-prompt-5d1c'
const formHead = '--x\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n'
const question = [{ role: 'user' as const, content: marked }]

/** One application: its own verification, its own view. */
function caller(options: Partial<CreateFetchOptions> = {}): {
  readonly fetch: typeof globalThis.fetch
  readonly client: OpenAI
  readonly verdicts: RouterVerdict[]
  readonly receipts: ReceiptResult[]
} {
  const verdicts: RouterVerdict[] = []
  const receipts: ReceiptResult[] = []
  const fetch = createFetch({
    url: wire.origin,
    trust: attested.trust,
    fetch: attested.fetch,
    onVerdict: (verdict) => verdicts.push(verdict),
    onReceipt: (receipt) => receipts.push(receipt),
    ...options
  })
  const client = new OpenAI({ baseURL: `${wire.origin}/v1`, apiKey: 'sk-secret-of-caller', fetch, maxRetries: 0 })
  return { fetch, client, verdicts, receipts }
}

const chat = (client: OpenAI): Promise<OpenAI.ChatCompletion> =>
  client.chat.completions.create({ model: 'gpt-4o-mini', messages: question })

/** What the SDK of OpenAI has wrapped. */
async function causeOf(promise: Promise<unknown>): Promise<unknown> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason
  )
  return error instanceof OpenAI.APIConnectionError ? error.cause : error
}

function expectNothingOnTheWire(): void {
  const seen = wire.sent() + wire.received()
  for (const secret of [marked, 'sk-secret-of-caller', 'gpt-4o-mini', 'You said']) expect(seen).not.toContain(secret)
}

describe('the openai package over a verified fetch', () => {
  it('chats, and on the wire is neither prompt nor key nor answer', async () => {
    const { client, verdicts, receipts } = caller()
    const answer = await chat(client)
    expect(answer.choices[0]?.message.content).toBe(`You said: ${marked}`)
    expect(upstream.calls[0]?.headers.authorization).toBe('Bearer sk-secret-of-caller')
    expect(verdicts.map(({ verdict, simulated }) => ({ verdict, simulated }))).toEqual([
      { verdict: 'trusted', simulated: true }
    ])
    await until(() => receipts.length === 1)
    expect(receipts[0]).toMatchObject({
      path: '/v1/chat/completions',
      receipt: { upstream: { provider: 'openai', origin: upstream.origin }, model: 'gpt-4o-mini' }
    })
    expectNothingOnTheWire()
  })

  it('streams, padded too, and is told the receipt at the end', async () => {
    const { client, receipts } = caller({ pad: true })
    const stream = await client.chat.completions.create({ model: 'gpt-4o-mini', messages: question, stream: true })
    const text = (await all(stream)).map(({ choices }) => choices[0]?.delta.content ?? '').join('')
    expect(text).toBe(`You said: ${marked}`)
    await until(() => receipts.length === 1)
    expect(receipts[0]).toHaveProperty('receipt.response.status', 200)
    expectNothingOnTheWire()
  })

  it('uploads, lists, reads and deletes files, and lists models', async () => {
    const { client } = caller()
    const content = `${marked}\n`.repeat(20_000)
    const file = await client.files.create({ file: await toFile(Buffer.from(content), 'a.jsonl'), purpose: 'batch' })
    expect(await (await client.files.content(file.id)).text()).toBe(content)
    expect((await client.files.list()).data.map(({ id }) => id)).toEqual([file.id])
    expect(await client.files.delete(file.id)).toMatchObject({ deleted: true })
    expect((await client.models.list()).data.length).toBeGreaterThan(0)
    expectNothingOnTheWire()
  })

  it('sends a body that is a stream as it comes', async () => {
    const { fetch } = caller()
    const pieces = [`{"model":"gpt-4o-mini","messages":[{"role":"user",`, `"content":"${marked}"}]}`]
    const body = new ReadableStream({
      start(controller) {
        for (const piece of pieces) controller.enqueue(new TextEncoder().encode(piece))
        controller.close()
      }
    })
    const answer = await fetch(`${wire.origin}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: 'Bearer sk-secret-of-caller' },
      body,
      duplex: 'half'
    } as RequestInit)
    expect(await answer.json()).toMatchObject({ choices: [{ message: { content: `You said: ${marked}` } }] })
    expectNothingOnTheWire()
  })

  it('gives the refusal of a provider that comes before the upload has ended, and says that there is no receipt for it', async () => {
    const { fetch, receipts } = caller()
    upstream.faults.push(faults.refuseEarly)
    let isCancelled = false
    const piece = new Uint8Array(64 * 1024)
    const body = new ReadableStream({
      start: (controller) => controller.enqueue(new TextEncoder().encode(formHead)),
      pull: async (controller) => {
        await new Promise((resolve) => setTimeout(resolve, 5))
        if (!isCancelled) controller.enqueue(piece)
      },
      cancel: () => void (isCancelled = true)
    })
    const answer = await fetch(`${wire.origin}/v1/files`, {
      method: 'POST',
      headers: { 'content-type': 'multipart/form-data; boundary=x', authorization: 'Bearer sk-secret-of-caller' },
      body,
      duplex: 'half'
    } as RequestInit)
    expect(answer.status).toBe(413)
    await answer.text().catch(() => undefined)
    await until(() => isCancelled)
    expect(receipts.every((one) => 'problem' in one)).toBe(true)
  })

  it('sends no key where the caller says so, and names of the machine never', async () => {
    const { fetch } = caller()
    const client = new OpenAI({ baseURL: `${wire.origin}/v1`, apiKey: noKey, fetch, maxRetries: 0 })
    await expect(chat(client)).rejects.toMatchObject({ status: 401, code: 'missing_api_key' })
    expect(upstream.calls).toEqual([])
    expect(wire.sent()).not.toMatch(/x-stainless|authorization/i)
  })

  it('lets nothing out that it does not know: secrets of other APIs, sessions, keys in a query', async () => {
    const { fetch } = caller()
    const headers = {
      'content-type': 'application/json',
      'x-goog-api-key': 'AIza-secret',
      'x-session-id': 'session-secret',
      'openai-project': 'proj-1'
    }
    const body = JSON.stringify({ model: 'gpt-4o-mini', messages: question })
    await fetch(`${wire.origin}/v1/chat/completions`, { method: 'POST', headers, body })
    expect(wire.sent()).not.toMatch(/AIza-secret|session-secret/)
    expect(wire.sent()).toContain('openai-project: proj-1')
    const before = wire.sent().length
    await expect(fetch(`${wire.origin}/v1/models?key=AIza-query`)).rejects.toMatchObject({ code: 'call.unsealable' })
    expect(wire.sent().length).toBe(before)
  })

  it('seals a key that is of no use beside another request', async () => {
    const { client } = caller()
    await chat(client)
    const [, stolen = ''] = /authorization: Bearer (\S+)/i.exec(wire.sent()) ?? []
    const { evidence } = (await verifyRouter({
      url: wire.origin,
      trust: attested.trust,
      fetch: attested.fetch,
      now: () => new Date()
    })) as Extract<RouterVerdict, { verdict: 'trusted' }>
    const headers = { 'content-type': 'application/json', authorization: `Bearer ${stolen}` }
    const sealed = await sealEhbp({
      recipient: evidence.hpke,
      method: 'POST',
      path: '/v1/chat/completions',
      headers,
      body: new TextEncoder().encode(JSON.stringify({ model: 'gpt-4o-mini', messages: question })),
      extension: { timeMs: Date.now(), cover: Object.keys(headers) }
    })
    const response = await fetch(`${wire.origin}/v1/chat/completions`, {
      method: 'POST',
      headers: { ...headers, ...sealed.headers },
      body: sealed.body as Uint8Array<ArrayBuffer>
    })
    expect(response.status).toBe(400)
    expect(upstream.calls).toHaveLength(1)
  })

  it('goes on if the application throws at a receipt', async () => {
    const { client } = caller({
      onReceipt: () => {
        throw new Error('of the application')
      }
    })
    await chat(client)
    await chat(client)
  })

  it("gives the provider's error as the provider wrote it", async () => {
    const { fetch } = caller()
    const client = new OpenAI({ baseURL: `${wire.origin}/v1`, apiKey: 'sk-wrong', fetch, maxRetries: 0 })
    await expect(chat(client)).rejects.toMatchObject({ status: 401, code: 'invalid_api_key' })
  })

  it('keeps a key from all but one provider', async () => {
    const { client } = caller({ keyProvider: 'openrouter' })
    await expect(chat(client)).rejects.toMatchObject({ code: 'key_of_another_provider' })
    expect(upstream.calls).toEqual([])
  })

  it('ends with the signal of the caller, at the provider too', async () => {
    const { client } = caller()
    const stop = new AbortController()
    const stream = await client.chat.completions.create(
      { model: 'stall', messages: question, stream: true },
      { signal: stop.signal }
    )
    stop.abort()
    await all(stream)
    await until(() => upstream.open() === 0)
  })
})

describe('when it verifies', () => {
  it('verifies once for many calls at the same time', async () => {
    const { client, verdicts } = caller()
    await Promise.all(Array.from({ length: 10 }, () => chat(client)))
    expect(verdicts).toHaveLength(1)
    expect(upstream.calls).toHaveLength(10)
  })

  it('verifies again before the evidence is too old, and nobody waits for it', async () => {
    let laterMs = 0
    const trust: TrustPolicy = { ...attested.trust, maximumAgeSeconds: 60 }
    const { client, verdicts } = caller({ trust, now: () => new Date(Date.now() + laterMs) })
    await chat(client)
    laterMs = 40_000
    await chat(client)
    expect(verdicts).toHaveLength(1)
    laterMs = 50_000
    // What is wrong with the router by now takes the keys away after this call.
    attested.breakEvidence({ report: (view) => view.u64(8, 0x3001fn | (1n << 19n)) })
    await chat(client)
    await until(() => verdicts.length === 2)
    expect(verdicts[1]?.verdict).toBe('rejected')
    expect(await causeOf(chat(client))).toBeInstanceOf(AttestationError)
    attested.breakEvidence({})
    await chat(client)
  })

  it('waits for another verification once the evidence is too old', async () => {
    let laterMs = 0
    const trust: TrustPolicy = { ...attested.trust, maximumAgeSeconds: 60 }
    const { client, verdicts } = caller({ trust, now: () => new Date(Date.now() + laterMs) })
    await chat(client)
    laterMs = 61_000
    attested.breakEvidence({ claims: put('none', 'x-ms-attestation-type') })
    expect(await causeOf(chat(client))).toBeInstanceOf(AttestationError)
    expect(verdicts).toHaveLength(2)
  })

  it('ends for a caller that has gone before it began, whatever comes of the verification', async () => {
    const dead = createFetch({ url: 'http://127.0.0.1:9', trust: attested.trust })
    const signal = AbortSignal.abort()
    await expect(dead('http://127.0.0.1:9/v1/models', { signal })).rejects.toMatchObject({ name: 'AbortError' })
    // An error that nobody handles would fail this run.
    await new Promise((resolve) => setTimeout(resolve, 100))
  })

  it('verifies again after a clock that went back', async () => {
    let offset = 0
    const { client, verdicts } = caller({ now: () => new Date(Date.now() + offset) })
    await chat(client)
    offset = -2_000
    await chat(client)
    expect(verdicts).toHaveLength(2)
  })

  it('gives no evidence that is too old to a call whose key has changed, though another has renewed it since', async () => {
    let laterMs = 0
    const verdicts: RouterVerdict[] = []
    const trust = { ...attested.trust, maximumAgeSeconds: 1000 }
    const router = new Attested({
      url: wire.origin,
      trust: () => trust,
      fetch: attested.fetch,
      maaKeys: undefined,
      now: () => new Date(Date.now() + laterMs),
      onVerdict: (verdict) => verdicts.push(verdict)
    })
    const first = await router.keys(undefined)
    await router.verify()
    // Renewed a moment ago: shared with whoever was told the same.
    const shared = await router.keysAfter(first, undefined)
    expect(shared).not.toBe(first)
    expect(verdicts).toHaveLength(2)
    // Tokens are of the real clock, which the other end of the age stands in for.
    laterMs = -60_000
    expect(await router.keysAfter(first, undefined)).not.toBe(shared)
    expect(verdicts).toHaveLength(3)
  })

  it.each<readonly [string, () => unknown]>([
    [
      'throws',
      () => {
        throw new Error('of the application')
      }
    ],
    ['fails later', () => Promise.reject(new Error('of the application'))]
  ])('goes on if the application %s at a verdict', async (_, onVerdict) => {
    const { client } = caller({ onVerdict })
    expect((await chat(client)).choices[0]?.message.content).toBe(`You said: ${marked}`)
    // An error that nobody handles would fail this run.
    await new Promise((resolve) => setTimeout(resolve, 20))
  })

  it('goes on if the application throws at what was no verdict', async () => {
    const onNoVerdict = (): void => {
      throw new Error('of the application')
    }
    const router = new Attested({
      url: 'http://127.0.0.1:9',
      trust: () => attested.trust,
      fetch: attested.fetch,
      now: () => new Date(),
      maaKeys: undefined,
      onVerdict: undefined,
      onNoVerdict
    })
    await expect(router.verify()).rejects.toBeInstanceOf(CheckError)
  })

  it('does not wait for ever where nobody says how long', async () => {
    const signals: unknown[] = []
    const silent: typeof fetch = (_, init) => {
      signals.push(init?.signal)
      return Promise.reject(new TypeError('no answer'))
    }
    const options = { url: wire.origin, trust: attested.trust, fetch: silent, now: () => new Date() }
    await expect(verifyRouter(options)).rejects.toMatchObject({ code: 'check.network' })
    expect(signals).toEqual([expect.any(AbortSignal), expect.any(AbortSignal)])
  })

  it('goes on in the same call when the router has another key than before', async () => {
    const { client, fetch, verdicts } = caller()
    await chat(client)
    const { active } = attested.router.context.state
    if (active === undefined) throw new Error('the router has no key')
    const { deriveHpkeKeyPair } = await import('../../src/seal/node/hpke-kem.js')
    const original = active.keys.hpke
    Object.assign(active.keys, { hpke: deriveHpkeKeyPair(crypto.getRandomValues(new Uint8Array(32))) })
    try {
      expect((await chat(client)).choices[0]?.message.content).toBe(`You said: ${marked}`)
      expect(verdicts).toHaveLength(2)
      expect(upstream.calls).toHaveLength(2)
      // A body that is a stream cannot be sent twice, but the next call has the new key.
      Object.assign(active.keys, { hpke: original })
      await expect(uploadAsStream()).rejects.toMatchObject({ code: 'call.stale-key' })
      expect(await (await uploadAsStream()).json()).toHaveProperty('choices')
    } finally {
      Object.assign(active.keys, { hpke: original })
    }
    expectNothingOnTheWire()

    function uploadAsStream(): Promise<Response> {
      const text = JSON.stringify({ model: 'gpt-4o-mini', messages: question })
      return fetch(`${wire.origin}/v1/chat/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: 'Bearer sk-secret-of-caller' },
        body: new Blob([text]).stream(),
        duplex: 'half'
      } as RequestInit)
    }
  })
})

describe('what is refused before a byte of the request is sent', () => {
  const broken: readonly (readonly [string, Changes, string])[] = [
    ['the debug bit', { report: (view) => view.u64(8, 0x3001fn | (1n << 19n)) }, 'guest.debug'],
    ['another policy', { report: (view) => view.set(192, Buffer.alloc(32, 7)) }, 'hostData'],
    ['another measurement', { report: (view) => view.set(144, Buffer.alloc(48, 7)) }, 'uvm.measurement'],
    ['a rolled back TCB', { report: (view) => view.set(480, [3, 0, 0, 0, 0, 0, 8, 115]) }, 'tcb.minimum'],
    ['a token about another report', { claims: put('00'.repeat(64), 'x-ms-sevsnpvm-reportdata') }, 'maa.reportData'],
    ['a token that is too old', { claims: (claims) => Object.assign(claims, { iat: 1, nbf: 1, exp: 2 }) }, 'maa.time'],
    [
      'a signature of another chip',
      { rawReport: (bytes) => Uint8Array.from(bytes, (byte, i) => (i === 680 ? byte ^ 1 : byte)) },
      'report.signature'
    ]
  ]

  it.each(broken)('%s', async (_, changes, claim) => {
    attested.breakEvidence(changes)
    const { client, verdicts } = caller()
    const error = await causeOf(chat(client))
    expect(error).toBeInstanceOf(AttestationError)
    expect((error as AttestationError).checks.map((check) => check.claim)).toContain(claim)
    expect(verdicts).toHaveLength(1)
    expectOnlyEvidenceWasAsked()
  })

  it('evidence that was made for somebody else, word for word', async () => {
    const recorded = await (await fetch(`${attested.router.url}/.well-known/confrouter`)).text()
    const { client } = caller({
      fetch: async (input, init) =>
        new Request(input).url.endsWith('/.well-known/confrouter')
          ? new Response(recorded)
          : attested.fetch(input, init)
    })
    const error = await causeOf(chat(client))
    expect(error).toBeInstanceOf(AttestationError)
    expect((error as AttestationError).checks.map((check) => check.claim)).toEqual(['nonce'])
    expect(wire.sent()).toBe('')
  })

  it('a key that somebody in between has put in the place of the one in the report', async () => {
    const { client } = caller({
      fetch: async (input, init) => {
        const response = await attested.fetch(input, init)
        if (!new Request(input).url.endsWith('/.well-known/confrouter')) return response
        const document = await response.json()
        const data = JSON.parse(Buffer.from(document.runtimeData, 'base64').toString())
        data.confrouter.hpke = Buffer.alloc(32, 9).toString('base64url')
        return Response.json({ ...document, runtimeData: Buffer.from(JSON.stringify(data)).toString('base64') })
      }
    })
    const error = await causeOf(chat(client))
    expect(error).toBeInstanceOf(AttestationError)
    const claims = (error as AttestationError).checks.map((check) => check.claim)
    expect(claims).toEqual(['reportData', 'maa.reportData', 'maa.runtime'])
    expectOnlyEvidenceWasAsked()
  })

  it('no key that stands anywhere but in the evidence is even asked for', async () => {
    const { client } = caller()
    await chat(client)
    expect(wire.sent().match(/(?:GET|POST) \/\S+(?= HTTP)/g)).toEqual([
      'POST /.well-known/confrouter',
      'POST /v1/chat/completions'
    ])
  })

  it('a router that is wrong already without its attestation provider is rejected, though that cannot be reached', async () => {
    attested.breakEvidence({ report: (view) => view.set(192, Buffer.alloc(32, 7)) })
    const { client } = caller({ fetch: globalThis.fetch })
    expect(await causeOf(chat(client))).toBeInstanceOf(AttestationError)
    expectOnlyEvidenceWasAsked()
  })

  it('a router whose attestation provider cannot be reached: not checked, and not called', async () => {
    const { client } = caller({ fetch: globalThis.fetch })
    expect(await causeOf(chat(client))).toBeInstanceOf(CheckError)
    expectOnlyEvidenceWasAsked()
  })

  it.each(['https://api.openai.com/v1/chat/completions', 'http://127.0.0.1:9/v1/models', 'not a url'])(
    'a call to %s',
    async (url) => {
      const { fetch, verdicts } = caller()
      await expect(fetch(url, { headers: { authorization: 'Bearer sk-secret-of-caller' } })).rejects.toMatchObject({
        code: 'call.url'
      })
      expect(verdicts).toEqual([])
      expect(wire.sent()).toBe('')
    }
  )

  it.each(['PUT', 'PATCH', 'HEAD'])('a %s, which cannot be sealed', async (method) => {
    const { fetch } = caller()
    await expect(fetch(`${wire.origin}/v1/files`, { method })).rejects.toMatchObject({ code: 'call.unsealable' })
    expect(wire.sent()).toBe('')
  })

  it.each(['ftp://127.0.0.1', 'https://user:secret@127.0.0.1', 'router', ''])('a router at %j', (url) => {
    expect(() => createFetch({ url, trust: attested.trust })).toThrow(CallError)
  })

  function expectOnlyEvidenceWasAsked(): void {
    expect(wire.sent().match(/(?:GET|POST) \S+(?= HTTP)/g)).toEqual(['POST /.well-known/confrouter'])
    expect(upstream.calls).toEqual([])
    expectNothingOnTheWire()
  }
})

describe('an answer that is not what the router sealed', () => {
  const bodyOf = (piece: Buffer): number => piece.indexOf('\r\n\r\n') + 4

  it('fails while it is read if it was cut at the end of a frame', async () => {
    const { client } = caller()
    await chat(client)
    // The end that HTTP has for a whole answer, behind two of its frames.
    wire.alter((piece) => {
      let end = bodyOf(piece)
      for (let frame = 0; frame < 2; frame++) {
        const size = piece.indexOf('\r\n', end)
        end = size + 2 + Number.parseInt(piece.toString('latin1', end, size), 16) + 2
      }
      return Buffer.concat([piece.subarray(0, end), Buffer.from('0\r\n\r\n')])
    })
    const stream = await client.chat.completions.create({ model: 'gpt-4o-mini', messages: question, stream: true })
    await expect(all(stream)).rejects.toMatchObject({ code: 'truncated_answer' })
  })

  it('fails if a byte of it was changed', async () => {
    const { client } = caller()
    await chat(client)
    wire.alter((piece) => {
      const changed = Buffer.from(piece)
      const at = bodyOf(changed) + 40
      changed.writeUInt8(changed.readUInt8(at) ^ 1, at)
      return changed
    })
    await expect(chat(client)).rejects.toThrow()
  })

  it('is no answer if it was written in the open by whoever stands between', async () => {
    const { client } = caller()
    await chat(client)
    wire.alter(() => Buffer.from('HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}'))
    expect(await causeOf(chat(client))).toMatchObject({ code: 'call.unsealed', status: 200 })
  })

  it.each([
    ['a refusal', 503],
    ['the word that the key is stale', 422]
  ])('is no error that nobody handles if it is %s whose body is broken', async (_, status) => {
    const broken: typeof fetch = (input, init) => {
      if (!(input instanceof URL) || input.pathname !== '/v1/chat/completions') return attested.fetch(input, init)
      const body = new ReadableStream({ start: (controller) => controller.error(new Error('broken')) })
      return Promise.resolve(new Response(body, { status }))
    }
    const { fetch } = caller({ fetch: broken })
    const answer = fetch(`${wire.origin}/v1/chat/completions`, { method: 'POST', body: '{}' })
    if (status === 422) await expect(answer).rejects.toMatchObject({ code: 'call.unsealed' })
    else expect((await answer).status).toBe(status)
    await new Promise((resolve) => setTimeout(resolve, 20))
  })

  it('is none if it claims to be sealed and has no body', async () => {
    const { client } = caller()
    await chat(client)
    wire.alter(() => Buffer.from(`HTTP/1.1 204 No Content\r\nehbp-response-nonce: ${'0'.repeat(64)}\r\n\r\n`))
    expect(await causeOf(chat(client))).toMatchObject({ code: 'call.unsealed', status: 204 })
  })

  it('is none with a status that there is not', async () => {
    const { client } = caller()
    await chat(client)
    wire.alter(() => Buffer.from('HTTP/1.1 999 Whatever\r\ncontent-length: 0\r\n\r\n'))
    expect(await causeOf(chat(client))).toMatchObject({ code: 'call.unsealed', status: 999 })
  })

  it('gives no header that somebody in between may have added', async () => {
    const { client, fetch } = caller()
    await chat(client)
    wire.alter((piece) => {
      const text = piece.toString('latin1')
      return Buffer.from(text.replace('\r\n', '\r\nset-cookie: a=b\r\nlocation: http://evil.example\r\n'), 'latin1')
    })
    const answer = await fetch(`${wire.origin}/v1/models`, { headers: { authorization: 'Bearer sk-secret-of-caller' } })
    expect(answer.status).toBe(200)
    expect([...answer.headers.keys()].sort()).toEqual(['content-type', 'x-confrouter-request-id'])
  })

  it('gives the status of a refusal in the open, for a program to wait by, and not its text', async () => {
    const { client } = caller()
    await chat(client)
    const text = '{"error":{"message":"send it in the open"}}'
    const head = `HTTP/1.1 429 Too Many Requests\r\nretry-after: 7\r\ncontent-length: ${text.length}\r\n\r\n`
    wire.alter(() => Buffer.from(head + text))
    const error = await causeOf(chat(client))
    expect(error).toMatchObject({ status: 429, code: 'refused_in_the_open' })
    expect(String((error as Error).message)).not.toContain('send it in the open')
    expect((error as { headers: Headers }).headers.get('retry-after')).toBe('7')
  })

  it('is not believed if it says that the key is stale and the evidence has the same one, and nothing is sent again', async () => {
    const { client, verdicts } = caller()
    await chat(client)
    wire.alter((piece) =>
      piece.includes('ehbp-response-nonce')
        ? Buffer.from('HTTP/1.1 422 Unprocessable Entity\r\ncontent-length: 0\r\n\r\n')
        : piece
    )
    expect(await causeOf(chat(client))).toMatchObject({ code: 'call.unsealed', status: 422 })
    expect(verdicts).toHaveLength(2)
    expect(upstream.calls).toHaveLength(2)
  })

  it('fails with an error of ours, and the cause in it, if the connection breaks in the middle', async () => {
    const { client, fetch } = caller()
    await chat(client)
    const head = `HTTP/1.1 200 OK\r\nehbp-response-nonce: ${'0'.repeat(64)}\r\n`
    wire.alter(() => Buffer.from(`${head}transfer-encoding: chunked\r\n\r\n5\r\n\0\0\0\x40\0\r\nnot a chunk\r\n`))
    const answer = await fetch(`${wire.origin}/v1/models`)
    const error: unknown = await answer.text().catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(CallError)
    expect(error).toMatchObject({ code: 'call.network', status: 200, cause: expect.any(Error) })
  })

  it('fails with an error of ours if it has a content coding that cannot be undone', async () => {
    const { client, fetch } = caller()
    await chat(client)
    wire.alter((piece) => {
      const text = piece.toString('latin1')
      return Buffer.from(text.replace('\r\n', '\r\ncontent-encoding: gzip\r\n'), 'latin1')
    })
    const answer = await fetch(`${wire.origin}/v1/models`, { headers: { authorization: 'Bearer sk-secret-of-caller' } })
    const error: unknown = await answer.text().catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(CallError)
    expect(error).toMatchObject({ code: 'call.network', cause: expect.any(Error) })
  })

  it('fails with the reason of the caller, and no other error, if the caller ends it', async () => {
    const { fetch } = caller()
    upstream.faults.push(faults.stall)
    const stop = new AbortController()
    const answer = await fetch(`${wire.origin}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: 'Bearer sk-secret-of-caller' },
      body: JSON.stringify({ model: 'gpt-4o-mini', stream: true, messages: question }),
      signal: stop.signal
    })
    const read = answer.text()
    const reason = new Error('enough')
    stop.abort(reason)
    await expect(read).rejects.toBe(reason)
  })
})
