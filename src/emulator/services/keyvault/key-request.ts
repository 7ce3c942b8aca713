import { decodeBase64Url, utf8 } from '../../../base/encoding.js'
import { canonicalJson, isJsonObject, type JsonObject } from '../../../base/json.js'
import { parseReleasePolicy } from '../../../policy/release-policy.js'
import type { EmulatorRequest } from '../../http.js'
import { keyVaultError } from './errors.js'
import type { StoredReleasePolicy } from './key-record.js'

/** A body that is a JSON object; an empty one counts as `{}`. */
export function objectBody(request: EmulatorRequest): JsonObject {
  if (request.body.length === 0) return {}
  let value: unknown
  try {
    value = JSON.parse(utf8.decode(request.body))
  } catch {
    throw keyVaultError.badParameter('The request body is not valid JSON.')
  }
  if (!isJsonObject(value)) throw keyVaultError.badParameter('The request body must be a JSON object.')
  return value
}

export function optionalObject(body: JsonObject, name: string): JsonObject | undefined {
  const value = body[name] ?? undefined
  if (value !== undefined && !isJsonObject(value))
    throw keyVaultError.badParameter(`Property ${name} must be an object.`)
  return value
}

export function optionalString(body: JsonObject, name: string): string | undefined {
  const value = body[name] ?? undefined
  if (value !== undefined && typeof value !== 'string')
    throw keyVaultError.badParameter(`Property ${name} must be a string.`)
  return value
}

export function optionalBoolean(body: JsonObject, name: string): boolean | undefined {
  const value = body[name] ?? undefined
  if (value !== undefined && typeof value !== 'boolean')
    throw keyVaultError.badParameter(`Property ${name} must be a boolean.`)
  return value
}

export function optionalSeconds(body: JsonObject, name: string): number | undefined {
  const value = body[name] ?? undefined
  if (value !== undefined && (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0)) {
    throw keyVaultError.badParameter(`Property ${name} must be a time in seconds.`)
  }
  return value
}

export function optionalTags(body: JsonObject): Record<string, string> | undefined {
  const tags = optionalObject(body, 'tags')
  if (tags === undefined) return undefined
  return Object.fromEntries(Object.keys(tags).map((name) => [name, optionalString(tags, name) ?? '']))
}

const keyOperations = ['encrypt', 'decrypt', 'sign', 'verify', 'wrapKey', 'unwrapKey', 'import', 'export']

export function optionalKeyOps(body: JsonObject): string[] | undefined {
  const value: unknown = body['key_ops'] ?? undefined
  if (value === undefined) return undefined
  if (!Array.isArray(value) || !value.every((item): item is string => keyOperations.includes(item as string))) {
    throw keyVaultError.badParameter(`Property key_ops must be a list of ${keyOperations.join(', ')}.`)
  }
  return value
}

const maximumPolicyLength = 64 * 1024

/**
 * Reads `release_policy`. The vault keeps the policy as a value and gives it back re-serialised.
 * Microsoft's own scripts send standard base64 with padding, so both alphabets are taken. Bytes that
 * are no policy count as no policy, as in Azure: AKV.SKR.1004.
 */
export function optionalReleasePolicy(body: JsonObject): StoredReleasePolicy | undefined {
  const member = optionalObject(body, 'release_policy')
  if (member === undefined) return undefined
  const data = optionalString(member, 'data') ?? ''
  try {
    if (data.length > maximumPolicyLength) throw new TypeError('policy is too long')
    const bytes = decodeBase64Url(
      data
        .replaceAll('+', '-')
        .replaceAll('/', '_')
        .replace(/={1,2}$/, ''),
      'policy'
    )
    return {
      contentType: optionalString(member, 'contentType') ?? 'application/json; charset=utf-8',
      text: canonicalJson(parseReleasePolicy(bytes)),
      immutable: optionalBoolean(member, 'immutable') ?? false
    }
  } catch {
    throw keyVaultError.badParameter('AKV.SKR.1004: Exportable keys must have release policy.')
  }
}
