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
  readonly trust: TrustPolicy
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
}

/**
 * The keys of one router, each only for as long as the evidence for it is young. Whoever asks at the
 * same time shares one verification.
 */
export class AttestedRouter {
  #verified: Verified | undefined
  #running: Promise<RouterVerdict> | undefined
  #renewedEarlyMs = 0
  readonly #maximumAgeMs: number

  constructor(private readonly options: AttestedRouterOptions) {
    this.#maximumAgeMs = maximumAgeMs(options.trust)
  }

  get isVerifying(): boolean {
    return this.#running !== undefined
  }

  /**
   * Keys of evidence that is not too old. Throws an {@link AttestationError} if the evidence was
   * rejected and a {@link CheckError} if there is no verdict.
   */
  async keys(signal: AbortSignal | undefined): Promise<VerifiedEvidence> {
    const verified = this.#verified
    if (verified === undefined || !this.#isYoungerThan(this.#maximumAgeMs, verified)) {
      return waitFor(this.#renewed(), signal)
    }
    if (!this.#isYoungerThan(earlyPart * this.#maximumAgeMs, verified)) this.#renewEarly()
    return verified.evidence
  }

  /** Keys after those of `stale` turned out to be no longer the router's. Throws like {@link keys}. */
  async keysAfter(stale: VerifiedEvidence, signal: AbortSignal | undefined): Promise<VerifiedEvidence> {
    // Somebody else may have been told the same a moment ago.
    const verified = this.#verified
    const isOther = verified !== undefined && verified.evidence !== stale
    if (isOther && this.#isYoungerThan(this.#maximumAgeMs, verified)) return verified.evidence
    return waitFor(this.#renewed(), signal)
  }

  /** A clock that went back says nothing about the age. */
  #isYoungerThan(limitMs: number, { atMs }: Verified): boolean {
    const ageMs = this.options.now().getTime() - atMs
    return ageMs >= 0 && ageMs < limitMs
  }

  /**
   * Verifies now, or joins a verification that runs; calls that follow have its keys, or none. A rejection is a
   * verdict; throws a {@link CheckError} if there is none, and what was verified before stays.
   */
  verify(): Promise<RouterVerdict> {
    this.#running ??= this.#verifyNow().finally(() => (this.#running = undefined))
    return this.#running
  }

  /** What comes of it is for the next call; a rejection takes the keys away at once. */
  #renewEarly(): void {
    const nowMs = this.options.now().getTime()
    if (Math.abs(nowMs - this.#renewedEarlyMs) < pauseMs) return
    this.#renewedEarlyMs = nowMs
    this.verify().catch(() => undefined)
  }

  async #renewed(): Promise<VerifiedEvidence> {
    const verdict = await this.verify()
    if (verdict.verdict === 'trusted') return verdict.evidence
    throw new AttestationError(verdict.checks, verdict.keyEndpoints)
  }

  async #verifyNow(): Promise<RouterVerdict> {
    const { onVerdict, onNoVerdict, ...options } = this.options
    // Of its own: whoever asked first may lose interest before the others do.
    const signal = AbortSignal.timeout(longestVerificationMs)
    const atMs = options.now().getTime()
    let verdict: RouterVerdict
    try {
      verdict = await verifyRouter({ ...options, signal })
    } catch (error) {
      if (error instanceof CheckError) tell(onNoVerdict, error)
      throw error
    }
    this.#verified = verdict.verdict === 'trusted' ? { evidence: verdict.evidence, atMs } : undefined
    tell(onVerdict, verdict)
    return verdict
  }
}

/** What a callback of the application throws is not for the calls that wait for the verdict. */
function tell<T>(callback: ((value: T) => unknown) | undefined, value: T): void {
  try {
    Promise.resolve(callback?.(value)).catch(() => undefined)
  } catch {
    // Nobody else is to hear of it.
  }
}

/** The same, but no longer than its asker wants to wait. */
async function waitFor<T>(result: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
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
