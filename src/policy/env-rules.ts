import type { Json } from '../base/json.js'
import { type EnvRule, type InjectedRule, thimPlaceholder } from './frames.js'
import { field, listOf, switchOf, templateError } from './template-fields.js'
import type { TemplateTexts } from './template-text.js'

/** What to do with a variable whose parameter has no value, where confcom asks a person. */
export interface WildcardDecisions {
  /** Names of parameters whose variables may have any value, or `approve` for all of them. */
  readonly wildcard: 'approve' | readonly string[]
  /** Names of parameters whose variables are left out of the policy. */
  readonly leaveOut: readonly string[]
  /** Decides what the two leave open; undefined leaves it open still. */
  readonly decide: (question: WildcardQuestion) => boolean | undefined
  /** Whether a variable may say that its value is a pattern (`regex: true`) or comes from elsewhere (`valueFrom`). */
  readonly takesPatterns: boolean
}

/** A variable that needs a decision. */
export interface WildcardQuestion {
  readonly container: string
  readonly variable: string
  /** The parameter that has no value, or what else the value comes from. */
  readonly parameter: string
}

/**
 * Rules for the variables of a template, in its order. `open` collects those that no decision
 * covers; the caller refuses them all at once.
 */
export function templateEnvRules(
  variables: Json | undefined,
  container: string,
  texts: TemplateTexts,
  decisions: WildcardDecisions,
  open: WildcardQuestion[]
): EnvRule[] {
  const where = `container "${container}": environmentVariables`
  return listOf(texts.resolveOuter(variables, where), where).flatMap((entry, index): EnvRule[] => {
    const name = texts.resolveOuter(field(entry, 'name'), `${where}[${index}].name`)
    if (typeof name !== 'string' || name === '') throw templateError(`${where}[${index}] has no name`)
    const outside = decisions.takesPatterns ? field(entry, 'valueFrom') : undefined
    if (typeof outside === 'string') return undecidedRule({ container, variable: name, parameter: outside }, where)
    const written = environmentText(entry, `${where}: ${name}`)
    if (name === thimPlaceholder.name && written === thimPlaceholder.value) return [anyValue(name, where)]
    const value = texts.environmentValue(written, `${where}: ${name}`)
    if (typeof value === 'string') {
      if (isSecure(entry)) texts.warnings.push(secureWarning(container, name))
      const isPattern = decisions.takesPatterns && switchOf(field(entry, 'regex'), false, `${where}: ${name}.regex`)
      return [isPattern ? matching(name, value, where) : exactly(`${name}=${value}`)]
    }
    return undecidedRule({ container, variable: name, parameter: value.parameter }, where)
  })

  function undecidedRule(question: WildcardQuestion, place: string): EnvRule[] {
    const isAllowed = wildcardFor(question, decisions)
    if (isAllowed === undefined) open.push(question)
    return isAllowed === true ? [anyValue(question.variable, place)] : []
  }
}

function wildcardFor(question: WildcardQuestion, decisions: WildcardDecisions): boolean | undefined {
  const { wildcard, leaveOut } = decisions
  if (wildcard === 'approve' || wildcard.includes(question.parameter)) return true
  return leaveOut.includes(question.parameter) ? false : decisions.decide(question)
}

/** Rules for the variables of an image that the template does not set. */
export function imageEnvRules(env: readonly string[], taken: readonly EnvRule[], image: string): EnvRule[] {
  const names = namesOf(taken)
  return env.flatMap((entry) => {
    if (!entry.includes('=')) {
      throw templateError(`image ${image}: environment entry ${JSON.stringify(entry.slice(0, 80))} has no "="`)
    }
    return names.has(nameOf(entry)) ? [] : [exactly(entry)]
  })
}

/** Rules for what the platform sets, unless a rule of exactly that name is there already. */
export function addedEnvRules(rules: readonly InjectedRule[], taken: readonly EnvRule[]): EnvRule[] {
  const names = namesOf(taken)
  return rules
    .filter(({ name }) => !names.has(name))
    .map(({ name, value, strategy }) => ({ pattern: `${name}=${value}`, required: false, strategy }))
}

/** An empty text is a value; a missing one is not. */
function environmentText(entry: Json, where: string): string {
  const value = field(entry, 'value') ?? field(entry, 'secureValue') ?? null
  if (value === null) throw templateError(`${where} has no value`)
  if (typeof value !== 'string') throw templateError(`${where} must have a text as its value`)
  return value
}

/** As `environmentText` reads it: a clear value goes before a secure one. */
function isSecure(entry: Json): boolean {
  return (field(entry, 'value') ?? null) === null
}

function secureWarning(container: string, name: string): string {
  return `container "${container}": the secureValue of ${name} stands in the policy in clear text, for everyone who can read the policy`
}

function exactly(pattern: string): EnvRule {
  return { pattern, required: false, strategy: 'string' }
}

function anyValue(name: string, where: string): EnvRule {
  return matching(name, '.*', where)
}

/** The name becomes part of a pattern, in which `.*` for a name would allow every variable. */
function matching(name: string, pattern: string, where: string): EnvRule {
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
    throw templateError(`${where}: ${JSON.stringify(name.slice(0, 80))} cannot be allowed with any value`, {
      why: 'the name would be read as a pattern, which could allow other variables.',
      next: ['name the variable with letters, digits and underscores', 'give its parameter a value in a parameter file']
    })
  }
  return { pattern: `${name}=${pattern}`, required: false, strategy: 're2' }
}

function namesOf(rules: readonly EnvRule[]): ReadonlySet<string> {
  return new Set(rules.map(({ pattern }) => nameOf(pattern)))
}

function nameOf(pattern: string): string {
  return pattern.split('=', 1)[0] ?? ''
}
