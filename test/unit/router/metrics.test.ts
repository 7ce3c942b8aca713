import { createHash } from 'node:crypto'
import type { RequestListener } from 'node:http'
import { afterEach, describe, expect, it } from '@jest/globals'
import { CallMetrics } from '../../../src/router/call-metrics.js'
import type { Call } from '../../../src/router/call.js'
import { Distribution, histogram } from '../../../src/router/metric-family.js'
import { createProcessMetrics, renderReports, sumReports } from '../../../src/router/process-metrics.js'
import { sealEhbp } from '../../../src/seal/ehbp-client.js'
import {
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

const answering: RequestListener = (request, response) => void readAll(request).then(() => response.end('{"answer":1}'))

async function routerTo(listener: RequestListener, environment: Record<string, string> = {}, options: Options = {}) {
  const [sidecar, origin] = await Promise.all([fakeSidecar(cleanup), serve(cleanup, listener)])
  const router = await startRouter(
    cleanup,
    { SKR_URL: sidecar.url, CONFROUTER_PROVIDERS: oneProvider(origin, { auth: 'none' }), ...environment },
    options
  )
  return { ...router, sidecar }
}

const call = (url: string, body: unknown = { model: 'm' }, headers = {}) =>
  post(`${url}/v1/chat/completions`, body, headers)

async function metricsOf({ url }: Pick<RunningRouter, 'url'>, headers: Record<string, string> = {}): Promise<string> {
  const answer = await fetch(`${url}/metrics`, { headers })
  expect({ status: answer.status, type: answer.headers.get('content-type') }).toEqual({
    status: 200,
    type: 'text/plain; version=0.0.4; charset=utf-8'
  })
  return answer.text()
}

/** Waits until so many calls are over, which is after their answers have come. */
const over = (router: RunningRouter, calls: number) => until(() => router.requestLines().length >= calls)

/** The value of a line, whatever the order of its labels. */
function valueOf(text: string, name: string, labels: Record<string, string> = {}): number | undefined {
  const wanted = Object.entries(labels)
    .map(([label, value]) => `${label}="${value}"`)
    .sort()
    .join()
  for (const line of text.split('\n')) {
    const [, found, inside = '', value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? []
    if (found === name && inside.split(',').sort().join() === wanted) return Number(value)
  }
  return undefined
}

const series = (text: string): string[] => text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))

