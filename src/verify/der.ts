/**
 * Reader for DER (ITU-T X.690) as far as certificates use it: definite lengths in their shortest
 * form, tags below 31. Everything throws a `TypeError` that names what was read.
 */
export interface DerElement {
  readonly tag: number
  readonly contents: Uint8Array
  /** Tag, length and contents: what a signature or a hash covers. */
  readonly encoding: Uint8Array
}

export const derTag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  ia5String: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30
} as const

/** Tag of a constructed, context-specific element: `[n] EXPLICIT`. */
export function contextTag(n: number): number {
  return 0xa0 | n
}

/** Reads bytes that are one element and nothing after it. */
export function readDer(bytes: Uint8Array, label: string): DerElement {
  const element = readElement(bytes, 0, label)
  if (element.encoding.length !== bytes.length) throw new TypeError(`${label} has bytes after its end`)
  return element
}

export function readChildren(element: DerElement, label: string): DerElement[] {
  const children: DerElement[] = []
  for (let offset = 0; offset < element.contents.length;) {
    const child = readElement(element.contents, offset, label)
    children.push(child)
    offset += child.encoding.length
  }
  return children
}

export function readSequence(element: DerElement | undefined, label: string): DerElement[] {
  return readChildren(expectTag(element, derTag.sequence, label), label)
}

export function expectTag(element: DerElement | undefined, tag: number, label: string): DerElement {
  if (element?.tag !== tag) throw new TypeError(`${label} is missing or of another type`)
  return element
}

/** Dotted decimal form. */
export function readOid(element: DerElement | undefined, label: string): string {
  const { contents } = expectTag(element, derTag.oid, label)
  const arcs: number[] = []
  let arc = 0
  for (const [i, byte] of contents.entries()) {
    if (arc === 0 && byte === 0x80) throw new TypeError(`${label} is not in its shortest form`)
    arc = arc * 128 + (byte & 0x7f)
    if (arc > Number.MAX_SAFE_INTEGER / 128) throw new TypeError(`${label} has an arc that is too large`)
    if ((byte & 0x80) === 0) {
      arcs.push(arc)
      arc = 0
    } else if (i === contents.length - 1) {
      throw new TypeError(`${label} is cut off`)
    }
  }
  const [first, ...rest] = arcs
  if (first === undefined) throw new TypeError(`${label} is empty`)
  const top = Math.min(Math.floor(first / 40), 2)
  return [top, first - 40 * top, ...rest].join('.')
}

/** Octets of a non-negative INTEGER, big-endian, without the sign octet; zero is one octet. */
export function readUnsigned(element: DerElement | undefined, label: string): Uint8Array {
  const { contents } = expectTag(element, derTag.integer, label)
  const [first, second] = contents
  if (first === undefined) throw new TypeError(`${label} is empty`)
  if (first >= 0x80) throw new TypeError(`${label} is negative`)
  if (first === 0 && second !== undefined && second < 0x80) throw new TypeError(`${label} is not in its shortest form`)
  return first === 0 && second !== undefined ? contents.subarray(1) : contents
}

/** A non-negative INTEGER of at most 32 bits. */
export function readSmallUnsigned(element: DerElement | undefined, label: string): number {
  const octets = readUnsigned(element, label)
  if (octets.length > 4) throw new TypeError(`${label} is too large`)
  return octets.reduce((value, octet) => value * 256 + octet, 0)
}

export function readBoolean(element: DerElement | undefined, label: string): boolean {
  const { contents } = expectTag(element, derTag.boolean, label)
  if (contents.length !== 1 || (contents[0] !== 0 && contents[0] !== 0xff)) {
    throw new TypeError(`${label} is not a DER boolean`)
  }
  return contents[0] === 0xff
}

/** The octets of a BIT STRING, and how many bits of the last one are unused. */
export function readBitString(element: DerElement | undefined, label: string): { octets: Uint8Array; unused: number } {
  const { contents } = expectTag(element, derTag.bitString, label)
  const [unused] = contents
  const octets = contents.subarray(1)
  const last = octets.at(-1)
  if (unused === undefined || unused > 7 || (last === undefined && unused !== 0)) {
    throw new TypeError(`${label} is not a DER bit string`)
  }
  if (last !== undefined && (last & ((1 << unused) - 1)) !== 0) throw new TypeError(`${label} has unused bits set`)
  return { octets, unused }
}

/** UTCTime or GeneralizedTime as RFC 5280 section 4.1.2.5 allows them: to the second, in UTC. */
export function readTime(element: DerElement | undefined, label: string): Date {
  if (element?.tag !== derTag.utcTime && element?.tag !== derTag.generalizedTime) {
    throw new TypeError(`${label} is missing or of another type`)
  }
  const digits = String.fromCharCode(...element.contents.subarray(0, 16))
  const yearDigits = element.tag === derTag.utcTime ? 2 : 4
  if (!new RegExp(`^\\d{${yearDigits + 10}}Z$`).test(digits)) throw new TypeError(`${label} is not a time in UTC`)
  const shortYear = Number(digits.slice(0, yearDigits))
  const year = yearDigits === 4 ? shortYear : shortYear + (shortYear < 50 ? 2000 : 1900)
  const [month, day, hour, minute, second] = [0, 2, 4, 6, 8].map((i) =>
    digits.slice(yearDigits + i, yearDigits + i + 2)
  )
  const text = `${String(year).padStart(4, '0')}-${month}-${day}T${hour}:${minute}:${second}.000Z`
  const time = new Date(text)
  // A date that does not exist becomes NaN or another day.
  if (Number.isNaN(time.getTime()) || time.toISOString() !== text) throw new TypeError(`${label} is not a time in UTC`)
  return time
}

function readElement(bytes: Uint8Array, start: number, label: string): DerElement {
  const tag = bytes[start]
  const lengthOctet = bytes[start + 1]
  if (tag === undefined || lengthOctet === undefined) throw new TypeError(`${label} is cut off`)
  if ((tag & 0x1f) === 0x1f) throw new TypeError(`${label} has a tag of more than one octet`)
  let length = lengthOctet
  let offset = start + 2
  if (lengthOctet >= 0x80) {
    const count = lengthOctet & 0x7f
    const octets = bytes.subarray(offset, offset + count)
    if (count === 0 || count > 3) throw new TypeError(`${label} has an indefinite or too large length`)
    if (octets.length !== count) throw new TypeError(`${label} is cut off`)
    length = octets.reduce((value, octet) => value * 256 + octet, 0)
    if (octets[0] === 0 || length < 0x80) throw new TypeError(`${label} has a length that is not in its shortest form`)
    offset += count
  }
  if (offset + length > bytes.length) throw new TypeError(`${label} is cut off`)
  return { tag, contents: bytes.subarray(offset, offset + length), encoding: bytes.subarray(start, offset + length) }
}
