/** One DER value: its tag, its content, and the whole of it with tag and length. */
export interface DerValue {
  readonly tag: number
  readonly content: Uint8Array
  readonly whole: Uint8Array
}

/** Reads the one value that `bytes` must hold, with nothing after it. Throws a `TypeError`. */
export function readDer(bytes: Uint8Array): DerValue {
  const values = readDerSeries(bytes)
  const [value] = values
  if (value === undefined || values.length !== 1) throw new TypeError('expected one DER value')
  return value
}

/** Reads the values inside a constructed value. Single-byte tags and definite, shortest lengths only. */
export function readDerSeries(bytes: Uint8Array): DerValue[] {
  const values: DerValue[] = []
  let offset = 0
  while (offset < bytes.length) {
    const tag = byteAt(bytes, offset)
    if ((tag & 0x1f) === 0x1f) throw new TypeError('DER tag of more than one byte')
    const { length, start } = readLength(bytes, offset + 1)
    const end = start + length
    if (end > bytes.length) throw new TypeError('DER value runs past its end')
    values.push({ tag, content: bytes.subarray(start, end), whole: bytes.subarray(offset, end) })
    offset = end
  }
  return values
}

/** The dotted form of an OBJECT IDENTIFIER. */
export function readObjectIdentifier(value: DerValue | undefined): string {
  if (value?.tag !== 0x06 || value.content.length === 0) throw new TypeError('expected an OBJECT IDENTIFIER')
  const arcs: number[] = []
  let arc = 0
  for (const byte of value.content) {
    arc = arc * 128 + (byte & 0x7f)
    if (arc > Number.MAX_SAFE_INTEGER / 128) throw new TypeError('OBJECT IDENTIFIER arc is too large')
    if ((byte & 0x80) !== 0) continue
    arcs.push(arc)
    arc = 0
  }
  const [combined = 0, ...rest] = arcs
  const first = Math.min(2, Math.floor(combined / 40))
  return [first, combined - first * 40, ...rest].join('.')
}

/** A non-negative INTEGER below 2^31. AMD writes 219 as `02 02 00 db`: the leading zero is a sign bit. */
export function readSmallInteger(value: DerValue | undefined): number {
  if (value?.tag !== 0x02 || value.content.length === 0) throw new TypeError('expected an INTEGER')
  if (value.content.length > 4 || byteAt(value.content, 0) >= 0x80) throw new TypeError('INTEGER is out of range')
  return value.content.reduce((sum, byte) => sum * 256 + byte, 0)
}

function readLength(bytes: Uint8Array, offset: number): { length: number; start: number } {
  const first = byteAt(bytes, offset)
  if (first < 0x80) return { length: first, start: offset + 1 }
  const octets = first & 0x7f
  if (octets === 0 || octets > 3) throw new TypeError('DER length is indefinite or too long')
  let length = 0
  for (let i = 1; i <= octets; i++) length = length * 256 + byteAt(bytes, offset + i)
  if (length < 0x80 || length < 256 ** (octets - 1)) throw new TypeError('DER length is not the shortest')
  return { length, start: offset + 1 + octets }
}

function byteAt(bytes: Uint8Array, offset: number): number {
  const byte = bytes[offset]
  if (byte === undefined) throw new TypeError('DER value is cut short')
  return byte
}
