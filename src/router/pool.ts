/**
 * Shares a number of something - calls, connections, bytes - among callers. Nobody gets more than a
 * part of it, so that one caller cannot take what all the others need.
 */
export class Pool {
  #inside = 0
  readonly #byCaller = new Map<string, number>()

  constructor(
    readonly limit: number,
    readonly limitPerCaller: number = limit
  ) {}

  get inside(): number {
    return this.#inside
  }

  /** False if there is not so much left, for all or for this caller; then nothing was taken. */
  take(caller: string, amount: number): boolean {
    const own = (this.#byCaller.get(caller) ?? 0) + amount
    if (own > this.limitPerCaller || this.#inside + amount > this.limit) return false
    this.#byCaller.set(caller, own)
    this.#inside += amount
    return true
  }

  give(caller: string, amount: number): void {
    const own = (this.#byCaller.get(caller) ?? 0) - amount
    // A caller that holds nothing is not remembered.
    if (own > 0) this.#byCaller.set(caller, own)
    else this.#byCaller.delete(caller)
    this.#inside -= amount
  }

  /** Takes one. Gives the function that gives it back, once; `undefined` if there is none left. */
  enter(caller: string): (() => void) | undefined {
    if (!this.take(caller, 1)) return undefined
    let left = false
    return () => {
      if (left) return
      left = true
      this.give(caller, 1)
    }
  }
}
