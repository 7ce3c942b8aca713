import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto'
import { concatBytes } from '../../base/bytes.js'
import { decodeBase64Url, utf8 } from '../../base/encoding.js'
import { hkdfExpand, hkdfExtract } from './hkdf.js'

/** A key pair of RFC 8032 or RFC 7748: the private key stays in OpenSSL, the public one is 32 bytes. */
export interface CurveKeyPair {
  readonly privateKey: KeyObject
  readonly publicKey: Uint8Array
}

/** RFC 9180 section 7.1.3 for DHKEM(X25519, HKDF-SHA256), KEM id 0x0020. */
export function deriveHpkeKeyPair(inputKeyMaterial: Uint8Array): CurveKeyPair {
  const pseudoRandomKey = labeledExtract('dkp_prk', inputKeyMaterial)
  return curveKeyPair('X25519', labeledExpand(pseudoRandomKey, 'sk', 32))
}

/** Makes a key pair from the 32 secret bytes of RFC 7748 or RFC 8032. */
export function curveKeyPair(curve: 'X25519' | 'Ed25519', secret: Uint8Array): CurveKeyPair {
  const privateKey = createPrivateKey({
    key: Buffer.from(concatBytes(privateKeyPrefixes[curve], secret)),
    format: 'der',
    type: 'pkcs8'
  })
  const { x } = createPublicKey(privateKey).export({ format: 'jwk' })
  if (x === undefined) throw new Error(`${curve} public key has no coordinate`)
  return { privateKey, publicKey: decodeBase64Url(x, 'x') }
}

/** RFC 8410 section 7: the PKCS #8 bytes before the 32 secret ones. */
const privateKeyPrefixes = {
  X25519: Uint8Array.from([0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x6e, 4, 0x22, 4, 0x20]),
  Ed25519: Uint8Array.from([0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20])
} as const

const version = utf8.encode('HPKE-v1')
/** RFC 9180 section 4.1: "KEM" and the KEM id. */
const suiteId = concatBytes(utf8.encode('KEM'), Uint8Array.of(0x00, 0x20))

/** RFC 9180 section 4, with the empty salt that DeriveKeyPair uses. */
function labeledExtract(label: string, inputKeyMaterial: Uint8Array): Uint8Array {
  return hkdfExtract(new Uint8Array(), concatBytes(version, suiteId, utf8.encode(label), inputKeyMaterial))
}

/** RFC 9180 section 4, with the empty info that DeriveKeyPair uses. */
function labeledExpand(pseudoRandomKey: Uint8Array, label: string, length: number): Uint8Array {
  const info = concatBytes(Uint8Array.of(length >> 8, length & 0xff), version, suiteId, utf8.encode(label))
  return hkdfExpand(pseudoRandomKey, info, length)
}
