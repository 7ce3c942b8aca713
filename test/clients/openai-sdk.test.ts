import { createHash, randomBytes } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals'
import OpenAI, { toFile } from 'openai'
import { Cleanup, type RunningRouter, until } from '../unit/router/harness.js'
import { all, local, routerFor, untilQuiet } from './setup.js'
import { formOf, startOpenai } from './upstreams/openai.js'
import type { Upstream } from './upstreams/upstream.js'

const cleanup = new Cleanup()
afterAll(() => cleanup.run())

let upstream: Upstream
let other: Upstream
let router: RunningRouter

beforeAll(async () => {
  upstream = await startOpenai(cleanup, { keys: ['sk-own'] })
  other = await startOpenai(cleanup, { keys: ['sk-own'], openrouter: true })
  router = await routerFor(cleanup, {
    openai: local(upstream),
    openrouter: local(other)
  })
})

afterEach(async () => {
  upstream.calls.length = 0
  other.calls.length = 0
  await untilQuiet(router, upstream, other)
})

const question = [{ role: 'user' as const, content: 'is it über Köln?' }]
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
const places = (): string[] => upstream.calls.map(({ method, url }) => `${method} ${url}`)

/** By both ways that lead to the same API: the router's own paths, and the provider's behind its name. */
describe.each(['/v1', '/providers/openai'])('the openai package at %s', (base) => {
  let client: OpenAI
  beforeAll(() => {
    client = new OpenAI({ baseURL: `${router.url}${base}`, apiKey: 'sk-own', maxRetries: 0 })
  })

  it('asks and is answered, compressed on the way, with the id of the provider', async () => {
    const { data, request_id, response } = await client.chat.completions
      .create({ model: 'gpt-4o-mini', messages: question })
      .withResponse()
    expect(data.choices[0]?.message.content).toBe('You said: is it über Köln?')
    expect(data.usage?.total_tokens).toBe(12)
    expect(request_id).toMatch(/^req_\d+$/)
    expect(response.headers.get('openai-processing-ms')).toBe('42')
    expect(response.headers.get('content-encoding')).toBe('gzip')
    expect(response.headers.get('x-confrouter-request-id')).toMatch(/^[0-9a-f-]{36}$/)
    for (const name of ['set-cookie', 'alt-svc', 'server', 'strict-transport-security']) {
      expect({ name, value: response.headers.get(name) }).toEqual({ name, value: null })
    }
    const [seen] = upstream.calls
    expect(seen?.headers).toMatchObject({ authorization: 'Bearer sk-own', 'user-agent': 'confrouter' })
    expect(Object.keys(seen?.headers ?? {}).filter((name) => name.startsWith('x-stainless'))).toEqual([])
  })

  it('streams with the usage at the end', async () => {
    const stream = await client.chat.completions.create({
      model: 'gpt-4o-mini',
      messages: question,
      stream: true,
      stream_options: { include_usage: true }
    })
    const chunks = await all(stream)
    expect(chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('')).toBe('You said: is it über Köln?')
    expect(chunks.at(-2)?.choices[0]?.finish_reason).toBe('stop')
    expect(chunks.at(-1)?.usage?.total_tokens).toBe(12)
  })

  it('calls tools, whole and streamed', async () => {
    const request = {
      model: 'gpt-4o-mini',
      messages: question,
      tools: [{ type: 'function' as const, function: { name: 'weather', parameters: { type: 'object' } } }]
    }
    const call = { function: { name: 'weather', arguments: '{"city":"Köln"}' } }
    const whole = await client.chat.completions.create(request)
    expect(whole.choices[0]?.message.tool_calls?.[0]).toMatchObject(call)
    const streamed = await client.chat.completions.stream(request).finalChatCompletion()
    expect(streamed.choices[0]?.message.tool_calls?.[0]).toMatchObject(call)
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
    expect(upstream.calls).toHaveLength(1)
  })

  it('gives up by its own time-out, and with it the call to the provider', async () => {
    const before = upstream.brokenOff()
    upstream.faults.push({ when: 'body', act: () => undefined })
    // The class of time-outs is not asked for: the package knows them by an error of this realm only.
    await expect(
      client.chat.completions.create({ model: 'gpt-4o-mini', messages: question }, { timeout: 150 })
    ).rejects.toThrow(OpenAI.APIConnectionError)
    await until(() => upstream.brokenOff() === before + 1)
  })

  it('gets responses whole and as typed events, finds them again and cancels them', async () => {
    const whole = await client.responses.create({ model: 'gpt-4o-mini', input: 'hi there', background: true })
    expect({ text: whole.output_text, status: whole.status }).toEqual({ text: 'You said: hi there', status: 'queued' })
    const events = await all(await client.responses.create({ model: 'gpt-4o-mini', input: 'hi there', stream: true }))
    expect(events.map(({ type }) => type)).toEqual([
      'response.created',
      'response.output_item.added',
      ...Array<string>(4).fill('response.output_text.delta'),
      'response.output_text.done',
      'response.completed'
    ])
    expect((await client.responses.retrieve(whole.id)).id).toBe(whole.id)
    expect((await client.responses.cancel(whole.id)).status).toBe('cancelled')
    await expect(client.responses.retrieve('resp_nosuch')).rejects.toThrow(OpenAI.NotFoundError)
  })

  it('gets embeddings as the package asks for them, base64, and as numbers', async () => {
    const byDefault = await client.embeddings.create({ model: 'text-embedding-3-small', input: ['a', 'b'] })
    const asNumbers = await client.embeddings.create({
      model: 'text-embedding-3-small',
      input: ['a', 'b'],
      encoding_format: 'float'
    })
    expect(byDefault.data).toEqual(asNumbers.data)
    expect(byDefault.data[1]?.embedding).toHaveLength(8)
  })

  it('draws and edits images', async () => {
    const drawn = await client.images.generate({ model: 'gpt-image-1', prompt: 'a cat' })
    expect(drawn.data?.[0]?.b64_json).toBe('iVBORw0KGgo=')
    const linked = await client.images.generate({ model: 'dall-e-3', prompt: 'a cat', response_format: 'url' })
    expect(linked.data?.[0]?.url).toBe('https://images.example/1.png')
    const files = await Promise.all([
      toFile(Buffer.alloc(3), 'ä "one".png', { type: 'image/png' }),
      toFile(Buffer.alloc(300_000), 'two.png', { type: 'image/png' })
    ])
    const edited = await client.images.edit({ model: 'gpt-image-1', image: files, prompt: 'more cats' })
    expect(edited.data?.[0]?.revised_prompt).toBe('gpt-image-1 more cats 3,300000')
  })

  it('sends audio with its parts in any order, and gets the words whole, as text and as events', async () => {
    const sound = randomBytes(700_000)
    const file = await toFile(sound, 'speech.wav', { type: 'audio/wav' })
    const text = `whisper-1 ${sha256(sound)}`
    const whole = await client.audio.transcriptions.create({
      file,
      model: 'whisper-1',
      language: 'de',
      timestamp_granularities: ['word', 'segment'],
      response_format: 'verbose_json'
    })
    expect(whole).toMatchObject({
      text,
      names: ['file', 'model', 'language', 'timestamp_granularities[]', 'timestamp_granularities[]', 'response_format']
    })
    expect(await client.audio.transcriptions.create({ model: 'whisper-1', file, response_format: 'text' })).toBe(
      `${text}\n`
    )
    const events = await all(await client.audio.transcriptions.create({ file, model: 'whisper-1', stream: true }))
    expect(events.map(({ type }) => type)).toEqual(['transcript.text.delta', 'transcript.text.done'])
  })

  it('gets speech as it comes', async () => {
    const answer = await client.audio.speech.create({ model: 'tts-1', voice: 'alloy', input: 'la' })
    expect(answer.headers.get('content-type')).toBe('audio/mpeg')
    expect(Buffer.from(await answer.arrayBuffer()).toString()).toBe('la'.repeat(50))
  })

  it('asks for moderation', async () => {
    const { results } = await client.moderations.create({ model: 'omni-moderation-latest', input: 'x' })
    expect(results[0]?.flagged).toBe(false)
  })

  it('keeps files: uploads, lists by pages, reads and deletes them', async () => {
    const bytes = randomBytes(100_000)
    const create = (name: string) => client.files.create({ file: new File([bytes], name), purpose: 'batch' })
    const files = [await create('a.jsonl'), await create('b.jsonl'), await create('c.jsonl')]
    const ids = files.map(({ id }) => id)
    const listed = await all(client.files.list({ limit: 2 }))
    expect(listed.map(({ id }) => id)).toEqual(expect.arrayContaining(ids))
    expect(places().filter((place) => place.startsWith('GET /v1/files?')).length).toBeGreaterThan(1)
    expect(await client.files.retrieve(ids[0] ?? '')).toMatchObject({ filename: 'a.jsonl', bytes: bytes.length })
    const content = await client.files.content(ids[0] ?? '')
    expect(sha256(Buffer.from(await content.arrayBuffer()))).toBe(sha256(bytes))
    for (const id of ids) expect((await client.files.delete(id)).deleted).toBe(true)
    await expect(client.files.retrieve(ids[0] ?? '')).rejects.toThrow(OpenAI.NotFoundError)
  })

  it('uploads in parts', async () => {
    const upload = await client.uploads.create({
      bytes: 6,
      filename: 'x.jsonl',
      mime_type: 'application/jsonl',
      purpose: 'batch'
    })
    const parts = []
    for (const data of ['abc', 'def']) {
      parts.push((await client.uploads.parts.create(upload.id, { data: new File([data], 'part') })).id)
    }
    const done = await client.uploads.complete(upload.id, { part_ids: parts })
    expect(done).toMatchObject({ status: 'completed', file: { bytes: 6, filename: 'x.jsonl' } })
  })

  it('starts, follows and cancels a batch', async () => {
    const batch = await client.batches.create({
      input_file_id: 'file-1',
      endpoint: '/v1/chat/completions',
      completion_window: '24h'
    })
    expect((await client.batches.retrieve(batch.id)).status).toBe('in_progress')
    expect((await client.batches.cancel(batch.id)).status).toBe('cancelling')
  })

  it('makes a vector store', async () => {
    expect(await client.vectorStores.create({ name: 'notes' })).toMatchObject({ id: 'vs_1', name: 'notes' })
  })

  it('completes a text', async () => {
    const { choices } = await client.completions.create({ model: 'gpt-3.5-turbo-instruct', prompt: 'on' })
    expect(choices[0]?.text).toBe(' and on')
  })
})

