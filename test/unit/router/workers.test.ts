import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import http, { type RequestListener, type ServerResponse } from 'node:http'
import process from 'node:process'
import { connect } from 'node:tls'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { sealEhbp } from '../../../src/seal/ehbp-client.js'
import { deriveKeys } from '../../../src/seal/node/derive-keys.js'
import { signedSecrets } from '../seal/signed-bundle.js'
import { vectorKey } from '../seal/test-keys.js'
import { Cleanup, readAll, until } from './harness.js'
import { bundleRouter } from './router-process.js'
import { call, openStream, type RouterWithWorkers, routerWithWorkers, send, times } from './workers-harness.js'

function countOf(text: string, name: string, labels: Record<string, string> = {}): number {
  let sum = 0
  for (const line of text.split('\n')) {
    const isOne = line.startsWith(`${name}{`) || line.startsWith(`${name} `)
    if (!isOne || Object.entries(labels).some(([label, value]) => !line.includes(`${label}="${value}"`))) continue
    sum += Number(line.slice(line.lastIndexOf(' ')))
  }
  return sum
}

describe('several workers', () => {
  const cleanup = new Cleanup()
  afterAll(() => cleanup.run())
  const upstreams: ServerResponse[] = []
  let router: RouterWithWorkers
  let jwe: string

  beforeAll(async () => {
    const recipient = (await vectorKey()).publicJwk
    jwe = await signedSecrets({ values: { keyed: 'sk-sealed' }, version: 1, recipient })
    const listener: RequestListener = (request, response) => {
      void readAll(request).then((body) => {
        if (!body.includes('stream')) response.end('{}')
        else {
          upstreams.push(response)
          response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n')
        }
      })
    }
    router = await routerWithWorkers(
      cleanup,
      await bundleRouter(),
      3,
      (origin) => ({
        CONFROUTER_PROVIDERS: JSON.stringify({
          test: { baseUrl: origin, allowPrivate: true, auth: 'none' },
          keyed: { baseUrl: origin, allowPrivate: true }
        }),
        CONFROUTER_SECRETS: jwe,
        FAL_KEY: 'fal-clear',
        RATE_LIMIT_PER_MINUTE: '10',
        CONFROUTER_TLS_PORT: '0',
        IDENTITY_HEADER: 'of-the-platform'
      }),
      listener
    )
  }, 30_000)

  const releases = () => router.sidecar.requests.filter(({ path }) => path === '/key/release')

  it('serve with one key, which is released once', async () => {
    expect(releases()).toHaveLength(1)
    expect(await router.workers()).toHaveLength(3)
    const keys = await times(6, () => send(router.url, '/v1/crypto/jwk'))
    expect(new Set(keys.map(({ text }) => JSON.parse(text).kid))).toEqual(new Set([(await vectorKey()).kid]))
    const evidence = await times(6, () => send(router.url, '/.well-known/confrouter'))
    expect(new Set(evidence.map(({ text }) => text)).size).toBe(1)
    const nonce = Buffer.alloc(16, 9).toString('base64url')
    const fresh = await times(3, () =>
      send(router.url, '/.well-known/confrouter', { method: 'POST', body: JSON.stringify({ nonce }) })
    )
    for (const { text } of fresh) {
      const runtimeData = JSON.parse(Buffer.from(JSON.parse(text).runtimeData, 'base64').toString())
      expect(runtimeData.confrouter.nonce).toBe(nonce)
    }
    await until(() => new Set(router.lines().map(({ worker, msg }) => msg === 'request' && worker)).size === 4)
  })

  it('have one TLS key, that of the evidence', async () => {
    const { text } = await send(router.url, '/.well-known/confrouter')
    const { tls } = JSON.parse(Buffer.from(JSON.parse(text).runtimeData, 'base64').toString()).confrouter
    const tlsUrl = await router.tlsUrl()
    const found = await times(6, async () => {
      const socket = connect({ port: Number(new URL(tlsUrl).port), host: '127.0.0.1', rejectUnauthorized: false })
      await once(socket, 'secureConnect')
      const spki = socket.getPeerX509Certificate()?.publicKey.export({ type: 'spki', format: 'der' })
      socket.destroy()
      return createHash('sha256')
        .update(spki ?? '')
        .digest('hex')
    })
    expect(new Set(found)).toEqual(new Set([tls]))
  })

  it('count calls together, to the last one', async () => {
    const startedAt = performance.now()
    const statuses = (await times(30, () => call(router.url, 'keyed:m'))).map(({ status }) => status)
    // One is given back every six seconds.
    const given = Math.floor((performance.now() - startedAt) / 6000)
    const taken = statuses.filter((status) => status === 200).length
    expect(taken).toBeGreaterThanOrEqual(10)
    expect(taken).toBeLessThanOrEqual(10 + given)
    expect(statuses.filter((status) => status === 429)).toHaveLength(30 - taken)
  })

  it('refuse a sealed request that another one of them has had', async () => {
    const { hpke } = deriveKeys((await vectorKey()).privateKey)
    const sealed = await sealEhbp({
      recipient: hpke.publicKey,
      method: 'POST',
      path: '/v1/chat/completions',
      headers: { 'content-type': 'application/json' },
      body: Buffer.from('{"model":"m"}'),
      extension: { timeMs: Date.now(), cover: ['content-type'] }
    })
    const again = () =>
      send(router.url, '/v1/chat/completions', {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...sealed.headers },
        body: sealed.body as Uint8Array
      })
    const statuses = (await times(9, again)).map(({ status }) => status)
    expect(statuses.filter((status) => status === 200)).toHaveLength(1)
    expect(statuses.filter((status) => status === 409)).toHaveLength(8)
  })

  it('answer /metrics for the whole router', async () => {
    await times(12, () => send(router.url, '/providers/test/anything', { method: 'PUT' }))
    await until(() => router.lines().filter(({ method }) => method === 'PUT').length === 12)
    for (const { text } of await times(4, () => send(router.url, '/metrics'))) {
      expect(countOf(text, 'confrouter_requests_total', { method: 'PUT', status: '200' })).toBe(12)
      expect(countOf(text, 'confrouter_request_duration_seconds_count', { route: '/providers/*' })).toBe(12)
      expect(countOf(text, 'confrouter_key_releases_total', { code: 'ok' })).toBe(1)
      expect(countOf(text, 'confrouter_secrets_version')).toBe(1)
      expect(countOf(text, 'confrouter_ready')).toBe(1)
      expect(countOf(text, 'confrouter_workers')).toBe(3)
      expect(countOf(text, 'process_cpu_seconds_total')).toBeGreaterThan(0)
    }
  })

  it('have nothing secret in their environment, arguments or output', async () => {
    const { d = '', p = '', q = '' } = (await vectorKey()).privateKey.export({ format: 'jwk' })
    const secrets = ['sk-sealed', 'fal-clear', jwe, 'of-the-platform', d, p, q, 'PRIVATE KEY']
    const workers = await router.workers()
    expect(workers).toHaveLength(3)
    for (const pid of workers) {
      const [environment, line] = await Promise.all(
        ['environ', 'cmdline'].map((name) => readFile(`/proc/${pid}/${name}`, 'latin1'))
      )
      expect(line).toMatch(/router\.cjs\0$/)
      expect(environment).toContain('NODE_UNIQUE_ID=')
      for (const secret of secrets) expect(`${environment} ${line}`).not.toContain(secret)
    }
    for (const secret of secrets) expect(router.output()).not.toContain(secret)
  })

  it('take no call that the first process does not count', async () => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
    cleanup.add(async () => agent.destroy())
    expect(await call(router.url, 'm', { agent })).toMatchObject({ status: 200 })
    const { pid = 0 } = router.child
    process.kill(pid, 'SIGSTOP')
    const startedAt = performance.now()
    try {
      const { status, text } = await call(router.url, 'm', { agent })
      expect({ status, code: JSON.parse(text).error.code }).toEqual({ status: 503, code: 'overloaded' })
      expect(performance.now() - startedAt).toBeLessThan(2500)
    } finally {
      process.kill(pid, 'SIGCONT')
    }
    expect(await call(router.url, 'm', { agent })).toMatchObject({ status: 200 })
  })

  it('are replaced when they are lost, and callers of the others notice nothing', async () => {
    const before = await router.workers()
    const counted = countOf((await send(router.url, '/metrics')).text, 'confrouter_requests_total', { method: 'PUT' })
    const streams = await times(9, () => openStream(router.url))
    process.kill(before[1] ?? 0, 'SIGKILL')
    await until(() => streams.some(({ state }) => state === 'broken'))
    // While there is one less.
    const answers = await times(20, () => send(router.url, '/healthz'))
    expect(answers.every(({ status }) => status === 200)).toBe(true)
    await until(() => router.lines().some(({ msg }) => msg === 'worker lost'))
    expect(router.lines().find(({ msg }) => msg === 'worker lost')).toMatchObject({ worker: 2, signal: 'SIGKILL' })
    await until(() => router.started().length === 4, 15_000)
    const after = await router.workers()
    expect(after).toHaveLength(3)
    expect(after.filter((pid) => before.includes(pid))).toHaveLength(2)

    for (const upstream of upstreams) upstream.end('data: [DONE]\n\n')
    await until(() => streams.every(({ state }) => state !== 'open'))
    const kept = streams.filter(({ state }) => state === 'ended')
    expect(kept.length).toBeGreaterThan(0)
    expect(new Set(kept.map(({ text }) => text))).toEqual(new Set(['data: 1\n\ndata: [DONE]\n\n']))
    // The lost one cannot say anything; the others have had no failure at all.
    const ends = () => router.lines().filter(({ durationMs, route }) => route === '/v1/chat/completions' && durationMs)
    await until(() => ends().filter(({ bytesOut }) => bytesOut === 23).length === kept.length)
    expect(ends().some(({ outcome }) => outcome === 'caller_gone' || outcome === 'upstream_broke_off')).toBe(false)
    // The new one has the key, though it was released long before.
    await until(() => router.lines().some(({ worker, msg }) => worker === 4 && msg === 'worker started'))
    const keys = await times(6, () => send(router.url, '/v1/crypto/jwk'))
    expect(keys.map(({ status }) => status)).toEqual(Array(6).fill(200))
    await until(() => router.lines().some(({ worker, route }) => worker === 4 && route === '/v1/crypto/jwk'))
    expect(releases()).toHaveLength(1)
    // What the lost one had counted is not lost.
    const { text } = await send(router.url, '/metrics')
    expect(countOf(text, 'confrouter_requests_total', { method: 'PUT' })).toBe(counted)
    expect(countOf(text, 'confrouter_workers_lost_total')).toBe(1)
  })
})
