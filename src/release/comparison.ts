import { sha256Hex } from '../base/digest.js'
import { printable } from '../verify/check.js'

/** One thing that a release says, held against the same thing made again. */
export interface Comparison {
  /** Path in release.json; or `read: ` and the name of a value that may be any, for a person to judge. */
  readonly what: string
  /** What the release says. */
  readonly expected: string
  /** What was made again; what the release says, where it is only to be read. */
  readonly actual: string
  readonly same: boolean
}

export function compare(what: string, expected: string, actual: string): Comparison {
  return { what, expected, actual, same: expected === actual }
}

/** Of lists of digests, in their order. */
export function compareLists(what: string, expected: readonly string[], actual: readonly string[]): Comparison {
  return compare(what, expected.join(', ') || 'none', actual.join(', ') || 'none')
}

/** Of long texts: their hashes when they are the same, else the place where they part. */
export function compareTexts(what: string, expected: string, actual: string): Comparison {
  if (expected === actual) return compare(what, sha256Hex(expected), sha256Hex(actual))
  let offset = 0
  while (expected[offset] === actual[offset]) offset++
  return { what, expected: excerpt(expected, offset), actual: excerpt(actual, offset), same: false }
}

function excerpt(text: string, offset: number): string {
  const before = text.slice(0, offset)
  const line = before.split('\n').length
  const column = offset - before.lastIndexOf('\n')
  const start = Math.max(offset - 40, before.lastIndexOf('\n') + 1)
  const rest = text.slice(start, offset + 60).split('\n', 1)[0] ?? ''
  return `line ${line}, column ${column}: ${offset >= text.length ? `${printable(rest)} (ends here)` : printable(rest)}`
}
