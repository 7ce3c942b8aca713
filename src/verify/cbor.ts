import { utf8 } from '../base/encoding.js'
import { attemptSync } from './check.js'

/**
 * Reader for CBOR (RFC 8949) as far as COSE messages use it: definite lengths, every head in its shortest form, labels
 * of maps that are integers or texts, none twice, floats as times alone (tag 1). Everything throws a `TypeError` that names what was read.
 */
export type Cbor =
  boolean | null | number | bigint | string | Uint8Array | readonly Cbor[] | ReadonlyMap<number | string, Cbor> | Tagged

/** Whether this is a byte string. */
export const isBytes = (value: unknown): value is Uint8Array => value instanceof Uint8Array

/** Of a time as a number of seconds, which may have a fraction (RFC 8949 section 3.4.2). */
export const epochTag = 1

/** A value under a tag that the caller knows. */
export class Tagged {
  constructor(
    readonly tag: number,
    readonly value: Cbor
  ) {}
}

/** Far above any message that we read; a document of nothing but heads would cost its reader a hundredfold. */
const maximumLength = 256 * 1024
/** A COSE_Sign1 with its headers has five levels. */
const maximumDepth = 16

/** Initial bytes of the simple values that are read (RFC 8949 section 3.3); `undefined` is none of them. */
const simpleValues: Readonly<Record<number, Cbor>> = { 0xf4: false, 0xf5: true, 0xf6: null }

/**
 * Decodes bytes that are one data item and nothing after it, of at most 256 KiB and 16 levels. Integers beyond
 * ±(2^53 - 1) are bigints. `tags` are those that are known; any other makes the document unreadable. Byte strings are
 * views of `document`.
 */
export function decodeCbor(document: Uint8Array, tags: readonly number[], label: string): Cbor {
  if (document.length > maximumLength) throw new TypeError(`${label} is longer than ${maximumLength} bytes`)
  const view = new DataView(document.buffer, document.byteOffset, document.length)
  let offset = 0
  const failed = (problem: string): TypeError => new TypeError(`${label} ${problem}`)
  /** Where the next `length` bytes begin. */
  const take = (length: number): number => {
    if (length > document.length - offset) throw failed('is cut off')
    offset += length
    return offset - length
  }
  const takeBytes = (length: number): Uint8Array => {
    const start = take(length)
    return document.subarray(start, start + length)
  }

  const readArgument = (minor: number): number | bigint => {
    if (minor < 24) return minor
    if (minor > 27) throw failed('has an indefinite or reserved length')
    // The argument follows in 1, 2, 4 or 8 bytes, and must not have fitted into fewer.
    const width = 1 << (minor - 24)
    let value = 0n
    for (const byte of takeBytes(width)) value = value * 256n + BigInt(byte)
    const least = width === 1 ? 24n : 1n << BigInt(width * 4)
    if (value < least) throw failed('has a head that is not in its shortest form')
    return value <= Number.MAX_SAFE_INTEGER ? Number(value) : value
  }

  const readLength = (argument: number | bigint, bytesOfEach: number): number => {
    // Each entry takes a byte at least: no list is made that the document cannot fill.
    if (Number(argument) * bytesOfEach > document.length - offset) throw failed('is cut off')
    return Number(argument)
  }

  const readItem = (depth: number, isTime = false): Cbor => {
    if (depth > maximumDepth) throw failed(`is nested more than ${maximumDepth} levels deep`)
    const initial = view.getUint8(take(1))
    const major = initial >> 5
    if (major === 7) return readSimple(initial, isTime)
    const argument = readArgument(initial & 31)
    switch (major) {
      case 0:
        return argument
      case 1:
        return typeof argument === 'number' && argument < Number.MAX_SAFE_INTEGER
          ? -1 - argument
          : -1n - BigInt(argument)
      case 2:
        return takeBytes(readLength(argument, 1))
      case 3:
        return readText(takeBytes(readLength(argument, 1)))
      case 4:
        return Array.from({ length: readLength(argument, 1) }, () => readItem(depth + 1))
      case 5:
        return readMap(readLength(argument, 2), depth + 1)
      default:
        if (typeof argument !== 'number' || !tags.includes(argument)) throw failed(`has the unknown tag ${argument}`)
        return new Tagged(argument, readItem(depth + 1, argument === epochTag))
    }
  }

  const readMap = (length: number, depth: number): ReadonlyMap<number | string, Cbor> => {
    const map = new Map<number | string, Cbor>()
    for (let i = 0; i < length; i++) {
      const name = readItem(depth)
      if (typeof name !== 'number' && typeof name !== 'string') {
        throw failed('has a label that is neither integer nor text')
      }
      if (map.has(name)) throw failed('has a label twice')
      map.set(name, readItem(depth))
    }
    return map
  }

  const readText = (bytes: Uint8Array): string => {
    const text = attemptSync(() => utf8.decode(bytes))
    if (!text.ok) throw failed('has a text that is not UTF-8')
    return text.value
  }

  const readSimple = (initial: number, isTime: boolean): Cbor => {
    const simple = simpleValues[initial]
    if (simple !== undefined) return simple
    // Elsewhere 2.0 would pass for 2.
    if (initial >= 0xf9 && initial <= 0xfb && !isTime) throw failed('has a float that is no time')
    if (initial === 0xf9) return halfFloat(view.getUint16(take(2)))
    if (initial === 0xfa) return view.getFloat32(take(4))
    if (initial === 0xfb) return view.getFloat64(take(8))
    throw failed(`has the unknown simple value ${initial & 31}`)
  }

  const value = readItem(1)
  if (offset !== document.length) throw failed('has bytes after its end')
  return value
}

/** RFC 8949 appendix D: sign, 5 bits of exponent, 10 of fraction. */
function halfFloat(bits: number): number {
  const sign = bits >> 15 === 0 ? 1 : -1
  const exponent = (bits >> 10) & 31
  const fraction = bits & 1023
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25))
}
