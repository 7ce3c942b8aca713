/** Counts what runs at the same time, and admits no more than a number. */
export class Gate {
  #inside = 0

  constructor(readonly limit: number) {}

  get inside(): number {
    return this.#inside
  }

  /** Gives the function with which to leave, once; `undefined` if there is no room. */
  enter(): (() => void) | undefined {
    if (this.#inside >= this.limit) return undefined
    this.#inside++
    let left = false
    return () => {
      if (left) return
      left = true
      this.#inside--
    }
  }
}
