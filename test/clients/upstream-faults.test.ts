import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals'
import OpenAI from 'openai'
import { Cleanup, type RunningRouter } from '../unit/router/harness.js'
import { createEhbpFetch, createSealingFetch } from './sealing-fetch.js'
import { local, routerFor, untilQuiet } from './setup.js'
import * as faults from './upstreams/faults.js'
import { startOpenai } from './upstreams/openai.js'
import type { Fault, Upstream } from './upstreams/upstream.js'

const cleanup = new Cleanup()
afterAll(() => cleanup.run())

const question = [{ role: 'user' as const, content: 'hi' }]
const kinds = ['plain', 'ehbp', 'extension'] as const
type Kind = (typeof kinds)[number]

let upstream: Upstream
/** Repeats once what may be repeated, as by default. */
let router: RunningRouter
/** Waits for nobody. */
let impatient: RunningRouter

beforeAll(async () => {
  upstream = await startOpenai(cleanup)
  router = await routerFor(cleanup, { openai: local(upstream) })
  impatient = await routerFor(cleanup, { openai: local(upstream) }, {}, { limits: { firstByteMs: 300, idleMs: 300 } })
})

async function clientOf(kind: Kind, { url }: RunningRouter): Promise<OpenAI> {
  const fetchers = {
    plain: () => fetch,
    ehbp: () => createEhbpFetch(url),
    extension: async () => (await createSealingFetch(url)).fetch
  }
  return new OpenAI({ baseURL: `${url}/v1`, apiKey: 'sk-own', maxRetries: 0, fetch: await fetchers[kind]() })
}

let begun = 0

/** What the provider was asked since the last look. */
function callsSince(): number {
  const calls = upstream.begun() - begun
  begun = upstream.begun()
  return calls
}

afterEach(async () => {
  await untilQuiet(router, upstream)
  await untilQuiet(impatient, upstream)
  expect(upstream.faults).toEqual([])
  callsSince()
})

interface Heard {
  readonly text: string
  readonly error: unknown
}

/** Listens to a stream; `fault` learns when its beginning was heard. */
async function hear(client: OpenAI, fault: (heard: Promise<unknown>) => Fault): Promise<Heard> {
  let begin: (value: unknown) => void = () => undefined
  upstream.faults.push(fault(new Promise((resolve) => (begin = resolve))))
  let text = ''
  try {
    const stream = await client.chat.completions.create({ model: 'gpt-4o-mini', messages: question, stream: true })
    for await (const { choices } of stream) {
      text += choices[0]?.delta.content ?? ''
      if (text === 'one two') begin(undefined)
    }
  } catch (error) {
    return { text, error }
  }
  return { text, error: undefined }
}

