import { constants, createCipheriv, publicEncrypt, randomBytes, type KeyObject } from 'node:crypto'
import { concatBytes } from '../../../base/bytes.js'

/** The wrapping that a release asks for, by the hash that OAEP uses in it. */
const oaepHashes: Readonly<Record<string, string>> = {
  CKM_RSA_AES_KEY_WRAP: 'sha1',
  RSA_AES_KEY_WRAP_256: 'sha256',
  RSA_AES_KEY_WRAP_384: 'sha384'
}

export const keyWrapAlgorithms = Object.keys(oaepHashes)

/** RFC 5649 section 3: the initial value of AES key wrap with padding. */
const paddingInitialValue = Uint8Array.of(0xa6, 0x59, 0x59, 0xa6)

/**
 * CKM_RSA_AES_KEY_WRAP (PKCS #11): RSA-OAEP of a fresh AES-256 key, as long as the modulus, followed
 * by AES key wrap with padding of `secret`. MGF1 uses the same hash as OAEP.
 */
export function wrapKey(secret: Uint8Array, wrappingKey: KeyObject, algorithm: string): Uint8Array {
  const oaepHash = oaepHashes[algorithm]
  if (oaepHash === undefined) throw new TypeError(`unknown key wrap algorithm ${algorithm}`)
  const aesKey = randomBytes(32)
  const wrappedAesKey = publicEncrypt({ key: wrappingKey, oaepHash, padding: constants.RSA_PKCS1_OAEP_PADDING }, aesKey)
  const cipher = createCipheriv('id-aes256-wrap-pad', aesKey, paddingInitialValue)
  return concatBytes(wrappedAesKey, cipher.update(secret), cipher.final())
}
