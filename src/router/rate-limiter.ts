/** Callers are remembered up to this number; then the one that was idle longest is forgotten. */
const rememberedCallers = 10_000

interface Bucket {
  tokens: number
  updatedAtMs: number
}

/** A token bucket for each caller: a burst of one minute's calls, refilled evenly. */
export class RateLimiter {
  readonly #buckets = new Map<string, Bucket>()

  constructor(
    readonly perMinute: number,
    private readonly nowMs: () => number
  ) {}

  /** Takes one call. Gives 0, or the seconds until there is one to take. */
  take(caller: string): number {
    const now = this.nowMs()
    const known = this.#buckets.get(caller)
    const tokens =
      known === undefined
        ? this.perMinute
        : Math.min(this.perMinute, known.tokens + ((now - known.updatedAtMs) / 60_000) * this.perMinute)
    const allowed = tokens >= 1
    // Deleting first moves the caller to the end of the map, which keeps the idle ones in front.
    this.#buckets.delete(caller)
    this.#buckets.set(caller, { tokens: allowed ? tokens - 1 : tokens, updatedAtMs: now })
    if (this.#buckets.size > rememberedCallers) this.#forgetOldest()
    return allowed ? 0 : ((1 - tokens) / this.perMinute) * 60
  }

  #forgetOldest(): void {
    const oldest = this.#buckets.keys().next()
    if (oldest.done !== true) this.#buckets.delete(oldest.value)
  }
}
