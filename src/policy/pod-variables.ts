import { isJsonObject, type Json, type JsonObject } from '../base/json.js'
import { onOneLine } from './printable-text.js'
import { field, templateError } from './template-fields.js'

/** A variable of a container as it was read: a text, a pattern (`regex`), or one whose value is elsewhere. */
export type PodVariable = JsonObject & { readonly name: string }

/**
 * Puts values in place of references like `$(NAME)` in the values of variables, as Kubernetes does: a reference is to
 * a variable before it, and `$$` is one `$`. Throws a `UserError` with the place for a reference to what is not known,
 * since the policy would allow the reference and not what becomes of it.
 */
export function expandVariables(variables: readonly PodVariable[], where: string): readonly PodVariable[] {
  const known = new Map<string, PodVariable>()
  return variables.map((variable) => {
    const { name } = variable
    const text = valueOf(variable)
    const isPlain = text !== undefined && !isPattern(variable)
    const expanded = isPlain ? withText(variable, text, known, `${where}.env: ${onOneLine(name)}`) : variable
    known.set(name, expanded)
    return expanded
  })
}

/** The same for command and arguments, which may refer to every variable of the container. */
export function expandWords(
  words: readonly string[],
  variables: readonly PodVariable[],
  where: string
): readonly string[] {
  const known = new Map(variables.map((variable) => [variable.name, variable]))
  return words.map((word, index) => expand(word, known, `${where}[${index}]`).text)
}

function withText(
  variable: PodVariable,
  text: string,
  known: ReadonlyMap<string, PodVariable>,
  where: string
): PodVariable {
  const expanded = expand(text, known, where)
  // What holds a secret's value is a secret's value.
  const isSecure = expanded.isSecure || field(variable, 'secureValue') !== undefined
  return { name: variable.name, [isSecure ? 'secureValue' : 'value']: expanded.text }
}

interface Expanded {
  readonly text: string
  readonly isSecure: boolean
}

function expand(text: string, known: ReadonlyMap<string, PodVariable>, where: string): Expanded {
  let isSecure = false
  const expanded = text.replace(/\$\$|\$\(([^)]*)\)/g, (reference: string, name: string | undefined) => {
    if (name === undefined) return '$'
    const variable = known.get(name)
    const value = variable === undefined || isPattern(variable) ? undefined : valueOf(variable)
    if (value === undefined) throw unknownReference(reference, where)
    isSecure ||= isJsonObject(variable) && field(variable, 'secureValue') !== undefined
    return value
  })
  return { text: expanded, isSecure }
}

function valueOf(variable: Json): string | undefined {
  const value = field(variable, 'value') ?? field(variable, 'secureValue')
  return typeof value === 'string' ? value : undefined
}

function isPattern(variable: Json): boolean {
  return field(variable, 'regex') === true
}

function unknownReference(reference: string, where: string) {
  return templateError(`${where} refers to ${onOneLine(reference)}, whose value is not known here`, {
    why: 'Kubernetes puts the value in its place, and the guest would then be asked for what the policy does not list.',
    next: [
      'write the value itself, or give the variable a value, before its use, under env of the same container',
      `write $${onOneLine(reference)} where the text itself is meant`
    ]
  })
}
