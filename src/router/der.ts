import { concatBytes } from '../base/bytes.js'
import { utf8 } from '../base/encoding.js'

/** Writes the few forms of DER (ITU-T X.690) that a certificate of ours needs; nothing here reads any. */

export const sequence = (...items: readonly Uint8Array[]): Uint8Array => encode(0x30, concatBytes(...items))

export const set = (...items: readonly Uint8Array[]): Uint8Array => encode(0x31, concatBytes(...items))

export const TRUE: Uint8Array = Uint8Array.of(0x01, 0x01, 0xff)

/** From big-endian two's complement in its shortest form: the first byte is below 0x80, and 0 only if it is the last. */
export const integer = (bytes: Uint8Array): Uint8Array => encode(0x02, bytes)

/** `unusedBits` counts from the end of the last byte. */
export const bitString = (bytes: Uint8Array, unusedBits = 0): Uint8Array =>
  encode(0x03, concatBytes(Uint8Array.of(unusedBits), bytes))

export const octetString = (bytes: Uint8Array): Uint8Array => encode(0x04, bytes)

export const utf8String = (text: string): Uint8Array => encode(0x0c, utf8.encode(text))

/** [number] EXPLICIT, around another value. */
export const explicit = (number: number, value: Uint8Array): Uint8Array => encode(0xa0 | number, value)

/** [number] IMPLICIT, in place of the tag of a string. */
export const implicit = (number: number, content: Uint8Array): Uint8Array => encode(0x80 | number, content)

/** OBJECT IDENTIFIER from its dotted form. */
export function objectIdentifier(dotted: string): Uint8Array {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number)
  return encode(0x06, Uint8Array.from([40 * first + second, ...rest].flatMap(base128)))
}

/** UTCTime to the end of 2049 and GeneralizedTime from 2050 on, in seconds (RFC 5280 section 4.1.2.5). */
export function time(date: Date): Uint8Array {
  const [year, ...rest] = date.toISOString().slice(0, 19).split(/[-T:]/)
  const digits = `${rest.join('')}Z`
  return date.getUTCFullYear() < 2050
    ? encode(0x17, utf8.encode(`${year?.slice(2)}${digits}`))
    : encode(0x18, utf8.encode(`${year}${digits}`))
}

function encode(tag: number, content: Uint8Array): Uint8Array {
  const { length } = content
  if (length < 0x80) return concatBytes(Uint8Array.of(tag, length), content)
  if (length < 0x100) return concatBytes(Uint8Array.of(tag, 0x81, length), content)
  if (length >= 0x10000) throw new RangeError('too long for a certificate of ours')
  return concatBytes(Uint8Array.of(tag, 0x82, length >> 8, length & 0xff), content)
}

/** Most significant digit first; all but the last have the high bit. */
function base128(number: number): readonly number[] {
  const last = number & 0x7f
  return number < 0x80 ? [last] : [...base128(number >> 7).map((digit) => digit | 0x80), last]
}
