import type { TrustPolicy, VerifiedEvidence } from '../verify/index.js'
import { AttestationError } from './errors.js'
import type { Fetch } from './http.js'
import { longestVerificationMs, type MaaKeySource, type RouterVerdict, verifyRouter } from './verify-router.js'

export interface AttestedRouterOptions {
  readonly url: string
  readonly trust: TrustPolicy
  readonly fetch: Fetch
  readonly now: () => Date
  readonly maaKeys: MaaKeySource | undefined
  /** How long keys are used after the evidence for them was verified. */
  readonly maximumAgeMs: number
  readonly onVerdict: ((verdict: RouterVerdict) => void) | undefined
}

/** From this part of its age on, evidence is replaced while it is still good, so that nobody waits for it. */
const earlyPart = 0.8

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
  #running: Promise<VerifiedEvidence> | undefined
  #renewedEarlyMs = 0

  constructor(private readonly options: AttestedRouterOptions) {}

  /**
   * Keys of evidence that is not too old. Throws an {@link AttestationError} if the evidence was
   * rejected and a {@link CheckError} if there is no verdict.
   */
  async keys(signal: AbortSignal | undefined): Promise<VerifiedEvidence> {
    const verified = this.#verified
    if (verified === undefined) return waitFor(this.#verify(), signal)
    const ageMs = this.options.now().getTime() - verified.atMs
    // A clock that went back says nothing about the age.
    if (ageMs < 0 || ageMs >= this.options.maximumAgeMs) return waitFor(this.#verify(), signal)
    if (ageMs >= earlyPart * this.options.maximumAgeMs) this.#renewEarly()
    return verified.evidence
  }

  /** Keys after those of `stale` turned out to be no longer the router's. Throws like {@link keys}. */
  async keysAfter(stale: VerifiedEvidence, signal: AbortSignal | undefined): Promise<VerifiedEvidence> {
    // Somebody else may have been told the same a moment ago.
    if (this.#verified !== undefined && this.#verified.evidence !== stale) return this.#verified.evidence
    return waitFor(this.#verify(), signal)
  }

  /** What comes of it is for the next call; a rejection takes the keys away at once. */
  #renewEarly(): void {
    const nowMs = this.options.now().getTime()
    if (Math.abs(nowMs - this.#renewedEarlyMs) < pauseMs) return
    this.#renewedEarlyMs = nowMs
    this.#verify().catch(() => undefined)
  }

  #verify(): Promise<VerifiedEvidence> {
    this.#running ??= this.#verifyNow().finally(() => (this.#running = undefined))
    return this.#running
  }

  async #verifyNow(): Promise<VerifiedEvidence> {
    const { url, trust, fetch, now, maaKeys, onVerdict } = this.options
    // Of its own: whoever asked first may lose interest before the others do.
    const signal = AbortSignal.timeout(longestVerificationMs)
    const atMs = now().getTime()
    const verdict = await verifyRouter({ url, trust, fetch, now, maaKeys, signal })
    this.#verified = verdict.verdict === 'trusted' ? { evidence: verdict.evidence, atMs } : undefined
    onVerdict?.(verdict)
    if (verdict.verdict === 'trusted') return verdict.evidence
    throw new AttestationError(verdict.checks)
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
