import {
  constants,
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  privateDecrypt,
  publicEncrypt,
  randomBytes
} from 'node:crypto'
import { equalBytes } from '../base/bytes.js'
import { isJsonObject } from '../base/json.js'
import { type DerivedKeys, deriveKeys } from '../seal/node/derive-keys.js'
import { parseRsaPublicJwk, rsaThumbprint, type RsaPublicJwk } from '../seal/rsa-key.js'
import { SidecarError } from './sidecar-error.js'

/** The key that only the measured image under the measured policy can hold, and what follows from it. */
export interface RouterKeys extends DerivedKeys {
  /** RFC 7638 thumbprint of the RSA key. */
  readonly kid: string
  readonly privateKey: KeyObject
  readonly publicJwk: RsaPublicJwk & { readonly kid: string }
}

/**
 * Reads the JWK of a key release. The sidecar gives neither `kid` nor a kty of "RSA-HSM".
 *
 * Throws a `SidecarError` that is final and quotes nothing of the key.
 */
export async function readReleasedKey(jwk: unknown): Promise<RouterKeys> {
  if (!isJsonObject(jwk) || jwk.kty !== 'RSA') {
    throw unusable('the released key is not an RSA key; create the vault key with kty RSA-HSM')
  }
  let privateKey: KeyObject
  let parsed: RsaPublicJwk
  try {
    const { n, e, d, p, q, dp, dq, qi } = jwk
    privateKey = createPrivateKey({ key: { kty: 'RSA', n, e, d, p, q, dp, dq, qi } as never, format: 'jwk' })
    parsed = parseRsaPublicJwk(createPublicKey(privateKey).export({ format: 'jwk' }), 'the released key')
    requireConsistent(privateKey)
  } catch {
    // Without a cause: the messages of parsers may quote what they parse.
    throw unusable('the released key is no usable private RSA key of 2048 to 4096 bits')
  }
  const kid = await rsaThumbprint(parsed)
  return { kid, privateKey, publicJwk: { ...parsed, kid }, ...deriveKeys(privateKey) }
}

/** OpenSSL loads a key whose halves do not belong together; nothing could ever be opened with it. */
function requireConsistent(privateKey: KeyObject): void {
  const oaep = { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' }
  const probe = randomBytes(32)
  const sealed = publicEncrypt({ key: createPublicKey(privateKey), ...oaep }, probe)
  if (!equalBytes(privateDecrypt({ key: privateKey, ...oaep }, sealed), probe)) throw new Error('inconsistent key')
}

const unusable = (cause: string): SidecarError => new SidecarError('release.unusable-key', cause, { final: true })
