import { createHash } from 'node:crypto'
import { once } from 'node:events'
import http, { type IncomingHttpHeaders, type RequestListener, type ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it } from '@jest/globals'
import { sendJson, serveTls } from '../client/loopback.js'
import type { Dispatcher } from 'undici'
import { forward } from '../../../src/router/forward.js'
import type { Reply } from '../../../src/router/reply.js'
import {
  type Answer,
  Cleanup,
  fakeSidecar,
  oneProvider,
  post,
  readAll,
  type RunningRouter,
  serve,
  startRouter,
  until
} from './harness.js'

const cleanup = new Cleanup()
afterEach(() => cleanup.run())

type Options = Parameters<typeof startRouter>[2]

async function routerTo(listener: RequestListener, settings: object = {}, environment = {}, options: Options = {}) {
  const [sidecar, origin] = await Promise.all([fakeSidecar(cleanup), serve(cleanup, listener)])
  return startRouter(
    cleanup,
    { SKR_URL: sidecar.url, CONFROUTER_PROVIDERS: oneProvider(origin, settings), ...environment },
    options
  )
}

const chat = { model: 'test:echo', messages: [{ role: 'user', content: 'hi' }] }
const own = { authorization: 'Bearer sk-own' }

/** A request whose answer can be watched as it comes. */
async function stream(url: string, body: unknown = chat): Promise<http.IncomingMessage> {
  const request = http.request(url, { method: 'POST', headers: { ...own, 'content-type': 'application/json' } })
  request.on('error', () => undefined)
  request.end(JSON.stringify(body))
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  response.on('error', () => undefined)
  return response
}

const closed = (answer: http.IncomingMessage) => new Promise((resolve) => answer.once('close', resolve))

