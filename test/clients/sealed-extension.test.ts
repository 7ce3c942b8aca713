import { createHash, randomBytes } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals'
import OpenAI, { toFile } from 'openai'
import { Cleanup, type RunningRouter, until } from '../unit/router/harness.js'
import { createSealingFetch, type SealingFetch } from './sealing-fetch.js'
import { all, local, routerFor, untilQuiet } from './setup.js'
import { startOpenai } from './upstreams/openai.js'
import type { Upstream } from './upstreams/upstream.js'

const cleanup = new Cleanup()
afterAll(() => cleanup.run())

const question = [{ role: 'user' as const, content: 'hi there' }]

let upstream: Upstream
let router: RunningRouter
let sealing: SealingFetch

beforeAll(async () => {
  upstream = await startOpenai(cleanup, { keys: ['sk-own', 'sk-operator'] })
  router = await routerFor(
    cleanup,
    { openai: local(upstream) },
    { ENCRYPTION: 'required', OPENAI_API_KEY: 'sk-operator' }
  )
  sealing = await createSealingFetch(router.url)
})

afterEach(async () => {
  await untilQuiet(router, upstream)
  upstream.calls.length = 0
  sealing.calls.length = 0
})

describe.each(['/v1', '/providers/openai'])('the openai package at %s, every call sealed by the extension,', (base) => {
  let client: OpenAI
  beforeAll(() => {
    client = new OpenAI({
      baseURL: `${router.url}${base}`,
      apiKey: 'sk-own',
      organization: 'org-1',
      maxRetries: 0,
      fetch: sealing.fetch
    })
  })

  /** The receipt of the last call, which must say what was sent and where it went. */
  const expectReceipt = async (status: number, path: string, model: string | null): Promise<void> => {
    const call = sealing.calls.at(-1)
    const receipt = await call?.receipt
    expect(receipt).toMatchObject({
      id: call?.requestId,
      request: { method: 'POST', path: `${base}${path}`, sha256: call?.sha256 },
      upstream: { provider: 'openai', origin: upstream.origin, spki: null },
      model: base === '/v1' ? model : null,
      response: { status }
    })
    expect(receipt?.response.bytes).toBeGreaterThan(0)
  }

  it('asks, is answered, and gets a receipt that the key of the evidence has signed', async () => {
    const { choices } = await client.chat.completions.create({ model: 'gpt-4o-mini', messages: question })
    expect(choices[0]?.message.content).toBe('You said: hi there')
    expect(upstream.calls[0]?.headers).toMatchObject({
      authorization: 'Bearer sk-own',
      'openai-organization': 'org-1',
      'accept-encoding': 'identity'
    })
    await expectReceipt(200, '/chat/completions', 'gpt-4o-mini')
  })

  it('streams, and the receipt stands at the end', async () => {
    const stream = await client.chat.completions.create({ model: 'gpt-4o-mini', messages: question, stream: true })
    const chunks = await all(stream)
    expect(chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('')).toBe('You said: hi there')
    await expectReceipt(200, '/chat/completions', 'gpt-4o-mini')
  })

  it('aborts in the middle of a stream, and with it the call to the provider', async () => {
    const before = upstream.brokenOff()
    upstream.faults.push({
      when: 'body',
      act: (response) =>
        void response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: {"n":1}\n\n')
    })
    const stream = await client.chat.completions.create({ model: 'gpt-4o-mini', messages: question, stream: true })
    for await (const chunk of stream) {
      expect(chunk).toEqual({ n: 1 })
      stream.controller.abort()
    }
    await until(() => upstream.brokenOff() === before + 1)
    await expect(sealing.calls.at(-1)?.receipt).rejects.toBeDefined()
  })

  it('sends audio', async () => {
    const sound = randomBytes(300_000)
    const file = await toFile(sound, 'speech.wav', { type: 'audio/wav' })
    const { text } = await client.audio.transcriptions.create({ file, model: 'whisper-1' })
    expect(text).toBe(`whisper-1 ${createHash('sha256').update(sound).digest('hex')}`)
    await expectReceipt(200, '/audio/transcriptions', 'whisper-1')
  })

  it('keeps files: also calls without a body are sealed, with the method that they mean', async () => {
    const bytes = randomBytes(50_000)
    const { id } = await client.files.create({ file: new File([bytes], 'a.jsonl'), purpose: 'batch' })
    expect((await client.files.list({ limit: 5 })).data.map((file) => file.id)).toContain(id)
    await expectReceipt(200, '/files', null)
    const content = await client.files.content(id)
    expect(Buffer.from(await content.arrayBuffer()).equals(bytes)).toBe(true)
    expect((await client.files.delete(id)).deleted).toBe(true)
    await expectReceipt(200, `/files/${id}`, null)
    expect(upstream.calls.map(({ method, url }) => `${method} ${url}`)).toEqual([
      'POST /v1/files',
      'GET /v1/files?limit=5',
      `GET /v1/files/${id}/content`,
      `DELETE /v1/files/${id}`
    ])
  })

  it('has errors of the provider, with their receipts', async () => {
    const call = client.files.retrieve('file-nosuch')
    await expect(call).rejects.toThrow(OpenAI.NotFoundError)
    await expect(call).rejects.toMatchObject({ code: 'not_found' })
    await expectReceipt(404, '/files/file-nosuch', null)
  })
})

describe('models over sealed calls', () => {
  it('are listed, with a receipt that names who was asked', async () => {
    const client = new OpenAI({ baseURL: `${router.url}/v1`, apiKey: 'sk-own', maxRetries: 0, fetch: sealing.fetch })
    expect((await all(client.models.list())).map(({ id }) => id)).toEqual(['openai:gpt-4o-mini', 'openai:whisper-1'])
    expect(await sealing.calls.at(-1)?.receipt).toMatchObject({ upstream: { provider: 'openai' }, model: null })
    expect((await client.models.retrieve('openai:whisper-1')).id).toBe('whisper-1')
    expect(await sealing.calls.at(-1)?.receipt).toMatchObject({ upstream: { provider: 'openai' }, model: 'whisper-1' })
    const plain = new OpenAI({ baseURL: `${router.url}/v1`, apiKey: 'sk-own', maxRetries: 0 })
    await expect(plain.models.list()).rejects.toMatchObject({ code: 'encryption_required' })
  })
})
