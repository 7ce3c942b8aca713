import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from '@jest/globals'
import { AEAD_AES_256_GCM, CipherSuite, KDF_HKDF_SHA256, KEM_DHKEM_X25519_HKDF_SHA256 } from 'hpke'
import { decodeHex, encodeHex } from '../../../../src/base/encoding.js'
import { aes256Gcm, type HpkeAead, hpkeReceiver } from '../../../../src/seal/node/hpke.js'
import { curveKeyPair, decapsulate, deriveHpkeKeyPair } from '../../../../src/seal/node/hpke-kem.js'
import { hpkeSender } from '../hpke-sender.js'
import { Seeded } from '../seeded.js'

interface HpkeVector {
  readonly name: string
  readonly aead: 1 | 2
  readonly info: string
  readonly ikmR?: string
  readonly skRm: string
  readonly pkRm: string
  readonly skEm: string
  readonly enc: string
  readonly shared_secret: string
  readonly plaintext: string
  readonly encryptions: readonly { sequence: number; aad: string; ciphertext: string }[]
  readonly exports: readonly { context: string; length: number; value: string }[]
}

const vectors = JSON.parse(
  readFileSync(join(import.meta.dirname, '..', '..', '..', 'vectors', 'seal', 'hpke.json'), 'utf8')
) as HpkeVector[]

const hex = (text: string): Uint8Array => decodeHex(text, 'vector')
const empty = new Uint8Array()
const aeads: Readonly<Record<1 | 2, HpkeAead>> = { 1: { id: 1, cipher: 'aes-128-gcm', keyLength: 16 }, 2: aes256Gcm }

describe.each(vectors)('$name', (vector) => {
  const key = curveKeyPair('X25519', hex(vector.skRm))
  const receive = hpkeReceiver(hex(vector.info), aeads[vector.aead])

  it('gives the public key', () => {
    expect(encodeHex(key.publicKey)).toBe(vector.pkRm)
    if (vector.ikmR !== undefined) expect(deriveHpkeKeyPair(hex(vector.ikmR)).publicKey).toEqual(key.publicKey)
  })

  it('gives the shared secret', () => {
    expect(encodeHex(decapsulate(hex(vector.enc), key))).toBe(vector.shared_secret)
  })

  it('opens each ciphertext at its place in the sequence', async () => {
    const receiver = receive(hex(vector.enc), key)
    const sender = hpkeSender({
      recipient: key.publicKey,
      ephemeralSecret: hex(vector.skEm),
      info: hex(vector.info),
      aead: vector.aead
    })
    const last = Math.max(...vector.encryptions.map(({ sequence }) => sequence))
    for (let sequence = 0; sequence <= last; sequence++) {
      const given = vector.encryptions.find((encryption) => encryption.sequence === sequence)
      const additionalData = given === undefined ? empty : hex(given.aad)
      const sealed = await sender.seal(hex(vector.plaintext), additionalData)
      if (given !== undefined) expect(encodeHex(sealed)).toBe(given.ciphertext)
      expect(encodeHex(receiver.open(additionalData, sealed))).toBe(vector.plaintext)
    }
  })

  it.each(vector.exports)('exports for the context "$context"', ({ context, length, value }) => {
    expect(encodeHex(receive(hex(vector.enc), key).export(hex(context), length))).toBe(value)
  })
})

