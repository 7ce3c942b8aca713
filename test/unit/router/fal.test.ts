import type { IncomingHttpHeaders, RequestListener } from 'node:http'
import { afterEach, describe, expect, it } from '@jest/globals'
import { createFalClient } from '@fal-ai/client'
import { type Answer, Cleanup, fakeSidecar, post, readAll, serve, startRouter } from './harness.js'

const cleanup = new Cleanup()
afterEach(() => cleanup.run())

interface Seen {
  readonly place: string
  readonly headers: IncomingHttpHeaders
  readonly body: Answer
}

/** A fal of this machine: a queue on one server and synchronous calls on another. */
async function fal(answer: (seen: Seen) => { status?: number; json: unknown }) {
  const seen: Seen[] = []
  const listener =
    (host: string): RequestListener =>
    (request, response) => {
      void readAll(request).then((body) => {
        const text = body.toString()
        const call = {
          place: `${request.method} ${host}${request.url}`,
          headers: request.headers,
          body: text === '' ? undefined : JSON.parse(text)
        }
        seen.push(call)
        const { status = 200, json } = answer(call)
        response.writeHead(status, { 'content-type': 'application/json', 'x-fal-request-id': 'f-1' })
        response.end(JSON.stringify(json))
      })
    }
  const [sidecar, queue, sync] = await Promise.all([
    fakeSidecar(cleanup),
    serve(cleanup, listener('queue')),
    serve(cleanup, listener('sync'))
  ])
  const router = await startRouter(cleanup, {
    SKR_URL: sidecar.url,
    FAL_KEY: 'fal-key',
    CONFROUTER_RETRIES: '0',
    CONFROUTER_PROVIDERS: JSON.stringify({ fal: { baseUrl: queue, syncUrl: sync, allowPrivate: true } })
  })
  return { ...router, seen }
}

const images = { images: [{ url: 'https://v3.fal.media/a.png', width: 1024, height: 768 }], seed: 7 }

describe("fal's own client in proxy mode", () => {
  const statuses = ['IN_QUEUE', 'IN_PROGRESS', 'COMPLETED']
  const queue = ({ place }: Seen) => {
    if (place.includes('/status'))
      return { json: { status: statuses.shift() ?? 'COMPLETED', request_id: 'r-1', logs: [] } }
    if (place.includes('/requests/r-1')) return { json: images }
    return { json: { request_id: 'r-1', status: 'IN_QUEUE' } }
  }

  it('submits to the queue, follows it, and gets the result', async () => {
    const router = await fal(queue)
    const client = createFalClient({ proxyUrl: { url: `${router.url}/providers/fal`, when: 'always' } as never })
    const result = await client.subscribe('fal-ai/flux/dev', { input: { prompt: 'a cat' }, pollInterval: 10 })
    expect(result).toMatchObject({ data: images, requestId: 'f-1' })
    expect(router.seen.map(({ place }) => place.replace(/\?.*/, ''))).toEqual([
      'POST queue/fal-ai/flux/dev',
      'GET queue/fal-ai/flux/requests/r-1/status',
      'GET queue/fal-ai/flux/requests/r-1/status',
      'GET queue/fal-ai/flux/requests/r-1/status',
      'GET queue/fal-ai/flux/requests/r-1'
    ])
    expect(router.seen[0]).toMatchObject({ body: { prompt: 'a cat' }, headers: { authorization: 'Key fal-key' } })
  })

  it('runs a model at once', async () => {
    const router = await fal(() => ({ json: images }))
    const client = createFalClient({ proxyUrl: { url: `${router.url}/providers/fal`, when: 'always' } as never })
    expect((await client.run('fal-ai/flux/schnell', { input: { prompt: 'a cat' } })).data).toEqual(images)
    expect(router.seen.map(({ place }) => place)).toEqual(['POST sync/fal-ai/flux/schnell'])
    expect(router.seen[0]?.headers).not.toHaveProperty('x-fal-target-url')
  })

  it.each([
    'https://elsewhere.example/fal-ai/flux',
    'http://fal.run/fal-ai/flux',
    'https://fal.run.elsewhere.example/x',
    'https://fal.run:8443/x',
    'https://rest.fal.ai/tokens/',
    'https://fal.run/a%2f..%2fb',
    'fal.run/x',
    ''
  ])('cannot be led to %s', async (target) => {
    const router = await fal(() => ({ json: {} }))
    const { status } = await post(`${router.url}/providers/fal`, {}, { 'x-fal-target-url': target })
    expect(status).toBe(400)
    const { status: withPath } = await post(
      `${router.url}/providers/fal/x`,
      {},
      { 'x-fal-target-url': 'https://fal.run/x' }
    )
    expect(withPath).toBe(400)
    expect(router.seen).toEqual([])
  })
})

