/** A number from 0 to 1, without 1, with each call. */
export type Random = () => number

/** Mulberry32: the same sequence on every machine. */
export function seeded(seed: number): Random {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

export function pick<T>(items: readonly T[], random: Random): T {
  return items[Math.floor(random() * items.length)] as T
}

/** An integer from `least` to `most`, both included. */
export function integer(least: number, most: number, random: Random): number {
  return least + Math.floor(random() * (most - least + 1))
}
