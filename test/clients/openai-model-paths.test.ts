import { afterAll, describe, expect, it } from '@jest/globals'
import OpenAI from 'openai'
import { Cleanup } from '../unit/router/harness.js'
import { local, routerFor, untilQuiet } from './setup.js'
import { refuse } from './upstreams/faults.js'
import { startOpenai } from './upstreams/openai.js'

const cleanup = new Cleanup()
afterAll(() => cleanup.run())

describe('calls of a model that stand below an account’s paths', () => {
  it('go where the model says, and may use the router’s key', async () => {
    const [upstream, other] = await Promise.all([startOpenai(cleanup), startOpenai(cleanup)])
    const router = await routerFor(
      cleanup,
      { other: local(other), openai: local(upstream) },
      { OPENAI_API_KEY: 'sk-operator' }
    )
    const client = new OpenAI({
      baseURL: `${router.url}/v1`,
      apiKey: 'none',
      defaultHeaders: { authorization: null },
      maxRetries: 0
    })
    const request = { model: 'openai:gpt-5', input: 'x' } as const
    for (const act of [
      () => client.responses.compact(request),
      () => client.responses.inputTokens.count(request),
      () => client.post('/messages/count_tokens', { body: request })
    ]) {
      upstream.faults.push(refuse(418))
      await expect(act()).rejects.toMatchObject({ status: 418 })
    }
    expect(upstream.calls.map(({ method, url, body }) => [method, url, JSON.parse(body.toString()).model])).toEqual([
      ['POST', '/v1/responses/compact', 'gpt-5'],
      ['POST', '/v1/responses/input_tokens', 'gpt-5'],
      ['POST', '/v1/messages/count_tokens', 'gpt-5']
    ])
    expect(upstream.calls.map(({ headers }) => headers.authorization)).toEqual(Array(3).fill('Bearer sk-operator'))
    await untilQuiet(router, upstream, other)
  })
})
