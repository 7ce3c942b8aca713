import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import OpenAI from 'openai'
import { serve, type RunningServer } from '../../../../src/emulator/server.js'
import { loopbackHandler } from '../../../../src/emulator/services/loopback/handler.js'
import { call, type Loose, request } from '../hardware/requests.js'

const handler = loopbackHandler()
let server: RunningServer
let client: OpenAI

beforeAll(async () => {
  server = await serve({ handler, port: 0 })
  client = new OpenAI({ baseURL: `${server.origin}/v1`, apiKey: 'any', maxRetries: 0 })
})

afterAll(() => server.close())

const user = (content: string): { role: 'user'; content: string } => ({ role: 'user', content })

async function chunks(body: unknown): Promise<string[]> {
  const texts: string[] = []
  for await (const chunk of body as AsyncIterable<Uint8Array>) texts.push(new TextDecoder().decode(chunk))
  return texts
}

describe('the loopback provider', () => {
  it('says the last user message back to the real client', async () => {
    const messages = [user('first'), { role: 'assistant' as const, content: 'hm' }, user('second  one')]
    const completion = await client.chat.completions.create({ model: 'echo', messages })
    expect(completion.choices[0]!.message).toMatchObject({ role: 'assistant', content: 'second  one' })
    expect(completion.usage).toEqual({ prompt_tokens: 4, completion_tokens: 2, total_tokens: 6 })
  })

  it('streams it word by word to the real client', async () => {
    const stream = await client.chat.completions.create({
      model: 'echo',
      messages: [user('one two\nthree ')],
      stream: true,
      stream_options: { include_usage: true }
    })
    const words: string[] = []
    let usage: unknown
    for await (const chunk of stream) {
      const content = chunk.choices[0]?.delta.content
      if (content) words.push(content)
      usage = chunk.usage ?? usage
    }
    expect(words).toEqual(['one', ' two', '\nthree', ' '])
    expect(usage).toMatchObject({ completion_tokens: 3 })
  })

  it('ends a stream with finish_reason and [DONE]', async () => {
    const body = { model: 'echo', messages: [user('a')], stream: true }
    const { headers, body: stream } = await call(handler, '/v1/chat/completions', { body })
    const events = await chunks(stream)
    expect(headers?.['content-type']).toBe('text/event-stream; charset=utf-8')
    expect(events.at(-1)).toBe('data: [DONE]\n\n')
    expect(JSON.parse(events.at(-2)!.slice(6)).choices[0].finish_reason).toBe('stop')
    expect(events.every((event) => event.startsWith('data: ') && event.endsWith('\n\n'))).toBe(true)
  })

  it('stops streaming when the caller hangs up', async () => {
    const caller = new AbortController()
    const body = { model: 'echo', messages: [user('word '.repeat(1000))], stream: true }
    const answer = await handler(request('/v1/chat/completions', { body, signal: caller.signal }))
    caller.abort()
    expect(await chunks(answer.body)).toHaveLength(1)
  })

  it('takes content in parts', async () => {
    const content = [{ type: 'text', text: 'a ' }, { type: 'image_url' }, { type: 'text', text: 'b' }]
    const { body } = await call(handler, '/v1/chat/completions', {
      body: { model: 'echo', messages: [{ role: 'user', content }] }
    })
    expect(body.choices[0].message.content).toBe('a b')
  })

  it('lists its model', async () => {
    const { data } = await client.models.list()
    expect(data.map(({ id }) => id)).toEqual(['echo'])
  })

  it.each<[string, number, string, Loose]>([
    ['another model', 404, 'model_not_found', { model: 'gpt-4o', messages: [user('a')] }],
    ['no messages', 400, 'missing_required_parameter', { model: 'echo' }],
    ['a message without role', 400, 'invalid_value', { model: 'echo', messages: [{ content: 'a' }] }],
    ['a body that is not JSON', 400, 'null', 'xx'],
    ['a body that is no object', 400, 'null', '[]']
  ])('answers in the shape of OpenAI to %s', async (_case, status, code, body) => {
    const answer = await call(handler, '/v1/chat/completions', { body })
    expect([answer.status, String(answer.body.error.code)]).toEqual([status, code])
    expect(Object.keys(answer.body.error)).toEqual(['message', 'type', 'param', 'code'])
  })

  it.each([
    ['POST', '/v1/fine_tuning/jobs'],
    ['GET', '/v1/chat/completions'],
    ['PUT', '/v1/files'],
    ['POST', '/v1/files/file-1/content'],
    ['GET', '/v1/files/file-1/content/more']
  ])('knows no %s %s', async (method, path) => {
    const { status, body } = await call(handler, path, { method, body: {} })
    expect([status, body.error.code]).toEqual([404, 'unknown_url'])
  })
})
