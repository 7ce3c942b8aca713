import {
  asBuffer,
  byteString,
  bytesOf,
  joinBytes,
  quoted,
  sliceBytes,
  asciiBytes,
  type ByteString
} from '../byte-string.js'
import { LayerError } from '../layer-error.js'
import { blockBytes } from './format.js'
import { sortLikeGo } from './go-sort.js'

export type Xattrs = ReadonlyMap<ByteString, Uint8Array>

export interface StoredXattrs {
  /** The 104 bytes behind an inode's fields. */
  readonly inline: Uint8Array | undefined
  /** A block of its own. */
  readonly block: Uint8Array | undefined
}

const none: StoredXattrs = { inline: undefined, block: undefined }
const magic = 0xea02_0000
const entryBytes = 16
const inlineHeaderBytes = 4
const inlineBytes = 104
const blockHeaderBytes = 32
/** A list of entries ends with four zero bytes. */
const terminatorBytes = 4

/** Names are stored without a prefix that has a number; the first that fits counts. */
const prefixes: readonly (readonly [index: number, prefix: ByteString])[] = [
  [2, asciiBytes('system.posix_acl_access')],
  [3, asciiBytes('system.posix_acl_default')],
  [8, asciiBytes('system.richacl')],
  [7, asciiBytes('system.')],
  [1, asciiBytes('user.')],
  [4, asciiBytes('trusted.')],
  [6, asciiBytes('security.')]
]

interface Xattr {
  readonly index: number
  readonly name: ByteString
  readonly value: Uint8Array
}

/** In order of their names: each into the inode while it fits there, else into the block. Throws `xattrs-too-large`. */
export function packXattrs(xattrs: Xattrs, path: ByteString): StoredXattrs {
  if (xattrs.size === 0) return none
  const inline: Xattr[] = []
  const block: Xattr[] = []
  let inlineLeft = inlineBytes - inlineHeaderBytes - terminatorBytes
  let blockLeft = blockBytes - blockHeaderBytes - terminatorBytes
  for (const name of [...xattrs.keys()].sort(byBytes)) {
    const xattr = { ...shortName(name), value: xattrs.get(name) ?? new Uint8Array(0) }
    const length = entryLength(xattr) + padded(xattr.value.length)
    if (length <= inlineLeft) {
      inline.push(xattr)
      inlineLeft -= length
    } else if (length <= blockLeft) {
      block.push(xattr)
      blockLeft -= length
    } else {
      throw new LayerError('xattrs-too-large', `${quoted(path)}: extended attribute ${quoted(name)} does not fit`)
    }
  }
  return {
    inline: inline.length === 0 ? undefined : packInline(inline),
    block: block.length === 0 ? undefined : packXattrBlock(block)
  }
}

/** What stays of an attribute block whose attributes are gone: its place cannot be given back. */
export function emptyXattrBlock(): Uint8Array {
  return packXattrBlock([])
}

export function unpackInlineXattrs(bytes: Uint8Array): Xattrs {
  return readEntries(bytes.subarray(inlineHeaderBytes), 0)
}

export function unpackXattrBlock(bytes: Uint8Array): Xattrs {
  return readEntries(bytes.subarray(blockHeaderBytes), blockHeaderBytes)
}

function packInline(xattrs: readonly Xattr[]): Uint8Array {
  const bytes = Buffer.alloc(inlineBytes)
  bytes.writeUInt32LE(magic, 0)
  writeEntries(xattrs, bytes.subarray(inlineHeaderBytes), 0)
  return bytes
}

function packXattrBlock(xattrs: Xattr[]): Uint8Array {
  const bytes = Buffer.alloc(blockBytes)
  bytes.writeUInt32LE(magic, 0)
  bytes.writeUInt32LE(1, 4) // reference count
  bytes.writeUInt32LE(1, 8) // blocks
  sortLikeGo(xattrs, precedesAlmost)
  writeEntries(xattrs, bytes.subarray(blockHeaderBytes), blockHeaderBytes)
  return bytes
}

