import { createHash } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals'
import OpenAI, { toFile } from 'openai'
import { systemClocks } from '../../src/router/guards.js'
import { Cleanup, type RunningRouter, until } from '../unit/router/harness.js'
import { local, routerFor, untilQuiet } from './setup.js'
import { refuse } from './upstreams/faults.js'
import { startOpenai } from './upstreams/openai.js'
import type { Upstream } from './upstreams/upstream.js'

const cleanup = new Cleanup()
afterAll(() => cleanup.run())

const question = [{ role: 'user' as const, content: 'hi' }]
const chat = (client: OpenAI, model = 'gpt-4o-mini') => client.chat.completions.create({ model, messages: question })
const soon = { 'retry-after-ms': '1' }

let upstream: Upstream
/** Repeats nothing by itself, and knows a key of its own. */
let router: RunningRouter
/** Repeats once, as by default. */
let repeating: RunningRouter
/** Wants a token. */
let guarded: RunningRouter

beforeAll(async () => {
  upstream = await startOpenai(cleanup, { keys: ['sk-own', 'sk-operator'] })
  const providers = { openai: local(upstream), nokey: local(upstream) }
  const common = { OPENAI_API_KEY: 'sk-operator' }
  const tokens = createHash('sha256').update('letmein').digest('hex')
  router = await routerFor(cleanup, providers, { ...common, CONFROUTER_RETRIES: '0' })
  repeating = await routerFor(cleanup, providers, common)
  guarded = await routerFor(cleanup, providers, { ...common, ACCESS_TOKENS: tokens, CONFROUTER_RETRIES: '0' })
})

afterEach(async () => {
  for (const one of [router, repeating, guarded]) await untilQuiet(one, upstream)
  expect(upstream.faults).toEqual([])
  upstream.calls.length = 0
})

const client = (to: RunningRouter, options: ConstructorParameters<typeof OpenAI>[0] = {}, base = '/v1'): OpenAI =>
  new OpenAI({ baseURL: `${to.url}${base}`, apiKey: 'sk-own', maxRetries: 0, ...options })

/** The package sends a key always; this takes it out again, as somebody without one would. */
const keyless = { apiKey: 'none', defaultHeaders: { authorization: null } }

describe('an error of the provider', () => {
  it.each([
    [400, OpenAI.BadRequestError],
    [401, OpenAI.AuthenticationError],
    [403, OpenAI.PermissionDeniedError],
    [404, OpenAI.NotFoundError],
    [409, OpenAI.ConflictError],
    [422, OpenAI.UnprocessableEntityError],
    [429, OpenAI.RateLimitError],
    [500, OpenAI.InternalServerError],
    [503, OpenAI.InternalServerError]
  ])('with status %i is the one of the package, with what the provider said', async (status, type) => {
    for (const base of ['/v1', '/providers/openai']) {
      upstream.faults.push(refuse(status, {}, 'its_code'))
      const error: unknown = await chat(client(router, {}, base)).catch((thrown: unknown) => thrown)
      expect(error).toBeInstanceOf(type)
      expect(error).toMatchObject({ status, code: 'its_code', type: 'fault', message: `${status} fault ${status}` })
      expect((error as InstanceType<typeof OpenAI.APIError>).requestID).toBe('req_fault')
    }
  })

  it.each([
    ['a time in milliseconds', { 'retry-after-ms': '150' }],
    ['seconds', { 'retry-after': '1' }],
    ['a date', { 'retry-after': new Date(Date.now() + 60_000).toUTCString() }]
  ])('reaches the package with %s', async (_, headers) => {
    upstream.faults.push(refuse(429, headers))
    const error = await chat(client(router)).catch((thrown: unknown) => thrown)
    const { headers: seen } = error as InstanceType<typeof OpenAI.RateLimitError>
    expect(seen.get(Object.keys(headers)[0] ?? '')).toBe(Object.values(headers)[0])
    expect(upstream.calls).toHaveLength(1)
  })

  it('is waited for by the package as long as the provider asked', async () => {
    upstream.faults.push(refuse(429, { 'retry-after-ms': '200' }), refuse(503, { 'retry-after-ms': '100' }))
    const startedAt = performance.now()
    expect((await chat(client(router, { maxRetries: 2 }))).choices).toHaveLength(1)
    expect(performance.now() - startedAt).toBeGreaterThan(295)
    expect(upstream.calls).toHaveLength(3)
  })
})

