import { compileNode, isFoundIn } from './re2-program.js'
import { parseRe2 } from './re2-syntax.js'

export { Re2SyntaxError } from './re2-syntax.js'

/**
 * RE2, matched in time linear in the text.
 *
 * JavaScript's own engine is no substitute: it reads some patterns differently (inline flags,
 * escapes, braces) and others take it exponential time, and a policy is untrusted input.
 */
export interface Re2 {
  /** True if the pattern is found anywhere in the text, as `regexp.MatchString` of Go has it. */
  matches(text: string): boolean
}

/** Linux's limit on one environment string; longer texts match nothing. */
const maximumText = 131_072

/** Compiles a pattern; throws a `Re2SyntaxError` for what is malformed, too large or not supported. */
export function compileRe2(pattern: string): Re2 {
  const program = compileNode(parseRe2(pattern))
  return { matches: (text) => text.length <= maximumText && isFoundIn(program, text) }
}

/** As `compileRe2`, for a pattern that the guest anchors. */
export function compileAnchored(pattern: string): Re2 {
  return compileRe2(anchored(pattern))
}

/** The guest adds the anchors that a pattern lacks, without a group: `a|b` becomes `^a|b$`. */
export function anchored(pattern: string): string {
  return `${pattern.startsWith('^') ? '' : '^'}${pattern}${pattern.endsWith('$') ? '' : '$'}`
}
