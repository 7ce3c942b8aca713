import { encodeBase64Url, utf8 } from '../base/encoding.js'
import { SealError } from './errors.js'
import { parseRsaPublicJwk, type RsaPublicJwk } from './rsa-key.js'

export interface RuntimeKeys {
  readonly rsa: RsaPublicJwk
  /** X25519 public key, 32 bytes (RFC 9180, DHKEM(X25519, HKDF-SHA256)). */
  readonly hpke: Uint8Array
  /** Ed25519 public key, 32 bytes. */
  readonly ed25519: Uint8Array
}

/**
 * The bytes whose SHA-256 stands in the first half of REPORT_DATA (docs/wire-format.md, runtime
 * data). The order of the members is fixed: the attestation service gives back the parsed object,
 * so the evidence ships these bytes and whoever encodes the same keys gets the same bytes.
 *
 * There is never a member `keys`: the vault takes `x-ms-runtime.keys[0]` of an attestation token as
 * the key to which it releases, and a caller could then choose the target.
 *
 * `nonce` has 1 to 64 bytes; evidence that nobody asked for with a nonce has no such member. `tls`
 * is there when the router ends TLS itself: the SHA-256 of its key's SubjectPublicKeyInfo (DER) in
 * lower-case hex, so that a caller can tell whose connection it is. Throws a `SealError` with code
 * `invalid_runtime_data` or `invalid_key`.
 */
export function encodeRuntimeData({
  keys,
  nonce,
  tls
}: {
  keys: RuntimeKeys
  nonce: Uint8Array | undefined
  tls?: string | undefined
}): Uint8Array {
  const rsa = parseRsaPublicJwk(keys.rsa, 'the RSA key')
  requireLength(keys.hpke, 32, 32, 'the HPKE key')
  requireLength(keys.ed25519, 32, 32, 'the Ed25519 key')
  if (nonce !== undefined) requireLength(nonce, 1, 64, 'the nonce')
  if (tls !== undefined && !/^[0-9a-f]{64}$/.test(tls)) {
    throw new SealError('invalid_runtime_data', 'the digest of the TLS key must be 64 lower-case hex characters')
  }
  return utf8.encode(
    JSON.stringify({
      confrouter: {
        v: 1,
        rsa: { kty: rsa.kty, n: rsa.n, e: rsa.e, kid: rsa.kid },
        hpke: encodeBase64Url(keys.hpke),
        ed25519: encodeBase64Url(keys.ed25519),
        nonce: nonce && encodeBase64Url(nonce),
        tls
      }
    })
  )
}

function requireLength(bytes: Uint8Array, minimum: number, maximum: number, label: string): void {
  if (bytes.length < minimum || bytes.length > maximum) {
    const expected = minimum === maximum ? `${minimum} bytes` : `${minimum} to ${maximum} bytes`
    throw new SealError('invalid_runtime_data', `${label} must have ${expected}, got ${bytes.length}`)
  }
}
