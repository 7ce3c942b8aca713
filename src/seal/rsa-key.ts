import { calculateJwkThumbprint } from 'jose'
import { decodeBase64Url, encodeBase64Url } from '../base/encoding.js'
import { isJsonObject } from '../base/json.js'
import { SealError } from './errors.js'

/** RFC 7517 public RSA key; `n` and `e` are base64url without leading zero bytes. */
export interface RsaPublicJwk {
  readonly kty: 'RSA'
  readonly n: string
  readonly e: string
  readonly kid?: string
}

const minimumModulusBits = 2048
/** A larger key costs whoever uses it more than it protects; the vault offers no larger one. */
const maximumModulusBits = 4096

/**
 * Reads the public half of an RSA JWK and drops every other member. Key Vault writes `e` as
 * `AAEAAQ`; leading zero bytes are removed, so that one key has one thumbprint.
 *
 * Throws a `SealError` with code `invalid_key` that names `label`: not RSA, private members,
 * a modulus that is even or outside 2048 to 4096 bits, an even or overlong exponent.
 */
export function parseRsaPublicJwk(value: unknown, label: string): RsaPublicJwk {
  if (!isJsonObject(value) || value.kty !== 'RSA') throw new SealError('invalid_key', `${label} is not an RSA JWK`)
  // A private key in a place for public ones is a leak that should be seen, not used.
  if (value.d !== undefined) throw new SealError('invalid_key', `${label} contains a private key`)
  const n = integer(value.n, label, 'n')
  const e = integer(value.e, label, 'e')
  const bits = n.length * 8 - Math.clz32(n[0] ?? 0) + 24
  if (bits < minimumModulusBits || bits > maximumModulusBits) {
    throw new SealError(
      'invalid_key',
      `${label} must have ${minimumModulusBits} to ${maximumModulusBits} bits, got ${bits}`
    )
  }
  // No product of two large primes, and OpenSSL computes with no such modulus.
  if (((n.at(-1) ?? 0) & 1) === 0) throw new SealError('invalid_key', `${label} has an even modulus`)
  if (e.length > 4 || ((e.at(-1) ?? 0) & 1) === 0 || (e.length === 1 && e[0] === 1)) {
    throw new SealError('invalid_key', `${label} has a public exponent that is not odd, above 1 and at most 32 bits`)
  }
  if (value.kid !== undefined && (typeof value.kid !== 'string' || value.kid.length > 512)) {
    throw new SealError('invalid_key', `${label} has a "kid" that is not a short text`)
  }
  return {
    kty: 'RSA',
    n: encodeBase64Url(n),
    e: encodeBase64Url(e),
    ...(value.kid === undefined ? {} : { kid: value.kid })
  }
}

/** RFC 7638 SHA-256 thumbprint, base64url: the router's key id. */
export async function rsaThumbprint(jwk: RsaPublicJwk): Promise<string> {
  return calculateJwkThumbprint({ kty: jwk.kty, n: jwk.n, e: jwk.e }, 'sha256')
}

function integer(value: unknown, label: string, member: string): Uint8Array {
  // 4096 bits are 683 characters; a few more allow for leading zero bytes.
  if (typeof value !== 'string' || value.length > 700) {
    throw new SealError('invalid_key', `${label} has no usable member "${member}"`)
  }
  let bytes: Uint8Array
  try {
    bytes = decodeBase64Url(value, member)
  } catch {
    throw new SealError('invalid_key', `${label} has a member "${member}" that is not base64url`)
  }
  const first = bytes.findIndex((byte) => byte !== 0)
  if (first === -1) throw new SealError('invalid_key', `${label} has a member "${member}" that is zero`)
  return bytes.subarray(first)
}
