import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals'
import { ApiError, createFalClient } from '@fal-ai/client'
import OpenAI from 'openai'
import { type Answer, Cleanup, type RunningRouter, until } from '../unit/router/harness.js'
import { all, local, routerFor, untilQuiet } from './setup.js'
import { type Fal, startFal } from './upstreams/fal.js'
import * as faults from './upstreams/faults.js'
import { startOpenai } from './upstreams/openai.js'
import type { Upstream } from './upstreams/upstream.js'

const cleanup = new Cleanup()
afterAll(() => cleanup.run())

let fal: Fal
let openai: Upstream
let router: RunningRouter

beforeAll(async () => {
  fal = await startFal(cleanup)
  openai = await startOpenai(cleanup)
  router = await routerFor(
    cleanup,
    {
      openai: local(openai),
      fal: { baseUrl: fal.queue.origin, syncUrl: fal.sync.origin, allowPrivate: true }
    },
    { FAL_KEY: 'fal-key' }
  )
})

afterEach(async () => {
  await untilQuiet(router, fal.queue, fal.sync)
  for (const { calls } of [fal.queue, fal.sync]) calls.length = 0
})

/** The package in its proxy mode, which outside of browsers has to be asked for. */
const client = () =>
  createFalClient({
    proxyUrl: { url: `${router.url}/providers/fal`, when: 'always' } as never,
    retry: { maxRetries: 0 }
  })

const places = ({ calls }: Upstream) => calls.map(({ method, url }) => `${method} ${url}`)

describe("fal's own package over its proxy", () => {
  it('streams what a model says', async () => {
    const stream = await client().stream('fal-ai/any-llm', { input: { prompt: 'x' } })
    expect(await all(stream as AsyncIterable<unknown>)).toEqual([
      { output: 'a', partial: true },
      { output: 'a b', partial: true },
      { output: 'a b c', partial: false }
    ])
    expect(await stream.done()).toEqual({ output: 'a b c', partial: false })
    expect(stream.requestId).toBe('f-sync')
    expect(places(fal.sync)).toEqual(['POST /fal-ai/any-llm/stream'])
    expect(fal.sync.calls[0]?.headers).toMatchObject({
      accept: expect.stringContaining('text/event-stream'),
      authorization: 'Key fal-key'
    })
  })

  it('leaves a stream in the middle, and fal is told', async () => {
    const before = fal.sync.brokenOff()
    fal.sync.faults.push(faults.stall)
    const stream = await client().stream('fal-ai/any-llm', { input: { prompt: 'x' } })
    stream.on('data', () => stream.abort())
    await stream.done()
    await until(() => fal.sync.brokenOff() === before + 1)
  })

  it('hears that a stream broke off', async () => {
    let begin: (value: unknown) => void = () => undefined
    fal.sync.faults.push(faults.resetInStream(new Promise((resolve) => (begin = resolve))))
    const stream = await client().stream('fal-ai/any-llm', { input: { prompt: 'x' } })
    stream.on('data', begin)
    await expect(stream.done()).rejects.toBeInstanceOf(ApiError)
  })

  it('follows a request by a stream of its states', async () => {
    const { request_id: requestId } = await client().queue.submit('fal-ai/flux/dev', {
      input: { prompt: 'a cat' },
      priority: 'low',
      hint: 'lora:cats',
      headers: { 'x-fal-store-io': '0', 'x-app-fal-disable-fallback': 'true', 'x-private': '1' }
    })
    expect(fal.queue.calls[0]?.headers).toMatchObject({
      'x-fal-queue-priority': 'low',
      'x-fal-runner-hint': 'lora:cats',
      'x-fal-store-io': '0',
      'x-app-fal-disable-fallback': 'true'
    })
    expect(fal.queue.calls[0]?.headers).not.toHaveProperty('x-private')
    const states = await client().queue.streamStatus('fal-ai/flux/dev', { requestId, logs: true })
    expect((await all(states as AsyncIterable<Answer>)).map(({ status }) => status)).toEqual([
      'IN_QUEUE',
      'IN_PROGRESS',
      'COMPLETED'
    ])
    expect(places(fal.queue).at(-1)).toBe(`GET /fal-ai/flux/requests/${requestId}/status/stream?logs=1`)
    const updates: string[] = []
    const { data } = await client().subscribe('fal-ai/flux/dev', {
      input: { prompt: 'a cat' },
      mode: 'streaming',
      onQueueUpdate: ({ status }) => updates.push(status)
    })
    expect(updates).toEqual(['IN_QUEUE', 'IN_PROGRESS', 'COMPLETED'])
    expect((data as Answer).input).toEqual({ prompt: 'a cat' })
  })

  it('cancels a request, and hears when it is too late', async () => {
    const { request_id: requestId } = await client().queue.submit('fal-ai/flux/dev', { input: { prompt: 'a cat' } })
    await client().queue.cancel('fal-ai/flux/dev', { requestId })
    expect(places(fal.queue).at(-1)).toBe(`PUT /fal-ai/flux/requests/${requestId}/cancel`)
    await expect(client().queue.cancel('fal-ai/flux/dev', { requestId })).rejects.toMatchObject({ status: 400 })
  })

  it('hears what fal says of a wrong input', async () => {
    const call = client().run('fal-ai/flux/dev', { input: {} as Answer })
    await expect(call).rejects.toMatchObject({ status: 422, fieldErrors: [{ msg: 'field required' }] })
  })
})