describe.each(kinds)('a caller of the openai package, %s,', (kind) => {
  let client: OpenAI
  beforeAll(async () => {
    client = await clientOf(kind, router)
  })

  const ask = (): Promise<unknown> =>
    client.chat.completions
      .create({ model: 'gpt-4o-mini', messages: question })
      .then(({ choices }) => choices[0]?.message.content)

  const failing = async (fault: Fault): Promise<unknown> => {
    upstream.faults.push(fault)
    return ask().then(
      (text) => ({ text }),
      (error: unknown) => error
    )
  }

  it('hears in the stream that the provider failed', async () => {
    const { text, error } = await hear(client, faults.errorEvent)
    expect(text).toBe('one two')
    expect(error).toBeInstanceOf(OpenAI.APIError)
    expect(error).toMatchObject({ code: 'gone', type: 'server_error' })
    expect(callsSince()).toBe(1)
  })

  it.each([
    ['is reset', faults.resetInStream],
    ['ends too early', faults.endInStream]
  ])('never takes a stream that %s for whole', async (_, fault) => {
    const { text, error } = await hear(client, fault)
    expect(text).toBe('one two')
    expect(error).toBeDefined()
    expect(callsSince()).toBe(1)
    await untilQuiet(router, upstream)
    expect(router.requestLines().at(-1)?.outcome).toBe('upstream_broke_off')
  })

  it.each([
    ['closes without an answer', faults.closeUnread, 502, 'upstream_failed'],
    ['speaks no HTTP', faults.notHttp, 502, 'upstream_failed'],
    ['says two lengths', faults.twoLengths, 502, 'upstream_failed']
  ])('is told that the provider %s, which is asked once', async (_, fault, status, code) => {
    const error = await failing(fault)
    expect(error).toBeInstanceOf(OpenAI.InternalServerError)
    expect(error).toMatchObject({ status, code })
    expect(callsSince()).toBe(1)
  })

  it('is answered when the provider failed once before it had done anything', async () => {
    for (const fault of [faults.refuse(429, { 'retry-after': '0' }), faults.refuse(500, { 'retry-after-ms': '1' })]) {
      upstream.faults.push(fault)
      expect(await ask()).toBe('You said: hi')
      expect(callsSince()).toBe(2)
    }
  })

  it('is answered by a provider whose head comes slowly, in pieces', async () => {
    upstream.faults.push(faults.slowHead)
    expect((await client.post('/embeddings', { body: { model: 'm', input: 'x' } })) as object).toEqual({
      object: 'list',
      data: []
    })
    expect(callsSince()).toBe(1)
  })

  it('never takes an answer that is shorter than its length for whole', async () => {
    // Not one of the package: it has the status already, and reads the body on behalf of its caller.
    expect(await failing(faults.lengthTooLong)).toMatchObject({ message: 'terminated' })
    expect(callsSince()).toBe(1)
  })

  it.each([
    ['looks like another answer', faults.trailingAnswer],
    ['is garbage', faults.trailingGarbage],
    ['does not fit its length', faults.lengthTooShort]
  ])('never gets what comes behind an answer and %s', async (_, fault) => {
    const answer = await failing(fault)
    expect(answer).not.toHaveProperty('status')
    // One after the other and all at once: no later call may get it either.
    expect(await ask()).toBe('You said: hi')
    expect(await Promise.all([ask(), ask(), ask()])).toEqual(Array<string>(3).fill('You said: hi'))
    expect(callsSince()).toBe(5)
  })

  it('is told why when the provider refuses a form before it has all of it', async () => {
    const send = (): Promise<unknown> =>
      client.audio.transcriptions
        .create({ file: new File([Buffer.alloc(4 * 1024 ** 2)], 'a.wav'), model: 'm' })
        .catch((thrown: unknown) => thrown)
    upstream.faults.push(faults.refuseEarly)
    expect(await send()).toMatchObject({ status: 413, code: 'too_large' })
    expect(callsSince()).toBe(1)
    upstream.faults.push(faults.closeUnread)
    expect(await send()).toMatchObject({ status: 502, code: 'upstream_failed' })
    expect(callsSince()).toBe(1)
    upstream.faults.push(faults.refuseUnread)
    // Whether the answer or the reset of the connection is seen first is a matter of luck.
    expect([413, 502]).toContain(((await send()) as { status?: number }).status)
    expect(callsSince()).toBe(1)
    expect(await ask()).toBe('You said: hi')
  })

  it('gets what the provider writes at once, however much it is', async () => {
    // The package ehbp puts a frame together byte by byte.
    const length = (kind === 'plain' ? 32 : 4) * 1024 ** 2
    upstream.faults.push(faults.huge(length))
    const answer = await client.audio.speech.create({ model: 'tts-1', voice: 'alloy', input: 'x' })
    let bytes = 0
    for await (const chunk of answer.body as unknown as AsyncIterable<Uint8Array>) bytes += chunk.length
    expect(bytes).toBe(length)
  })
})

describe('a provider that is waited for', () => {
  it('in vain, in the middle of a stream or before its answer, is given up', async () => {
    const clients = await Promise.all(kinds.map((kind) => clientOf(kind, impatient)))
    const heard = await Promise.all(clients.map((client) => hear(client, () => faults.stall)))
    expect(heard.map(({ text, error }) => [text, error === undefined])).toEqual(
      Array<unknown>(kinds.length).fill(['one two', false])
    )
    const silent = clients.map((client) => {
      upstream.faults.push(faults.silent)
      return client.embeddings.create({ model: 'm', input: 'x' }).catch((error: unknown) => error)
    })
    for (const error of await Promise.all(silent)) {
      expect(error).toBeInstanceOf(OpenAI.InternalServerError)
      expect(error).toMatchObject({ status: 504, code: 'upstream_timeout' })
    }
    expect(callsSince()).toBe(2 * kinds.length)
    await untilQuiet(impatient, upstream)
    const outcomes = impatient.requestLines().map(({ outcome }) => outcome)
    expect(outcomes.filter((outcome) => outcome !== 'ok')).toEqual([
      ...kinds.map(() => 'upstream_broke_off'),
      ...kinds.map(() => 'upstream_timeout')
    ])
  })
})

describe('a large JSON body', () => {
  it('is refused in words when the provider does not read it', async () => {
    const client = await clientOf('plain', router)
    upstream.faults.push(faults.refuseEarly)
    const input = 'x'.repeat(10 * 1024 ** 2)
    await expect(client.embeddings.create({ model: 'm', input })).rejects.toMatchObject({ status: 413 })
    expect(callsSince()).toBe(1)
  })
})