describe('hpkeReceiver', () => {
  const suite = new CipherSuite(KEM_DHKEM_X25519_HKDF_SHA256, KDF_HKDF_SHA256, AEAD_AES_256_GCM)

  it('opens and exports what the hpke package seals, 100 cases', async () => {
    const random = new Seeded(1)
    for (let round = 0; round < 100; round++) {
      const key = curveKeyPair('X25519', random.bytes(32))
      const info = random.bytes(random.below(40))
      const publicKey = await suite.DeserializePublicKey(key.publicKey)
      const { encapsulatedSecret, ctx } = await suite.SetupSender(publicKey, { info })
      const receiver = hpkeReceiver(info)(encapsulatedSecret, key)
      for (let message = 0; message < 4; message++) {
        const plaintext = random.bytes(random.below(300))
        const additionalData = random.bytes(random.below(40))
        expect(Buffer.from(receiver.open(additionalData, await ctx.Seal(plaintext, additionalData)))).toEqual(
          Buffer.from(plaintext)
        )
      }
      const context = random.bytes(random.below(40))
      const length = 1 + random.below(100)
      expect(Buffer.from(receiver.export(context, length))).toEqual(Buffer.from(await ctx.Export(context, length)))
    }
  })

  it('agrees with the hpke package on what the sender of the tests seals, 100 cases', async () => {
    const random = new Seeded(2)
    for (let round = 0; round < 100; round++) {
      const secret = random.bytes(32)
      const key = curveKeyPair('X25519', secret)
      const info = random.bytes(random.below(40))
      const sender = hpkeSender({ recipient: key.publicKey, ephemeralSecret: random.bytes(32), info })
      const privateKey = await suite.DeserializePrivateKey(secret, true)
      const theirs = await suite.SetupRecipient(privateKey, sender.encapsulatedKey, { info })
      const ours = hpkeReceiver(info)(sender.encapsulatedKey, key)
      for (let message = 0; message < 3; message++) {
        const additionalData = random.bytes(random.below(40))
        const sealed = await sender.seal(random.bytes(random.below(300)), additionalData)
        expect(Buffer.from(ours.open(additionalData, sealed))).toEqual(
          Buffer.from(await theirs.Open(sealed, additionalData))
        )
      }
      const context = random.bytes(8)
      expect(Buffer.from(ours.export(context, 32))).toEqual(Buffer.from(await theirs.Export(context, 32)))
    }
  })

  const key = curveKeyPair('X25519', new Uint8Array(32).fill(7))
  const info = new Uint8Array([1, 2, 3])
  const sender = () => hpkeSender({ recipient: key.publicKey, ephemeralSecret: new Uint8Array(32).fill(9), info })

  it('does not move on when something does not open', async () => {
    const { encapsulatedKey, seal } = sender()
    const receiver = hpkeReceiver(info)(encapsulatedKey, key)
    const sealed = await seal(Uint8Array.of(1), empty)
    expect(() => receiver.open(Uint8Array.of(1), sealed)).toThrow()
    expect(() => receiver.open(empty, sealed.subarray(0, 15))).toThrow('shorter than a tag')
    expect([...receiver.open(empty, sealed)]).toEqual([1])
    expect(() => receiver.open(empty, sealed)).toThrow()
  })

  it('opens nothing with another info, key, additional data, or with any bit altered', async () => {
    const { encapsulatedKey, seal } = sender()
    const sealed = await seal(Uint8Array.of(1, 2, 3), Uint8Array.of(5))
    const open = (bytes: Uint8Array, enc = encapsulatedKey, by = key, about = info) =>
      hpkeReceiver(about)(enc, by).open(Uint8Array.of(5), bytes)
    expect([...open(sealed)]).toEqual([1, 2, 3])
    expect(() => open(sealed, encapsulatedKey, key, Uint8Array.of(1, 2))).toThrow()
    expect(() => open(sealed, encapsulatedKey, curveKeyPair('X25519', new Uint8Array(32).fill(8)))).toThrow()
    for (let bit = 0; bit < sealed.length * 8; bit++) expect(() => open(flipped(sealed, bit))).toThrow()
    // Bit 255 is ignored by X25519 itself, but the key as it was sent goes into the shared secret.
    for (let bit = 0; bit < 256; bit++) expect(() => open(sealed, flipped(encapsulatedKey, bit))).toThrow()
  })

  it.each([
    ['zero', '00'.repeat(32)],
    ['one', `01${'00'.repeat(31)}`],
    ['a point of order 8', 'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800'],
    ['another point of order 8', '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157'],
    ['p - 1', `ec${'ff'.repeat(30)}7f`],
    ['p', `ed${'ff'.repeat(30)}7f`],
    ['p + 1', `ee${'ff'.repeat(30)}7f`]
  ])('refuses the point of small order %s (RFC 9180 section 7.1.4)', (_, point) => {
    expect(() => hpkeReceiver(info)(hex(point), key)).toThrow()
  })

  it.each([0, 31, 33])('refuses an encapsulated key of %d bytes', (length) => {
    expect(() => hpkeReceiver(info)(new Uint8Array(length).fill(9), key)).toThrow('32 bytes')
  })
})

function flipped(bytes: Uint8Array, bit: number): Uint8Array {
  const altered = Uint8Array.from(bytes)
  altered[bit >> 3]! ^= 1 << (bit & 7)
  return altered
}
