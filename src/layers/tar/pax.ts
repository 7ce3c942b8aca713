import { bytesOf, sliceBytes, type ByteString } from '../byte-string.js'
import { LayerError } from '../layer-error.js'
import type { TarTime } from './entry.js'
import { timeOf, type TarHeader } from './header.js'
import { parseDecimal } from './number.js'

/** The records of an extended header (POSIX.1-2001 pax), the last of each key. */
export type PaxRecords = ReadonlyMap<string, ByteString>

const xattrPrefix = 'SCHILY.xattr.'
const noXattrs: ReadonlyMap<ByteString, Uint8Array> = new Map()

/**
 * Parses `LENGTH KEY=VALUE\n` records. The pairs of GNU's sparse format 0.0, which repeats keys, come
 * out as the one map of format 0.1. Throws `tar-header`.
 */
export function parsePaxRecords(contents: ByteString): PaxRecords {
  const records = new Map<string, ByteString>()
  const sparsePairs: ByteString[] = []
  let rest = 0
  while (rest < contents.length) {
    const { key, value, end } = parseRecord(contents, rest)
    rest = end
    if (key === 'GNU.sparse.offset' || key === 'GNU.sparse.numbytes') {
      const expected = sparsePairs.length % 2 === 0 ? 'GNU.sparse.offset' : 'GNU.sparse.numbytes'
      if (key !== expected || value.includes(',')) throw invalidRecord('has sparse offsets and lengths out of order')
      sparsePairs.push(value)
    } else {
      records.set(key, value)
    }
  }
  if (sparsePairs.length > 0) records.set('GNU.sparse.map', sparsePairs.join(',') as ByteString)
  return records
}

/** Replaces what the header says by what the records say; an empty value changes nothing. */
export function applyPaxRecords(header: TarHeader, records: PaxRecords): void {
  for (const [key, value] of records) {
    if (value === '') continue
    switch (key) {
      case 'path':
        header.path = value
        break
      case 'linkpath':
        header.linkPath = value
        break
      case 'uid':
        header.uid = parseDecimal(value, 'the user id')
        break
      case 'gid':
        header.gid = parseDecimal(value, 'the group id')
        break
      case 'size':
        header.size = parseDecimal(value, 'the size')
        break
      case 'mtime':
        header.modifiedAt = parsePaxTime(value)
        break
      case 'atime':
        header.accessedAt = parsePaxTime(value)
        break
      case 'ctime':
        header.changedAt = parsePaxTime(value)
        break
    }
  }
}

/** Extended attributes, with empty values too. */
export function paxXattrs(records: PaxRecords): ReadonlyMap<ByteString, Uint8Array> {
  if (records.size === 0) return noXattrs
  const xattrs = new Map<ByteString, Uint8Array>()
  for (const [key, value] of records) {
    if (key.startsWith(xattrPrefix)) xattrs.set(key.slice(xattrPrefix.length) as ByteString, bytesOf(value))
  }
  return xattrs
}

function parseRecord(contents: ByteString, start: number): { key: string; value: ByteString; end: number } {
  const space = contents.indexOf(' ', start)
  if (space < 0) throw invalidRecord('has a record without a length')
  const length = Number(parseDecimal(contents.slice(start, space), 'the length of a record'))
  const end = start + length
  // Five bytes are the shortest record; the length covers itself, the space and the newline.
  if (length < 5 || end > contents.length || end <= space + 1 || contents[end - 1] !== '\n') {
    throw invalidRecord('has a record whose length is wrong')
  }
  const equals = contents.indexOf('=', space)
  if (equals < 0 || equals >= end - 1) throw invalidRecord('has a record without "="')
  const key = contents.slice(space + 1, equals)
  const value = sliceBytes(contents, equals + 1, end - 1)
  if (key === '') throw invalidRecord('has a record without a key')
  const isName = key === 'path' || key === 'linkpath' || key === 'uname' || key === 'gname'
  if ((isName ? value : key).includes('\0')) throw invalidRecord('has a NUL in a name')
  return { key, value, end }
}

/** Decimal seconds with a fraction; what is finer than a nanosecond is cut off towards zero. */
function parsePaxTime(text: string): TarTime {
  const [whole = '', fraction = ''] = splitOnce(text, '.')
  const seconds = parseDecimal(whole, 'a time')
  if (!/^[0-9]*$/.test(fraction)) throw new LayerError('tar-header', 'a time in a tar header is not a valid number')
  const nanoseconds = Number(fraction.slice(0, 9).padEnd(9, '0'))
  if (nanoseconds === 0) return timeOf(seconds)
  if (!whole.startsWith('-')) return { seconds: Number(seconds), nanoseconds }
  return { seconds: Number(BigInt.asIntN(64, seconds - 1n)), nanoseconds: 1_000_000_000 - nanoseconds }
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator)
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + separator.length)]
}

function invalidRecord(fault: string): LayerError {
  return new LayerError('tar-header', `an extended tar header ${fault}`)
}
