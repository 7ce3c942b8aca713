import type { TrustPolicy, VerifiedEvidence } from '../verify/index.js'
import { AttestationError, CheckError } from './errors.js'
import type { Fetch } from './http.js'
import {
  longestVerificationMs,
  type MaaKeySource,
  type RouterVerdict,
  verifyRouter,
  type VerifyRouterOptions
} from './verify-router.js'

export interface AttestedRouterOptions {
  readonly url: string
  /** What is demanded by now: whom it does not accept any more has no keys here from then on. */
  readonly trust: () => TrustPolicy
  readonly fetch: Fetch
  readonly now: () => Date
  readonly maaKeys: MaaKeySource | undefined
  readonly onVerdict: ((verdict: RouterVerdict) => void) | undefined
  /** Told of each attempt that came to no verdict, also of one that nobody waited for. */
  readonly onNoVerdict?: ((error: CheckError) => void) | undefined
  readonly compareKeyEndpoints?: boolean | undefined
  readonly transport?: VerifyRouterOptions['transport']
}

/** From this part of its age on, evidence is replaced while it is still good, so that nobody waits for it. */
export const earlyPart = 0.8
/** Seconds for which keys are used where the trust policy accepts any age. */
const defaultMaximumAgeSeconds = 300

/** How long keys are used after the evidence for them was verified. */
export const maximumAgeMs = ({ maximumAgeSeconds: age }: TrustPolicy): number =>
  (age === 'any' ? defaultMaximumAgeSeconds : age) * 1000

/** Between two attempts to replace evidence that is still good. */
const pauseMs = 10_000

interface Verified {
  readonly evidence: VerifiedEvidence
  readonly atMs: number
  readonly trust: TrustPolicy
}

/**
 * The keys of one router, each only for as long as the evidence for it is young. Whoever asks at the
 * same time shares one verification.
 */
export class AttestedRouter {
  #verified: Verified | undefined
  #running: { readonly verdict: Promise<RouterVerdict>; readonly trust: TrustPolicy } | undefined
  #renewedEarlyMs = 0

  constructor(private readonly options: AttestedRouterOptions) {}

  get isVerifying(): boolean {
    return this.#running !== undefined
  }

  /** Whether a call would have keys at once. */
  get hasKeys(): boolean {
    return this.#isGood(this.#verified)
  }

  /** Whoever answers there may be another one by now, or nobody: the next call verifies first. */
  doubt(): void {
    this.#verified = undefined
  }

  /**
   * Keys of evidence that is not too old. Throws an {@link AttestationError} if the evidence was
   * rejected and a {@link CheckError} if there is no verdict.
   */
  async keys(signal: AbortSignal | undefined): Promise<VerifiedEvidence> {
    const verified = this.#verified
    if (!this.#isGood(verified)) return waitFor(this.#renewed(), signal)
    if (!this.#isGood(verified, earlyPart)) this.#renewEarly()
    return verified.evidence
  }

  /** Keys after those of `stale` turned out to be no longer the router's. Throws like {@link keys}. */
  async keysAfter(stale: VerifiedEvidence, signal: AbortSignal | undefined): Promise<VerifiedEvidence> {
    // Somebody else may have been told the same a moment ago.
    const verified = this.#verified
    if (verified?.evidence !== stale && this.#isGood(verified)) return verified.evidence
    return waitFor(this.#renewed(), signal)
  }

  /** Younger than this part of the greatest age, and what is demanded now. A clock that went back says nothing about the age. */
  #isGood(verified: Verified | undefined, part = 1): verified is Verified {
    if (verified === undefined) return false
    const trust = this.options.trust()
    const ageMs = this.options.now().getTime() - verified.atMs
    return ageMs >= 0 && ageMs < part * maximumAgeMs(trust) && isStillTrusted(verified, trust)
  }

  /**
   * Verifies now, or joins a verification that runs; calls that follow have its keys, or none. A rejection is a
   * verdict; throws a {@link CheckError} if there is none, and what was verified before stays.
   */
  verify(): Promise<RouterVerdict> {
    const trust = this.options.trust()
    // One that began under another policy has nothing to say about this one.
    if (this.#running?.trust === trust) return this.#running.verdict
    const verdict = this.#verifyNow(trust).finally(() => {
      if (this.#running?.verdict === verdict) this.#running = undefined
    })
    this.#running = { verdict, trust }
    return verdict
  }

  /** What comes of it is for the next call; a rejection takes the keys away at once. */
  #renewEarly(): void {
    const nowMs = this.options.now().getTime()
    if (Math.abs(nowMs - this.#renewedEarlyMs) < pauseMs) return
    this.#renewedEarlyMs = nowMs
    this.verify().catch(() => undefined)
  }

  async #renewed(): Promise<VerifiedEvidence> {
    for (;;) {
      const trust = this.options.trust()
      const verdict = await this.verify()
      // Whoever has changed it meanwhile did so for a reason.
      if (trust !== this.options.trust()) continue
      if (verdict.verdict === 'trusted') return verdict.evidence
      throw new AttestationError(verdict.checks, verdict.keyEndpoints)
    }
  }

  async #verifyNow(trust: TrustPolicy): Promise<RouterVerdict> {
    const { onVerdict, onNoVerdict, ...options } = this.options
    // Of its own: whoever asked first may lose interest before the others do.
    const signal = AbortSignal.timeout(longestVerificationMs)
    const atMs = options.now().getTime()
    let verdict: RouterVerdict
    try {
      verdict = await verifyRouter({ ...options, trust, signal })
    } catch (error) {
      if (error instanceof CheckError) tell(onNoVerdict, error)
      throw error
    }
    // Under a policy that is not in force any more a verdict is of no use, but for whoever waits for it.
    if (trust === options.trust()) {
      this.#verified = verdict.verdict === 'trusted' ? { evidence: verdict.evidence, atMs, trust } : undefined
    }
    tell(onVerdict, verdict)
    return verdict
  }
}

/**
 * A policy that differs in its host data alone, and accepts those that were verified, would come to the same verdict.
 * So whoever upgrades a router does not make all of its callers verify it again at the same moment.
 */
function isStillTrusted({ evidence, trust: then }: Verified, now: TrustPolicy): boolean {
  if (then === now) return true
  const { hostData } = now
  const isSame = JSON.stringify({ ...then, hostData: 0 }) === JSON.stringify({ ...now, hostData: 0 })
  return isSame && (hostData === 'any' || hostData.includes(evidence.hostData))
}

/** What a callback of the application throws is not for the calls that wait for the verdict. */
export function tell<T>(callback: ((value: T) => unknown) | undefined, value: T): void {
  try {
    Promise.resolve(callback?.(value)).catch(() => undefined)
  } catch {
    // Nobody else is to hear of it.
  }
}

/** The same, but no longer than its asker wants to wait. */
export async function waitFor<T>(result: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return result
  // Nobody may be left to look at it.
  result.catch(() => undefined)
  signal.throwIfAborted()
  let stop: () => void = () => undefined
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason as Error)
    signal.addEventListener('abort', stop, { once: true })
  })
  try {
    return await Promise.race([result, aborted])
  } finally {
    signal.removeEventListener('abort', stop)
  }
}