describe('a redirect of the host for synchronous calls', () => {
  it('is refused, because its paths have no name here', async () => {
    fal.sync.faults.push({
      when: 'body',
      act: (response) => void response.writeHead(307, { location: '/fal-ai/other' }).end()
    })
    // Not the package, which would ask again.
    const answer = await fetch(`${router.url}/providers/fal`, {
      method: 'POST',
      redirect: 'manual',
      headers: { 'content-type': 'application/json', 'x-fal-target-url': 'https://fal.run/fal-ai/flux/dev' },
      body: '{"prompt":"a cat"}'
    })
    expect({ status: answer.status, json: await answer.json() }).toMatchObject({
      status: 502,
      json: { error: { code: 'redirect_refused' } }
    })
  })
})

describe('the plain calls of fal’s documentation', () => {
  const call = async (method: string, path: string, headers: Record<string, string> = {}, body?: string) => {
    const answer = await fetch(`${router.url}/providers/fal${path}`, { method, headers, ...(body && { body }) })
    return { status: answer.status, json: await answer.json() }
  }

  it('submit, follow, fetch and cancel with a key of the caller', async () => {
    const own = { authorization: 'Key fal-key' }
    const { status, json } = await call(
      'POST',
      '/fal-ai/flux/dev?fal_webhook=https%3A%2F%2Fhook.example%2Fx',
      { ...own, 'content-type': 'application/json' },
      '{"prompt":"a cat"}'
    )
    expect({ status, json }).toMatchObject({ status: 200, json: { status: 'IN_QUEUE' } })
    const requests = `/fal-ai/flux/requests/${json.request_id}`
    const statuses = []
    for (let i = 0; i < 3; i++) statuses.push((await call('GET', `${requests}/status?logs=1`, own)).json.status)
    expect(statuses).toEqual(['IN_QUEUE', 'IN_PROGRESS', 'COMPLETED'])
    expect((await call('GET', requests, own)).json.input).toEqual({ prompt: 'a cat' })
    expect(await call('PUT', `${requests}/cancel`, own)).toMatchObject({
      status: 202,
      json: { status: 'CANCELLATION_REQUESTED' }
    })
    expect(places(fal.queue)[0]).toBe('POST /fal-ai/flux/dev?fal_webhook=https%3A%2F%2Fhook.example%2Fx')
    expect((await call('GET', requests, { authorization: 'Key wrong' })).status).toBe(401)
  })

  it('work without a key of the caller too, whose request id is the only way to a request', async () => {
    const { json } = await call('POST', '/fal-ai/flux/dev', { 'content-type': 'application/json' }, '{"prompt":"x"}')
    expect((await call('GET', `/fal-ai/flux/requests/${json.request_id}/status`)).status).toBe(202)
    expect((await call('GET', '/fal-ai/flux/requests/r-nosuch/status')).status).toBe(404)
  })
})

describe('the openai package and images of fal', () => {
  const openaiClient = () =>
    new OpenAI({ baseURL: `${router.url}/v1`, apiKey: 'none', defaultHeaders: { authorization: null }, maxRetries: 2 })

  it('come as links and as data, also from a fal that compresses what may be compressed', async () => {
    const request = { model: 'fal:fal-ai/flux/dev', prompt: 'a cat' }
    const linked = await openaiClient().images.generate({ ...request, response_format: 'url' })
    expect(linked.data).toEqual([{ url: 'https://v3.fal.media/a.png' }])
    const data = await openaiClient().images.generate({ ...request, response_format: 'b64_json', size: '1024x1024' })
    expect(data.data).toEqual([{ b64_json: 'iVBORw0KGgo=' }])
    expect(fal.sync.calls.map(({ headers }) => headers['accept-encoding'])).toEqual(['identity', 'identity'])
  })

  it('are an error when they come compressed all the same', async () => {
    fal.sync.faults.push({
      when: 'body',
      act: (response) => void response.writeHead(200, { 'content-encoding': 'gzip' }).end('\x1f\x8b')
    })
    const single = new OpenAI({ baseURL: `${router.url}/v1`, apiKey: 'fal-key', maxRetries: 0 })
    const call = single.images.generate({ model: 'fal:fal-ai/flux/dev', prompt: 'a cat' })
    await expect(call).rejects.toMatchObject({ status: 502, code: 'upstream_encoded' })
  })

  it('are not made again by the package when the model made something else', async () => {
    fal.sync.faults.push({
      when: 'body',
      act: (response) => void response.writeHead(200).end('{"video":{"url":"https://v3.fal.media/a.mp4"}}')
    })
    const call = openaiClient().images.generate({ model: 'fal:fal-ai/veo3', prompt: 'a cat' })
    await expect(call).rejects.toMatchObject({ status: 502, code: 'upstream_not_json' })
    expect(fal.sync.calls).toHaveLength(1)
  })
})
