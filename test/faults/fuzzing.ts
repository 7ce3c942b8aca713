import type { Seeded } from '../unit/seal/seeded.js'

/** How often each outcome has come. */
export type Tally = Record<string, number>

/**
 * Runs one case. `act` says what came of it in a word, and begins with "wrong" if that must not be; an error counts
 * as "refused" if it is a `named` one, and is an outcome of its own otherwise.
 */
export function count(tally: Tally, named: new (...args: never[]) => Error, act: () => string): void {
  let outcome: string
  try {
    outcome = act()
  } catch (error) {
    outcome = error instanceof named ? 'refused' : `another error: ${String(error).slice(0, 300)}`
  }
  tally[outcome] = (tally[outcome] ?? 0) + 1
}

/** Breaks a text in one to three places, with the pieces that matter to whoever reads it. */
export function damage(text: string, pieces: readonly string[], random: Seeded): string {
  let result = text
  for (let left = 1 + random.below(3); left > 0; left--) {
    const at = random.below(result.length + 1)
    const until = Math.min(result.length, at + random.below(4))
    const piece = random.pick(pieces)
    result = random.pick([
      result.slice(0, at) + piece + result.slice(at),
      result.slice(0, at) + result.slice(until),
      result.slice(0, at) + piece + result.slice(until),
      result.slice(0, at),
      result.slice(at) + result.slice(0, at)
    ])
  }
  return result
}

/** A text of some of these pieces, in any order. */
export const joined = (pieces: readonly string[], most: number, random: Seeded): string =>
  Array.from({ length: random.below(most + 1) }, () => random.pick(pieces)).join('')

export const jsonPieces = [
  '{',
  '}',
  '[',
  ']',
  '"',
  ',',
  ':',
  '\\',
  '\\u0022',
  ' ',
  '\n',
  '0',
  '-',
  'true',
  '\ufeff',
  '\u0000',
  '\xff'
]

const strings = [
  '',
  'a',
  'model',
  '{"model":"x"}',
  '}',
  '"',
  '\\',
  '\\"',
  '\n',
  '\u2028',
  'é',
  '\ud83d\ude00',
  '\ud800',
  'x'.repeat(300)
]

/** A value of JSON. */
export function jsonValue(random: Seeded, names: readonly string[], depth = 3): unknown {
  const kind = random.below(depth > 0 ? 8 : 5)
  switch (kind) {
    case 0:
      return random.pick([0, -1, 1.5, 1e300, 12_345_678_901_234, null, true, false])
    case 5:
      return Array.from({ length: random.below(4) }, () => jsonValue(random, names, depth - 1))
    case 6:
    case 7:
      return jsonObject(random, names, depth - 1)
    default:
      return random.pick(strings)
  }
}

export const jsonObject = (random: Seeded, names: readonly string[], depth = 3): object =>
  Object.fromEntries(
    Array.from({ length: random.below(5) }, () => [random.pick(names), jsonValue(random, names, depth)])
  )

/** JSON as somebody may write it: with white space and with escapes that nobody needs. */
export function written(value: unknown, random: Seeded): string {
  const space = (): string => random.pick(['', '', '', ' ', '\n', '\t', '\r\n  '])
  const text = (plain: string): string =>
    JSON.stringify(plain).replace(/[a-z/]/g, (letter) =>
      random.below(40) === 0 ? `\\u00${letter.charCodeAt(0).toString(16)}` : letter
    )
  // An escape may not be escaped itself.
  const safe = (plain: string): string => (JSON.stringify(plain).includes('\\') ? JSON.stringify(plain) : text(plain))
  const write = (one: unknown): string => {
    if (typeof one === 'string') return safe(one)
    if (typeof one !== 'object' || one === null) return JSON.stringify(one)
    if (Array.isArray(one)) return `[${space()}${one.map(write).join(`${space()},${space()}`)}${space()}]`
    const members = Object.entries(one).map(([name, member]) => `${safe(name)}${space()}:${space()}${write(member)}`)
    return `{${space()}${members.join(`${space()},${space()}`)}${space()}}`
  }
  return `${space()}${write(value)}${space()}`
}
