import { canonicalJson, isJsonObject, type Json, type JsonObject } from '../base/json.js'
import { ArmTemplateError } from './arm-expression.js'

/** What ARM accepts for each parameter type, and what its message calls it. */
const parameterTypes: ReadonlyMap<string, { readonly accepts: (value: Json) => boolean; readonly words: string }> =
  new Map([
    ['string', { accepts: isText, words: 'String, Uri' }],
    ['securestring', { accepts: isText, words: 'String, Uri' }],
    ['int', { accepts: (value: Json) => Number.isSafeInteger(value), words: 'Integer' }],
    ['bool', { accepts: (value: Json) => typeof value === 'boolean', words: 'Boolean' }],
    ['object', { accepts: isJsonObject, words: 'Object' }],
    ['secureobject', { accepts: isJsonObject, words: 'Object' }],
    ['array', { accepts: (value: Json) => Array.isArray(value), words: 'Array' }]
  ])

/**
 * Checks a parameter's value against its declaration: type, allowed values, length, range. The
 * messages never contain the value, since it may be a secret. Throws an `ArmTemplateError`.
 */
export function checkParameter(name: string, declaration: JsonObject, value: Json): void {
  if (value === null && declaration['nullable'] === true) return
  const declaredType = declaration['type']
  const type = typeof declaredType === 'string' ? parameterTypes.get(declaredType.toLowerCase()) : undefined
  if (type === undefined) throw invalid(`The type of the template parameter '${name}' is not valid.`)
  if (!type.accepts(value)) {
    throw invalid(
      `The provided value for the template parameter '${name}' is not valid. Expected a value of type '${type.words}', but received a value of type '${typeWord(value)}'. Please see https://aka.ms/arm-create-parameter-file for usage details.`
    )
  }
  const allowed: unknown = declaration['allowedValues']
  if (Array.isArray(allowed) && !allowed.some((candidate) => isSame(candidate, value))) {
    throw invalid(
      `The provided value for the template parameter '${name}' is not valid. The value is not part of the allowed value(s).`
    )
  }
  const length = typeof value === 'string' || Array.isArray(value) ? value.length : undefined
  checkBound(name, 'length', length, declaration['minLength'], declaration['maxLength'])
  checkBound(
    name,
    'value',
    typeof value === 'number' ? value : undefined,
    declaration['minValue'],
    declaration['maxValue']
  )
}

function checkBound(name: string, what: string, size: number | undefined, minimum?: Json, maximum?: Json): void {
  if (size === undefined) return
  if (typeof minimum === 'number' && size < minimum) {
    throw invalid(`The ${what} of the template parameter '${name}' is below the minimum of '${minimum}'.`)
  }
  if (typeof maximum === 'number' && size > maximum) {
    throw invalid(`The ${what} of the template parameter '${name}' is above the maximum of '${maximum}'.`)
  }
}

function isText(value: Json): boolean {
  return typeof value === 'string'
}

function typeWord(value: Json): string {
  if (value === null) return 'Null'
  if (Array.isArray(value)) return 'Array'
  if (typeof value === 'number') return Number.isInteger(value) ? 'Integer' : 'Float'
  return { string: 'String', boolean: 'Boolean', object: 'Object' }[typeof value as 'string' | 'boolean' | 'object']
}

function invalid(detail: string): ArmTemplateError {
  return new ArmTemplateError('invalid', `Deployment template validation failed: '${detail}'.`)
}

/** A number that JSON text can write and a double cannot hold is the same as none. */
function isSame(candidate: unknown, value: Json): boolean {
  try {
    return canonicalJson(candidate) === canonicalJson(value)
  } catch {
    return false
  }
}
