import { createHmac, hash } from 'node:crypto'
import { concatBytes } from '../../base/bytes.js'

/** RFC 5869 section 2.2 with SHA-256. HPKE needs the two halves of HKDF apart. The key material may come in pieces. */
export const hkdfExtract = (salt: Uint8Array, ...inputKeyMaterial: readonly Uint8Array[]): Uint8Array =>
  hmacSha256(salt, inputKeyMaterial)

/** RFC 5869 section 2.3 with SHA-256; `length` is in bytes. `info` may come in pieces. */
export function hkdfExpand(pseudoRandomKey: Uint8Array, length: number, ...info: readonly Uint8Array[]): Uint8Array {
  if (length > 255 * hashBytes) throw new RangeError('HKDF-SHA256 yields at most 8160 bytes')
  let block = hmacSha256(pseudoRandomKey, [...info, Uint8Array.of(1)])
  let output = block
  for (let counter = 2; output.length < length; counter++) {
    block = hmacSha256(pseudoRandomKey, [block, ...info, Uint8Array.of(counter)])
    output = concatBytes(output, block)
  }
  // No view: it would keep all of the block.
  return output.length === length ? output : output.slice(0, length)
}

/** Of SHA-256. */
const blockBytes = 64
const hashBytes = 32

/** Room for what is hashed. Everything here is synchronous, so one is enough, and nothing is left for the collector. */
const inner = Buffer.alloc(blockBytes + 1024)
const outer = Buffer.alloc(blockBytes + hashBytes)

/**
 * RFC 2104. Opening one request takes a dozen of these, and Node's `Hmac` costs three times as much as
 * the two hashes that it is made of: most of it is the making of a stream that nobody needs.
 */
function hmacSha256(key: Uint8Array, message: readonly Uint8Array[]): Uint8Array {
  let end = blockBytes
  for (const part of message) end += part.length
  if (key.length > blockBytes || end > inner.length) {
    return createHmac('sha256', key)
      .update(concatBytes(...message))
      .digest()
  }
  for (let at = 0; at < blockBytes; at++) {
    const byte = key[at] ?? 0
    inner[at] = byte ^ 0x36
    outer[at] = byte ^ 0x5c
  }
  end = blockBytes
  for (const part of message) {
    inner.set(part, end)
    end += part.length
  }
  outer.write(sha256(inner.subarray(0, end)), blockBytes, 'latin1')
  inner.write(sha256(outer), 0, 'latin1')
  // Of its own, and not out of a pool that some of it would keep from being collected.
  const result = new Uint8Array(hashBytes)
  result.set(inner.subarray(0, hashBytes))
  return result
}

/** As text of one character for each byte, which `hash` gives six times as fast as a buffer. */
const sha256 = (bytes: Uint8Array): string => hash('sha256', bytes, 'binary')