describe('forwarding', () => {
  it('sends the path, the query and the body, without the prefix, to the base URL', async () => {
    let seen: Answer
    const router = await routerTo((request, response) => {
      void readAll(request).then((body) => {
        seen = { method: request.method, url: request.url, headers: request.headers, body: body.toString() }
        response.writeHead(200, { 'content-type': 'application/json', 'x-request-id': 'up-1' }).end('{"ok":true}')
      })
    })
    const { status, json, headers } = await post(`${router.url}/v1/chat/completions?a=b`, chat, {
      ...own,
      cookie: 'x=y',
      'x-forwarded-for': '1.2.3.4'
    })
    expect({ status, json }).toEqual({ status: 200, json: { ok: true } })
    expect(headers.get('x-request-id')).toBe('up-1')
    expect(headers.get('x-confrouter-request-id')).toMatch(/^[0-9a-f-]{36}$/)
    expect(seen).toMatchObject({ method: 'POST', url: '/base/chat/completions?a=b' })
    expect(JSON.parse(seen.body)).toEqual({ ...chat, model: 'echo' })
    const { host: _, ...rest } = seen.headers as IncomingHttpHeaders
    expect(rest).toEqual({
      connection: 'keep-alive',
      accept: '*/*',
      'accept-encoding': 'gzip, deflate',
      'accept-language': '*',
      'content-type': 'application/json',
      'content-length': String(seen.body.length),
      'user-agent': 'confrouter',
      authorization: 'Bearer sk-own'
    })
    await until(() => router.requestLines().length === 1)
    expect(router.requestLines()).toEqual([
      {
        level: 'info',
        time: expect.stringMatching(/Z$/),
        id: headers.get('x-confrouter-request-id'),
        method: 'POST',
        route: '/v1/chat/completions',
        provider: 'test',
        status: 200,
        upstreamStatus: 200,
        bytesIn: JSON.stringify(chat).length,
        bytesOut: 11,
        firstByteMs: expect.any(Number),
        durationMs: expect.any(Number),
        outcome: 'ok',
        msg: 'request'
      }
    ])
  })

  it('passes errors of the provider through with their status', async () => {
    const router = await routerTo((_, response) =>
      response.writeHead(429, { 'retry-after': '7', 'content-type': 'application/json' }).end('{"error":{"code":"x"}}')
    )
    const { status, headers, json } = await post(`${router.url}/v1/embeddings`, { model: 'm' }, own)
    expect({ status, retryAfter: headers.get('retry-after'), json }).toEqual({
      status: 429,
      retryAfter: '7',
      json: { error: { code: 'x' } }
    })
  })

  it('forwards each event as it comes, the status before the first one', async () => {
    let upstream: ServerResponse | undefined
    const router = await routerTo((_, response) => {
      upstream = response.writeHead(200, { 'content-type': 'text/event-stream' })
      upstream.flushHeaders()
    })
    const answer = await stream(`${router.url}/v1/chat/completions`)
    expect(answer.statusCode).toBe(200)
    expect(answer.headers['content-type']).toBe('text/event-stream')
    for (const event of ['data: 1\n\n', 'data: 2\n\n', 'data: [DONE]\n\n']) {
      const sentAt = performance.now()
      upstream?.write(event)
      const [chunk] = (await once(answer, 'data')) as [Buffer]
      expect(chunk.toString()).toBe(event)
      expect(performance.now() - sentAt).toBeLessThan(250)
    }
    upstream?.end()
    await once(answer, 'end')
  })

  it('breaks the connection when the provider breaks off in the middle', async () => {
    const router = await routerTo((_, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n')
      setTimeout(() => response.destroy(), 20)
    })
    const answer = await stream(`${router.url}/v1/chat/completions`)
    let text = ''
    answer.on('data', (chunk: Buffer) => (text += chunk.toString()))
    await closed(answer)
    expect(answer.complete).toBe(false)
    expect(text).toBe('data: 1\n\n')
    await until(() => router.requestLines().length === 1)
    expect(router.requestLines()[0]).toMatchObject({ outcome: 'upstream_broke_off', upstreamStatus: 200 })
  })

  it('breaks the connection when the answer is shorter than its length', async () => {
    const router = await routerTo((_, response) => {
      response.writeHead(200, { 'content-length': '100' }).write('short')
      setTimeout(() => response.destroy(), 20)
    })
    const answer = await stream(`${router.url}/v1/chat/completions`)
    answer.resume()
    await closed(answer)
    expect(answer.complete).toBe(false)
  })

  it('aborts the call to the provider when the caller goes away', async () => {
    let closed = false
    const router = await routerTo((_, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n')
      response.once('close', () => (closed = true))
    })
    const answer = await stream(`${router.url}/v1/chat/completions`)
    await once(answer, 'data')
    answer.destroy()
    await until(() => closed)
    await until(() => router.requestLines().length === 1)
    expect(router.requestLines()[0]).toMatchObject({ outcome: 'caller_gone' })
    await until(() => router.context.calls.inside === 0)
  })

  it('aborts the call to the provider when the caller goes away before there is an answer', async () => {
    let upstreamClosed = false
    let arrived = false
    const router = await routerTo((request) => {
      arrived = true
      request.socket.once('close', () => (upstreamClosed = true))
    })
    const request = http.request(`${router.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { ...own, 'content-type': 'application/json' }
    })
    request.on('error', () => undefined)
    request.end(JSON.stringify(chat))
    await until(() => arrived)
    request.destroy()
    await until(() => upstreamClosed)
    await until(() => router.requestLines().length === 1)
    expect(router.requestLines()[0]).toMatchObject({ outcome: 'caller_gone' })
  })

  it('stops reading from the provider while the caller does not read', async () => {
    let written = 0
    let stopped = false
    const router = await routerTo((_, response) => {
      response.writeHead(200, { 'content-type': 'application/octet-stream' })
      const chunk = Buffer.alloc(64 * 1024)
      const write = () => {
        while (written < 200e6) {
          written += chunk.length
          if (!response.write(chunk)) {
            stopped = true
            response.once('drain', write)
            return
          }
        }
        response.end()
      }
      write()
    })
    const answer = await stream(`${router.url}/v1/chat/completions`)
    await until(() => stopped)
    await sleep(200)
    const afterWhile = written
    await sleep(200)
    expect(written).toBe(afterWhile)
    expect(written).toBeLessThan(50e6)
    answer.resume()
    await until(() => written > afterWhile)
    answer.destroy()
  })

  it('gives up a caller that does not read for too long', async () => {
    const router = await routerTo(
      (_, response) => {
        response.writeHead(200)
        const chunk = Buffer.alloc(1024 * 1024)
        const write = () => {
          while (response.write(chunk));
          response.once('drain', write)
        }
        write()
      },
      {},
      {},
      { limits: { idleMs: 150 } }
    )
    const answer = await stream(`${router.url}/v1/chat/completions`)
    await until(() => router.requestLines().length === 1)
    expect(router.requestLines()[0]).toMatchObject({ outcome: 'caller_stalled' })
    answer.destroy()
  })

  it('gives up a provider that stalls in the middle', async () => {
    const limits = { idleMs: 150 }
    const router = await routerTo((_, response) => void response.writeHead(200).write('x'), {}, {}, { limits })
    const answer = await stream(`${router.url}/v1/chat/completions`)
    answer.resume()
    await closed(answer)
    expect(answer.complete).toBe(false)
  })

  it('answers 504 when the provider does not answer in time', async () => {
    const router = await routerTo(() => undefined, {}, {}, { limits: { firstByteMs: 150 } })
    expect(await post(`${router.url}/v1/chat/completions`, chat, own)).toMatchObject({
      status: 504,
      json: { error: { code: 'upstream_timeout', type: 'upstream_error' } }
    })
  })

  it('answers 502 when the provider closes without an answer, and does not send the call twice', async () => {
    let calls = 0
    const router = await routerTo((request) => {
      calls++
      request.socket.destroy()
    })
    expect(await post(`${router.url}/v1/chat/completions`, chat, own)).toMatchObject({
      status: 502,
      json: { error: { code: 'upstream_failed' } }
    })
    expect(calls).toBe(1)
  })

  it('answers 502 when the provider cannot be reached', async () => {
    const sidecar = await fakeSidecar(cleanup)
    const router = await startRouter(cleanup, {
      SKR_URL: sidecar.url,
      CONFROUTER_PROVIDERS: oneProvider('http://127.0.0.1:1')
    })
    expect(await post(`${router.url}/v1/chat/completions`, chat, own)).toMatchObject({
      status: 502,
      json: { error: { code: 'upstream_unreachable' } }
    })
  })

  it('refuses a host that has become private', async () => {
    const sidecar = await fakeSidecar(cleanup)
    const router = await startRouter(cleanup, {
      SKR_URL: sidecar.url,
      CONFROUTER_PROVIDERS: '{"test":{"baseUrl":"https://localhost"}}'
    })
    expect(await post(`${router.url}/v1/chat/completions`, chat, own)).toMatchObject({
      status: 502,
      json: { error: { code: 'egress_refused' } }
    })
  })

  it('sends nothing to a provider whose certificate no known authority has signed', async () => {
    const provider = await serveTls((_, __, response) => sendJson(response, 200, {}))
    cleanup.add(() => provider.close())
    const sidecar = await fakeSidecar(cleanup)
    const router = await startRouter(cleanup, {
      SKR_URL: sidecar.url,
      CONFROUTER_PROVIDERS: oneProvider(provider.origin)
    })
    expect(await post(`${router.url}/v1/chat/completions`, chat, own)).toMatchObject({
      status: 502,
      json: { error: { code: 'upstream_failed' } }
    })
    expect(provider.requests).toEqual([])
  })

  it('lets no call wait behind another one on its connection', async () => {
    const waiting: ServerResponse[] = []
    const router = await routerTo((request, response) => {
      if (request.url === '/base/slow') waiting.push(response)
      else response.end('{}')
    })
    const get = (path: string) => fetch(`${router.url}/providers/test/${path}`, { headers: own })
    expect((await get('warm')).status).toBe(200)
    const slow = get('slow')
    await until(() => waiting.length === 1)
    const answers = await Promise.all(
      ['a', 'b', 'c'].map((path) => Promise.race([get(path).then(({ status }) => status), sleep(2000, 'waited')]))
    )
    expect(answers).toEqual([200, 200, 200])
    waiting[0]?.end('{}')
    expect((await slow).status).toBe(200)
  })

  it('follows no redirect', async () => {
    let calls = 0
    const router = await routerTo((_, response) => {
      calls++
      response.writeHead(307, { location: '/base/elsewhere' }).end('{}')
    })
    const answer = await fetch(`${router.url}/v1/chat/completions`, {
      method: 'POST',
      redirect: 'manual',
      headers: { ...own, 'content-type': 'application/json' },
      body: JSON.stringify(chat)
    })
    expect(answer.status).toBe(307)
    expect(calls).toBe(1)
  })

  it('passes 1xx by and gives the final status', async () => {
    const router = await routerTo((_, response) => {
      response.writeProcessing()
      setTimeout(() => response.writeHead(201).end('{}'), 20)
    })
    expect((await post(`${router.url}/v1/chat/completions`, chat, own)).status).toBe(201)
  })
})

describe('keys', () => {
  const seenKeys: (string | undefined)[] = []
  const remember: RequestListener = ({ headers }, response) => {
    seenKeys.push(headers.authorization ?? (headers['x-api-key'] as string | undefined))
    response.end('{}')
  }
  /** The provider is called `openai`, so that the environment has a key for it. */
  const withRouterKey = async (environment: Record<string, string>, auth = 'Bearer') => {
    seenKeys.length = 0
    const [sidecar, origin] = await Promise.all([fakeSidecar(cleanup), serve(cleanup, remember)])
    return startRouter(cleanup, {
      SKR_URL: sidecar.url,
      OPENAI_API_KEY: 'sk-router',
      CONFROUTER_PROVIDERS: JSON.stringify({ openai: { baseUrl: origin, allowPrivate: true, auth } }),
      ...environment
    })
  }
  const call = (router: RunningRouter, headers = {}) =>
    post(`${router.url}/v1/chat/completions`, { model: 'gpt' }, headers)

  it("takes the caller's own key first, else the router's", async () => {
    const router = await withRouterKey({})
    await call(router, own)
    await call(router)
    expect(seenKeys).toEqual(['Bearer sk-own', 'Bearer sk-router'])
  })

  it('sends a key in the form of the provider', async () => {
    const router = await withRouterKey({}, 'x-api-key')
    await call(router, own)
    expect(seenKeys).toEqual(['sk-own'])
  })

  it("limits calls with the router's key, and not those with a caller's own", async () => {
    const router = await withRouterKey({ RATE_LIMIT_PER_MINUTE: '2' })
    const statuses = []
    for (let i = 0; i < 3; i++) statuses.push((await call(router)).status)
    expect(statuses).toEqual([200, 200, 429])
    expect((await call(router, own)).status).toBe(200)
    expect((await call(router)).headers.get('retry-after')).toBe('30')
  })

  it('asks for a token where access is by token, and never passes it on', async () => {
    const hash = createHash('sha256').update('letmein').digest('hex')
    const router = await withRouterKey({ ACCESS_TOKENS: hash })
    expect(await call(router)).toMatchObject({ status: 401, json: { error: { code: 'invalid_access_token' } } })
    expect(await call(router, own)).toMatchObject({ status: 401, json: { error: { code: 'invalid_access_token' } } })
    expect((await call(router, { authorization: 'Bearer letmein' })).status).toBe(200)
    expect(seenKeys).toEqual(['Bearer sk-router'])
  })

  it('asks for a key when the router has none', async () => {
    const router = await withRouterKey({ OPENAI_API_KEY: '' })
    expect(await call(router)).toMatchObject({
      status: 401,
      json: { error: { code: 'missing_api_key', type: 'authentication_error' } }
    })
  })

  it('sends none to a provider that wants none', async () => {
    const router = await withRouterKey({}, 'none')
    await call(router, own)
    expect(seenKeys).toEqual([undefined])
  })
})

describe('refusals', () => {
  const answering: RequestListener = (_, response) => void response.end('{"reached":true}')

  it.each([
    ['text', { 'content-type': 'text/plain' }, 'x', 415, 'unsupported_media_type'],
    ['a compressed body', { 'content-encoding': 'gzip' }, '{}', 415, 'unsupported_media_type'],
    ['no JSON', {}, '{"model":', 400, 'invalid_json'],
    ['two models', {}, '{"model":"test:a","model":"other:b"}', 400, 'invalid_json'],
    ['an unknown provider', {}, '{"model":"nosuch:b"}', 404, 'unknown_provider'],
    ['a body over the limit', {}, `{"model":"${'x'.repeat(3000)}"}`, 413, 'body_too_large']
  ])('refuse %s', async (_, headers, body, status, code) => {
    const router = await routerTo(answering, {}, { CONFROUTER_MAX_BODY_BYTES: '2048' })
    const answer = await post(`${router.url}/v1/chat/completions`, body, { ...own, ...headers })
    expect({ status: answer.status, code: answer.json.error.code }).toEqual({ status, code })
    expect(Object.keys(answer.json.error)).toEqual(['message', 'type', 'code', 'param'])
    await until(() => router.requestLines().length === 1)
    expect(router.requestLines()[0]).toMatchObject({ outcome: code, status })
  })

  it('refuse a body over the limit that does not say its length', async () => {
    const limits = { CONFROUTER_MAX_BODY_BYTES: '2048', CONFROUTER_MAX_UPLOAD_BYTES: '2048' }
    const router = await routerTo(answering, {}, limits)
    for (const path of ['/v1/chat/completions', '/providers/test/files']) {
      const request = http.request(`${router.url}${path}`, {
        method: 'POST',
        headers: { ...own, 'content-type': 'application/json', 'transfer-encoding': 'chunked' }
      })
      for (let i = 0; i < 10; i++) request.write('x'.repeat(1000))
      request.end()
      const [response] = (await once(request, 'response')) as [http.IncomingMessage]
      expect(response.statusCode).toBe(413)
      expect(JSON.parse((await readAll(response)).toString()).error.code).toBe('body_too_large')
    }
  })

  it('refuse plain requests where sealing is required', async () => {
    const router = await routerTo(answering, {}, { ENCRYPTION: 'required' })
    for (const path of ['/v1/chat/completions', '/providers/test/files']) {
      expect(await post(`${router.url}${path}`, chat, own)).toMatchObject({
        status: 403,
        json: { error: { code: 'encryption_required' } }
      })
    }
  })

  it('refuse more calls than the router takes at the same time', async () => {
    const answers: ServerResponse[] = []
    const router = await routerTo((_, response) => answers.push(response), {}, { CONFROUTER_MAX_CONCURRENT_CALLS: '1' })
    const first = post(`${router.url}/v1/chat/completions`, chat, own)
    await until(() => answers.length === 1)
    const second = await post(`${router.url}/v1/chat/completions`, chat, own)
    expect(second).toMatchObject({ status: 503, json: { error: { code: 'overloaded' } } })
    answers[0]?.end('{}')
    expect((await first).status).toBe(200)
    await until(() => router.context.calls.inside === 0)
  })

  it('refuse unknown paths and methods', async () => {
    const router = await routerTo(answering)
    for (const path of ['/', '/v1', '/v1/chat', '/v1/chat/completions/', '/healthz/x', '/metrics/x']) {
      expect((await fetch(`${router.url}${path}`)).status).toBe(404)
    }
    const noWebsocket = await fetch(`${router.url}/v1/realtime`)
    expect([noWebsocket.status, noWebsocket.headers.get('upgrade')]).toEqual([426, 'websocket'])
    const wrongMethod = await fetch(`${router.url}/v1/embeddings`)
    expect(wrongMethod.status).toBe(405)
    expect(wrongMethod.headers.get('allow')).toBe('POST')
    expect((await fetch(`${router.url}/.well-known/confrouter`, { method: 'PUT' })).headers.get('allow')).toBe(
      'GET, POST'
    )
  })

  it('refuse a provider without an OpenAI-compatible API, and say where it is', async () => {
    const sidecar = await fakeSidecar(cleanup)
    const router = await startRouter(cleanup, { SKR_URL: sidecar.url })
    const { status, json } = await post(`${router.url}/v1/chat/completions`, { model: 'fal:fal-ai/flux' }, own)
    expect({ status, code: json.error.code }).toEqual({ status: 400, code: 'unsupported_by_provider' })
    expect(json.error.message).toContain('/providers/fal/')
  })
})

describe("the router's key and /providers/{name}/*", () => {
  const withAccount = async (settings: object, environment = {}) => {
    const seen: string[] = []
    const [sidecar, origin] = await Promise.all([
      fakeSidecar(cleanup),
      serve(cleanup, ({ method, url, headers }, response) => {
        seen.push(`${method} ${url} ${headers.authorization} ${String(headers['openai-project'])}`)
        response.end('{}')
      })
    ])
    const router = await startRouter(cleanup, {
      SKR_URL: sidecar.url,
      OPENAI_API_KEY: 'sk-operator',
      CONFROUTER_PROVIDERS: JSON.stringify({ openai: { baseUrl: origin, allowPrivate: true, ...settings } }),
      ...environment
    })
    const send = async (method: string, path: string, headers: Record<string, string> = {}) => {
      const answer = await fetch(`${router.url}${path}`, {
        method,
        headers: { 'openai-project': 'proj_1', ...headers },
        ...(method === 'POST' ? { body: '{"model":"m"}' } : {})
      })
      return { status: answer.status, code: (await answer.json()).error?.code }
    }
    return { seen, send }
  }

  it("do not open the operator's account to everybody", async () => {
    const { seen, send } = await withAccount({})
    const refused = { status: 403, code: 'own_key_required' }
    expect(await send('GET', '/providers/openai/files')).toEqual(refused)
    expect(await send('DELETE', '/providers/openai/files/file-1')).toEqual(refused)
    expect(await send('POST', '/providers/openai/chat/completions')).toEqual(refused)
    expect(seen).toEqual([])
    expect((await send('GET', '/providers/openai/files', own)).status).toBe(200)
    expect((await send('POST', '/v1/chat/completions', { 'content-type': 'application/json' })).status).toBe(200)
    expect(seen).toEqual(['GET /files Bearer sk-own proj_1', 'POST /chat/completions Bearer sk-operator undefined'])
  })

  it('are not for pages in a browser, which may use only a key of their own', async () => {
    const { seen, send } = await withAccount({})
    const page = { 'content-type': 'application/json', origin: 'https://page.example' }
    const rebound = { 'content-type': 'application/json', 'sec-fetch-site': 'same-origin' }
    const image = { 'content-type': 'application/json', 'user-agent': 'Mozilla/5.0 (X11; Linux x86_64)' }
    const linked = { 'content-type': 'application/json', referer: 'http://page.example/' }
    for (const headers of [page, rebound, image, linked]) {
      expect(await send('POST', '/v1/chat/completions', headers)).toEqual({ status: 403, code: 'own_key_required' })
      expect((await send('GET', '/v1/models', headers)).code).toBe('missing_api_key')
    }
    expect(seen).toEqual([])
    expect((await send('POST', '/v1/chat/completions', { ...page, ...own })).status).toBe(200)
  })

  it('do where the settings say so, and to whoever has a token', async () => {
    const open = await withAccount({ accountAccess: true })
    expect((await open.send('GET', '/providers/openai/files')).status).toBe(200)
    expect(open.seen).toEqual(['GET /files Bearer sk-operator undefined'])
    const hash = createHash('sha256').update('letmein').digest('hex')
    const byToken = await withAccount({}, { ACCESS_TOKENS: hash })
    expect((await byToken.send('GET', '/providers/openai/files', { authorization: 'Bearer letmein' })).status).toBe(200)
    expect(byToken.seen).toEqual(['GET /files Bearer sk-operator undefined'])
  })
})

describe('a failure before there is an answer', () => {
  const failing = (code: string, syscall: string, started: boolean) => {
    const dispatcher = {
      dispatch(_: unknown, handler: Dispatcher.DispatchHandler) {
        const controller = { abort: () => undefined } as unknown as Dispatcher.DispatchController
        if (started) handler.onRequestStart?.(controller, {})
        setTimeout(() => handler.onResponseError?.(controller, Object.assign(new Error(), { code, syscall })), 5)
        return true
      }
    } as unknown as Dispatcher
    const request = { dispatcher, origin: 'https://a', method: 'POST', path: '/', headers: {}, body: null }
    return forward(request, { started: false } as Reply, { gone: false, onGone: () => undefined }, { idleMs: 1000 })
  }

  it.each([
    ['ECONNREFUSED', 'connect', false, false, 'upstream_unreachable'],
    ['ENOTFOUND', 'getaddrinfo', false, false, 'upstream_unreachable'],
    ['EHOSTUNREACH', 'read', true, true, 'upstream_failed'],
    ['ENETUNREACH', 'write', true, true, 'upstream_failed'],
    ['EHOSTUNREACH', 'read', false, true, 'upstream_failed'],
    ['ECONNREFUSED', 'connect', true, true, 'upstream_unreachable'],
    ['ECONNRESET', 'read', false, true, 'upstream_failed']
  ])('after %s of %s, request begun %s: it may have been sent: %s', async (code, syscall, started, sent, problem) => {
    await expect(failing(code, syscall, started)).rejects.toMatchObject({ sent, problem: { code: problem } })
  })
})

describe('/providers/{name}/*', () => {
  it('passes any method, path, query and body through untouched', async () => {
    const seen: unknown[] = []
    const router = await routerTo(
      (request, response) => {
        void readAll(request).then((body) => {
          seen.push([request.method, request.url, request.headers.authorization, body.toString()])
          response.end('{}')
        })
      },
      { auth: 'Key' }
    )
    const base = `${router.url}/providers/test`
    await fetch(`${base}/fal-ai/flux/dev?sync=1`, { method: 'POST', headers: own, body: '{ "prompt":"x" }' })
    await fetch(`${base}/fal-ai/flux/requests/1/status`, { headers: own })
    await fetch(`${base}/fal-ai/flux/requests/1/cancel`, { method: 'PUT', headers: own })
    await fetch(base, { headers: own })
    expect(seen).toEqual([
      ['POST', '/base/fal-ai/flux/dev?sync=1', 'Key sk-own', '{ "prompt":"x" }'],
      ['GET', '/base/fal-ai/flux/requests/1/status', 'Key sk-own', ''],
      ['PUT', '/base/fal-ai/flux/requests/1/cancel', 'Key sk-own', ''],
      ['GET', '/base/', 'Key sk-own', '']
    ])
  })

  it('streams a body as it comes', async () => {
    const arrived: string[] = []
    const router = await routerTo((request, response) => {
      request.on('data', (chunk: Buffer) => arrived.push(chunk.toString()))
      request.on('end', () => response.end('{}'))
    })
    const request = http.request(`${router.url}/providers/test/files`, { method: 'POST', headers: own })
    request.write('first')
    await until(() => arrived.length === 1)
    request.end('second')
    const [response] = (await once(request, 'response')) as [http.IncomingMessage]
    expect(response.statusCode).toBe(200)
    expect(arrived).toEqual(['first', 'second'])
    response.resume()
    await until(() => router.requestLines().length === 1)
    expect(router.requestLines()[0]).toMatchObject({ route: '/providers/*', provider: 'test', bytesIn: 11 })
  })

  it('aborts the call to the provider when the caller goes away in the middle of its body', async () => {
    let aborted = false
    const router = await routerTo((request) => {
      request.resume()
      request.once('close', () => (aborted = !request.complete))
    })
    const request = http.request(`${router.url}/providers/test/files`, { method: 'POST', headers: own })
    request.on('error', () => undefined)
    request.write('first')
    await sleep(50)
    request.destroy()
    await until(() => aborted)
    await until(() => router.requestLines().length === 1)
    expect(router.requestLines()[0]).toMatchObject({ outcome: 'caller_gone' })
  })

  it('cannot be left, however the path is written', async () => {
    let reached = 0
    const router = await routerTo((_, response) => {
      reached++
      response.end('{}')
    })
    const { hostname, port } = new URL(router.url)
    for (const rest of ['/../x', '/a/../../x', '/%2e%2e/x', '/..%2fx', '/a%5c..%5cx', '//evil.example/', '/a\\..\\x']) {
      const socket = connect(Number(port), hostname)
      socket.end(
        `GET /providers/test${rest} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer k\r\n\r\n`
      )
      const text = await new Promise<string>((resolve) => {
        let all = ''
        socket.on('data', (chunk) => (all += chunk.toString()))
        socket.on('close', () => resolve(all))
      })
      expect(text).toMatch(/^HTTP\/1\.1 400 /)
      expect(text).toContain('invalid_path')
    }
    expect(reached).toBe(0)
  })

  it('refuses a provider that is not enabled', async () => {
    const router = await routerTo((_, response) => void response.end('{}'))
    for (const path of ['/providers/openai/models', '/providers/openai', '/providers/constructor/x']) {
      const answer = await fetch(`${router.url}${path}`, { headers: own })
      expect(answer.status).toBe(404)
      expect((await answer.json()).error.code).toBe('unknown_provider')
    }
  })
})
