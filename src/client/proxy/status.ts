import type { Check, Claim, TrustPolicy } from '../../verify/index.js'
import type { RouterVerdict } from '../verify-router.js'
import type { CallRecord } from './call-log.js'
import { type Chain, chainOf } from './chain.js'
import { checkTitles } from './check-titles.js'
import { type ShownValue, type ShownValues, valuesOf } from './check-values.js'
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
export async function statusOf(
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
): Promise<ProxyStatus> {
  const checks = last?.verdict.checks ?? []
  const values = last === undefined ? {} : mergeValues(checks, await shownValues(last.verdict, trust))
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
    chain: chainOf(checks, values),
    checks: checks.map((check) => shownCheck(check, values)),
    calls
  }
}

const known = new WeakMap<RouterVerdict, Promise<ShownValues>>()

/** Worked out once for each verdict: the page asks every other second. */
function shownValues(verdict: RouterVerdict, trust: TrustPolicy): Promise<ShownValues> {
  const values = known.get(verdict) ?? valuesOf(verdict.document, trust)
  known.set(verdict, values)
  return values
}

/** Where a check says itself what differs, that counts. */
function mergeValues(checks: readonly Check[], values: ShownValues): ShownValues {
  const own = checks.flatMap((check): [Claim, ShownValue][] =>
    check.outcome === 'mismatch' ? [[check.claim, { expected: check.expected, actual: check.actual }]] : []
  )
  return { ...values, ...Object.fromEntries(own) }
}

function shownCheck(check: Check, values: ShownValues): ShownCheck {
  const value = check.outcome === 'not-required' ? undefined : values[check.claim]
  return {
    claim: check.claim,
    title: checkTitles[check.claim],
    outcome: check.outcome,
    expected: value?.expected ?? null,
    actual: value?.actual ?? null,
    reason: check.outcome === 'not-required' ? check.reason : null,
    warning: check.outcome === 'match' ? (check.warning ?? null) : null
  }
}
