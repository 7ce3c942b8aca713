/** Where each data item of a CBOR document begins, and how its head is written. */
export interface Head {
  readonly offset: number
  readonly length: number
  /** 0 unsigned, 1 negative, 2 bytes, 3 text, 4 array, 5 map, 6 tag. */
  readonly major: number
  readonly argument: number
  /** Where the whole item ends. */
  readonly end: number
}

/** Heads of a well-formed document with definite lengths and without floats, in their order. */
export function headsOf(bytes: Uint8Array): Head[] {
  const heads: Head[] = []
  const end = readItem(Buffer.from(bytes), 0, heads)
  if (end !== bytes.length) throw new Error('bytes after the end')
  return heads.sort((a, b) => a.offset - b.offset)
}

function readItem(bytes: Buffer, offset: number, heads: Head[]): number {
  const initial = bytes.readUInt8(offset)
  const [major, minor] = [initial >> 5, initial & 31]
  const width = minor < 24 ? 0 : 1 << (minor - 24)
  if (minor > 26 || major === 7) throw new Error(`byte ${initial} at ${offset} is not expected`)
  const argument = width === 0 ? minor : bytes.readUIntBE(offset + 1, width)
  const length = 1 + width
  let end = offset + length
  if (major === 2 || major === 3) end += argument
  const items = major === 4 ? argument : major === 5 ? 2 * argument : major === 6 ? 1 : 0
  for (let i = 0; i < items; i++) end = readItem(bytes, end, heads)
  heads.push({ offset, length, major, argument, end })
  return end
}

/** The same head in the next longer form. */
export function lengthened(bytes: Uint8Array, { offset, length, major, argument }: Head): Uint8Array {
  const width = length === 1 ? 1 : 2 * (length - 1)
  const head = Buffer.alloc(1 + width)
  head.writeUInt8((major << 5) | (24 + Math.log2(width)), 0)
  if (width === 8) head.writeBigUInt64BE(BigInt(argument), 1)
  else head.writeUIntBE(argument, 1, width)
  return Buffer.concat([bytes.subarray(0, offset), head, bytes.subarray(offset + length)])
}

/** The same item with an indefinite length: an array, a map, or a string in one chunk. Undefined for others. */
export function indefinite(bytes: Uint8Array, { offset, length, major, end }: Head): Uint8Array | undefined {
  if (major < 2 || major > 5) return undefined
  const isString = major < 4
  const body = bytes.subarray(isString ? offset : offset + length, end)
  const parts = [
    bytes.subarray(0, offset),
    Uint8Array.of((major << 5) | 31),
    body,
    Uint8Array.of(0xff),
    bytes.subarray(end)
  ]
  return Buffer.concat(parts)
}
