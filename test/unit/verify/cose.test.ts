import { describe, expect, it } from '@jest/globals'
import { encode } from 'cborg'
import { signatureInput } from '../../../src/verify/cose.js'

describe('signatureInput', () => {
  it.each([0, 1, 23, 24, 255, 256, 65_535, 65_536, 100_000])(
    'is what a CBOR library makes of it, for parts of %d bytes',
    (length) => {
      const header = new Uint8Array(length).fill(1)
      const payload = new Uint8Array(length + 1).fill(2)
      const expected = encode(['Signature1', header, new Uint8Array(0), payload])
      expect(Buffer.from(signatureInput(header, payload)).equals(expected)).toBe(true)
    }
  )
})
