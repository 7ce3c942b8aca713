import { createPrivateKey, createPublicKey, diffieHellman, type KeyObject } from 'node:crypto'
import { concatBytes } from '../../base/bytes.js'
import { decodeBase64Url, utf8 } from '../../base/encoding.js'
import { hpkeLabel, labeledExpand, labeledExtract } from './labeled-hkdf.js'

/** A key pair of RFC 8032 or RFC 7748: the private key stays in OpenSSL, the public one is 32 bytes. */
export interface CurveKeyPair {
  readonly privateKey: KeyObject
  readonly publicKey: Uint8Array
}

/** RFC 9180 section 7.1.3 for DHKEM(X25519, HKDF-SHA256), KEM id 0x0020. */
export function deriveHpkeKeyPair(inputKeyMaterial: Uint8Array): CurveKeyPair {
  const pseudoRandomKey = labeledExtract(empty, labels.keyPair, inputKeyMaterial)
  return curveKeyPair('X25519', labeledExpand(pseudoRandomKey, labels.secretKey, 32))
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

/**
 * RFC 9180 section 4.1, Decap: the shared secret that only the sender of `encapsulatedKey` and the
 * holder of the private key know. Throws an `Error` for a point that gives no secret.
 */
export function decapsulate(encapsulatedKey: Uint8Array, { privateKey, publicKey }: CurveKeyPair): Uint8Array {
  if (encapsulatedKey.length !== 32) throw new Error('an encapsulated X25519 key has 32 bytes')
  const sharedPoint = diffieHellman({ privateKey, publicKey: importPublicKey(encapsulatedKey) })
  // RFC 9180 section 7.1.4. OpenSSL refuses such points too, but that is not ours to rely on.
  if (sharedPoint.every((byte) => byte === 0)) throw new Error('the encapsulated key is a point of small order')
  const pseudoRandomKey = labeledExtract(empty, labels.extract, sharedPoint)
  return labeledExpand(pseudoRandomKey, labels.sharedSecret, 32, encapsulatedKey, publicKey)
}

/** As a JWK: OpenSSL takes twelve times as long to read the same key from DER. */
function importPublicKey(publicKey: Uint8Array): KeyObject {
  const x = Buffer.from(publicKey).toString('base64url')
  return createPublicKey({ key: { kty: 'OKP', crv: 'X25519', x }, format: 'jwk' })
}

/** RFC 8410 section 7: the PKCS #8 bytes before the 32 secret ones. */
const privateKeyPrefixes = {
  X25519: Uint8Array.from([0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x6e, 4, 0x22, 4, 0x20]),
  Ed25519: Uint8Array.from([0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20])
} as const

const empty = new Uint8Array()
/** RFC 9180 section 4.1: "KEM" and the KEM id. */
const suiteId = concatBytes(utf8.encode('KEM'), Uint8Array.of(0x00, 0x20))
const labels = {
  keyPair: hpkeLabel(suiteId, 'dkp_prk'),
  secretKey: hpkeLabel(suiteId, 'sk'),
  extract: hpkeLabel(suiteId, 'eae_prk'),
  sharedSecret: hpkeLabel(suiteId, 'shared_secret')
} as const
