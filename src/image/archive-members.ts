import type { FileHandle } from 'node:fs/promises'
import { concatBytes } from '../base/bytes.js'
import { utf8 } from '../base/encoding.js'
import { ImageError } from './image-error.js'
import { malformed, quote } from './manifest.js'
import { tooLarge } from './verified-stream.js'

/** A member of a tar file: where its bytes lie, or where it points. */
export type ArchiveMember =
  | { readonly kind: 'file'; readonly offset: number; readonly size: number }
  | { readonly kind: 'link'; readonly target: string }
  /** Two members of one name: which one is meant depends on the reader, so neither is used. */
  | { readonly kind: 'ambiguous' }

const blockBytes = 512
const maxMembers = 100_000
/** A pax header or a GNU long name. */
const maxExtensionBytes = 1024 * 1024

/**
 * Lists the files and links of a tar file (POSIX.1-1988 ustar, pax, GNU long names) by name, without
 * reading their content. Names are keys and nothing else: nothing is ever written, so `..` or an
 * absolute name can harm nobody. A leading `./` is dropped.
 */
export async function listMembers(file: FileHandle, label: string): Promise<ReadonlyMap<string, ArchiveMember>> {
  const members = new Map<string, ArchiveMember>()
  const fileSize = (await file.stat()).size
  let position = 0
  let extension: Extension = {}
  for (let count = 0; ; count++) {
    if (count > maxMembers) throw tooLarge(`the member list of ${label}`, maxMembers)
    // Some writers leave out the end blocks; the end of the file at a header's place is as good.
    if (position === fileSize) break
    const block = await readExactly(file, position, blockBytes, label)
    if (isZero(block)) break
    const header = parseHeader(block, label)
    const size = extension.size ?? header.size
    const offset = position + blockBytes
    if (offset + size > fileSize) throw malformed(label, `ends inside ${quote(header.name)}`)
    position = offset + Math.ceil(size / blockBytes) * blockBytes

    switch (header.type) {
      case 'x':
        extension = { ...extension, ...paxExtension(await readExtension(file, offset, size, label), label) }
        continue
      case 'L':
        extension = { ...extension, path: longName(await readExtension(file, offset, size, label), label) }
        continue
      case 'K':
        extension = { ...extension, linkPath: longName(await readExtension(file, offset, size, label), label) }
        continue
      case 'g':
        continue
    }
    const name = (extension.path ?? header.name).replace(/^(?:\.\/)+/, '')
    const target = extension.linkPath ?? header.linkName
    extension = {}
    if (header.type === '0' || header.type === '\0' || header.type === '7') {
      members.set(name, members.has(name) ? { kind: 'ambiguous' } : { kind: 'file', offset, size })
    } else if (header.type === '1' || header.type === '2') {
      const inside = header.type === '1' ? target : resolveLink(name, target)
      members.set(name, members.has(name) ? { kind: 'ambiguous' } : { kind: 'link', target: inside })
    }
  }
  return members
}

interface Extension {
  readonly path?: string
  readonly linkPath?: string
  readonly size?: number
}

interface Header {
  readonly name: string
  readonly size: number
  readonly type: string
  readonly linkName: string
}

async function readExactly(file: FileHandle, position: number, length: number, label: string): Promise<Uint8Array> {
  const bytes = new Uint8Array(length)
  let filled = 0
  while (filled < length) {
    const { bytesRead } = await file.read(bytes, filled, length - filled, position + filled)
    if (bytesRead === 0) throw malformed(label, 'ends inside a header: it is cut short or is no tar file')
    filled += bytesRead
  }
  return bytes
}

function isZero(block: Uint8Array): boolean {
  return block.every((byte) => byte === 0)
}