describe('what is repeated', () => {
  it('is a call of a model, once by the router, unseen by the package', async () => {
    upstream.faults.push(refuse(429, soon))
    expect((await chat(client(repeating))).choices).toHaveLength(1)
    upstream.faults.push(refuse(500, soon), refuse(502, soon))
    await expect(chat(client(repeating))).rejects.toMatchObject({ status: 502 })
    expect(upstream.calls).toHaveLength(4)
  })

  it('is repeated after the time that the provider asked for, also in parts of seconds', async () => {
    const startedAt = performance.now()
    upstream.faults.push(refuse(429, { 'retry-after': '0.3' }))
    expect((await chat(client(repeating))).choices).toHaveLength(1)
    expect(performance.now() - startedAt).toBeGreaterThan(295)
    upstream.faults.push(refuse(429, { 'retry-after': '7.5' }))
    await expect(chat(client(repeating))).rejects.toMatchObject({ status: 429 })
    expect(upstream.calls).toHaveLength(3)
  })

  it('is nothing that the provider does not want repeated', async () => {
    upstream.faults.push(refuse(429, { ...soon, 'x-should-retry': 'false' }, 'insufficient_quota'))
    await expect(chat(client(repeating, { maxRetries: 2 }))).rejects.toMatchObject({ code: 'insufficient_quota' })
    expect(upstream.calls).toHaveLength(1)
  })

  it('is neither a form nor a call that changes an account, but a look into it is', async () => {
    const once = client(repeating)
    upstream.faults.push(refuse(503, soon))
    const file = await toFile(Buffer.alloc(1000), 'a.wav')
    await expect(once.audio.transcriptions.create({ file, model: 'whisper-1' })).rejects.toMatchObject({ status: 503 })
    for (const change of [
      () => once.batches.create({ input_file_id: 'f', endpoint: '/v1/responses', completion_window: '24h' }),
      () => once.files.delete('file-1'),
      () => once.files.create({ file, purpose: 'batch' }),
      () => once.responses.cancel('resp_1'),
      () => chat(client(repeating, {}, '/providers/openai'))
    ]) {
      upstream.faults.push(refuse(503, soon))
      await expect(change()).rejects.toMatchObject({ status: 503 })
    }
    expect(upstream.calls).toHaveLength(6)
    upstream.faults.push(refuse(503, soon))
    expect((await once.files.list()).data).toEqual([])
    expect(upstream.calls).toHaveLength(8)
  })
})

describe('an error of the router', () => {
  it.each([
    ['a provider that is not there', () => chat(client(router), 'nosuch:m'), OpenAI.NotFoundError, 'unknown_provider'],
    ['a path that is not there', () => client(router).beta.threads.create(), OpenAI.NotFoundError, 'not_found'],
    ['an empty model', () => chat(client(router), ''), OpenAI.BadRequestError, 'invalid_model'],
    ['no key at all', () => chat(client(router, keyless), 'nokey:m'), OpenAI.AuthenticationError, 'missing_api_key'],
    [
      'the account of the operator',
      () => client(router, keyless).files.list().then(),
      OpenAI.PermissionDeniedError,
      'own_key_required'
    ],
    [
      'a token that is none of the router',
      () => chat(client(guarded, { apiKey: 'sk-own' })),
      OpenAI.AuthenticationError,
      'invalid_access_token'
    ]
  ])('for %s is one of the package', async (_, act, type, code) => {
    const error = await act().catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(type)
    expect(error).toMatchObject({
      code,
      param: code === 'unknown_provider' || code === 'invalid_model' ? 'model' : null
    })
    expect(upstream.calls).toEqual([])
  })

  it('says when to come back, and the package does', async () => {
    let nowMs: number | undefined = performance.now()
    const limited = await routerFor(
      cleanup,
      { openai: local(upstream) },
      { OPENAI_API_KEY: 'sk-operator', RATE_LIMIT_PER_MINUTE: '60' },
      { clocks: { ...systemClocks, steadyMs: () => nowMs ?? performance.now() } }
    )
    while ((await limited.context.callRate.take('127.0.0.1')) === 0);
    await expect(chat(client(limited, keyless))).rejects.toMatchObject({ status: 429, code: 'rate_limited' })
    const startedAt = performance.now()
    const patient = chat(client(limited, { ...keyless, maxRetries: 2 }))
    await until(() => limited.requestLines().length === 2)
    nowMs = undefined
    expect((await patient).choices).toHaveLength(1)
    expect(performance.now() - startedAt).toBeGreaterThan(990)
    await untilQuiet(limited, upstream)
  })

  it('for a provider that nobody can reach is repeated by the package and stays what it is', async () => {
    const lonely = await routerFor(cleanup, {
      openai: { baseUrl: 'http://127.0.0.1:1/v1', allowPrivate: true }
    })
    await expect(chat(client(lonely))).rejects.toMatchObject({ status: 502, code: 'upstream_unreachable' })
  })
})

describe('keys and headers', () => {
  const seen = (name: string) => upstream.calls.map(({ headers }) => headers[name])

  it('are the caller’s own with its organisation and project', async () => {
    const options = {
      organization: 'org-1',
      project: 'proj_1',
      defaultHeaders: { 'x-custom': '1', 'OpenAI-Beta': 'b' }
    }
    await chat(client(router, options))
    await client(router, options, '/providers/openai').files.list()
    expect(seen('authorization')).toEqual(['Bearer sk-own', 'Bearer sk-own'])
    expect(seen('openai-organization')).toEqual(['org-1', 'org-1'])
    expect(seen('openai-project')).toEqual(['proj_1', 'proj_1'])
    expect(seen('openai-beta')).toEqual(['b', 'b'])
    expect(seen('x-custom')).toEqual([undefined, undefined])
  })

  it('are the router’s without a key of the caller, and then without an organisation', async () => {
    await chat(client(router, { ...keyless, organization: 'org-1', project: 'proj_1' }))
    expect(seen('authorization')).toEqual(['Bearer sk-operator'])
    expect([...seen('openai-organization'), ...seen('openai-project')]).toEqual([undefined, undefined])
  })

  it('are the router’s for who has a token, also for its account', async () => {
    const holder = client(guarded, { apiKey: 'letmein', organization: 'org-1' })
    await chat(holder)
    await holder.files.list()
    await client(guarded, { apiKey: 'letmein' }, '/providers/openai').files.list()
    expect((await holder.models.list()).data.map(({ id }) => id)).toContain('openai:gpt-4o-mini')
    expect(new Set(seen('authorization'))).toEqual(new Set(['Bearer sk-operator']))
    expect(JSON.stringify(upstream.calls.map(({ headers }) => headers))).not.toContain('letmein')
  })
})
