import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { afterEach, describe, expect, it } from '@jest/globals'
import { Cleanup, fakeSidecar, post, readAll, serve, startRouter, until } from './harness.js'

const cleanup = new Cleanup()
afterEach(() => cleanup.run())

type Answerer = (request: IncomingMessage, response: ServerResponse, body: string) => void

/** A provider that answers its calls one after the other with these. */
async function provider(...answers: Answerer[]): Promise<{ origin: string; bodies: string[]; headers: unknown[] }> {
  const bodies: string[] = []
  const headers: unknown[] = []
  const listener: RequestListener = (request, response) => {
    void readAll(request).then((body) => {
      bodies.push(body.toString())
      headers.push(request.headers)
      const answer = answers.length > 1 ? answers.shift() : answers[0]
      answer?.(request, response, body.toString())
    })
  }
  return { origin: await serve(cleanup, listener), bodies, headers }
}

const ok: Answerer = (_, response) => void response.end('{"ok":true}')
const status =
  (code: number, headers: Record<string, string> = {}): Answerer =>
  (_, response) =>
    void response.writeHead(code, headers).end(`{"error":{"code":${code}}}`)
const breakOff: Answerer = (request) => void request.socket.destroy()

async function routerTo(providers: Record<string, unknown>, environment = {}, limits = {}) {
  const sidecar = await fakeSidecar(cleanup)
  return startRouter(
    cleanup,
    { SKR_URL: sidecar.url, CONFROUTER_PROVIDERS: JSON.stringify(providers), ...environment },
    { limits }
  )
}

const to = (origin: string, settings: object = {}) => ({
  baseUrl: origin,
  allowPrivate: true,
  auth: 'none',
  ...settings
})
const chat = (url: string, body: object = { model: 'm' }, headers = {}) =>
  post(`${url}/v1/chat/completions`, body, headers)

