import { createPublicKey, type KeyObject } from 'node:crypto'
import { decodeBase64, encodeBase64Url, utf8 } from '../../../base/encoding.js'
import { isJsonObject, type Json, type JsonObject } from '../../../base/json.js'
import { evaluateReleasePolicy } from '../../../policy/release-evaluation.js'
import { parseReleasePolicy } from '../../../policy/release-policy.js'
import { keyVaultError } from './errors.js'
import { attributes, policyBody, publicKey } from './key-bundle.js'
import type { KeyVersion, StoredReleasePolicy } from './key-record.js'
import { optionalString } from './key-request.js'
import { keyWrapAlgorithms, wrapKey } from './key-wrap.js'
import type { ReleaseSigner } from './release-signer.js'
import { type FetchJson, type TargetStatement, verifyTargetToken } from './target-token.js'
import { keyId, type Vault } from './vault.js'

export interface ReleaseCall {
  readonly apiVersion: string
  readonly body: JsonObject
  /** The key as the path names it: with a version only if the path has one. */
  readonly name: string
  readonly version: string | undefined
}

/**
 * Secure Key Release: verifies the environment's statement, holds it against the key's policy, and
 * wraps the key to the first usable RSA key in `x-ms-runtime.keys`. Returns the signed response.
 */
export async function releaseKey(
  call: ReleaseCall,
  key: KeyVersion,
  vault: Vault,
  means: { readonly fetchJson: FetchJson; readonly signer: () => Promise<ReleaseSigner>; readonly now: Date }
): Promise<string> {
  const { target, algorithm, nonce } = parseCall(call.body)
  const policy = requireReleasable(key, means.now)
  const statement = await verifyStatement(target, policy, means.fetchJson, means.now)
  requirePolicyMet(policy, statement)
  const recipient = wrappingKey(statement.claims)
  const keyHsm = {
    schema_version: '1.0',
    header: { kid: recipient.kid, alg: 'dir', enc: algorithm },
    ciphertext: encodeBase64Url(wrapKey(decodeBase64(key.privateKey, 'stored key'), recipient.key, algorithm))
  }
  const { data } = policyBody(policy)
  const signer = await means.signer()
  return signer.sign({
    request: {
      'api-version': call.apiVersion,
      enc: algorithm,
      kid: keyId(vault, call.name, call.version),
      ...(nonce === undefined ? {} : { nonce })
    },
    response: {
      key: {
        key: {
          ...publicKey(vault, call.name, key),
          key_hsm: encodeBase64Url(utf8.encode(JSON.stringify(keyHsm)))
        },
        attributes: attributes(vault, key),
        release_policy: { data }
      }
    }
  })
}

function parseCall(body: JsonObject): { target: string; algorithm: string; nonce: string | undefined } {
  const target = optionalString(body, 'target')
  if (target === undefined || target === '') throw keyVaultError.badParameter('Property target is required.')
  const algorithm = optionalString(body, 'enc') ?? 'CKM_RSA_AES_KEY_WRAP'
  if (!keyWrapAlgorithms.includes(algorithm)) {
    throw keyVaultError.badParameter(`Property enc must be one of ${keyWrapAlgorithms.join(', ')}.`)
  }
  return { target, algorithm, nonce: optionalString(body, 'nonce') }
}

function requireReleasable(key: KeyVersion, now: Date): StoredReleasePolicy {
  const { enabled, nbf, exp } = key.attributes
  const seconds = now.getTime() / 1000
  if (!enabled) {
    throw keyVaultError.forbidden('Operation release is not allowed on a disabled key.', 'KeyDisabled')
  }
  if (nbf !== undefined && seconds < nbf) {
    throw keyVaultError.forbidden('Operation release is not allowed on a key that is not yet valid.', 'KeyNotYetValid')
  }
  if (exp !== undefined && seconds >= exp) {
    throw keyVaultError.forbidden('Operation release is not allowed on an expired key.', 'KeyExpired')
  }
  if (!key.attributes.exportable || key.releasePolicy === undefined) {
    throw keyVaultError.forbidden('Operation release is not allowed on a key that is not exportable.')
  }
  return key.releasePolicy
}

/** Azure gives one answer for every way in which a token can be wrong, an unreachable authority included. */
async function verifyStatement(
  target: string,
  policy: StoredReleasePolicy,
  fetchJson: FetchJson,
  now: Date
): Promise<TargetStatement> {
  const authorities = parseReleasePolicy(policy.text).anyOf.map(({ authority }) => authority)
  try {
    return await verifyTargetToken(target, authorities, fetchJson, now)
  } catch {
    throw keyVaultError.targetNotVerified()
  }
}

function requirePolicyMet(policy: StoredReleasePolicy, statement: TargetStatement): void {
  const { issuer, claims } = statement
  if (!evaluateReleasePolicy(parseReleasePolicy(policy.text), { issuer, claims }).met)
    throw keyVaultError.policyNotMet()
}

function wrappingKey(claims: JsonObject): { kid: string; key: KeyObject } {
  const runtime = claims['x-ms-runtime']
  const keys: unknown = isJsonObject(runtime) ? runtime['keys'] : undefined
  for (const candidate of Array.isArray(keys) ? (keys as Json[]) : []) {
    const usable = isJsonObject(candidate) ? importWrappingKey(candidate) : undefined
    if (usable !== undefined) return usable
  }
  throw keyVaultError.targetNotVerified()
}

/** RSA of 2048 bits or more, not reserved for something else by `use` or `key_ops`. */
function importWrappingKey(jwk: JsonObject): { kid: string; key: KeyObject } | undefined {
  const { kty, n, e, use, key_ops: operations, kid } = jwk
  if (kty !== 'RSA' || typeof n !== 'string' || typeof e !== 'string' || typeof kid !== 'string') return undefined
  if (use !== undefined && use !== 'enc') return undefined
  if (
    operations !== undefined &&
    !(Array.isArray(operations) && operations.some((name) => name === 'encrypt' || name === 'wrapKey'))
  ) {
    return undefined
  }
  try {
    const key = createPublicKey({ key: { kty, n, e }, format: 'jwk' })
    return (key.asymmetricKeyDetails?.modulusLength ?? 0) >= 2048 ? { kid, key } : undefined
  } catch {
    // A malformed key is not usable; a later one may be.
    return undefined
  }
}
