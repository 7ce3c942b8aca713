import { isJsonObject, type Json, type JsonObject } from '../base/json.js'
import { UserError, type UserErrorDetails } from '../base/user-error.js'

/** The resource types that carry a policy; compared exactly, as confcom does. */
export const groupTypes: ReadonlySet<string> = new Set([
  'Microsoft.ContainerInstance/containerGroups',
  'Microsoft.ContainerInstance/containerGroupProfiles'
])

/** A fault in the template that the author of the file has to repair. */
export function templateError(problem: string, details: UserErrorDetails = {}): UserError {
  return new UserError('config', 'policy.template', problem, details)
}

/**
 * A member by name without regard to case, as ARM and confcom read templates: the exact name wins
 * unless its value is empty, then the first name that differs only in case.
 */
export function field(object: Json | undefined, name: string): Json | undefined {
  if (!isJsonObject(object)) return undefined
  if (Object.hasOwn(object, name) && object[name]) return object[name]
  const key = Object.keys(object).find((candidate) => candidate.toLowerCase() === name.toLowerCase())
  return key === undefined ? undefined : object[key]
}

export function objectField(object: Json | undefined, name: string, where: string): JsonObject {
  const value = field(object, name) ?? {}
  if (!isJsonObject(value)) throw templateError(`${where}.${name} must be an object`)
  return value
}

/** An absent list is an empty one. */
export function listOf(value: Json | undefined, where: string): readonly Json[] {
  if (value === undefined || value === null) return []
  if (!Array.isArray(value)) throw templateError(`${where} must be a list`)
  return value as readonly Json[]
}

export function textsOf(value: Json | undefined, where: string): readonly string[] {
  return listOf(value, where).map((item, index) => {
    if (typeof item !== 'string') throw templateError(`${where}[${index}] must be a text`)
    return item
  })
}

/** ARM's booleans, or a text that says "true" in any case, as confcom takes them. */
export function switchOf(value: Json | undefined, absent: boolean, where: string): boolean {
  if (value === undefined || value === null) return absent
  if (typeof value === 'boolean') return value
  if (typeof value === 'string') return value.toLowerCase() === 'true'
  throw templateError(`${where} must be true or false`)
}
