/** A fixed linear congruential sequence of integers below a bound, so that a failure can be repeated. */
export function generator(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

export function pick<T>(items: readonly T[], random: (below: number) => number): T {
  return items[random(items.length)]!
}

/** The text with one to three small faults: a character removed, doubled or exchanged, or a cut. */
export function damaged(text: string, random: (below: number) => number): string {
  let result = text
  for (let count = 1 + random(3); count > 0; count--) {
    const at = random(result.length + 1)
    const other = pick(['"', '{', '}', '[', ']', ',', ':', '\\', '0', 'e', '\u0000', '\ud800', '(', '$'], random)
    result = pick(
      [
        result.slice(0, at) + result.slice(at + 1),
        result.slice(0, at) + other + result.slice(at),
        result.slice(0, at) + other + result.slice(at + 1),
        result.slice(0, at)
      ],
      random
    )
  }
  return result
}
