import { compileNode, isFoundIn, type Program } from './re2-program.js'
import { type Node, parseRe2 } from './re2-syntax.js'

export { Re2SyntaxError } from './re2-syntax.js'

/** Pays for steps of an automaton; false once too many have been made. */
export type Spend = (steps: number) => boolean

/** A pattern as a tree and as an automaton. */
export interface Compiled {
  readonly node: Node
  readonly program: Program
}

/**
 * RE2, matched in time linear in the text.
 *
 * JavaScript's own engine is no substitute: it reads some patterns differently (inline flags,
 * escapes, braces) and others take it exponential time, and a policy is untrusted input.
 */
export interface Re2 extends Compiled {
  /** True if the pattern is found anywhere in the text, as `regexp.MatchString` of Go has it. */
  matches(text: string): boolean
  /** As `matches`; undefined if `spend` refused before it was decided. */
  matchesWithin(text: string, spend: Spend): boolean | undefined
}

/** Linux's limit on one environment string; longer texts match nothing. */
const maximumText = 131_072

/** Compiles a pattern; throws a `Re2SyntaxError` for what is malformed, too large or not supported. */
export function compileRe2(pattern: string): Re2 {
  const node = parseRe2(pattern)
  const program = compileNode(node)
  const matchesWithin = (text: string, spend: Spend) => text.length <= maximumText && isFoundIn(program, text, spend)
  return { node, program, matches: (text) => matchesWithin(text, () => true) === true, matchesWithin }
}

/** As `compileRe2`, for a pattern that the guest anchors. */
export function compileAnchored(pattern: string): Re2 {
  return compileRe2(anchored(pattern))
}

/** The guest adds the anchors that a pattern lacks, without a group: `a|b` becomes `^a|b$`. */
function anchored(pattern: string): string {
  return `${pattern.startsWith('^') ? '' : '^'}${pattern}${pattern.endsWith('$') ? '' : '$'}`
}
