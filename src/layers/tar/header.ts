import { asciiBytes, byteString, joinBytes, type ByteString } from '../byte-string.js'
import { LayerError } from '../layer-error.js'
import type { TarTime } from './entry.js'
import { parseNumericField, parseOctalField } from './number.js'

type TarFormat = 'v7' | 'ustar' | 'star' | 'gnu'

/** One header block, before extended headers are applied to it. Numbers are as wide as the format. */
export interface TarHeader {
  readonly format: TarFormat
  typeFlag: string
  path: ByteString
  linkPath: ByteString
  size: bigint
  mode: bigint
  uid: bigint
  gid: bigint
  modifiedAt: TarTime | undefined
  accessedAt: TarTime | undefined
  changedAt: TarTime | undefined
  deviceMajor: bigint
  deviceMinor: bigint
}

/** Field positions of POSIX.1-1988 (ustar), and of the GNU and Schily variants after byte 345. */
const fields = {
  name: [0, 100],
  mode: [100, 8],
  uid: [108, 8],
  gid: [116, 8],
  size: [124, 12],
  modifiedAt: [136, 12],
  checksum: [148, 8],
  typeFlag: [156, 1],
  linkName: [157, 100],
  magic: [257, 6],
  version: [263, 2],
  deviceMajor: [329, 8],
  deviceMinor: [337, 8],
  ustarPrefix: [345, 155],
  gnuAccessedAt: [345, 12],
  gnuChangedAt: [357, 12],
  starPrefix: [345, 131],
  starAccessedAt: [476, 12],
  starChangedAt: [488, 12],
  starTrailer: [508, 4]
} as const satisfies Record<string, readonly [offset: number, length: number]>

/** Parses a header block of 512 bytes that is not all zeros. Throws `tar-header`. */
export function parseHeader(block: Uint8Array): TarHeader {
  verifyChecksum(block)
  const header: TarHeader = {
    format: formatOf(block),
    typeFlag: bytesIn(block, 'typeFlag'),
    path: text(block, 'name'),
    linkPath: text(block, 'linkName'),
    size: parseNumericField(block, fields.size, 'the size'),
    mode: parseNumericField(block, fields.mode, 'the mode'),
    uid: parseNumericField(block, fields.uid, 'the user id'),
    gid: parseNumericField(block, fields.gid, 'the group id'),
    modifiedAt: time(block, 'modifiedAt'),
    accessedAt: undefined,
    changedAt: undefined,
    deviceMajor: 0n,
    deviceMinor: 0n
  }
  if (header.format !== 'v7') parseLaterFields(block, header)
  return header
}

/** Bytes up to the first NUL, or up to `end`. */
export function untilNul(bytes: Uint8Array, start = 0, end = bytes.length): ByteString {
  let at = start
  while (at < end && bytes[at] !== 0) at++
  return byteString(bytes, start, at)
}

export function timeOf(seconds: bigint): TarTime {
  return { seconds: Number(seconds), nanoseconds: 0 }
}

/** POSIX sums the bytes as unsigned numbers, old Sun tars as signed ones; the field itself counts as spaces. */
function verifyChecksum(block: Uint8Array): void {
  const [start, length] = fields.checksum
  const expected = parseOctalField(block, fields.checksum, 'the checksum')
  let unsigned = 0x20 * length
  for (let i = 0; i < start; i++) unsigned += block[i] ?? 0
  for (let i = start + length; i < block.length; i++) unsigned += block[i] ?? 0
  if (expected === unsigned) return
  let negative = 0
  for (let i = 0; i < block.length; i++) if (i < start || i >= start + length) negative += (block[i] ?? 0) & 0x80
  if (expected !== unsigned - 2 * negative) {
    throw new LayerError('tar-header', `the checksum of a tar header is ${unsigned}, and the header says ${expected}`)
  }
}

function formatOf(block: Uint8Array): TarFormat {
  const magic = bytesIn(block, 'magic')
  if (magic === 'ustar\0') return bytesIn(block, 'starTrailer') === 'tar\0' ? 'star' : 'ustar'
  return magic === 'ustar ' && bytesIn(block, 'version') === ' \0' ? 'gnu' : 'v7'
}

function parseLaterFields(block: Uint8Array, header: TarHeader): void {
  header.deviceMajor = parseNumericField(block, fields.deviceMajor, 'the device number')
  header.deviceMinor = parseNumericField(block, fields.deviceMinor, 'the device number')
  switch (header.format) {
    case 'ustar':
      addPrefix(header, text(block, 'ustarPrefix'))
      break
    case 'star':
      addPrefix(header, text(block, 'starPrefix'))
      header.accessedAt = time(block, 'starAccessedAt')
      header.changedAt = time(block, 'starChangedAt')
      break
    case 'gnu':
      parseGnuTimes(block, header)
      break
    case 'v7':
      break
    default:
      header.format satisfies never
  }
}

function addPrefix(header: TarHeader, prefix: ByteString): void {
  if (prefix !== '') header.path = joinBytes(prefix, asciiBytes('/'), header.path)
}

/**
 * GNU has access and change time where ustar has the prefix. Go before 1.8 wrote headers with the
 * magic of one and the prefix of the other (golang.org/issue/21005); Go still reads them: times that
 * do not parse are a prefix, if that is ASCII, and no error.
 */
function parseGnuTimes(block: Uint8Array, header: TarHeader): void {
  const given = (name: 'gnuAccessedAt' | 'gnuChangedAt') =>
    block[fields[name][0]] === 0 ? undefined : time(block, name)
  try {
    const accessedAt = given('gnuAccessedAt')
    const changedAt = given('gnuChangedAt')
    header.accessedAt = accessedAt
    header.changedAt = changedAt
  } catch (error) {
    if (!(error instanceof LayerError)) throw error
    const prefix = text(block, 'ustarPrefix')
    if (!/[\u0080-\u00ff]/.test(prefix)) addPrefix(header, prefix)
  }
}

function time(block: Uint8Array, name: keyof typeof fields): TarTime {
  return timeOf(parseNumericField(block, fields[name], 'a time'))
}

function text(block: Uint8Array, name: keyof typeof fields): ByteString {
  const [offset, length] = fields[name]
  return untilNul(block, offset, offset + length)
}

function bytesIn(block: Uint8Array, name: keyof typeof fields): ByteString {
  const [offset, length] = fields[name]
  return byteString(block, offset, offset + length)
}
