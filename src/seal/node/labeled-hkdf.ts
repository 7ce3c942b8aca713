import { concatBytes } from '../../base/bytes.js'
import { utf8 } from '../../base/encoding.js'
import { hkdfExpand, hkdfExtract } from './hkdf.js'

/**
 * What stands before the input in the labeled functions of RFC 9180 section 4: "HPKE-v1", the suite
 * id and the label. Every label is used for every request, so it is made once.
 */
export function hpkeLabel(suiteId: Uint8Array, label: string): Uint8Array {
  return concatBytes(utf8.encode('HPKE-v1'), suiteId, utf8.encode(label))
}

/** RFC 9180 section 4, LabeledExtract with HKDF-SHA256. */
export function labeledExtract(salt: Uint8Array, label: Uint8Array, inputKeyMaterial: Uint8Array): Uint8Array {
  return hkdfExtract(salt, label, inputKeyMaterial)
}

/** RFC 9180 section 4, LabeledExpand with HKDF-SHA256; `length` is in bytes. `info` may come in pieces. */
export function labeledExpand(
  pseudoRandomKey: Uint8Array,
  label: Uint8Array,
  length: number,
  ...info: readonly Uint8Array[]
): Uint8Array {
  return hkdfExpand(pseudoRandomKey, length, Uint8Array.of(length >> 8, length & 0xff), label, ...info)
}
