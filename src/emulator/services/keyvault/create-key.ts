import { randomBytes, type KeyObject } from 'node:crypto'
import { encodeBase64 } from '../../../base/encoding.js'
import type { JsonObject } from '../../../base/json.js'
import { makeEcKeyPair, makeRsaKeyPair } from '../../hardware/key-pair.js'
import { keyVaultError } from './errors.js'
import type { KeyVersion } from './key-record.js'
import {
  optionalBoolean,
  optionalKeyOps,
  optionalObject,
  optionalReleasePolicy,
  optionalSeconds,
  optionalString,
  optionalTags
} from './key-request.js'
import type { Vault } from './vault.js'

/** Makes one version of a key from the body of `POST /keys/{name}/create`. Throws Key Vault's errors. */
export async function createKeyVersion(
  vault: Vault,
  body: JsonObject,
  supportsRelease: boolean,
  now: Date
): Promise<KeyVersion> {
  const kind = parseKind(body)
  const requested = optionalObject(body, 'attributes') ?? {}
  const exportable = optionalBoolean(requested, 'exportable') ?? false
  const releasePolicy = optionalReleasePolicy(body)
  requireAllowed(vault, kind, exportable, releasePolicy !== undefined, supportsRelease)
  const [nbf, exp, tags] = [optionalSeconds(requested, 'nbf'), optionalSeconds(requested, 'exp'), optionalTags(body)]
  const seconds = Math.floor(now.getTime() / 1000)
  return {
    version: randomBytes(16).toString('hex'),
    kty: kind.kty,
    ...('curve' in kind ? { curve: kind.curve } : {}),
    keyOps: optionalKeyOps(body) ?? ('curve' in kind ? ecOperations : rsaOperations),
    attributes: {
      enabled: optionalBoolean(requested, 'enabled') ?? true,
      created: seconds,
      updated: seconds,
      exportable,
      ...(nbf === undefined ? {} : { nbf }),
      ...(exp === undefined ? {} : { exp })
    },
    ...(tags === undefined ? {} : { tags }),
    ...(releasePolicy === undefined ? {} : { releasePolicy }),
    privateKey: encodeBase64((await generate(kind)).export({ format: 'der', type: 'pkcs8' }))
  }
}

type Kind =
  { readonly kty: 'RSA' | 'RSA-HSM'; readonly size: number } | { readonly kty: 'EC' | 'EC-HSM'; readonly curve: string }

const rsaOperations = ['encrypt', 'decrypt', 'sign', 'verify', 'wrapKey', 'unwrapKey']
const ecOperations = ['sign', 'verify']
const curves = ['P-256', 'P-384', 'P-521', 'P-256K']

function parseKind(body: JsonObject): Kind {
  const kty = optionalString(body, 'kty')
  if (kty === 'RSA' || kty === 'RSA-HSM') {
    const size = body['key_size'] ?? 2048
    if (size !== 2048 && size !== 3072 && size !== 4096) {
      throw keyVaultError.badParameter('Property key_size must be 2048, 3072 or 4096.')
    }
    return { kty, size }
  }
  if (kty === 'EC' || kty === 'EC-HSM') {
    const curve = optionalString(body, 'crv') ?? 'P-256'
    if (!curves.includes(curve)) throw keyVaultError.badParameter(`Property crv must be one of ${curves.join(', ')}.`)
    return { kty, curve }
  }
  throw keyVaultError.badParameter('Property kty must be one of RSA, RSA-HSM, EC, EC-HSM.')
}

/** The rules of the premium tier and of Secure Key Release. */
function requireAllowed(
  vault: Vault,
  kind: Kind,
  exportable: boolean,
  hasPolicy: boolean,
  supportsRelease: boolean
): void {
  const hsm = kind.kty.endsWith('-HSM')
  if (exportable && (vault.sku !== 'premium' || !supportsRelease)) {
    throw keyVaultError.badParameter(
      "AKV.SKR.1001: The exportable attribute is only supported with premium vaults and API version >= '7.3-preview'."
    )
  }
  if (hsm && vault.sku !== 'premium') {
    throw keyVaultError.forbidden('Hardware key operation not allowed on standard vault')
  }
  if (exportable && !hasPolicy)
    throw keyVaultError.badParameter('AKV.SKR.1004: Exportable keys must have release policy.')
  if (!exportable && hasPolicy) {
    throw keyVaultError.badParameter('AKV.SKR.1005: Non-exportable keys must not have release policy')
  }
  if (exportable && !hsm) {
    throw keyVaultError.badParameter(
      `AKV.SKR.1006: Exportable keys of type ${kind.kty} are not supported; use ${kind.kty}-HSM.`
    )
  }
}

async function generate(kind: Kind): Promise<KeyObject> {
  const pair =
    'size' in kind
      ? await makeRsaKeyPair(kind.size)
      : await makeEcKeyPair(kind.curve === 'P-256K' ? 'secp256k1' : kind.curve)
  return pair.privateKey
}