describe('a call that fails for the moment', () => {
  it.each([
    ['429 with Retry-After', status(429, { 'retry-after': '0' })],
    ['429 with Retry-After-Ms', status(429, { 'retry-after-ms': '20' })],
    ['429 with a date', status(429, { 'retry-after': 'Thu, 26 Nov 2026 00:00:00 GMT' })],
    ['500', status(500)],
    ['503', status(503)],
    ['529', status(529)]
  ])('is sent again after %s', async (_, failure) => {
    const { origin, bodies } = await provider(failure, ok)
    const router = await routerTo({ test: to(origin) })
    expect(await chat(router.url, { model: 'test:m', n: 1 })).toMatchObject({ status: 200, json: { ok: true } })
    expect(bodies).toEqual(['{"model":"m","n":1}', '{"model":"m","n":1}'])
    await until(() => router.requestLines().length === 1)
    expect(router.requestLines()[0]).toMatchObject({ attempts: 2, status: 200, outcome: 'ok' })
  })

  it('waits as long as it was asked to', async () => {
    const { origin } = await provider(status(429, { 'retry-after-ms': '300' }), ok)
    const router = await routerTo({ test: to(origin) })
    const startedAt = performance.now()
    expect((await chat(router.url)).status).toBe(200)
    expect(performance.now() - startedAt).toBeGreaterThan(290)
  })

  it.each([
    ['longer waits than allowed', status(429, { 'retry-after': '7' }), 429, 1],
    ['a refusal', status(400), 400, 1],
    ['501', status(501), 501, 1],
    ['the last attempt', status(503), 503, 2]
  ])('is not sent again after %s, and its answer is passed on', async (_, failure, expected, calls) => {
    const { origin, bodies } = await provider(failure)
    const router = await routerTo({ test: to(origin) })
    const answer = await chat(router.url)
    expect({ status: answer.status, code: answer.json.error.code }).toEqual({ status: expected, code: expected })
    expect(bodies).toHaveLength(calls)
  })

  it('is sent as often as configured', async () => {
    const failing = await provider(status(500, { 'retry-after-ms': '1' }))
    for (const [retries, calls] of [
      ['0', 1],
      ['3', 4]
    ] as const) {
      failing.bodies.length = 0
      const router = await routerTo({ test: to(failing.origin) }, { CONFROUTER_RETRIES: retries })
      expect((await chat(router.url)).status).toBe(500)
      expect(failing.bodies).toHaveLength(calls)
    }
  })

  it('is not sent again when it broke off after it was sent, unless nothing can come of it', async () => {
    const { origin, bodies } = await provider(breakOff)
    const router = await routerTo({ test: to(origin) })
    expect((await chat(router.url)).status).toBe(502)
    expect(bodies).toHaveLength(1)
    const again = await provider(breakOff, ok)
    const other = await routerTo({ test: to(again.origin) })
    expect((await fetch(`${other.url}/providers/test/x`)).status).toBe(200)
  })

  it('is sent again when nobody was there', async () => {
    const closed = await provider(ok)
    await cleanup.run()
    const router = await routerTo({ test: to(closed.origin) })
    const startedAt = performance.now()
    expect((await chat(router.url)).json.error.code).toBe('upstream_unreachable')
    expect(performance.now() - startedAt).toBeGreaterThan(95)
    await until(() => router.requestLines().length === 1)
  })

  it('is not sent again to a path of an account, nor is a body that is there once', async () => {
    const { origin, bodies } = await provider(status(503))
    const router = await routerTo({ test: to(origin) })
    const form = new FormData()
    form.set('model', 'm')
    for (const [path, body] of [
      ['/providers/test/batches', '{}'],
      ['/v1/audio/transcriptions', form]
    ] as const) {
      bodies.length = 0
      expect((await fetch(`${router.url}${path}`, { method: 'POST', body })).status).toBe(503)
      expect(bodies).toHaveLength(1)
    }
  })

  it('is given up while it waits when the caller has gone', async () => {
    const { origin, bodies } = await provider(status(429, { 'retry-after': '2' }), ok)
    const router = await routerTo({ test: to(origin) })
    const abort = new AbortController()
    const call = fetch(`${router.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"model":"m"}',
      signal: abort.signal
    }).catch(() => undefined)
    await until(() => bodies.length === 1)
    abort.abort()
    await call
    await until(() => router.context.calls.inside === 0, 1000)
    await until(() => router.requestLines().length === 1, 1000)
    expect(router.requestLines()[0]).toMatchObject({ outcome: 'caller_gone' })
    expect(bodies).toHaveLength(1)
  })
})

describe('a fallback list', () => {
  const fallbacks = { CONFROUTER_FALLBACKS: '{"one:a":["two:b/c","three:d"]}' }

  it('is gone through in order, with the model that each place wants', async () => {
    const [one, two, three] = await Promise.all([provider(status(429)), provider(breakOff), provider(ok)])
    const router = await routerTo({ one: to(one.origin), two: to(two.origin), three: to(three.origin) }, fallbacks)
    expect(await chat(router.url, { model: 'one/a' })).toMatchObject({ status: 200, json: { ok: true } })
    expect([one.bodies, two.bodies, three.bodies]).toEqual([['{"model":"a"}'], ['{"model":"b/c"}'], ['{"model":"d"}']])
    await until(() => router.requestLines().length === 1)
    expect(router.requestLines()[0]).toMatchObject({ provider: 'three', attempts: 3 })
  })

  it('counts a model without a prefix as the default provider’s, and leaves other models alone', async () => {
    const [one, two] = await Promise.all([provider(status(500, { 'retry-after-ms': '1' })), provider(ok)])
    const router = await routerTo(
      { one: to(one.origin), two: to(two.origin) },
      { CONFROUTER_FALLBACKS: '{"a":["two:b"]}' }
    )
    expect((await chat(router.url, { model: 'a' })).status).toBe(200)
    expect((await chat(router.url, { model: 'other' })).status).toBe(500)
  })

  it('ends with the answer of the last place', async () => {
    const [one, two] = await Promise.all([provider(status(500)), provider(status(418))])
    const router = await routerTo(
      { one: to(one.origin), two: to(two.origin) },
      { CONFROUTER_FALLBACKS: '{"one:a":["two:b"]}' }
    )
    expect((await chat(router.url, { model: 'one:a' })).status).toBe(418)
  })

  it('shows a key of the caller to no other provider, and skips places for which there is none', async () => {
    const [one, two, three] = await Promise.all([
      provider(status(500, { 'retry-after-ms': '1' })),
      provider(ok),
      provider(ok)
    ])
    const providers = {
      one: to(one.origin, { auth: 'Bearer' }),
      two: to(two.origin, { auth: 'Bearer' }),
      three: to(three.origin)
    }
    const router = await routerTo(providers, fallbacks)
    expect((await chat(router.url, { model: 'one:a' }, { authorization: 'Bearer sk-own' })).status).toBe(500)
    expect([two.bodies, three.bodies]).toEqual([[], []])
    router.context.state.providerKeys = new Map([['one', 'sk-one']])
    expect((await chat(router.url, { model: 'one:a' })).status).toBe(200)
    expect([two.bodies.length, three.bodies.length]).toEqual([0, 1])
    expect(JSON.stringify(three.headers)).not.toContain('sk-')
  })

  it('leaves out a place that cannot take the call', async () => {
    const [one, fal] = await Promise.all([provider(ok), provider(ok)])
    const router = await routerTo(
      { one: to(one.origin), fal: to(fal.origin, { syncUrl: fal.origin }) },
      { CONFROUTER_FALLBACKS: '{"one:a":["fal:fal-ai/flux"]}' }
    )
    expect((await chat(router.url, { model: 'one:a' })).status).toBe(200)
    const stream = { model: 'one:a', prompt: 'x', stream: true }
    expect((await post(`${router.url}/v1/images/generations`, stream)).status).toBe(200)
    expect(fal.bodies).toEqual([])
  })

  it('is not kept waiting by an answer that stalls behind its status', async () => {
    const [one, two] = await Promise.all([
      provider((_, response) => void response.writeHead(500).write('{"half":')),
      provider(ok)
    ])
    const router = await routerTo(
      { one: to(one.origin), two: to(two.origin) },
      { CONFROUTER_FALLBACKS: '{"one:a":["two:b"]}' }
    )
    const startedAt = performance.now()
    expect((await chat(router.url, { model: 'one:a' })).status).toBe(200)
    expect(performance.now() - startedAt).toBeLessThan(900)
  })

  it('holds the copies of a body one after the other', async () => {
    const [one, two] = await Promise.all([provider(status(500)), provider(ok)])
    const router = await routerTo(
      { one: to(one.origin), two: to(two.origin) },
      {
        CONFROUTER_FALLBACKS: '{"one:a":["two:b","two:c","two:d","two:e"]}',
        CONFROUTER_MAX_BODY_BYTES: '1000000',
        CONFROUTER_MAX_BUFFERED_BYTES: '2000000'
      }
    )
    const large = { model: 'one:a', prompt: 'x'.repeat(900_000) }
    expect((await chat(router.url, large)).status).toBe(200)
    await until(() => router.context.buffers.inside === 0)
    const other = await routerTo(
      { one: to(one.origin) },
      { CONFROUTER_MAX_BODY_BYTES: '1000000', CONFROUTER_MAX_BUFFERED_BYTES: '1500000' }
    )
    expect((await chat(other.url, large)).json.error.code).toBe('overloaded')
  })

  it.each([
    ['[]', 'must be a JSON object'],
    ['{"one:a":[]}', '1 to 8 models'],
    ['{"one:a":[1]}', '1 to 8 models'],
    ['{"nosuch:a":["one:b"]}', 'begins with no provider'],
    ['{"one:a":["one:"]}', 'no name behind its provider'],
    ['{"one:a":["one:b"],"one/a":["one:b"]}', 'there twice'],
    ['{', 'is not JSON']
  ])('is refused at the start as %s', async (text, message) => {
    const { origin } = await provider(ok)
    await expect(routerTo({ one: to(origin) }, { CONFROUTER_FALLBACKS: text })).rejects.toThrow(message)
  })
})

describe('an answer without a body', () => {
  it.each([304, 204])('of status %i may speak of a length', async (code) => {
    const { origin } = await provider((request) => {
      request.socket.write(`HTTP/1.1 ${code} X\r\ncontent-length: 5\r\netag: "x"\r\n\r\n`)
    })
    const router = await routerTo({ test: to(origin) })
    const answer = await fetch(`${router.url}/providers/test/x`)
    expect([answer.status, answer.headers.get('etag')]).toEqual([code, '"x"'])
    await until(() => router.requestLines().length === 1)
    expect(router.requestLines()[0]).toMatchObject({ outcome: 'ok' })
  })
})

describe('headers of the provider', () => {
  it('that only the router sends are not passed on', async () => {
    const headers = {
      'ehbp-response-nonce': 'x',
      'confrouter-receipt': 'x',
      'x-confrouter-request-id': 'x',
      'x-accel-redirect': '/x'
    }
    const { origin } = await provider((_, response) => void response.writeHead(200, headers).end('{}'))
    const router = await routerTo({ test: to(origin) })
    const { headers: got } = await chat(router.url)
    expect(Object.keys(headers).filter((name) => got.get(name) === 'x')).toEqual([])
  })
})

describe('a redirect', () => {
  const redirectTo = async (location: string, code = 307) => {
    const { origin } = await provider((_, response) => void response.writeHead(code, { location }).end())
    const router = await routerTo({ test: { ...to(origin), baseUrl: `${origin}/base` } })
    return (path = '/v1/chat/completions') =>
      fetch(`${router.url}${path}`, {
        method: 'POST',
        redirect: 'manual',
        headers: { 'content-type': 'application/json' },
        body: '{"model":"m"}'
      })
  }

  it.each([
    'https://elsewhere.example/x',
    '//elsewhere.example/x',
    '/outside/x',
    'http://127.0.0.1:1/base/x',
    'http://['
  ])('to %s is refused, because the caller’s client would follow it', async (location) => {
    const call = await redirectTo(location)
    const answer = await call()
    expect({ status: answer.status, code: (await answer.json()).error.code }).toEqual({
      status: 502,
      code: 'redirect_refused'
    })
  })

  it('within the base URL stays with the router', async () => {
    const call = await redirectTo('/base/other/place?x=1')
    const answer = await call()
    expect({ status: answer.status, location: answer.headers.get('location') }).toEqual({
      status: 307,
      location: '/providers/test/other/place?x=1'
    })
  })
})
