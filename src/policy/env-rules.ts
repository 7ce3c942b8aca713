import type { Json } from '../base/json.js'
import { type EnvRule, type InjectedRule, thimPlaceholder } from './frames.js'
import { field, listOf, templateError } from './template-fields.js'
import type { TemplateTexts } from './template-text.js'

/** What to do with a variable whose parameter has no value, where confcom asks a person. */
export interface WildcardDecisions {
  /** Names of parameters whose variables may have any value, or `approve` for all of them. */
  readonly wildcard: 'approve' | readonly string[]
  /** Names of parameters whose variables are left out of the policy. */
  readonly leaveOut: readonly string[]
}

/** A variable that needs a decision. */
export interface WildcardQuestion {
  readonly container: string
  readonly variable: string
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
    const written = environmentText(entry, `${where}: ${name}`)
    if (name === thimPlaceholder.name && written === thimPlaceholder.value) return [anyValue(name)]
    const value = texts.environmentValue(written, `${where}: ${name}`)
    if (typeof value === 'string') return [exactly(`${name}=${value}`)]
    const { parameter } = value
    if (decisions.wildcard === 'approve' || decisions.wildcard.includes(parameter)) return [anyValue(name)]
    if (!decisions.leaveOut.includes(parameter)) open.push({ container, variable: name, parameter })
    return []
  })
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

function exactly(pattern: string): EnvRule {
  return { pattern, required: false, strategy: 'string' }
}

function anyValue(name: string): EnvRule {
  return { pattern: `${name}=.*`, required: false, strategy: 're2' }
}

function namesOf(rules: readonly EnvRule[]): ReadonlySet<string> {
  return new Set(rules.map(({ pattern }) => nameOf(pattern)))
}

function nameOf(pattern: string): string {
  return pattern.split('=', 1)[0] ?? ''
}
