import { concatBytes } from '../base/bytes.js'
import { utf8 } from '../base/encoding.js'

/**
 * Sig_structure of COSE_Sign1 without external data (RFC 9052 section 4.4): the bytes that are signed. Written
 * out, because a whole CBOR encoder would be a sixth of what a browser has to load.
 */
export function signatureInput(protectedHeader: Uint8Array, payload: Uint8Array): Uint8Array {
  const context = utf8.encode('Signature1')
  return concatBytes(
    Uint8Array.of(0x84),
    head(majorType.text, context.length),
    context,
    head(majorType.bytes, protectedHeader.length),
    protectedHeader,
    head(majorType.bytes, 0),
    head(majorType.bytes, payload.length),
    payload
  )
}

/** RFC 8949 section 3.1. */
const majorType = { bytes: 2, text: 3 } as const

/** The shortest head for a length, as COSE's signatures have it (RFC 8949 section 4.2.1). */
function head(major: number, length: number): Uint8Array {
  const first = major << 5
  if (length < 24) return Uint8Array.of(first | length)
  if (length < 0x100) return Uint8Array.of(first | 24, length)
  if (length < 0x10000) return Uint8Array.of(first | 25, length >> 8, length & 0xff)
  return Uint8Array.of(first | 26, length >>> 24, (length >> 16) & 0xff, (length >> 8) & 0xff, length & 0xff)
}
