import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { parseFirstJson } from '../../../src/router/first-json.js'
import { classifySidecarError } from '../../../src/router/sidecar-error.js'
import { isFinal, notReadyRemedy } from '../../../src/steps/not-ready.js'
import { routerAt } from '../../../src/steps/router-call.js'
import type { Results, Run } from '../../../src/steps/run.js'
import { checkReady, CheckFailure } from '../../../src/steps/smoke-checks.js'
import { type Loopback, sendJson, serve } from '../client/loopback.js'
import { golden } from '../router/harness.js'

/** What the real sidecar answered, what the router makes of it and what its operator is told. */
const recorded = [
  ['19-release-policy-not-met', 'release.policy-not-met', /^confrouter status/],
  ['20-release-404', 'release.key-not-found', /^confrouter key/],
  ['21-release-rbac403', 'release.forbidden', /^confrouter provision/],
  ['22-release-missing-kid', 'release.bad-request', /^confrouter policy/],
  ['24-release-akv-port', 'release.certificate', /^confrouter policy/],
  ['25-release-akv-429', 'release.throttled', /^confrouter smoke/],
  ['26-release-maa-503', 'attest.unavailable', /^confrouter smoke/],
  ['27-release-imds-400', 'identity.refused', /^confrouter provision/],
  ['32-badtcb-nofetcher', 'attest.failed', /^confrouter deploy/]
] as const

let router: Loopback
let state: { readonly code: string; readonly cause: string }
beforeEach(async () => {
  router = await serve((_request, _body, response) => sendJson(response, 503, { stage: 'release', ...state }))
})
afterEach(() => router.close())

async function check(readySeconds: number): Promise<CheckFailure> {
  const run = {
    config: { resourceGroup: 'rg', containerGroup: { name: 'cg' } },
    fetch,
    routerFetch: () => fetch,
    now: () => new Date(),
    signal: new AbortController().signal,
    readySeconds
  } as unknown as Run
  const results = {
    get: (id: string) => (id === 'key' ? { releasePolicy: undefined } : { hostData: 'h' })
  } as unknown as Results
  const error: unknown = await checkReady(run, results, routerAt(run, router.origin, 'any'), () => undefined).catch(
    (thrown: unknown) => thrown
  )
  if (error instanceof CheckFailure) return error
  throw new Error(`no CheckFailure but ${String(error)}`)
}

describe('a router that is not ready', () => {
  it.each(recorded)('after the sidecar said %s is told of as %s with what to do', async (file, code, remedy) => {
    const { status, body } = golden(file)
    const { error } = parseFirstJson(body) as { error: unknown }
    const classified = classifySidecarError('release', status, typeof error === 'string' ? error : '')
    expect(classified.code).toBe(code)
    state = { code, cause: classified.reason }
    const failure = await check(0)
    if (code === 'release.policy-not-met') {
      // Checked and wrong: it names the two hashes instead.
      expect([failure.code, failure.fault, failure.more.next?.[0]]).toEqual([code, 'evidence', 'confrouter key'])
      return
    }
    expect([failure.code, failure.fault]).toEqual(['smoke.not-ready', 'cloud'])
    expect(failure.detail).toContain(code)
    expect(failure.more.why).toBe(classified.reason)
    expect(failure.more.next?.[0]).toMatch(remedy)
  })

  it('is not waited for when no time can mend it', async () => {
    state = { code: 'release.key-not-found', cause: 'no such key' }
    const started = performance.now()
    expect((await check(60)).code).toBe('smoke.not-ready')
    expect(performance.now() - started).toBeLessThan(5000)
  })

  it('is waited for when a role may still be on its way', async () => {
    state = { code: 'release.forbidden', cause: 'no role' }
    const started = performance.now()
    expect((await check(1)).code).toBe('smoke.not-ready')
    expect(performance.now() - started).toBeGreaterThan(900)
  })
})

describe('the remedies', () => {
  it('know codes by their second half too', () => {
    expect(notReadyRemedy('attest.throttled')).toEqual(notReadyRemedy('release.throttled'))
    expect(isFinal('attest.bad-request')).toBe(true)
  })

  it('send whoever meets an unknown code, or none, to look', () => {
    for (const code of [undefined, 'new.code', 'nodot']) {
      expect(notReadyRemedy(code)[0]).toBe('confrouter status')
      expect(isFinal(code)).toBe(false)
    }
  })
})
