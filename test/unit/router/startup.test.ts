import { createHash, generateKeyPairSync } from 'node:crypto'
import { afterEach, describe, expect, it } from '@jest/globals'
import { signedSecrets } from '../seal/signed-bundle.js'
import { testKey, vectorKey } from '../seal/test-keys.js'
import { type Answer, Cleanup, fakeSidecar, startRouter, until } from './harness.js'

const cleanup = new Cleanup()
afterEach(() => cleanup.run())

async function get(url: string): Promise<{ status: number; json: Answer; headers: Headers }> {
  const answer = await fetch(url)
  return { status: answer.status, headers: answer.headers, json: await answer.json() }
}

describe('the start-up', () => {
  it('goes through its stages to ready', async () => {
    const sidecar = await fakeSidecar(cleanup)
    const router = await startRouter(cleanup, { SKR_URL: sidecar.url })
    expect(sidecar.requests.map(({ path }) => path).slice(0, 2)).toEqual(['/status', '/key/release'])
    expect(sidecar.requests.map(({ path }) => path).sort()).toEqual([
      '/attest/combined',
      '/attest/maa',
      '/key/release',
      '/status'
    ])
    const { kid } = await vectorKey()
    expect(await get(`${router.url}/readyz`)).toMatchObject({ status: 200, json: { status: 'ready', kid } })
    expect((await get(`${router.url}/healthz`)).json).toEqual({ status: 'ok', stage: 'ready' })
  })

  it('gets over everything that passes', async () => {
    const sidecar = await fakeSidecar(cleanup)
    sidecar.failures['/status'] = ['28-unknown-path']
    sidecar.failures['/key/release'] = ['25-release-akv-429', '26-release-maa-503']
    sidecar.failures['/attest/maa'] = ['12-maa-unknown-host']
    const router = await startRouter(cleanup, { SKR_URL: sidecar.url })
    expect(router.context.state.stage).toBe('ready')
    const warnings = router
      .logText()
      .split('\n')
      .filter((line) => line.includes('not ready'))
    expect(warnings.map((line) => JSON.parse(line).code)).toEqual([
      'sidecar.not-ready',
      'release.throttled',
      'attest.unavailable',
      'attest.unreachable'
    ])
  })

  it.each([
    ['19-release-policy-not-met', 'release.policy-not-met'],
    ['20-release-404', 'release.key-not-found'],
    ['21-release-rbac403', 'release.forbidden']
  ])('shows the refusal %s in /readyz as %s, and looks again slowly', async (name, code) => {
    const sidecar = await fakeSidecar(cleanup)
    sidecar.failures['/key/release'] = [name, name]
    const pace = { refusedMs: 300, shortestMs: 1 }
    const router = await startRouter(cleanup, { SKR_URL: sidecar.url }, { untilReady: false, pace })
    await until(() => router.context.state.difficulty?.code === code)
    expect(await get(`${router.url}/readyz`)).toMatchObject({
      status: 503,
      json: {
        status: 'not ready',
        stage: 'key',
        code,
        final: true,
        attempts: 1,
        cause: expect.stringMatching(/\w+ \w+/)
      }
    })
    expect((await get(`${router.url}/healthz`)).json).toEqual({ status: 'ok', stage: 'key' })
    // A role may be given while the router waits.
    await until(() => router.context.state.stage === 'ready')
  })

  it('answers 503 with the stage until it is ready', async () => {
    const router = await startRouter(cleanup, { SKR_URL: 'http://127.0.0.1:1' }, { untilReady: false })
    await until(() => router.context.state.difficulty !== undefined)
    for (const path of ['/v1/crypto/jwk', '/.well-known/confrouter', '/v1/models', '/providers/openai/models']) {
      const { status, json, headers } = await get(`${router.url}${path}`)
      expect({ status, code: json.error.code, path }).toEqual({ status: 503, code: 'not_ready', path })
      expect(json.error.message).toContain('"sidecar"')
      expect(Number(headers.get('retry-after'))).toBeGreaterThanOrEqual(1)
    }
  })

  it('opens sealed secrets, which win over clear ones', async () => {
    const sidecar = await fakeSidecar(cleanup)
    const { publicJwk } = await vectorKey()
    const jwe = await signedSecrets({ values: { openai: 'sealed' }, version: 2, recipient: publicJwk })
    const router = await startRouter(cleanup, {
      SKR_URL: sidecar.url,
      CONFROUTER_SECRETS: jwe,
      OPENAI_API_KEY: 'clear',
      FAL_KEY: 'clear-fal'
    })
    expect([...router.context.state.providerKeys]).toEqual([
      ['openai', 'sealed'],
      ['fal', 'clear-fal']
    ])
    expect(router.logText()).toContain('"version":2')
  })

  it('warns about a key for a provider that is not enabled', async () => {
    const sidecar = await fakeSidecar(cleanup)
    const router = await startRouter(cleanup, {
      SKR_URL: sidecar.url,
      CONFROUTER_PROVIDERS: '{"groq":{}}',
      OPENAI_API_KEY: 'clear'
    })
    expect(router.logText()).toContain('"provider":"openai","msg":"key for a provider that is not enabled"')
  })

  it('stays at the secrets when they are for another key, and says for which key they must be', async () => {
    const sidecar = await fakeSidecar(cleanup)
    const other = await testKey(generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey)
    const jwe = await signedSecrets({ values: { openai: 'x' }, version: 1, recipient: other.publicJwk })
    const environment = { SKR_URL: sidecar.url, CONFROUTER_SECRETS: jwe }
    const router = await startRouter(cleanup, environment, { untilReady: false, pace: { refusedMs: 5000 } })
    await until(() => router.context.state.difficulty !== undefined)
    expect((await get(`${router.url}/readyz`)).json).toMatchObject({
      stage: 'secrets',
      code: 'secrets.not-opened',
      cause: expect.stringContaining((await vectorKey()).kid)
    })
  })

  it('refuses a report for other runtime data', async () => {
    const sidecar = await fakeSidecar(cleanup)
    // The recorded answer has a REPORT_DATA of its own.
    sidecar.failures['/attest/combined'] = ['07-combined-ok']
    const router = await startRouter(cleanup, { SKR_URL: sidecar.url })
    expect(router.logText()).toContain('a report for other runtime data')
  })
})

