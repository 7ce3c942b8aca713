import { decodeBase64, decodeBase64Url } from '../../../base/encoding.js'
import type { JsonObject } from '../../../base/json.js'
import { notImplemented, type EmulatorRequest } from '../../http.js'
import { privateKeyOf, signDigest, type SigningCurve } from './ecdsa.js'
import { keyVaultError } from './errors.js'
import type { KeyVersion } from './key-record.js'
import { optionalString } from './key-request.js'

/** JOSE algorithm to curve and length of the digest in bytes. */
const algorithms: Readonly<Record<string, { readonly curve: SigningCurve; readonly digest: number }>> = {
  ES256: { curve: 'P-256', digest: 32 },
  ES384: { curve: 'P-384', digest: 48 },
  ES512: { curve: 'P-521', digest: 64 },
  ES256K: { curve: 'P-256K', digest: 32 }
}

const rsaAlgorithms = ['RS256', 'RS384', 'RS512', 'RSNULL', 'PS256', 'PS384', 'PS512']

/**
 * `POST /keys/{name}[/{version}]/sign`: signs a digest. EC keys only; with an RSA key it says that it is
 * not implemented. Throws Key Vault's errors.
 */
export function signWithKey(request: EmulatorRequest, body: JsonObject, key: KeyVersion, now: Date): Uint8Array {
  const name = optionalString(body, 'alg') ?? ''
  const value = optionalString(body, 'value')
  requireUsable(key, now)
  if (key.curve === undefined) {
    if (rsaAlgorithms.includes(name)) throw notImplemented(request)
    throw keyVaultError.badParameter(
      `Key and signing algorithm are incompatible. Key type is RSA, algorithm is ${name.slice(0, 40)}.`
    )
  }
  const algorithm = algorithms[name]
  if (algorithm === undefined) {
    throw keyVaultError.badParameter(`Invalid algorithm: ${JSON.stringify(name.slice(0, 40))}.`)
  }
  if (algorithm.curve !== key.curve) {
    throw keyVaultError.badParameter(
      `Key and signing algorithm are incompatible. Key curve is ${key.curve}, algorithm is ${name}.`
    )
  }
  const digest = parseDigest(value)
  if (digest.length !== algorithm.digest) {
    throw keyVaultError.badParameter(
      `Invalid length of 'value': ${digest.length} bytes. Algorithm ${name} requires ${algorithm.digest} bytes, encoded with base64url.`
    )
  }
  return signDigest(privateKeyOf(decodeBase64(key.privateKey, 'stored key')), algorithm.curve, digest)
}

function parseDigest(value: string | undefined): Uint8Array {
  try {
    return decodeBase64Url((value ?? '').replace(/={1,2}$/, ''), 'value')
  } catch {
    throw keyVaultError.badParameter("Property 'value' must be base64url.")
  }
}

function requireUsable(key: KeyVersion, now: Date): void {
  const { enabled, nbf, exp } = key.attributes
  const seconds = now.getTime() / 1000
  if (!key.keyOps.includes('sign')) {
    throw keyVaultError.forbidden('Operation sign is not permitted on this key.', 'KeyOperationForbidden')
  }
  if (!enabled) throw keyVaultError.forbidden('Operation sign is not allowed on a disabled key.', 'KeyDisabled')
  if (nbf !== undefined && seconds < nbf) {
    throw keyVaultError.forbidden('Operation sign is not allowed on a key that is not yet valid.', 'KeyNotYetValid')
  }
  if (exp !== undefined && seconds >= exp) {
    throw keyVaultError.forbidden('Operation sign is not allowed on an expired key.', 'KeyExpired')
  }
}
