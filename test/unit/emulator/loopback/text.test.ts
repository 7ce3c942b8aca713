import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { ResponseStreamEvent } from 'openai/resources/responses/responses'
import { openProvider, refusalOf, type TestProvider } from './provider.js'

let provider: TestProvider

beforeAll(async () => {
  provider = await openProvider()
})
afterAll(() => provider.close())

describe('responses of the loopback provider', () => {
  const conversation = [
    { role: 'user' as const, content: 'first' },
    { role: 'assistant' as const, content: 'hm' },
    { type: 'function_call_output' as const, call_id: 'c', output: 'of a tool' },
    { role: 'user' as const, content: [{ type: 'input_text' as const, text: 'second  one' }] }
  ]

  it('say the last user message back to the real client', async () => {
    const { responses } = provider.client
    const response = await responses.create({ model: 'echo', instructions: 'be brief', input: conversation })
    expect(response.output_text).toBe('second  one')
    expect(response).toMatchObject({ object: 'response', status: 'completed', model: 'echo', store: false })
    expect(response.usage).toMatchObject({ input_tokens: 6, output_tokens: 2, total_tokens: 8 })
    expect((await responses.create({ model: 'echo', input: 'only a text' })).output_text).toBe('only a text')
  })

  it('are streamed in the order and with the numbers that OpenAI gives them', async () => {
    const stream = await provider.client.responses.create({ model: 'echo', input: 'one two three', stream: true })
    const events: ResponseStreamEvent[] = []
    for await (const event of stream) events.push(event)
    expect(events.map(({ type }) => type)).toEqual([
      'response.created',
      'response.in_progress',
      'response.output_item.added',
      'response.content_part.added',
      'response.output_text.delta',
      'response.output_text.delta',
      'response.output_text.delta',
      'response.output_text.done',
      'response.content_part.done',
      'response.output_item.done',
      'response.completed'
    ])
    expect(events.map((event) => event.sequence_number)).toEqual(events.map((_, index) => index))
  })

  it('are put together by the helper of the real client', async () => {
    const stream = provider.client.responses.stream({ model: 'echo', input: 'one two' })
    const words: string[] = []
    stream.on('response.output_text.delta', ({ delta }) => words.push(delta))
    const { output, usage } = await stream.finalResponse()
    expect(words).toEqual(['one', ' two'])
    expect(output).toMatchObject([{ status: 'completed', content: [{ type: 'output_text', text: 'one two' }] }])
    expect(usage?.output_tokens).toBe(2)
  })

  it('name their events and have no [DONE]', async () => {
    const response = await fetch(`${provider.url}/responses`, {
      method: 'POST',
      body: JSON.stringify({ model: 'echo', input: 'one', stream: true })
    })
    const events = (await response.text()).split('\n\n').slice(0, -1)
    expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8')
    for (const event of events) {
      const [name, data] = event.split('\ndata: ')
      expect(name).toBe(`event: ${JSON.parse(data!).type}`)
    }
    expect(events).toHaveLength(9)
  })

  it.each([
    ['another model', { model: 'gpt-5', input: 'a' }, [404, 'model_not_found', 'model']],
    ['no input', { model: 'echo' }, [400, 'missing_required_parameter', 'input']],
    ['an empty list', { model: 'echo', input: [] }, [400, 'invalid_value', 'input']],
    ['a message without role', { model: 'echo', input: [{ content: 'a' }] }, [400, 'invalid_value', 'input[0]']]
  ])('are refused for %s', async (_name, body, expected) => {
    expect(await refusalOf(provider.client.responses.create(body as never))).toEqual(expected)
  })
})

describe('completions of the loopback provider', () => {
  it('say each prompt back', async () => {
    const { choices, usage } = await provider.client.completions.create({ model: 'echo', prompt: ['a b', 'c'] })
    expect(choices.map(({ index, text, finish_reason: reason }) => [index, text, reason])).toEqual([
      [0, 'a b', 'stop'],
      [1, 'c', 'stop']
    ])
    expect(usage).toEqual({ prompt_tokens: 3, completion_tokens: 3, total_tokens: 6 })
  })

  it('are streamed word by word', async () => {
    const stream = await provider.client.completions.create({ model: 'echo', prompt: 'one two', stream: true })
    const texts: string[] = []
    for await (const { choices } of stream) texts.push(`${choices[0]!.text}|${choices[0]!.finish_reason}`)
    expect(texts).toEqual(['one|null', ' two|null', '|stop'])
  })

  it.each([[undefined], [[1, 2]], [[]]])('are refused for the prompt %p', async (prompt) => {
    const [status] = await refusalOf(provider.client.completions.create({ model: 'echo', prompt } as never))
    expect(status).toBe(400)
  })
})

describe('embeddings of the loopback provider', () => {
  const embed = async (input: string | string[], more: object = {}) =>
    (await provider.client.embeddings.create({ model: 'echo', input, ...more })).data.map(({ embedding }) => embedding)

  it('depend on the text alone and have length 1', async () => {
    const [first, second, third] = await embed(['a', 'b', 'a'])
    expect(first).toHaveLength(8)
    expect(third).toEqual(first)
    expect(second).not.toEqual(first)
    expect(Math.hypot(...first!)).toBeCloseTo(1, 5)
  })

  it('are the same as base64, which the real client asks for, and as numbers', async () => {
    expect(await embed('a', { encoding_format: 'float' })).toEqual((await embed('a')).map((vector) => [...vector]))
  })

  it('have as many dimensions as are asked for', async () => {
    expect((await embed('a', { dimensions: 100 }))[0]).toHaveLength(100)
    for (const dimensions of [0, 3073, 1.5]) {
      const refused = provider.client.embeddings.create({ model: 'echo', input: 'a', dimensions })
      expect(await refusalOf(refused)).toEqual([400, 'invalid_value', 'dimensions'])
    }
  })

  it('are refused in another format and without input', async () => {
    const { embeddings } = provider.client
    const format = embeddings.create({ model: 'echo', input: 'a', encoding_format: 'hex' as never })
    expect(await refusalOf(format)).toEqual([400, 'invalid_value', 'encoding_format'])
    expect((await refusalOf(embeddings.create({ model: 'echo' } as never)))[1]).toBe('missing_required_parameter')
  })
})

describe('moderations of the loopback provider', () => {
  it('flag the categories that a text names', async () => {
    const { results } = await provider.client.moderations.create({ input: ['good morning', 'Violence'] })
    expect(results.map(({ flagged }) => flagged)).toEqual([false, true])
    expect(results[1]).toMatchObject({
      categories: { violence: true, 'violence/graphic': false },
      category_scores: { violence: 1, hate: 0 },
      category_applied_input_types: { violence: ['text'] }
    })
  })

  it('take a list of parts for one text', async () => {
    const input = [
      { type: 'text' as const, text: 'ha' },
      { type: 'text' as const, text: 'te' }
    ]
    const { results } = await provider.client.moderations.create({ model: 'echo', input })
    expect(results.map(({ categories }) => categories.hate)).toEqual([true])
  })

  it.each([
    [{ input: 7 }, [400, 'invalid_value', 'input']],
    [{}, [400, 'missing_required_parameter', 'input']],
    [{ input: 'a', model: 'omni-moderation-latest' }, [404, 'model_not_found', 'model']]
  ])('are refused for %j', async (body, expected) => {
    expect(await refusalOf(provider.client.moderations.create(body as never))).toEqual(expected)
  })
})