describe('the openai package and names of models', () => {
  let client: OpenAI
  beforeAll(() => {
    client = new OpenAI({ baseURL: `${router.url}/v1`, apiKey: 'sk-own', maxRetries: 0 })
  })

  it('lists those of its own provider, and finds one of the list again', async () => {
    const models = await all(client.models.list())
    expect(models.map(({ id }) => id)).toEqual(['openai:gpt-4o-mini', 'openai:whisper-1'])
    const { id } = await client.models.retrieve('openai:whisper-1')
    expect(id).toBe('whisper-1')
  })

  it('gives up a list that nobody waits for any more', async () => {
    const before = upstream.brokenOff()
    upstream.faults.push({ when: 'body', act: () => undefined })
    await expect(client.models.list({ timeout: 150 })).rejects.toThrow(OpenAI.APIConnectionError)
    await until(() => upstream.brokenOff() === before + 1, 2000)
  })

  it.each(['openai:gpt-4o-mini', 'openai/gpt-4o-mini', 'gpt-4o-mini'])('means the same by %s', async (model) => {
    await client.chat.completions.create({ model, messages: question })
    const sound = await toFile(Buffer.alloc(1000), 'a.wav')
    await client.audio.transcriptions.create({ file: sound, model })
    const [chat, form] = upstream.calls
    expect(JSON.parse(chat?.body.toString() ?? '')).toEqual({ model: 'gpt-4o-mini', messages: question })
    expect(form?.headers['content-length']).toBe(String(form?.body.length))
    expect(form && (await formOf(form)).get('model')).toBe('gpt-4o-mini')
  })

  it('goes to the other provider by its name, and is not troubled by comments in the stream', async () => {
    const stream = await client.chat.completions.create({
      model: 'openrouter:anthropic/claude-sonnet-4.5',
      messages: question,
      stream: true
    })
    const chunks = await all(stream)
    expect(chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('')).toBe('You said: is it über Köln?')
    expect(chunks[0]).toMatchObject({ model: 'anthropic/claude-sonnet-4.5', provider: 'Some Host' })
    expect(upstream.calls).toEqual([])
  })

  it('has an error of the package for a provider that is not there', async () => {
    const call = client.chat.completions.create({ model: 'nosuch:m', messages: question })
    await expect(call).rejects.toThrow(OpenAI.NotFoundError)
    await expect(call).rejects.toMatchObject({ status: 404, code: 'unknown_provider', param: 'model' })
  })
})
