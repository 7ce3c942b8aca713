import { createHmac } from 'node:crypto'
import { concatBytes } from '../../base/bytes.js'

/** RFC 5869 section 2.2 with SHA-256. HPKE needs the two halves of HKDF apart. */
export function hkdfExtract(salt: Uint8Array, inputKeyMaterial: Uint8Array): Uint8Array {
  return createHmac('sha256', salt).update(inputKeyMaterial).digest()
}

/** RFC 5869 section 2.3 with SHA-256; `length` is in bytes. */
export function hkdfExpand(pseudoRandomKey: Uint8Array, info: Uint8Array, length: number): Uint8Array {
  if (length > 255 * 32) throw new RangeError('HKDF-SHA256 yields at most 8160 bytes')
  let block: Uint8Array = new Uint8Array()
  let output = new Uint8Array()
  for (let counter = 1; output.length < length; counter++) {
    block = createHmac('sha256', pseudoRandomKey).update(block).update(info).update(Uint8Array.of(counter)).digest()
    output = concatBytes(output, block)
  }
  return output.subarray(0, length)
}
