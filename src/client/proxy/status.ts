import type { Check, Claim, TrustPolicy } from '../../verify/index.js'
import type { KeyEndpointCheck } from '../key-endpoints.js'
import type { CallRecord } from './call-log.js'
import { type Chain, chainOf } from './chain.js'
import { checkTitles } from './check-titles.js'
import type { WatchedRouter } from './watched-router.js'

/** What the page shows, as `/status.json` gives it. It holds no content, no keys that are secret and no tokens. */
export interface ProxyStatus {
  readonly schemaVersion: 1
  /** What a client takes as its base URL. */
  readonly baseUrl: string
  readonly router: string
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
  readonly maximumAgeSeconds: TrustPolicy['maximumAgeSeconds']
  readonly chain: Chain
  readonly checks: readonly ShownCheck[]
  /** Of the last verdict, where they were compared. */
  readonly keyEndpoints?: readonly KeyEndpointCheck[]
  readonly calls: readonly CallRecord[]
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
  { verdict: last, problem, isVerifying }: Pick<WatchedRouter, 'verdict' | 'problem' | 'isVerifying'>,
  {
    baseUrl,
    router,
    trust,
    calls
  }: {
    readonly baseUrl: string
    readonly router: string
    readonly trust: TrustPolicy
    readonly calls: readonly CallRecord[]
  }
): ProxyStatus {
  const checks = last?.verdict.checks ?? []
  return {
    schemaVersion: 1,
    baseUrl,
    router,
    state: problem === undefined ? (last?.verdict.verdict ?? 'unchecked') : 'unavailable',
    simulated: last?.verdict.simulated ?? false,
    verifying: isVerifying,
    verifiedAt: last?.at.toISOString() ?? null,
    problem:
      problem === undefined
        ? null
        : { code: problem.error.code, message: problem.error.message, at: problem.at.toISOString() },
    maximumAgeSeconds: trust.maximumAgeSeconds,
    chain: chainOf(checks),
    checks: checks.map(shownCheck),
    ...(last?.verdict.keyEndpoints && { keyEndpoints: last.verdict.keyEndpoints }),
    calls
  }
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