describe('images of fal on /v1/images/generations', () => {
  const generate = (url: string, request: object) =>
    post(`${url}/v1/images/generations`, { model: 'fal:fal-ai/flux/dev', ...request })

  it('have the form of OpenAI', async () => {
    const router = await fal(() => ({ json: images }))
    const { status, json, headers } = await generate(router.url, {
      prompt: 'a cat',
      n: 2,
      size: '1024x768',
      quality: 'high',
      user: 'u',
      seed: 7
    })
    expect({ status, json }).toEqual({
      status: 200,
      json: { created: expect.any(Number), data: [{ url: 'https://v3.fal.media/a.png' }] }
    })
    expect(headers.get('x-request-id')).toBe('f-1')
    expect(router.seen[0]).toMatchObject({
      place: 'POST sync/fal-ai/flux/dev',
      headers: { authorization: 'Key fal-key' },
      body: { prompt: 'a cat', num_images: 2, image_size: { width: 1024, height: 768 }, seed: 7 }
    })
    expect(Object.keys(router.seen[0]?.body)).toHaveLength(4)
  })

  it('come as base64 when that is asked for', async () => {
    const router = await fal(() => ({ json: { image: { url: 'data:image/png;base64,aGVsbG8=' } } }))
    const { json } = await generate(router.url, { prompt: 'x', response_format: 'b64_json', size: 'auto' })
    expect(json.data).toEqual([{ b64_json: 'aGVsbG8=' }])
    expect(router.seen[0]?.body).toEqual({ prompt: 'x', sync_mode: true })
  })

  it.each<[string, number, unknown, string]>([
    ['a text', 403, { detail: 'no balance' }, 'no balance'],
    ['a list', 422, { detail: [{ loc: ['body', 'prompt'], msg: 'field required' }] }, 'body.prompt: field required'],
    ['nothing', 500, {}, 'the provider refused the request']
  ])('have errors of OpenAI’s form when fal says %s', async (_, code, answer, message) => {
    const router = await fal(() => ({ status: code, json: answer }))
    const { status, json } = await generate(router.url, { prompt: 'x' })
    expect({ status, message: json.error.message }).toEqual({ status: code, message })
  })

  it.each([
    [{ prompt: 'x', size: 'big' }, 400, 'invalid_request'],
    [{ prompt: 'x', stream: true }, 400, 'stream_not_supported'],
    [{ prompt: 'x', model: 'fal:../admin' }, 400, 'invalid_model'],
    [{ prompt: 'x', model: 'fal:flux' }, 400, 'invalid_model']
  ])('are refused as %j', async (request, expected, code) => {
    const router = await fal(() => ({ json: images }))
    const { status, json } = await generate(router.url, request)
    expect({ status, code: json.error.code }).toEqual({ status: expected, code })
    expect(router.seen).toEqual([])
  })

  it.each([
    [{ response_format: 'b64_json' }, { images: [{ url: 'https://x.example/a.png' }] }, 400, 'unsupported_by_provider'],
    [{}, { video: { url: 'https://x.example/a.mp4' } }, 502, 'upstream_not_json']
  ])('are an error where the model gives none: %j', async (request, answer, expected, code) => {
    const router = await fal(() => ({ json: answer }))
    const { status, json } = await generate(router.url, { prompt: 'x', ...request })
    expect({ status, code: json.error.code }).toEqual({ status: expected, code })
  })
})