function parseHeader(block: Uint8Array, label: string): Header {
  if (block[0] === 0x1f && block[1] === 0x8b) {
    throw new ImageError('image.unsupported', `${label} is compressed`, { next: [`gunzip -k ${label}`] })
  }
  const sum = block.reduce((total, byte, index) => total + (index >= 148 && index < 156 ? 0x20 : byte), 0)
  if (numeric(block.subarray(148, 156), label) !== sum) {
    throw malformed(label, 'has a tar header with a wrong checksum: it is damaged or is no tar file')
  }
  const name = field(block.subarray(0, 100), label)
  const isUstar = field(block.subarray(257, 262), label) === 'ustar'
  // GNU writes `ustar  ` and keeps times where POSIX has the prefix.
  const prefix = isUstar && block[262] === 0 ? field(block.subarray(345, 500), label) : ''
  return {
    name: prefix === '' ? name : `${prefix}/${name}`,
    size: numeric(block.subarray(124, 136), label),
    type: String.fromCharCode(block[156] ?? 0),
    linkName: field(block.subarray(157, 257), label)
  }
}

function field(bytes: Uint8Array, label: string): string {
  const end = bytes.indexOf(0)
  return decodeText(end === -1 ? bytes : bytes.subarray(0, end), label)
}

/** Octal text, or GNU's base-256 when the first bit is set. */
function numeric(bytes: Uint8Array, label: string): number {
  const first = bytes[0] ?? 0
  if ((first & 0x80) !== 0) {
    const value = bytes.subarray(1).reduce((total, byte) => total * 256 + byte, first & 0x7f)
    if ((first & 0x40) !== 0 || !Number.isSafeInteger(value))
      throw malformed(label, 'has an impossible number in a tar header')
    return value
  }
  const text = field(bytes, label).trim()
  if (!/^[0-7]*$/.test(text)) throw malformed(label, 'has a tar header with a number that is not octal')
  return text === '' ? 0 : Number.parseInt(text, 8)
}

async function readExtension(file: FileHandle, offset: number, size: number, label: string): Promise<Uint8Array> {
  if (size > maxExtensionBytes) throw tooLarge(`an extended header of ${label}`, maxExtensionBytes)
  return readExactly(file, offset, size, label)
}

function longName(bytes: Uint8Array, label: string): string {
  return field(concatBytes(bytes, Uint8Array.of(0)), label)
}

/** Records `LENGTH KEY=VALUE\n`, where LENGTH counts the whole record in bytes. */
function paxExtension(bytes: Uint8Array, label: string): Extension {
  let extension: Extension = {}
  let rest = bytes
  while (rest.length > 0) {
    const space = rest.indexOf(0x20)
    const digits = decodeText(rest.subarray(0, Math.max(space, 0)), label)
    const length = /^[1-9][0-9]{0,6}$/.test(digits) ? Number.parseInt(digits, 10) : 0
    if (length <= space + 1 || length > rest.length || rest[length - 1] !== 0x0a) {
      throw malformed(label, 'has a pax record with a wrong length')
    }
    const record = decodeText(rest.subarray(space + 1, length - 1), label)
    const equals = record.indexOf('=')
    extension = { ...extension, ...knownRecord(record.slice(0, equals), record.slice(equals + 1), label) }
    rest = rest.subarray(length)
  }
  return extension
}

function knownRecord(key: string, value: string, label: string): Extension {
  switch (key) {
    case 'path':
      return { path: value }
    case 'linkpath':
      return { linkPath: value }
    case 'size':
      if (!/^[0-9]{1,15}$/.test(value)) throw malformed(label, 'has a pax size that is no number')
      return { size: Number.parseInt(value, 10) }
    default:
      return {}
  }
}

function decodeText(bytes: Uint8Array, label: string): string {
  try {
    return utf8.decode(bytes)
  } catch (cause) {
    throw malformed(label, 'has a tar header that is not UTF-8', cause)
  }
}

/** Where a symbolic link points to inside the archive: plain text, resolved without a file system. */
function resolveLink(name: string, target: string): string {
  const parts = name.split('/').slice(0, -1)
  for (const part of target.split('/')) {
    if (part === '..') parts.pop()
    else if (part !== '.' && part !== '') parts.push(part)
  }
  return parts.join('/')
}
