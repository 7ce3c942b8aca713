import { decodeBase64, utf8 } from '../base/encoding.js'
import { isJsonObject, type JsonObject } from '../base/json.js'
import { UserError } from '../base/user-error.js'
import { type CcePolicy, parseCcePolicy } from './cce-policy.js'
import { decodePolicy, existingPolicies } from './inject.js'
import { field } from './template-fields.js'

/**
 * Reads a policy from the text of a file: `policy.rego`, its base64, an ARM template of one container group with a
 * `ccePolicy`, or a release.json. Throws a `UserError` that names the file where it is none of them.
 */
export function policyOfFile(text: string, file: string): CcePolicy {
  if (text.startsWith('package ')) return parseCcePolicy(text)
  return parseCcePolicy(text.trimStart().startsWith('{') ? policyOfJson(text, file) : policyOfBase64(text.trim(), file))
}

function policyOfJson(text: string, file: string): string {
  const document = jsonOf(text, file)
  const released = field(field(document, 'policy'), 'text')
  if (typeof released === 'string') return released
  if (field(document, 'resources') === undefined) throw noPolicy(file, 'it is neither a template nor a release.json')
  const held = existingPolicies(document).filter(({ base64 }) => base64 !== '')
  const [only, second] = held
  if (only === undefined) throw noPolicy(file, 'the ccePolicy of its container group is empty')
  if (second !== undefined) throw noPolicy(file, 'it has several container groups with a policy')
  return decodePolicy(only.base64, only.groupName)
}

function jsonOf(text: string, file: string): JsonObject {
  try {
    const value: unknown = JSON.parse(text)
    if (isJsonObject(value)) return value
  } catch (cause) {
    throw noPolicy(file, 'it is not JSON', cause)
  }
  throw noPolicy(file, 'it is not a JSON object')
}

function policyOfBase64(text: string, file: string): string {
  try {
    return utf8.decode(decodeBase64(text, 'policy'))
  } catch (cause) {
    throw noPolicy(file, 'it is neither a policy text, its base64, a template nor a release.json', cause)
  }
}

function noPolicy(file: string, why: string, cause?: unknown): UserError {
  return new UserError('config', 'policy.none', `${file} holds no policy`, {
    why,
    next: ['give policy.rego, its base64, a template with a ccePolicy, or release.json'],
    cause
  })
}
