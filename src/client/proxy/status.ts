import type { Check, Claim, TrustPolicy } from '../../verify/index.js'
import type { KeyEndpointCheck } from '../key-endpoints.js'
import type { CallRecord } from './call-log.js'
import { type Chain, chainOf } from './chain.js'
import { checkTitles } from './check-titles.js'
import type { Known, WatchedRouter } from './watched-router.js'

/** What the page shows, as `/status.json` gives it. It holds no content, no keys that are secret and no tokens. */
export interface ProxyStatus {
  readonly schemaVersion: 1
  /** What a client takes as its base URL. */
  readonly baseUrl: string
  /** The address that calls go to. */
  readonly router: string
  /** All that are known, the best first, where there may be more than one. */
  readonly addresses?: readonly ShownAddress[]
  /**
   * `unchecked`: nobody has asked yet. `unavailable`: the last attempt came to no verdict. Else the last
   * verdict.
   */
  readonly state: 'unchecked' | 'unavailable' | 'trusted' | 'rejected'
  /** Of the last verdict: its chain ends in a root that is not AMD's, so no hardware protects anything. */
  readonly simulated: boolean
  readonly verifying: boolean
  /** Of the last verdict; UTC, ISO 8601. */
  readonly verifiedAt: string | null
  /** The last attempt, if it came to no verdict. */
  readonly problem: { readonly code: string; readonly message: string; readonly at: string } | null
  /** Of the trust policy; `"any"` also before it was read. */
  readonly maximumAgeSeconds: TrustPolicy['maximumAgeSeconds']
  readonly chain: Chain
  readonly checks: readonly ShownCheck[]
  /** Of the last verdict, where they were compared. */
  readonly keyEndpoints?: readonly KeyEndpointCheck[]
  readonly calls: readonly CallRecord[]
}

/** States as those of the whole. */
export interface ShownAddress {
  readonly address: string
  readonly state: ProxyStatus['state']
}

export interface ShownCheck {
  readonly claim: Claim
  readonly title: string
  readonly outcome: Check['outcome']
  readonly expected: string | null
  readonly actual: string | null
  /** Why nothing was compared. */
  readonly reason: string | null
  /** What somebody should read although the check matches. */
  readonly warning: string | null
}

/** Composes the status; asks nobody. */
export function statusOf(
  router: Pick<WatchedRouter, 'address' | 'addresses' | 'known' | 'trust' | 'isVerifying'>,
  {
    baseUrl,
    calls,
    isList
  }: {
    readonly baseUrl: string
    readonly calls: readonly CallRecord[]
    /** Whether there may be more than one address. */
    readonly isList: boolean
  }
): ProxyStatus {
  const { verdict: last, problem } = router.known(router.address)
  const checks = last?.verdict.checks ?? []
  return {
    schemaVersion: 1,
    baseUrl,
    router: router.address,
    ...(isList && {
      addresses: router.addresses.map((address) => ({ address, state: stateOf(router.known(address)) }))
    }),
    state: stateOf({ verdict: last, problem }),
    simulated: last?.verdict.simulated ?? false,
    verifying: router.isVerifying,
    verifiedAt: last?.at.toISOString() ?? null,
    problem:
      problem === undefined
        ? null
        : { code: problem.error.code, message: problem.error.message, at: problem.at.toISOString() },
    maximumAgeSeconds: router.trust?.maximumAgeSeconds ?? 'any',
    chain: chainOf(checks),
    checks: checks.map(shownCheck),
    ...(last?.verdict.keyEndpoints && { keyEndpoints: last.verdict.keyEndpoints }),
    calls
  }
}

function stateOf({ verdict, problem }: Known): ProxyStatus['state'] {
  return problem === undefined ? (verdict?.verdict.verdict ?? 'unchecked') : 'unavailable'
}

function shownCheck(check: Check): ShownCheck {
  const isCompared = check.outcome !== 'not-required'
  return {
    claim: check.claim,
    title: checkTitles[check.claim],
    outcome: check.outcome,
    expected: isCompared ? check.expected : null,
    actual: isCompared ? check.actual : null,
    reason: isCompared ? null : check.reason,
    warning: check.outcome === 'match' ? (check.warning ?? null) : null
  }
}
