import { createHash } from 'node:crypto'
import { describe, expect, it } from '@jest/globals'
import { encodeHex } from '../../../src/base/encoding.js'
import { Sha256 } from '../../../src/seal/sha256.js'
import { Seeded } from './seeded.js'

describe('Sha256', () => {
  it.each([
    ['', 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'],
    ['abc', 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'],
    [
      'abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq',
      '248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1'
    ],
    ['a'.repeat(1_000_000), 'cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0']
  ])('gives the values of FIPS 180-2 appendix B', (text, digest) => {
    expect(encodeHex(new Sha256().update(Buffer.from(text)).digest())).toBe(digest)
  })

  it('agrees with OpenSSL for every length to 300 bytes, however they are cut', () => {
    const random = new Seeded(5)
    for (let length = 0; length <= 300; length++) {
      const bytes = random.bytes(length)
      const hash = new Sha256()
      for (let offset = 0; offset < length;) {
        const next = offset + 1 + random.below(100)
        hash.update(bytes.subarray(offset, next))
        offset = next
      }
      expect(encodeHex(hash.digest())).toBe(createHash('sha256').update(bytes).digest('hex'))
    }
  })
})