describe('GET /metrics', () => {
  it('counts requests by route, method, provider, status, outcome and form of sealing', async () => {
    const router = await routerTo(answering)
    const { hpke } = router.context.state.active?.keys ?? {}
    await call(router.url)
    await call(router.url)
    await call(router.url, 'no JSON')
    await fetch(`${router.url}/nothing/here`)
    await fetch(`${router.url}/healthz`, { method: 'PATCH' })
    const sealed = await sealEhbp({
      recipient: hpke?.publicKey ?? new Uint8Array(),
      method: 'POST',
      path: '/v1/chat/completions',
      headers: { 'content-type': 'application/json' },
      body: Buffer.from('{"model":"m"}')
    })
    await fetch(`${router.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...sealed.headers },
      body: sealed.body as Uint8Array<ArrayBuffer>
    })
    await over(router, 6)
    const text = await metricsOf(router)
    const usual = { route: '/v1/chat/completions', method: 'POST', provider: 'test', status: '200', outcome: 'ok' }
    const requests = (labels: Record<string, string>) => valueOf(text, 'confrouter_requests_total', labels)
    expect(requests({ ...usual, sealed: 'none' })).toBe(2)
    expect(requests({ ...usual, sealed: 'ehbp' })).toBe(1)
    expect(requests({ ...usual, provider: 'none', status: '400', outcome: 'invalid_json', sealed: 'none' })).toBe(1)
    expect(
      requests({
        route: 'unmatched',
        method: 'GET',
        provider: 'none',
        status: '404',
        outcome: 'not_found',
        sealed: 'none'
      })
    ).toBe(1)
    expect(valueOf(text, 'confrouter_upstream_answers_total', { provider: 'test', status: '200' })).toBe(3)
    expect(valueOf(text, 'confrouter_request_duration_seconds_count', { route: '/v1/chat/completions' })).toBe(4)
    expect(valueOf(text, 'confrouter_upstream_first_byte_seconds_count', { provider: 'test' })).toBe(3)
    expect(valueOf(text, 'confrouter_request_bytes_total', { route: '/v1/chat/completions' })).toBeGreaterThan(30)
    expect(valueOf(text, 'confrouter_response_bytes_total', { route: '/v1/chat/completions' })).toBeGreaterThan(30)
  })

  it('has nothing of what callers and providers send, and no more lines for more of it', async () => {
    const router = await routerTo((request, response) => {
      response.writeHead(200, { 'x-marker': 'MARKER' }).end(`{"a":"MARKER ${request.url}"}`)
    })
    const send = async (text: string) => {
      await call(router.url, { model: text, prompt: text }, { authorization: `Bearer ${text}`, 'user-agent': text })
      await fetch(`${router.url}/${text}?${text}`)
      await fetch(`${router.url}/providers/test/${text}?${text}`)
      await fetch(`${router.url}/providers/${text}/x`)
      await fetch(`${router.url}/v1/models/${text}`)
      await fetch(`${router.url}/v1/files/${text}`, { headers: { authorization: `Bearer ${text}` } })
    }
    await send('MARKER-0')
    await over(router, 6)
    await metricsOf(router)
    const first = series(await metricsOf(router))
    for (let more = 1; more <= 5; more++) await send(`MARKER-${more}`)
    await over(router, 38)
    const second = await metricsOf(router)
    expect(second).not.toContain('MARKER')
    expect(second).not.toContain('127.0.0.1')
    expect(series(second)).toHaveLength(first.length)
  })

  it('counts what could not be opened and what was sent before', async () => {
    const router = await routerTo(answering)
    const headers = { 'content-type': 'application/json' }
    const { hpke } = router.context.state.active?.keys ?? {}
    const sealed = await sealEhbp({
      recipient: hpke?.publicKey ?? new Uint8Array(),
      method: 'POST',
      path: '/v1/chat/completions',
      headers,
      body: Buffer.from('{"model":"m"}'),
      extension: { timeMs: Date.now(), cover: ['content-type'] }
    })
    const send = (body: Uint8Array) =>
      fetch(`${router.url}/v1/chat/completions`, {
        method: 'POST',
        headers: { ...headers, ...sealed.headers },
        body: body as Uint8Array<ArrayBuffer>
      })
    const whole = sealed.body as Uint8Array
    expect((await send(whole)).status).toBe(200)
    expect((await send(whole)).status).toBe(409)
    expect((await send(whole.map((byte, at) => (at === whole.length - 1 ? byte ^ 1 : byte)))).status).toBe(400)
    await over(router, 3)
    const text = await metricsOf(router)
    expect(valueOf(text, 'confrouter_replays_refused_total', { code: 'request_replayed' })).toBe(1)
    expect(valueOf(text, 'confrouter_replays_refused_total', { code: 'request_expired' })).toBe(0)
    expect(valueOf(text, 'confrouter_seal_failures_total', { code: 'bad_sealed_request' })).toBe(1)
    expect(valueOf(text, 'confrouter_seal_failures_total', { code: 'stale_key' })).toBe(0)
  })

  it('counts refusals of rate limits, each apart', async () => {
    const router = await routerTo(answering, { CONFROUTER_CALLS_PER_MINUTE: '3', CONFROUTER_EVIDENCE_PER_MINUTE: '1' })
    const nonce = Buffer.alloc(16).toString('base64url')
    for (let i = 0; i < 2; i++) await post(`${router.url}/.well-known/confrouter`, { nonce })
    // The third of the minute's calls is /metrics itself.
    for (let i = 0; i < 2; i++) expect((await call(router.url)).status).toBe(200)
    const text = await metricsOf(router)
    expect(valueOf(text, 'confrouter_rate_limited_total', { limit: 'evidence' })).toBe(1)
    expect(valueOf(text, 'confrouter_rate_limited_total', { limit: 'address' })).toBe(0)
    expect((await call(router.url)).status).toBe(429)
    expect((await fetch(`${router.url}/metrics`)).status).toBe(429)
    const lines = await renderReports([router.context.metrics.report(router.context)])
    expect(valueOf(lines, 'confrouter_rate_limited_total', { limit: 'address' })).toBe(2)
  })

  it('counts requests that were sent again', async () => {
    let requests = 0
    const router = await routerTo(
      (request, response) => {
        void readAll(request).then(() => {
          if (++requests === 1) response.writeHead(503, { 'retry-after': '0' }).end('{}')
          else response.end('{}')
        })
      },
      { CONFROUTER_RETRIES: '1' }
    )
    expect((await call(router.url)).status).toBe(200)
    await over(router, 1)
    const text = await metricsOf(router)
    expect(valueOf(text, 'confrouter_retries_total', { provider: 'test' })).toBe(1)
    expect(valueOf(text, 'confrouter_fallbacks_total', { provider: 'test' })).toBe(0)
  })

  it('shows what is open, and what the router has done for itself', async () => {
    let steadyMs = 1000
    const router = await routerTo(
      (_, response) => response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n'),
      {},
      { clocks: { steadyMs: () => steadyMs, unixMs: () => 0 } }
    )
    const stop = new AbortController()
    const streams = [1, 2].map(() =>
      fetch(`${router.url}/v1/chat/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: '{"model":"m"}',
        signal: stop.signal
      })
    )
    await Promise.all(streams)
    steadyMs += 90_000
    const during = await metricsOf(router)
    expect(valueOf(during, 'confrouter_open_calls')).toBe(2)
    expect(valueOf(during, 'confrouter_open_streams')).toBe(2)
    expect(valueOf(during, 'confrouter_open_connections')).toBe(3)
    expect(valueOf(during, 'confrouter_ready')).toBe(1)
    expect(valueOf(during, 'confrouter_key_releases_total', { code: 'ok' })).toBe(1)
    expect(valueOf(during, 'confrouter_key_age_seconds')).toBe(90)
    expect(valueOf(during, 'confrouter_evidence_age_seconds')).toBe(90)
    expect(valueOf(during, 'confrouter_secrets_version')).toBeUndefined()
    stop.abort()
    await Promise.allSettled(streams)
    await until(() => router.context.calls.inside === 0)
    expect(valueOf(await metricsOf(router), 'confrouter_open_streams')).toBe(0)
  })

  it('counts releases that fail by their code, and shows no age of a key that is not there', async () => {
    const sidecar = await fakeSidecar(cleanup)
    sidecar.failures['/key/release'] = Array<string>(50).fill('20-release-404')
    const pace = { refusedMs: 10_000 }
    const router = await startRouter(cleanup, { SKR_URL: sidecar.url }, { untilReady: false, pace })
    await until(() => router.context.state.difficulty !== undefined)
    const text = await metricsOf(router)
    expect(valueOf(text, 'confrouter_ready')).toBe(0)
    expect(valueOf(text, 'confrouter_key_releases_total', { code: 'ok' })).toBe(0)
    expect(valueOf(text, 'confrouter_key_releases_total', { code: 'release.key-not-found' })).toBe(1)
    expect(valueOf(text, 'confrouter_key_age_seconds')).toBeUndefined()
  })
})

