import type { CcePolicy, IdRule, MountRule } from './cce-policy.js'
import { sandboxPath } from './cce-policy.js'
import type { EnvRule } from './frames.js'
import { type Compiled, compileAnchored, type Re2, type Spend } from './re2.js'
import { textOnlyIn } from './re2-inclusion.js'
import { compileNode } from './re2-program.js'
import { literalNode, type Node } from './re2-syntax.js'

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

/** Both sides of a comparison in one direction, and what it may still take. */
export interface Comparing {
  readonly than: EnforcedPolicy
  readonly policy: EnforcedPolicy
  readonly spend: Spend
}

/** The rules of one container for variables, found by the name of the variable. */
export interface EnvIndex {
  readonly rules: ReadonlySet<string>
  readonly named: ReadonlyMap<string, TextRules>
  /** Rules that may be for variables of any name. */
  readonly others: TextRules
}

/** Prepares rules of `policy` to be compared with many others. */
export function indexEnvRules(envRules: readonly EnvRule[], policy: EnforcedPolicy): EnvIndex {
  const named = new Map<string, TextRules>()
  const others = new TextRules()
  for (const rule of envRules) {
    const name = literalName(rule)
    const rules = name === undefined ? others : (named.get(name) ?? new TextRules())
    if (name !== undefined) named.set(name, rules)
    rules.add(rule.pattern, rule.strategy === 're2' ? compiledOf(policy, rule.pattern) : undefined)
  }
  return { rules: new Set(envRules.map(keyOf)), named, others }
}

/** Of an environment rule by the rules of the other policy's container. */
export function envCoverage(rule: EnvRule, { rules, named, others }: EnvIndex, comparing: Comparing): Coverage {
  if (rules.has(keyOf(rule))) return 'covered'
  const name = literalName(rule)
  const ofName = name === undefined ? [...named.values()] : [named.get(name) ?? new TextRules()]
  // Rules for variables of another name allow nothing in common with this one, and need no comparison.
  return coverage(rule.pattern, rule.strategy === 're2', [...ofName, others], comparing)
}

/**
 * The name of the only variable that a rule is for, or undefined. A `|` outside of groups begins a rule for another
 * one, and a quantifier makes the `=` a part of the name that may be absent.
 */
export function literalName({ pattern, strategy }: Pick<EnvRule, 'pattern' | 'strategy'>): string | undefined {
  if (strategy === 'string') return /^(\w+)=/.exec(pattern)?.[1]
  if (pattern.includes('|') && isChoice(pattern)) return undefined
  return /^\^?(\w+)=(?![*+?{])/.exec(pattern)?.[1]
}

/** Whether a pattern that can be read has a `|` in no group and no class. */
function isChoice(pattern: string): boolean {
  let depth = 0
  for (const [token] of pattern.matchAll(/\\[^]|\[\^?(?:\\[^]|[^\\])(?:\\[^]|[^\\\]])*\]|[^]/g)) {
    if (token === '(') depth++
    else if (token === ')') depth--
    else if (token === '|' && depth === 0) return true
  }
  return false
}

/** The mounts of one container by destination, type and options, which have to be the same. */
export interface MountIndex {
  readonly sources: ReadonlySet<string>
  readonly paths: ReadonlyMap<string, TextRules>
}

export function indexMounts(mounts: readonly MountRule[], policy: EnforcedPolicy): MountIndex {
  const paths = new Map<string, TextRules>()
  for (const mount of mounts) {
    const path = sandboxPath(mount.source)
    if (path === undefined) continue
    const rules = paths.get(placeOf(mount)) ?? new TextRules()
    paths.set(placeOf(mount), rules)
    rules.add(path, compiledOf(policy, path))
  }
  return { sources: new Set(mounts.map((mount) => `${placeOf(mount)} ${mount.source}`)), paths }
}

/** Of a mount: destination, type and options have to be the same, whatever their order. */
export function mountCoverage(rule: MountRule, { sources, paths }: MountIndex, comparing: Comparing): Coverage {
  if (sources.has(`${placeOf(rule)} ${rule.source}`)) return 'covered'
  const path = sandboxPath(rule.source)
  const others = paths.get(placeOf(rule))
  if (path === undefined || others === undefined) return { beyond: rule.source }
  return coverage(path, true, [others], comparing)
}

function placeOf({ destination, type, options }: MountRule): string {
  return JSON.stringify([destination, type, ...[...options].sort()])
}

/** Rules for ids, ready to be compared with many others. */
export interface IdIndex {
  readonly isAny: boolean
  readonly rules: ReadonlySet<string>
  readonly hasNumbers: boolean
  readonly hasNames: boolean
  readonly names: TextRules
}

