import { LayerError } from '../layer-error.js'

const int64Min = -(2n ** 63n)
const int64Max = 2n ** 63n - 1n

/** Where a field is in its header. */
export type FieldPosition = readonly [offset: number, length: number]

/** A numeric header field: octal text padded with spaces and NULs, or base-256 if the first bit is set. */
export function parseNumericField(header: Uint8Array, position: FieldPosition, label: string): bigint {
  const [offset, length] = position
  if (((header[offset] ?? 0) & 0x80) === 0) return BigInt(parseOctalField(header, position, label))
  return parseBase256(header.subarray(offset, offset + length), label)
}

/** At most 12 digits, so a number holds it. */
export function parseOctalField(header: Uint8Array, [offset, length]: FieldPosition, label: string): number {
  let start = offset
  let end = offset + length
  while (start < end && isPadding(header[start])) start++
  while (end > start && isPadding(header[end - 1])) end--
  let value = 0
  for (let i = start; i < end; i++) {
    const byte = header[i] ?? 0
    // Writers leave rubbish behind the terminating NUL.
    if (byte === 0) break
    if (byte < 0x30 || byte > 0x37) throw invalidNumber(label)
    value = value * 8 + byte - 0x30
  }
  return value
}

function isPadding(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0
}

/** GNU: two's complement, big-endian, without the first bit, which marks the form. */
function parseBase256(field: Uint8Array, label: string): bigint {
  const negative = ((field[0] ?? 0) & 0x40) !== 0
  let value = 0n
  field.forEach((byte, i) => {
    const bits = (negative ? byte ^ 0xff : byte) & (i === 0 ? 0x7f : 0xff)
    value = (value << 8n) | BigInt(bits)
  })
  if (value > int64Max) throw invalidNumber(label)
  return negative ? -value - 1n : value
}

/** Decimal in an extended header: an optional sign and digits, within 64 bits. */
export function parseDecimal(text: string, label: string): bigint {
  if (!/^[+-]?[0-9]+$/.test(text) || text.length > 1000) throw invalidNumber(label)
  const value = BigInt(text.startsWith('+') ? text.slice(1) : text)
  if (value < int64Min || value > int64Max) throw invalidNumber(label)
  return value
}

/** A length or position: beyond 2^53 no file could have it, so the loss of precision does not matter. */
export function parseLength(value: bigint, label: string): number {
  if (value < 0n) throw invalidNumber(label)
  return Number(value)
}

function invalidNumber(label: string): LayerError {
  return new LayerError('tar-header', `${label} in a tar header is not a valid number`)
}