/**
 * The comparison of the platform's converter. It is no order (of a short name with a high index and
 * a long one with a low index each precedes the other), so the result depends on the algorithm that
 * sorts, and that has to be Go's.
 */
function precedesAlmost(a: Xattr, b: Xattr): boolean {
  return a.index < b.index || a.name.length < b.name.length || a.name < b.name
}

/** Entries from the front, values from the back; offsets count from `origin` bytes before `area`. */
function writeEntries(xattrs: readonly Xattr[], area: Buffer, origin: number): void {
  let entryAt = 0
  let valueAt = area.length
  for (const xattr of xattrs) {
    valueAt -= padded(xattr.value.length)
    // The length of a name has one byte. A longer name keeps its bytes and loses the rest of its
    // length: useless to a kernel, and still what the platform hashes.
    area.writeUInt8(xattr.name.length & 0xff, entryAt)
    area.writeUInt8(xattr.index, entryAt + 1)
    area.writeUInt16LE(valueAt + origin, entryAt + 2)
    area.writeUInt32LE(xattr.value.length, entryAt + 8)
    area.writeUInt32LE(hashXattr(xattr), entryAt + 12)
    area.write(xattr.name, entryAt + entryBytes, 'latin1')
    area.set(xattr.value, valueAt)
    entryAt += entryLength(xattr)
  }
}

function readEntries(bytes: Uint8Array, origin: number): Xattrs {
  const area = asBuffer(bytes)
  const xattrs = new Map<ByteString, Uint8Array>()
  let at = 0
  while (at < area.length) {
    const nameLength = area[at] ?? 0
    // Also the access control lists, whose prefix is their whole name. The platform stops at them when
    // it reads attributes back, and so loses what follows.
    if (nameLength === 0) break
    const valueAt = at + entryBytes <= area.length ? area.readUInt16LE(at + 2) - origin : -1
    const valueEnd = valueAt < 0 ? -1 : valueAt + area.readUInt32LE(at + 8)
    if (valueAt < 0 || valueEnd > area.length || at + entryBytes + nameLength > area.length) {
      throw new LayerError('xattrs-too-large', 'an extended attribute has a name of more than 255 bytes')
    }
    const xattr = {
      index: area[at + 1] ?? 0,
      name: byteString(area.subarray(at + entryBytes, at + entryBytes + nameLength)),
      value: area.subarray(valueAt, valueEnd)
    }
    xattrs.set(longName(xattr), xattr.value)
    at += entryLength(xattr)
  }
  return xattrs
}

function shortName(name: ByteString): { index: number; name: ByteString } {
  for (const [index, prefix] of prefixes) {
    if (name.startsWith(prefix)) return { index, name: sliceBytes(name, prefix.length) }
  }
  return { index: 0, name }
}

function longName({ index, name }: { index: number; name: ByteString }): ByteString {
  const prefix = prefixes.find(([number]) => number === index)
  return prefix === undefined ? name : joinBytes(prefix[1], name)
}

function entryLength(xattr: Xattr): number {
  return entryBytes + padded(xattr.name.length)
}

function padded(length: number): number {
  return Math.ceil(length / 4) * 4
}

/** The kernel's hash of name and value, `ext4_xattr_hash_entry`. */
function hashXattr({ name, value }: Xattr): number {
  let hash = 0
  for (const byte of bytesOf(name)) hash = (hash << 5) ^ (hash >>> 27) ^ byte
  const words = Buffer.alloc(padded(value.length))
  words.set(value)
  for (let i = 0; i < words.length; i += 4) hash = (hash << 16) ^ (hash >>> 16) ^ words.readInt32LE(i)
  return hash >>> 0
}

function byBytes(a: ByteString, b: ByteString): number {
  return a < b ? -1 : 1
}
