import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, hkdfSync, sign, verify } from 'node:crypto'
import { describe, expect, it } from '@jest/globals'
import { AEAD_AES_256_GCM, CipherSuite, KDF_HKDF_SHA256, KEM_DHKEM_X25519_HKDF_SHA256 } from 'hpke'
import { decodeHex, encodeHex, utf8 } from '../../../../src/base/encoding.js'
import { deriveKeys } from '../../../../src/seal/node/derive-keys.js'
import { hkdfExpand, hkdfExtract } from '../../../../src/seal/node/hkdf.js'
import { deriveHpkeKeyPair } from '../../../../src/seal/node/hpke-kem.js'
import { testKey, vectorKey } from '../test-keys.js'

const suite = new CipherSuite(KEM_DHKEM_X25519_HKDF_SHA256, KDF_HKDF_SHA256, AEAD_AES_256_GCM)

/** RFC 9180 appendix A.1.1 (base mode) and A.1.3 (auth mode). */
const rfc9180 = [
  {
    ikm: '7268600d403fce431561aef583ee1613527cff655c1343f29812e66706df3234',
    secret: '52c4a758a802cd8b936eceea314432798d5baf2d7e9235dc084ab1b9cfa2f736',
    public: '37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431'
  },
  {
    ikm: '6db9df30aa07dd42ee5e8181afdb977e538f5e1fec8a06223f33f7013e525037',
    secret: '4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8',
    public: '3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d'
  }
]

describe('HKDF-SHA256', () => {
  it('gives the values of RFC 5869 appendix A.1', () => {
    const prk = hkdfExtract(decodeHex('000102030405060708090a0b0c', 'salt'), new Uint8Array(22).fill(0x0b))
    expect(encodeHex(prk)).toBe('077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5')
    expect(encodeHex(hkdfExpand(prk, 42, decodeHex('f0f1f2f3f4f5f6f7f8f9', 'info')))).toBe(
      '3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865'
    )
  })

  it('agrees with Node on keys and messages below, at and above the block of SHA-256 and the room for both', () => {
    const bytes = (length: number): Buffer => createHash('shake256', { outputLength: length }).update('hkdf').digest()
    for (const length of [0, 1, 31, 32, 63, 64, 65, 1023, 1024, 1025, 5000]) {
      const [salt, material, info] = [bytes(length), bytes(length + 7), bytes(Math.min(length, 1024))]
      const expected = Buffer.from(hkdfSync('sha256', material, salt, info, 100))
      const prk = hkdfExtract(salt, material.subarray(0, 5), material.subarray(5))
      expect(Buffer.from(hkdfExpand(prk, 100, info.subarray(0, 3), info.subarray(3)))).toEqual(expected)
    }
  })

  it('refuses more than 255 blocks', () => {
    expect(() => hkdfExpand(new Uint8Array(32), 8161)).toThrow(RangeError)
  })
})

describe('deriveHpkeKeyPair', () => {
  it.each(rfc9180)('gives the key pair of RFC 9180 appendix A.1 for ikm $ikm', ({ ikm, secret, public: expected }) => {
    const pair = deriveHpkeKeyPair(decodeHex(ikm, 'ikm'))
    expect(encodeHex(pair.publicKey)).toBe(expected)
    expect(Buffer.from(String(pair.privateKey.export({ format: 'jwk' }).d), 'base64url').toString('hex')).toBe(secret)
  })

  it('agrees with the hpke package, which then opens to it', async () => {
    const ikm = new Uint8Array(32).map((_, index) => index * 7)
    const theirs = await suite.DeriveKeyPair(ikm, true)
    const ours = deriveHpkeKeyPair(ikm)
    expect(encodeHex(ours.publicKey)).toBe(encodeHex(await suite.SerializePublicKey(theirs.publicKey)))
    expect(Buffer.from(String(ours.privateKey.export({ format: 'jwk' }).d), 'base64url')).toEqual(
      Buffer.from(await suite.SerializePrivateKey(theirs.privateKey))
    )
    const recipient = await suite.DeserializePublicKey(ours.publicKey)
    const { encapsulatedSecret, ciphertext } = await suite.Seal(recipient, utf8.encode('hello'))
    expect(utf8.decode(await suite.Open(theirs, encapsulatedSecret, ciphertext))).toBe('hello')
  })
})

describe('deriveKeys', () => {
  it('gives the vector of docs/wire-format.md', async () => {
    const keys = deriveKeys((await vectorKey()).privateKey)
    expect(encodeHex(keys.hpke.publicKey)).toBe('8de3db49a1ff2ed4f1889d93404d8980530bdb73f4ae4abcd6b9b2cae737ed2a')
    expect(encodeHex(keys.ed25519.publicKey)).toBe('9575e373a5e637d20c76e8cdeeebb30422594c5b272a1d4ec71da46ce5e4a39b')
  })

  it('agrees with HKDF of OpenSSL and DeriveKeyPair of the hpke package', async () => {
    const { privateKey } = await vectorKey()
    const exponent = Buffer.from(String(privateKey.export({ format: 'jwk' }).d), 'base64url')
    const padded = Buffer.concat([Buffer.alloc(256 - exponent.length), exponent])
    const derived = hkdfSync('sha256', padded, 'confrouter', 'hpke-x25519-v1', 32)
    const pair = await suite.DeriveKeyPair(new Uint8Array(derived), true)
    expect(deriveKeys(privateKey).hpke.publicKey).toEqual(await suite.SerializePublicKey(pair.publicKey))
  })

  it('gives keys that work and do not depend on how the RSA key was loaded', async () => {
    const { privateKey } = await vectorKey()
    const keys = deriveKeys(privateKey)
    const signature = sign(null, utf8.encode('receipt'), keys.ed25519.privateKey)
    const publicKey = createPublicKey({
      key: { kty: 'OKP', crv: 'Ed25519', x: Buffer.from(keys.ed25519.publicKey).toString('base64url') },
      format: 'jwk'
    })
    expect(verify(null, utf8.encode('receipt'), publicKey, signature)).toBe(true)
    const again = deriveKeys(createPrivateKey(privateKey.export({ format: 'pem', type: 'pkcs8' })))
    expect(again.hpke.publicKey).toEqual(keys.hpke.publicKey)
    expect(again.ed25519.publicKey).toEqual(keys.ed25519.publicKey)
  })

  it('gives other keys for another RSA key', async () => {
    const other = await testKey(generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey)
    expect(deriveKeys(other.privateKey).hpke.publicKey).not.toEqual(
      deriveKeys((await vectorKey()).privateKey).hpke.publicKey
    )
  })

  it('refuses a public key and a key of another kind', async () => {
    expect(() => deriveKeys(generateKeyPairSync('ed25519').privateKey)).toThrow('private RSA key')
    const { publicKey } = await vectorKey()
    expect(() => deriveKeys(publicKey)).toThrow('private RSA key')
  })
})
