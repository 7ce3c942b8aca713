import { concatBytes } from '../base/bytes.js'
import { utf8 } from '../base/encoding.js'

/**
 * The few DER forms (X.690) that a certificate is made of. Writing only: what the emulator reads
 * it parses with `node:crypto`.
 */
export const der = {
  sequence: (...items: readonly Uint8Array[]): Uint8Array => tagged(0x30, concatBytes(...items)),
  set: (...items: readonly Uint8Array[]): Uint8Array => tagged(0x31, concatBytes(...items)),
  /** A positive INTEGER from big-endian bytes. */
  integer: (bytes: Uint8Array): Uint8Array => tagged(0x02, positive(bytes)),
  boolean: (value: boolean): Uint8Array => tagged(0x01, Uint8Array.of(value ? 0xff : 0)),
  octetString: (bytes: Uint8Array): Uint8Array => tagged(0x04, bytes),
  /** A BIT STRING; `unusedBits` counts from the end of the last byte. */
  bitString: (bytes: Uint8Array, unusedBits = 0): Uint8Array =>
    tagged(0x03, concatBytes(Uint8Array.of(unusedBits), bytes)),
  utf8String: (text: string): Uint8Array => tagged(0x0c, utf8.encode(text)),
  oid: (dotted: string): Uint8Array => tagged(0x06, oidBytes(dotted)),
  /** UTCTime until 2049, GeneralizedTime from 2050 on (RFC 5280 section 4.1.2.5). */
  time: (date: Date): Uint8Array => {
    const digits = date.toISOString().replace(/[-:T]/g, '').slice(0, 14)
    return date.getUTCFullYear() < 2050
      ? tagged(0x17, utf8.encode(`${digits.slice(2)}Z`))
      : tagged(0x18, utf8.encode(`${digits}Z`))
  },
  /** A context-specific tag; `constructed` wraps other values, else the content is taken as it is. */
  context: (number: number, content: Uint8Array, constructed: boolean): Uint8Array =>
    tagged((constructed ? 0xa0 : 0x80) | number, content)
}

function tagged(tag: number, content: Uint8Array): Uint8Array {
  return concatBytes(Uint8Array.of(tag, ...lengthBytes(content.length)), content)
}

function lengthBytes(length: number): number[] {
  if (length < 0x80) return [length]
  const bytes: number[] = []
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256)
  return [0x80 | bytes.length, ...bytes]
}

function positive(bytes: Uint8Array): Uint8Array {
  let start = 0
  while (start < bytes.length - 1 && bytes[start] === 0) start++
  const trimmed = bytes.subarray(start)
  return (trimmed[0] ?? 0) >= 0x80 ? concatBytes(Uint8Array.of(0), trimmed) : trimmed
}

function oidBytes(dotted: string): Uint8Array {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number)
  return Uint8Array.of(...[first * 40 + second, ...rest].flatMap(base128))
}

function base128(arc: number): number[] {
  const bytes = [arc % 128]
  for (let rest = Math.floor(arc / 128); rest > 0; rest = Math.floor(rest / 128)) bytes.unshift(0x80 | (rest % 128))
  return bytes
}
