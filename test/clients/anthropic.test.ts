import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals'
import OpenAI from 'openai'
import { type Answer, Cleanup, type RunningRouter } from '../unit/router/harness.js'
import { createSealingFetch } from './sealing-fetch.js'
import { all, local, routerFor, untilQuiet } from './setup.js'
import { startAnthropic } from './upstreams/anthropic.js'
import { startOpenai } from './upstreams/openai.js'
import type { Upstream } from './upstreams/upstream.js'

const cleanup = new Cleanup()
afterAll(() => cleanup.run())

let anthropic: Upstream
let openai: Upstream
let router: RunningRouter

beforeAll(async () => {
  anthropic = await startAnthropic(cleanup)
  openai = await startOpenai(cleanup)
  router = await routerFor(cleanup, { openai: local(openai, { auth: 'none' }), anthropic: local(anthropic) })
})

afterEach(async () => {
  await untilQuiet(router, anthropic)
  anthropic.calls.length = 0
})

const request = {
  model: 'anthropic:claude-sonnet-4-5',
  max_tokens: 10,
  messages: [{ role: 'user', content: 'hi there' }]
}
/** As Anthropic's own SDKs send them. */
const own = { 'x-api-key': 'sk-ant', 'anthropic-version': '2023-06-01', 'anthropic-beta': 'b-1' }

async function send(path: string, body: object, headers: Record<string, string>, by = fetch) {
  return by(`${router.url}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body)
  })
}

describe("Anthropic's messages", () => {
  it.each([
    ['/v1/messages', request.model],
    ['/providers/anthropic/messages', 'claude-sonnet-4-5']
  ])('are answered at %s', async (path, model) => {
    const answer = await send(path, { ...request, model }, own)
    expect(answer.headers.get('request-id')).toBe('req_anthropic')
    expect(await answer.json()).toMatchObject({
      model: 'claude-sonnet-4-5',
      content: [{ type: 'text', text: 'You said: hi there' }]
    })
    expect(anthropic.calls[0]).toMatchObject({ url: '/v1/messages', headers: own })
    expect(anthropic.calls[0]?.headers).not.toHaveProperty('authorization')
  })

  it('stream with the names of their events', async () => {
    const answer = await send('/v1/messages', { ...request, stream: true }, own)
    expect([...(await answer.text()).matchAll(/^event: (.*)\ndata: (.*)\n$/gm)].map(([, name]) => name)).toEqual([
      'message_start',
      'content_block_start',
      'ping',
      ...Array<string>(4).fill('content_block_delta'),
      'content_block_stop',
      'message_delta',
      'message_stop'
    ])
  })

  it('take a key that was sent as other SDKs send it', async () => {
    const client = new OpenAI({
      baseURL: `${router.url}/v1`,
      apiKey: 'sk-ant',
      defaultHeaders: { 'anthropic-version': '2023-06-01' },
      maxRetries: 0
    })
    const stream: AsyncIterable<Answer> = await client.post('/messages', {
      body: { ...request, stream: true },
      stream: true
    })
    const events = await all(stream)
    expect(events.map(({ delta }) => delta?.text ?? '').join('')).toBe('You said: hi there')
    expect(anthropic.calls[0]?.headers).toMatchObject({ 'x-api-key': 'sk-ant' })
    expect(anthropic.calls[0]?.headers).not.toHaveProperty('authorization')
  })

  it('have errors in the form of Anthropic', async () => {
    const wrong = await send('/v1/messages', request, { ...own, 'x-api-key': 'wrong' })
    expect({ status: wrong.status, json: await wrong.json() }).toEqual({
      status: 401,
      json: { type: 'error', error: { type: 'authentication_error', message: 'invalid x-api-key' } }
    })
  })

  it('have a version also when the client, one of OpenAI for instance, sends none', async () => {
    const { 'anthropic-version': _, ...versionless } = own
    expect((await send('/v1/messages', request, versionless)).status).toBe(200)
  })

  it('are answered sealed', async () => {
    const sealing = await createSealingFetch(router.url)
    const { 'x-api-key': key, ...others } = own
    const answer = await send('/v1/messages', request, { ...others, authorization: `Bearer ${key}` }, sealing.fetch)
    expect(await answer.json()).toMatchObject({ content: [{ text: 'You said: hi there' }] })
    expect(anthropic.calls[0]).toMatchObject({ headers: own })
    expect(await sealing.calls[0]?.receipt).toMatchObject({
      upstream: { provider: 'anthropic', origin: anthropic.origin },
      model: 'claude-sonnet-4-5'
    })
  })

  it('are among the models that are listed, with a version that nobody had to give', async () => {
    const client = new OpenAI({ baseURL: `${router.url}/v1`, apiKey: 'none', maxRetries: 0 })
    router.context.state.providerKeys = new Map([['anthropic', 'sk-ant']])
    const keyless = client.withOptions({ defaultHeaders: { authorization: null } })
    expect((await all(keyless.models.list())).map(({ id }) => id)).toEqual([
      'openai:gpt-4o-mini',
      'openai:whisper-1',
      'anthropic:claude-sonnet-4-5'
    ])
  })
})
