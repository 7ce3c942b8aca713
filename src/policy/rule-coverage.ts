import type { CcePolicy, IdRule, MountRule } from './cce-policy.js'
import { sandboxPath } from './cce-policy.js'
import type { EnvRule } from './frames.js'
import { anchored } from './re2.js'
import { textOnlyIn } from './re2-inclusion.js'
import { literalNode, type Node, parseRe2, Re2SyntaxError } from './re2-syntax.js'

/**
 * Whether everything that one rule allows is allowed by others too. `beyond` is a text that is not, where the
 * rule is a pattern; `undecided` where the patterns are too large to tell.
 */
export type Coverage = 'covered' | 'undecided' | { readonly beyond: string }

export type EnforcedPolicy = Extract<CcePolicy, { kind: 'enforced' }>

/** Something that one policy allows and the other does not. */
export interface Excess {
  readonly what: string
  readonly isCertain: boolean
}

/** Of an environment rule by the rules of the other policy's container. */
export function envCoverage(rule: EnvRule, others: readonly EnvRule[]): Coverage {
  if (others.some(({ pattern, strategy }) => pattern === rule.pattern && strategy === rule.strategy)) return 'covered'
  return coverage(nodeOf(rule), others.filter((other) => !areApart(rule, other)).map(nodeOf))
}

/** Two rules for variables of different names allow nothing in common, and need no comparison. */
function areApart(a: EnvRule, b: EnvRule): boolean {
  const [first, second] = [literalName(a), literalName(b)]
  return first !== undefined && second !== undefined && first !== second
}

/** The name of the only variable that a rule is for. A `|` could begin a rule for another one. */
function literalName({ pattern, strategy }: EnvRule): string | undefined {
  if (strategy === 're2' && pattern.includes('|')) return undefined
  return /^\^?(\w+)=/.exec(pattern)?.[1]
}

/** Of a mount: destination, type and options have to be the same, whatever their order. */
export function mountCoverage(rule: MountRule, others: readonly MountRule[]): Coverage {
  const sameButSource = others.filter(
    ({ destination, type, options }) =>
      destination === rule.destination && type === rule.type && sameSet(options, rule.options)
  )
  if (sameButSource.some(({ source }) => source === rule.source)) return 'covered'
  const path = sandboxPath(rule.source)
  if (path === undefined) return { beyond: rule.source }
  const paths = sameButSource.map(({ source }) => sandboxPath(source)).filter((other) => other !== undefined)
  return coverage(patternNode(path), paths.map(patternNode))
}

/** Of an id. A number and a name may stand for the same user, which only the image's own files tell. */
export function idCoverage(rule: IdRule, others: readonly IdRule[]): Coverage {
  if (others.some(({ strategy, pattern }) => strategy === 'any' || isSame(rule, { strategy, pattern })))
    return 'covered'
  if (rule.strategy === 'any') return { beyond: 'any' }
  const isNumber = rule.strategy === 'id'
  if (others.some(({ strategy }) => (strategy === 'id') !== isNumber)) return 'undecided'
  return isNumber ? { beyond: rule.pattern } : coverage(nameNode(rule), others.map(nameNode))
}

/** Whether two lists hold the same texts. */
export function sameSet(a: readonly string[], b: readonly string[]): boolean {
  const [first, second] = [new Set(a), new Set(b)]
  return first.size === second.size && [...first].every((item) => second.has(item))
}

function isSame(a: IdRule, b: IdRule): boolean {
  return a.strategy === b.strategy && a.pattern === b.pattern
}

function coverage(node: Node, others: readonly Node[]): Coverage {
  try {
    const found = textOnlyIn(node, others)
    if (found === undefined) return 'undecided'
    return found === 'none' ? 'covered' : { beyond: found.text }
  } catch (error) {
    if (error instanceof Re2SyntaxError) return 'undecided'
    throw error
  }
}

function nodeOf({ pattern, strategy }: EnvRule): Node {
  return strategy === 'string' ? literalNode(pattern) : patternNode(pattern)
}

function nameNode({ pattern, strategy }: IdRule): Node {
  return strategy === 're2' ? patternNode(pattern) : literalNode(pattern)
}

/** The policy was read, so the pattern is one that can be. */
function patternNode(pattern: string): Node {
  return parseRe2(anchored(pattern))
}