export function indexIds(rules: readonly IdRule[], policy: EnforcedPolicy): IdIndex {
  const names = new TextRules()
  for (const { pattern, strategy } of rules) {
    if (strategy === 'name') names.add(pattern, undefined)
    if (strategy === 're2') names.add(pattern, compiledOf(policy, pattern))
  }
  return {
    isAny: rules.some(({ strategy }) => strategy === 'any'),
    rules: new Set(rules.map(keyOf)),
    hasNumbers: rules.some(({ strategy }) => strategy === 'id'),
    hasNames: rules.some(({ strategy }) => strategy !== 'id'),
    names
  }
}

/** Of an id. A number and a name may stand for the same user, which only the image's own files tell. */
export function idCoverage(rule: IdRule, others: IdIndex, comparing: Comparing): Coverage {
  if (others.isAny || others.rules.has(keyOf(rule))) return 'covered'
  if (rule.strategy === 'any') return { beyond: 'any' }
  const isNumber = rule.strategy === 'id'
  if (isNumber ? others.hasNames : others.hasNumbers) return 'undecided'
  return isNumber
    ? { beyond: rule.pattern }
    : coverage(rule.pattern, rule.strategy === 're2', [others.names], comparing)
}

/** Whether two lists hold the same texts. */
export function sameSet(a: readonly string[], b: readonly string[]): boolean {
  const [first, second] = [new Set(a), new Set(b)]
  return first.size === second.size && [...first].every((item) => second.has(item))
}

/** Literal texts and patterns that allow a text each, or many. */
class TextRules {
  readonly texts = new Set<string>()
  readonly patterns: Re2[] = []

  /** A text, or a pattern with its automaton. */
  add(text: string, pattern: Re2 | undefined): void {
    if (pattern === undefined) this.texts.add(text)
    else this.patterns.push(pattern)
  }
}

function coverage(text: string, isPattern: boolean, others: readonly TextRules[], comparing: Comparing): Coverage {
  if (!isPattern && others.some(({ texts }) => texts.has(text))) return 'covered'
  // Once all is spent, nothing is prepared for a comparison that would not be made.
  if (!comparing.spend(others.length)) return 'undecided'
  return isPattern
    ? patternCoverage(compiledOf(comparing.policy, text), others, comparing.spend)
    : textCoverage(text, others, comparing.spend)
}

/** One text that is not among the others needs no automaton for it: a pattern matches it, or none does. */
function textCoverage(text: string, others: readonly TextRules[], spend: Spend): Coverage {
  for (const { patterns } of others) {
    for (const pattern of patterns) {
      const matches = pattern.matchesWithin(text, spend)
      if (matches === undefined) return 'undecided'
      if (matches) return 'covered'
    }
  }
  return { beyond: text }
}

function patternCoverage(pattern: Re2, others: readonly TextRules[], spend: Spend): Coverage {
  const { automata, areAll } = literalAutomata(others, spend)
  const found = textOnlyIn(pattern, [...others.flatMap(({ patterns }) => patterns), ...automata], spend)
  if (found === undefined) return 'undecided'
  if (found === 'none') return 'covered'
  if (!areAll && others.some(({ texts }) => texts.has(found.text))) return 'undecided'
  return { beyond: found.text }
}

/** Characters of one automaton, well below what one may have. */
const automatonSize = 1_000
/** Characters of all: beyond that, an automaton for each pattern would take too long. */
const maximumLiterals = 20_000

/** The literal texts as few automata. Left out where they are too many: `areAll` is false then. */
function literalAutomata(
  others: readonly TextRules[],
  spend: Spend
): { readonly automata: readonly Compiled[]; readonly areAll: boolean } {
  const groups: Node[][] = []
  let size = Number.POSITIVE_INFINITY
  let total = 0
  for (const { texts } of others) {
    for (const text of texts) {
      total += text.length
      if (total > maximumLiterals || text.length > automatonSize) return { automata: [], areAll: false }
      if (size + text.length > automatonSize) {
        groups.push([])
        size = 0
      }
      size += text.length + 3
      groups.at(-1)?.push(literalNode(text))
    }
  }
  if (!spend(total)) return { automata: [], areAll: false }
  return {
    automata: groups.map((nodes) => {
      const node: Node = { kind: 'choice', nodes }
      return { node, program: compileNode(node) }
    }),
    areAll: true
  }
}

/** The policy was read, and its patterns compiled then. */
function compiledOf({ patterns }: EnforcedPolicy, pattern: string): Re2 {
  return patterns.get(pattern) ?? compileAnchored(pattern)
}

function keyOf({ pattern, strategy }: { readonly pattern: string; readonly strategy: string }): string {
  return `${strategy} ${pattern}`
}
