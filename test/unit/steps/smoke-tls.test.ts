import { X509Certificate } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { sha256Hex, type Sha256Hex } from '../../../src/base/digest.js'
import type { VerifiedEvidence } from '../../../src/client/index.js'
import { routerFetch } from '../../../src/composition/router-fetch.js'
import { routerAt } from '../../../src/steps/router-call.js'
import type { Results, Run } from '../../../src/steps/run.js'
import { checkEvidence, checkHealth, CheckFailure, checkTls } from '../../../src/steps/smoke-checks.js'
import { type Loopback, sendJson, serveTls, type TlsLoopback } from '../client/loopback.js'
import { createWorld, forge, maaKeySet, now, put } from '../verify/forge.js'

const world = await createWorld()

/** Attestation provider and router, both with TLS; nobody but `maa.fetch` trusts the first, and nobody the second. */
let maa: TlsLoopback
let router: TlsLoopback
let run: Run
const shown = { key: sha256Hex('not started'), health: 200 }

beforeEach(async () => {
  maa = await serveTls(async (_request, _body, response) => sendJson(response, 200, (await maaKeySet(world.maa)).jwks))
  router = await serveTls(async (request, body, response) => {
    if (request.url === '/healthz') sendJson(response, shown.health, {})
    else sendJson(response, 200, (await evidenceFor(JSON.parse(body).nonce)).document)
  })
  shown.key = keyOf(router)
  shown.health = 200
  const signal = new AbortController().signal
  run = { config: {}, fetch: maa.fetch, routerFetch, now: () => now, signal, readySeconds: 0 } as unknown as Run
})
afterEach(async () => {
  await Promise.all([maa.close(), router.close()])
})

const keyOf = ({ certificate }: TlsLoopback): Sha256Hex =>
  sha256Hex(new X509Certificate(certificate).publicKey.export({ type: 'spki', format: 'der' }))

/** Evidence that binds the key which the router is to have. */
const evidenceFor = (nonce: string) =>
  forge(world, {
    runtimeData: (value) => {
      put(nonce, 'confrouter', 'nonce')(value)
      put(shown.key, 'confrouter', 'tls')(value)
    },
    claims: put(maa.origin, 'iss'),
    document: put(maa.origin, 'maa', 'endpoint'),
    trust: put([maa.origin], 'maa', 'endpoints')
  })

async function resultsOf(): Promise<Results> {
  const { trust } = await evidenceFor('')
  return { get: () => ({ trust, hostData: 'h' }) } as unknown as Results
}

const evidence = (tls: Sha256Hex | undefined) => ({ tls }) as unknown as VerifiedEvidence

async function failureOf(check: Promise<unknown>): Promise<CheckFailure> {
  const error: unknown = await check.catch((reason: unknown) => reason)
  if (error instanceof CheckFailure) return error
  throw new Error(`no CheckFailure but ${String(error)}`)
}

describe('the smoke test over TLS', () => {
  it('fetches evidence from whoever answers, verifies it, and then trusts the key in it alone', async () => {
    const address = routerAt(run, router.origin, 'any')
    expect(await checkHealth(run, {} as Results, address)).toBe(`${router.origin}/healthz answers`)
    const { accepted } = await checkEvidence(run, await resultsOf(), address)
    expect(accepted.tls).toBe(keyOf(router))
    const checked = await checkTls(run, router.origin, accepted)
    expect(checked.detail).toBe(`${router.origin} has the TLS key ${keyOf(router)} that the evidence binds`)
    expect((await checked.router.fetch(`${router.origin}/healthz`)).status).toBe(200)
  })

  it('takes the keys of the attestation provider from nobody with a certificate of their own', async () => {
    const address = routerAt(run, router.origin, 'any')
    const strict = { ...run, fetch: globalThis.fetch }
    await expect(checkEvidence(strict, await resultsOf(), address)).rejects.toMatchObject({ code: 'check.network' })
    expect(maa.requests).toHaveLength(0)
  })

  it('rejects whoever passes the evidence on under a TLS key of their own', async () => {
    shown.key = sha256Hex('the key of the router behind')
    const { accepted } = await checkEvidence(run, await resultsOf(), routerAt(run, router.origin, 'any'))
    const before = router.requests.length
    const failure = await failureOf(checkTls(run, router.origin, accepted))
    expect(failure).toMatchObject({ fault: 'evidence', code: 'smoke.tls' })
    expect(failure.more.why).toBe(`evidence: ${shown.key}, shown: ${keyOf(router)}`)
    expect(router.requests).toHaveLength(before)
  })

  it('rejects evidence that binds no TLS key', async () => {
    expect(await failureOf(checkTls(run, router.origin, evidence(undefined)))).toMatchObject({
      fault: 'evidence',
      code: 'smoke.tls',
      more: { why: 'the evidence binds no TLS key' }
    })
  })

  it('tells what could not be checked from what is wrong', async () => {
    shown.health = 503
    expect(await failureOf(checkTls(run, router.origin, evidence(keyOf(router))))).toMatchObject({
      fault: 'cloud',
      code: 'smoke.unreachable'
    })
    const closed: Loopback = await serveTls(() => undefined)
    await closed.close()
    expect(await failureOf(checkTls(run, closed.origin, evidence(keyOf(router))))).toMatchObject({
      fault: 'cloud',
      code: 'smoke.unreachable',
      detail: `${closed.origin}/healthz does not answer`
    })
  })
})
