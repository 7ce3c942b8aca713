export type ReplayVerdict = 'ok' | 'expired' | 'replayed' | 'full'

/** Slices of time in a window; a slice is forgotten as a whole. */
const slicesPerWindow = 4

/**
 * Lets each sealed request of the extension through once (docs/wire-format.md, replay). To be asked
 * after the first frame was authenticated: before that anybody could fill the memory, or spend
 * somebody else's request.
 *
 * A request is fresh for `windowMs` before and after the router's clock. The clock may jump: what
 * is forgotten lies below a mark that never goes down, and everything below the mark is refused, so
 * that no clock brings an old request back.
 */
export class ReplayGuard {
  readonly #windowMs: number
  readonly #maximumEntries: number
  readonly #sliceMs: number
  /** Encapsulated keys by the slice of time that their request claims: some 13 sets at most. */
  readonly #slices = new Map<number, Set<string>>()
  #entries = 0
  #lowWaterMs = Number.NEGATIVE_INFINITY

  /** `maximumEntries` requests are remembered; with more of them in time the guard refuses. */
  constructor({ windowMs, maximumEntries }: { readonly windowMs: number; readonly maximumEntries: number }) {
    if (!(windowMs >= 1 && maximumEntries >= 1)) throw new RangeError('the window and the entries must be 1 or more')
    this.#windowMs = windowMs
    this.#maximumEntries = maximumEntries
    this.#sliceMs = Math.ceil(windowMs / slicesPerWindow)
  }

  /** Requests that are remembered. */
  get entries(): number {
    return this.#entries
  }

  /**
   * Remembers the request if it is `ok`. `timeMs` is what the request claims, `nowMs` the wall clock,
   * both Unix milliseconds. `expired` is also said of a time that is still to come.
   */
  check(encapsulatedKey: Uint8Array, timeMs: number, nowMs: number): ReplayVerdict {
    const isFresh = Math.abs(timeMs - nowMs) <= this.#windowMs && timeMs >= this.#lowWaterMs
    if (!isFresh) return 'expired'
    // Also before a refusal: a full guard would otherwise stay full, since nothing new got in.
    this.#forgetBefore(timeMs - 2 * this.#windowMs)
    const id = Buffer.from(encapsulatedKey).toString('latin1')
    for (const ids of this.#slices.values()) if (ids.has(id)) return 'replayed'
    if (this.#entries >= this.#maximumEntries) return 'full'
    const slice = Math.floor(timeMs / this.#sliceMs)
    const ids = this.#slices.get(slice)
    if (ids === undefined) this.#slices.set(slice, new Set([id]))
    else ids.add(id)
    this.#entries++
    return 'ok'
  }

  #forgetBefore(timeMs: number): void {
    if (timeMs <= this.#lowWaterMs) return
    this.#lowWaterMs = timeMs
    // A slice that is cut by the mark stays: the rest of it could still be sent again.
    const first = Math.floor(timeMs / this.#sliceMs)
    for (const [slice, ids] of this.#slices) {
      if (slice >= first) continue
      this.#slices.delete(slice)
      this.#entries -= ids.size
    }
  }
}
