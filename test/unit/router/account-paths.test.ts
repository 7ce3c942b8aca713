import type { RequestListener } from 'node:http'
import { afterEach, describe, expect, it } from '@jest/globals'
import { type Answer, Cleanup, fakeSidecar, readAll, serve, startRouter } from './harness.js'

const cleanup = new Cleanup()
afterEach(() => cleanup.run())

async function router(environment = {}) {
  const seen: Answer[] = []
  const listener: RequestListener = (request, response) => {
    void readAll(request).then((body) => {
      const { authorization, 'content-length': length } = request.headers
      seen.push({ place: `${request.method} ${request.url}`, authorization, length, body })
      response.setHeader('content-type', 'application/json').end('{"id":"x"}')
    })
  }
  const [sidecar, origin] = await Promise.all([fakeSidecar(cleanup), serve(cleanup, listener)])
  const local = { baseUrl: `${origin}/v1`, allowPrivate: true }
  const running = await startRouter(cleanup, {
    SKR_URL: sidecar.url,
    OPENAI_API_KEY: 'sk-operator',
    CONFROUTER_PROVIDERS: JSON.stringify({ openai: local, mine: { ...local, auth: 'none' } }),
    ...environment
  })
  const call = async (method: string, path: string, headers = {}, body?: string | FormData) => {
    const answer = await fetch(`${running.url}${path}`, { method, headers, body: body ?? null })
    return { status: answer.status, json: await answer.json() }
  }
  return { ...running, seen, call }
}

const own = { authorization: 'Bearer sk-own' }

describe('what an account holds', () => {
  it.each([
    ['POST', '/v1/files'],
    ['GET', '/v1/files/file-1/content'],
    ['DELETE', '/v1/files/file-1'],
    ['GET', '/v1/responses/resp_1?stream=false'],
    ['POST', '/v1/responses/resp_1/cancel'],
    ['GET', '/v1/chat/completions/c-1/messages'],
    ['POST', '/v1/uploads/u-1/parts'],
    ['GET', '/v1/batches'],
    ['POST', '/v1/vector_stores/vs_1/search'],
    ['POST', '/v1/conversations'],
    ['POST', '/v1/realtime/client_secrets']
  ])(
    '%s %s goes to the default provider with the key of the caller, and never with the operator’s',
    async (method, path) => {
      const { call, seen } = await router()
      expect((await call(method, path, own)).status).toBe(200)
      expect(seen).toMatchObject([{ place: `${method} ${path}`, authorization: 'Bearer sk-own' }])
      expect(await call(method, path)).toMatchObject({ status: 403, json: { error: { code: 'own_key_required' } } })
      expect(seen).toHaveLength(1)
    }
  )

  it('is not there on other paths', async () => {
    const { call, seen } = await router()
    for (const path of ['/v1/organization/users', '/v1/admin', '/v1/files/../organization', '/v1/filesx']) {
      expect((await call('GET', path, own)).status).toBe(404)
    }
    expect((await call('GET', '/v1/files/..%2forganization', own)).status).toBe(400)
    expect(seen).toEqual([])
  })
})

describe('GET /v1/models/{model}', () => {
  it('asks the provider that the name begins with', async () => {
    const { call, seen } = await router()
    for (const path of ['mine:gpt-4o', 'mine%3Agpt-4o', 'mine/gpt-4o', 'mine:org/gpt%204']) {
      expect((await call('GET', `/v1/models/${path}`)).status).toBe(200)
    }
    expect(seen.map(({ place }) => place)).toEqual([
      'GET /v1/models/gpt-4o',
      'GET /v1/models/gpt-4o',
      'GET /v1/models/gpt-4o',
      'GET /v1/models/org/gpt%204'
    ])
    expect((await call('GET', '/v1/models/nosuch:x')).status).toBe(404)
    expect((await call('GET', '/v1/models/mine:%2e%2e')).status).toBe(400)
    expect((await call('GET', '/v1/models/%ff')).status).toBe(400)
  })
})

describe('a form', () => {
  const form = (first: 'file' | 'model', model?: string) => {
    const data = new FormData()
    const file = new File(['RIFF'.repeat(100)], 'a.wav', { type: 'audio/wav' })
    if (first === 'file') data.set('file', file)
    if (model !== undefined) data.set('model', model)
    if (first === 'model') data.set('file', file)
    return data
  }

  it.each(['file', 'model'] as const)(
    'with its %s first goes where its model says, without the prefix',
    async (first) => {
      const { call, seen } = await router()
      for (const [model, authorization] of [
        ['mine:whisper-1', undefined],
        ['openai/whisper-1', 'Bearer sk-operator'],
        ['whisper-1', 'Bearer sk-operator']
      ] as const) {
        seen.length = 0
        expect((await call('POST', '/v1/audio/transcriptions', {}, form(first, model))).status).toBe(200)
        const [{ body, ...rest }] = seen
        expect(rest).toEqual({
          place: 'POST /v1/audio/transcriptions',
          authorization,
          length: String(body.length)
        })
        const boundary = /^--([^\r]+)/.exec(body.toString())?.[1]
        const sent = await new Response(body, {
          headers: { 'content-type': `multipart/form-data; boundary=${boundary}` }
        }).formData()
        expect(sent.get('model')).toBe('whisper-1')
        expect(await (sent.get('file') as File).text()).toBe('RIFF'.repeat(100))
      }
    }
  )

  it('without a model goes to the default provider, and one of an unknown provider nowhere', async () => {
    const { call, seen } = await router()
    expect((await call('POST', '/v1/images/edits', {}, form('file'))).status).toBe(200)
    expect(seen).toMatchObject([{ place: 'POST /v1/images/edits', authorization: 'Bearer sk-operator' }])
    expect(await call('POST', '/v1/images/edits', {}, form('file', 'nosuch:x'))).toMatchObject({
      status: 404,
      json: { error: { code: 'unknown_provider' } }
    })
    expect(seen).toHaveLength(1)
  })

  it('that is malformed, or holds more than it may before its model, is refused', async () => {
    const { call, seen, context } = await router({
      CONFROUTER_MAX_BODY_BYTES: '65536',
      CONFROUTER_MAX_BUFFERED_BYTES: '65536'
    })
    const type = { 'content-type': 'multipart/form-data; boundary=b' }
    expect(await call('POST', '/v1/audio/transcriptions', type, '--b\r\nno header')).toMatchObject({
      status: 400,
      json: { error: { code: 'invalid_multipart' } }
    })
    const large = new FormData()
    large.set('file', new File(['x'.repeat(300_000)], 'a.wav'))
    large.set('model', 'whisper-1')
    expect(await call('POST', '/v1/audio/transcriptions', {}, large)).toMatchObject({ status: 503 })
    const other = new FormData()
    other.set('model', 'whisper-1')
    other.set('file', new File(['x'.repeat(300_000)], 'a.wav'))
    expect((await call('POST', '/v1/audio/transcriptions', {}, other)).status).toBe(200)
    expect(seen).toHaveLength(1)
    expect(context.buffers.inside).toBe(0)
  })
})
