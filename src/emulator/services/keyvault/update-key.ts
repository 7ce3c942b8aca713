import type { JsonObject } from '../../../base/json.js'
import { keyVaultError } from './errors.js'
import type { KeyVersion, StoredReleasePolicy } from './key-record.js'
import {
  optionalBoolean,
  optionalKeyOps,
  optionalObject,
  optionalReleasePolicy,
  optionalSeconds,
  optionalTags
} from './key-request.js'

/**
 * Applies the body of `PATCH /keys/{name}[/{version}]`. A release policy may be replaced until it is
 * immutable, and only through the path without a version. Throws Key Vault's errors.
 */
export function updateKeyVersion(key: KeyVersion, body: JsonObject, byVersion: boolean, now: Date): KeyVersion {
  const requested = optionalObject(body, 'attributes') ?? {}
  const exportable = optionalBoolean(requested, 'exportable')
  if (exportable !== undefined && exportable !== key.attributes.exportable) {
    throw keyVaultError.badParameter('AKV.SKR.1003: The exportable attribute of an existing key cannot be changed.')
  }
  const [nbf, exp, tags] = [optionalSeconds(requested, 'nbf'), optionalSeconds(requested, 'exp'), optionalTags(body)]
  const releasePolicy = newReleasePolicy(key, optionalReleasePolicy(body), byVersion)
  return {
    ...key,
    keyOps: optionalKeyOps(body) ?? key.keyOps,
    attributes: {
      ...key.attributes,
      enabled: optionalBoolean(requested, 'enabled') ?? key.attributes.enabled,
      updated: Math.floor(now.getTime() / 1000),
      ...(nbf === undefined ? {} : { nbf }),
      ...(exp === undefined ? {} : { exp })
    },
    ...(tags === undefined ? {} : { tags }),
    ...(releasePolicy === undefined ? {} : { releasePolicy })
  }
}

function newReleasePolicy(
  key: KeyVersion,
  wanted: StoredReleasePolicy | undefined,
  byVersion: boolean
): StoredReleasePolicy | undefined {
  const current = key.releasePolicy
  if (wanted === undefined) return current
  if (current === undefined) {
    throw keyVaultError.badParameter('AKV.SKR.1005: Non-exportable keys must not have release policy')
  }
  if (byVersion) {
    throw keyVaultError.badParameter('AKV.SKR.1016: Key Release Policy can only be set on versionless key.')
  }
  if (current.immutable && (!wanted.immutable || wanted.text !== current.text)) {
    throw keyVaultError.badParameter('AKV.SKR.1020: Immutable Key Release Policy cannot be modified.')
  }
  return wanted
}
