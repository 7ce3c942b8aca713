import { ByteReader } from '../byte-reader.js'
import { asciiBytes, byteString, bytesOf, displayText, quoted, type ByteString } from '../byte-string.js'
import { LayerError } from '../layer-error.js'
import type { TarEntry, TarEntryKind } from './entry.js'
import { EntryData, fragmentedData, ReadableOnce } from './entry-data.js'
import { parseHeader, untilNul, type TarHeader } from './header.js'
import { parseLength } from './number.js'
import { applyPaxRecords, parsePaxRecords, paxXattrs, type PaxRecords } from './pax.js'
import {
  maxMetadataBytes,
  oldGnuSize,
  parseRecordMap,
  paxSparse,
  readDataMap,
  readOldGnuMap,
  validateFragments,
  type Fragment
} from './sparse.js'

const blockBytes = 512
const zeroBlock = Buffer.alloc(blockBytes)
const noRecords: PaxRecords = new Map()

/**
 * The entries of a tar: v7, ustar, pax and GNU with long names, base-256 numbers and all sparse
 * formats, read as Go's `archive/tar` reads them, because the platform does.
 *
 * The archive ends at two blocks of zeros, or where the bytes end between two entries; bytes behind
 * its end are not read. Throws a {@link LayerError} with a `tar-…` code.
 */