describe('access to /metrics', () => {
  const token = 'a-token'
  const withTokens = { ACCESS_TOKENS: createHash('sha256').update(token).digest('hex') }

  it('is for everybody in mode open, and not there when it is off', async () => {
    const open = await routerTo(answering)
    await metricsOf(open)
    const off = await routerTo(answering, { CONFROUTER_METRICS: 'off' })
    const answer = await fetch(`${off.url}/metrics`)
    const other = await fetch(`${off.url}/other`)
    expect(answer.status).toBe(404)
    expect(await answer.text()).toBe(await other.text())
  })

  it('is for those with an access token where there are tokens', async () => {
    const router = await routerTo(answering, withTokens)
    for (const headers of [{}, { authorization: 'Bearer other' }, { authorization: `Basic ${token}` }]) {
      const answer = await fetch(`${router.url}/metrics`, { headers })
      expect(answer.status).toBe(401)
      expect(await answer.text()).not.toContain('confrouter_')
    }
    await metricsOf(router, { authorization: `Bearer ${token}` })
  })

  it('is for everybody beside tokens where the settings say so', async () => {
    await metricsOf(await routerTo(answering, { ...withTokens, CONFROUTER_METRICS: 'open' }))
  })

  it('is not for pages in browsers', async () => {
    const router = await routerTo(answering)
    expect((await fetch(`${router.url}/metrics`)).headers.get('access-control-allow-origin')).toBeNull()
  })
})

describe('reports of several processes', () => {
  it('are added up: counts, buckets, memory', async () => {
    const distribution = new Distribution([1, 10])
    for (const value of [0.5, 1, 5, 50]) distribution.observe(value)
    const report = [histogram('seconds', 'Some.', [[{ route: '/a' }, distribution]])]
    const text = await renderReports([report, report])
    expect(text).toContain('# TYPE seconds histogram')
    expect(valueOf(text, 'seconds_bucket', { le: '1', route: '/a' })).toBe(4)
    expect(valueOf(text, 'seconds_bucket', { le: '10', route: '/a' })).toBe(6)
    expect(valueOf(text, 'seconds_bucket', { le: '+Inf', route: '/a' })).toBe(8)
    expect(valueOf(text, 'seconds_count', { route: '/a' })).toBe(8)
    expect(valueOf(text, 'seconds_sum', { route: '/a' })).toBe(113)
    // A sum can be added to again, and goes through JSON on its way.
    const again = JSON.parse(JSON.stringify(await sumReports([report, report])))
    expect(valueOf(await renderReports([again, report]), 'seconds_count', { route: '/a' })).toBe(12)
  })

  it('have what a process says of itself, and nothing that names it', async () => {
    const report = await createProcessMetrics()()
    const text = await renderReports([report])
    for (const name of [
      'process_resident_memory_bytes',
      'nodejs_eventloop_lag_p99_seconds',
      'process_cpu_seconds_total'
    ]) {
      expect(valueOf(text, name)).toBeGreaterThanOrEqual(0)
    }
    expect(text).not.toMatch(/pid|hostname|127\.0\.0\.1/)
  })
})

describe('the cost of counting a call', () => {
  it('is no part worth speaking of', () => {
    const metrics = new CallMetrics()
    const record = { route: '/v1/x', provider: 'p', upstreamStatus: 200, firstByteMs: 1, bytesIn: 1, outcome: 'ok' }
    const response = { headersSent: true, statusCode: 200 }
    const over = { record, response, reply: { bytesOut: 1 }, method: 'POST', startedAt: 0 } as unknown as Call
    for (let i = 0; i < 20_000; i++) metrics.add(over)
    // Processor time, which does not count what other processes do meanwhile.
    const before = process.cpuUsage()
    const count = 200_000
    for (let i = 0; i < count; i++) metrics.add(over)
    const { user, system } = process.cpuUsage(before)
    expect((user + system) / count).toBeLessThan(3)
  })
})
