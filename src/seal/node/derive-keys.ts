import type { KeyObject } from 'node:crypto'
import { decodeBase64Url, utf8 } from '../../base/encoding.js'
import { SealError } from '../errors.js'
import { hkdfExpand, hkdfExtract } from './hkdf.js'
import { type CurveKeyPair, curveKeyPair, deriveHpkeKeyPair } from './hpke-kem.js'

export interface DerivedKeys {
  /** DHKEM(X25519, HKDF-SHA256) of RFC 9180. */
  readonly hpke: CurveKeyPair
  /** Signs receipts. */
  readonly ed25519: CurveKeyPair
}

/**
 * Derives the router's other keys from the released RSA key, so that all replicas and restarts
 * share them and a key that a caller has pinned survives a rollout (docs/wire-format.md, keys).
 *
 * Throws a `SealError` with code `invalid_key` if `rsaPrivateKey` is no private RSA key.
 */
export function deriveKeys(rsaPrivateKey: KeyObject): DerivedKeys {
  const root = hkdfExtract(utf8.encode('confrouter'), privateExponent(rsaPrivateKey))
  return {
    hpke: deriveHpkeKeyPair(hkdfExpand(root, 32, utf8.encode('hpke-x25519-v1'))),
    ed25519: curveKeyPair('Ed25519', hkdfExpand(root, 32, utf8.encode('ed25519-v1')))
  }
}

/** Big-endian, padded with zeros to the length of the modulus: 256 bytes for RSA-2048. */
function privateExponent(key: KeyObject): Uint8Array {
  if (key.type !== 'private' || key.asymmetricKeyType !== 'rsa') {
    throw new SealError('invalid_key', 'keys are derived from a private RSA key')
  }
  const { d, n } = key.export({ format: 'jwk' })
  if (d === undefined || n === undefined) throw new SealError('invalid_key', 'the RSA key has no private exponent')
  const exponent = decodeBase64Url(d, 'd')
  const padded = new Uint8Array(decodeBase64Url(n, 'n').length)
  padded.set(exponent, padded.length - exponent.length)
  return padded
}