export async function* readTar(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<TarEntry, void, void> {
  const reader = new ByteReader(bytes)
  try {
    for (;;) {
      const next = await readEntry(reader)
      if (next === undefined) return
      yield next.entry
      if (!next.data.discardNow()) await next.data.discard()
    }
  } finally {
    await reader.close()
  }
}

/** An entry whose data has not been read. */
export interface OpenEntry {
  readonly entry: TarEntry
  readonly data: EntryData
  readonly isSparse: boolean
}

/** Reads headers up to one that stands for an entry; undefined at the end of the archive. */
export async function readEntry(reader: ByteReader): Promise<OpenEntry | undefined> {
  let records = noRecords
  let longPath: ByteString | undefined
  let longLinkPath: ByteString | undefined
  for (;;) {
    const block = headerBlockNow(reader) ?? (await readHeaderBlock(reader))
    if (block === undefined) return undefined
    const header = parseHeader(block)
    switch (header.typeFlag) {
      case 'x':
        records = parsePaxRecords(await readMetadata(reader, header))
        break
      case 'g':
        return globalHeader(reader, header, parsePaxRecords(await readMetadata(reader, header)))
      case 'L':
        longPath = untilNul(bytesOf(await readMetadata(reader, header)))
        break
      case 'K':
        longLinkPath = untilNul(bytesOf(await readMetadata(reader, header)))
        break
      default:
        if (mayHaveData(header)) parseLength(header.size, 'the size')
        applyPaxRecords(header, records)
        header.path = longPath || header.path
        header.linkPath = longLinkPath || header.linkPath
        return openEntry(reader, header, block, records)
    }
  }
}

/** What {@link readHeaderBlock} returns, without a promise where no bytes have to be waited for and the end is not near. */
function headerBlockNow(reader: ByteReader): Uint8Array | undefined {
  return reader.peek() === 0 ? undefined : reader.takeNow(blockBytes)
}

/** Undefined at the end: no more bytes, or a block of zeros with another one or with nothing behind it. */
async function readHeaderBlock(reader: ByteReader): Promise<Uint8Array | undefined> {
  const block = await reader.take(blockBytes)
  if (block.length === 0) return undefined
  if (block.length < blockBytes) throw truncated('a header')
  if (!zeroBlock.equals(block)) return block
  const second = await reader.take(blockBytes)
  if (second.length > 0 && second.length < blockBytes) throw truncated('a header')
  if (second.length > 0 && !zeroBlock.equals(second)) {
    throw new LayerError('tar-header', 'a tar has a single block of zeros and then goes on')
  }
  return undefined
}

/** The contents of an entry that describes the next one. */
async function readMetadata(reader: ByteReader, header: TarHeader): Promise<ByteString> {
  const length = parseLength(header.size, 'the size')
  if (length > maxMetadataBytes) {
    throw new LayerError('tar-header-too-long', `an extended tar header is larger than ${maxMetadataBytes} bytes`)
  }
  const data = new EntryData(reader, length)
  const contents = byteString(await data.readExactly(length))
  await data.discard()
  return contents
}

/** Only its name and its extended attributes become part of the file that Go makes of it. */
function globalHeader(reader: ByteReader, header: TarHeader, records: PaxRecords): OpenEntry {
  applyPaxRecords(header, records)
  const data = new EntryData(reader, 0)
  const entry: TarEntry = {
    ...describe({ ...header, linkPath: asciiBytes('') }, 'global-header', records, 0, data.all()),
    mode: 0,
    uid: 0,
    gid: 0,
    modifiedAt: undefined,
    accessedAt: undefined,
    changedAt: undefined,
    deviceMajor: 0,
    deviceMinor: 0
  }
  return { entry, data, isSparse: false }
}

async function openEntry(
  reader: ByteReader,
  header: TarHeader,
  block: Uint8Array,
  records: PaxRecords
): Promise<OpenEntry> {
  const kind = kindOf(header)
  const hasData = kind === 'file'
  const stored = hasData ? parseLength(header.size, 'the size') : 0
  const data = new EntryData(reader, stored)
  const fragments = await readSparseMap(reader, header, block, records, data)
  if (fragments === undefined) {
    return { entry: describe(header, kind, records, stored, data.all()), data, isSparse: false }
  }
  const size = parseLength(header.size, 'the size')
  if (!hasData) throw new LayerError('tar-header', `${quoted(header.path)} is sparse and not a file`)
  validateFragments(fragments, size)
  const { path } = header
  const contents = new ReadableOnce(() => fragmentedData(data, fragments, size, path))
  return { entry: describe(header, kind, records, size, contents), data, isSparse: true }
}

/** Undefined for what is not sparse. May change the path and the size in `header`. */
async function readSparseMap(
  reader: ByteReader,
  header: TarHeader,
  block: Uint8Array,
  records: PaxRecords,
  data: EntryData
): Promise<Fragment[] | undefined> {
  if (header.typeFlag === 'S') {
    if (header.format !== 'gnu')
      throw new LayerError('tar-header', `${quoted(header.path)} is sparse in a format of star`)
    header.size = oldGnuSize(block)
    return readOldGnuMap(block, async () => {
      const next = await reader.take(blockBytes)
      if (next.length < blockBytes) throw truncated('a sparse map')
      return next
    })
  }
  const sparse = paxSparse(records)
  if (sparse === undefined) return undefined
  header.path = sparse.path ?? header.path
  header.size = sparse.size ?? header.size
  return sparse.mapInData ? readDataMap(() => data.readExactly(blockBytes)) : parseRecordMap(records)
}

function kindOf(header: TarHeader): TarEntryKind {
  switch (header.typeFlag) {
    case '1':
      return 'hard-link'
    case '2':
      return 'symbolic-link'
    case '3':
      return 'character-device'
    case '4':
      return 'block-device'
    case '5':
      return 'directory'
    case '6':
      return 'fifo'
    case '\0':
      // Before there was a flag for directories, their names ended in a slash.
      return header.path.endsWith('/') ? 'directory' : 'file'
    default:
      return 'file'
  }
}

/** Links, devices, directories and fifos never do, whatever their size field says. */
function mayHaveData(header: TarHeader): boolean {
  return header.typeFlag < '1' || header.typeFlag > '6'
}

function describe(
  header: TarHeader,
  kind: TarEntryKind,
  records: PaxRecords,
  size: number,
  data: AsyncIterable<Uint8Array>
): TarEntry {
  return {
    kind,
    typeFlag: header.typeFlag,
    path: displayText(header.path),
    pathBytes: header.path,
    linkPath: displayText(header.linkPath),
    linkPathBytes: header.linkPath,
    mode: Number(BigInt.asUintN(12, header.mode)),
    uid: lower32(header.uid),
    gid: lower32(header.gid),
    modifiedAt: header.modifiedAt,
    accessedAt: header.accessedAt,
    changedAt: header.changedAt,
    deviceMajor: lower32(header.deviceMajor),
    deviceMinor: lower32(header.deviceMinor),
    xattrs: paxXattrs(records),
    size,
    data
  }
}

function lower32(value: bigint): number {
  return Number(BigInt.asUintN(32, value))
}

function truncated(where: string): LayerError {
  return new LayerError('tar-truncated', `the tar ends inside ${where}`)
}
