import { calculateJwkThumbprint } from 'jose'
import { decodeBase64Url, encodeBase64Url } from '../base/encoding.js'
import { isJsonObject } from '../base/json.js'
import { SealError } from './errors.js'

/** RFC 7518 section 6.2 public key on P-256; `x` and `y` are 32 bytes in base64url. */
export interface EcPublicJwk {
  readonly kty: 'EC'
  readonly crv: 'P-256'
  readonly x: string
  readonly y: string
}

const coordinateBytes = 32

/**
 * Reads the public half of a P-256 JWK and drops every other member. Whether the point is on the
 * curve is found out by whoever imports it.
 *
 * Throws a `SealError` with code `invalid_key` that names `label`.
 */
export function parseEcPublicJwk(value: unknown, label: string): EcPublicJwk {
  if (!isJsonObject(value) || value.kty !== 'EC' || value.crv !== 'P-256') {
    throw new SealError('invalid_key', `${label} is not a JWK of an EC key on P-256`)
  }
  // A private key in a place for public ones is a leak that should be seen, not used.
  if (value.d !== undefined) throw new SealError('invalid_key', `${label} contains a private key`)
  return { kty: 'EC', crv: 'P-256', x: coordinate(value.x, label, 'x'), y: coordinate(value.y, label, 'y') }
}

/** RFC 7638 SHA-256 thumbprint, base64url. */
export function ecThumbprint({ kty, crv, x, y }: EcPublicJwk): Promise<string> {
  return calculateJwkThumbprint({ kty, crv, x, y }, 'sha256')
}

/** True for what `ecThumbprint` gives: 32 bytes in base64url. */
export function isThumbprint(text: string): boolean {
  return /^[\w-]{42}[AEIMQUYcgkosw048]$/.test(text)
}

function coordinate(value: unknown, label: string, member: string): string {
  try {
    // RFC 7518 section 6.2.1.2: leading zero bytes are kept, so one key has one spelling.
    if (typeof value === 'string' && decodeBase64Url(value, member).length === coordinateBytes) {
      return encodeBase64Url(decodeBase64Url(value, member))
    }
  } catch {
    // Said below.
  }
  throw new SealError('invalid_key', `${label} has no member "${member}" of ${coordinateBytes} bytes in base64url`)
}