describe('the refresh', () => {
  it('keeps the key in use when a release fails', async () => {
    const sidecar = await fakeSidecar(cleanup)
    const environment = { SKR_URL: sidecar.url, KEY_REFRESH_SECONDS: '1' }
    const router = await startRouter(cleanup, environment)
    sidecar.failures['/key/release'] = ['21-release-rbac403']
    await until(() => router.logText().includes('key refresh failed'))
    expect((await get(`${router.url}/readyz`)).status).toBe(200)
    expect((await get(`${router.url}/v1/crypto/jwk`)).json.kid).toBe((await vectorKey()).kid)
  })

  it('takes a new version of the key together with evidence for it', async () => {
    const sidecar = await fakeSidecar(cleanup)
    const router = await startRouter(cleanup, { SKR_URL: sidecar.url, KEY_REFRESH_SECONDS: '1' })
    const next = await testKey(generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey)
    sidecar.key = next.privateKey
    await until(() => router.logText().includes('key replaced'))
    expect((await get(`${router.url}/v1/crypto/jwk`)).json.kid).toBe(next.kid)
    const evidence = (await get(`${router.url}/.well-known/confrouter`)).json
    const runtimeData = JSON.parse(Buffer.from(evidence.runtimeData, 'base64').toString())
    expect(runtimeData.confrouter.rsa.kid).toBe(next.kid)
  })

  it('renews the evidence before it ages, and goes on after a failure', async () => {
    const sidecar = await fakeSidecar(cleanup)
    const router = await startRouter(cleanup, { SKR_URL: sidecar.url }, { pace: { evidenceMs: 30 } })
    const first = router.context.state.active?.evidence
    sidecar.failures['/attest/maa'] = ['26-release-maa-503']
    await until(() => router.logText().includes('evidence refresh failed'))
    await until(() => router.context.state.active?.evidence !== first)
  })
})

describe('evidence', () => {
  it('has the form of the contract', async () => {
    const sidecar = await fakeSidecar(cleanup)
    const router = await startRouter(cleanup, { SKR_URL: sidecar.url })
    const { json, headers } = await get(`${router.url}/.well-known/confrouter`)
    expect(headers.get('cache-control')).toBe('no-store')
    expect(Object.keys(json)).toEqual(['version', 'runtimeData', 'maa', 'snp', 'ccePolicy', 'createdAt', 'simulated'])
    expect(json).toMatchObject({
      version: 1,
      maa: { endpoint: 'https://sharedweu.weu.attest.azure.net', token: expect.stringMatching(/^eyJ/) },
      ccePolicy: Buffer.from('package policy\n').toString('base64'),
      createdAt: '2026-11-22T09:15:23.000Z',
      simulated: false
    })
    expect(json.snp.certificates.match(/BEGIN CERTIFICATE/g)).toHaveLength(3)
    const runtimeData = Buffer.from(json.runtimeData, 'base64')
    const report = Buffer.from(json.snp.report, 'base64')
    expect(report.subarray(80, 112)).toEqual(createHash('sha256').update(runtimeData).digest())
    expect(Object.keys(JSON.parse(runtimeData.toString()).confrouter)).toEqual(['v', 'rsa', 'hpke', 'ed25519'])
  })
})
