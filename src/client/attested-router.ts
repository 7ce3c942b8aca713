import type { MaaKeySet, TrustPolicy, VerifiedEvidence } from '../verify/index.js'
import { AttestationError } from './errors.js'
import type { Fetch } from './http.js'
import { type RouterVerdict, verifyRouter } from './verify-router.js'

export interface AttestedRouterOptions {
  readonly url: string
  readonly trust: TrustPolicy
  readonly fetch: Fetch
  readonly now: () => Date
  readonly maaKeys: readonly MaaKeySet[] | undefined
  /** How long keys are used after the evidence for them was verified. */
  readonly maximumAgeMs: number
  readonly onVerdict: ((verdict: RouterVerdict) => void) | undefined
}

/** Longest time for one verification: three calls, and a router that may wait for its attestation service. */
const longestVerificationMs = 60_000

/** From this part of its age on, evidence is replaced while it is still good, so that nobody waits for it. */
const earlyPart = 0.8

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
    // What comes of it is for the next call; a rejection takes the keys away at once.
    if (ageMs >= earlyPart * this.options.maximumAgeMs) this.#verify().catch(() => undefined)
    return verified.evidence
  }

  /** Keys after those of `stale` turned out to be no longer the router's. Throws like {@link keys}. */
  async keysAfter(stale: VerifiedEvidence, signal: AbortSignal | undefined): Promise<VerifiedEvidence> {
    // Somebody else may have been told the same a moment ago.
    if (this.#verified !== undefined && this.#verified.evidence !== stale) return this.#verified.evidence
    return waitFor(this.#verify(), signal)
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
    // Nobody may be left to look at it.
    result.catch(() => undefined)
  }
}
