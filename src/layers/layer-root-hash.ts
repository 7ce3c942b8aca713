import { createHash, type Hash } from 'node:crypto'
import { parseOciDigest, type OciDigest, type Sha256Hex } from '../base/digest.js'
import { ByteReader } from './byte-reader.js'
import { asciiBytes, displayText, joinBytes, sliceBytes } from './byte-string.js'
import { VerityTree } from './dm-verity.js'
import type { BlockSink } from './ext4/block-writer.js'
import { blockBytes, fileTypes, maxDiskBytes } from './ext4/format.js'
import { Ext4Image } from './ext4/image.js'
import type { InodeAttributes, InodeTimes } from './ext4/inode.js'
import { splitPath } from './ext4/path.js'
import { encodeTime, noTime } from './ext4/time.js'
import type { TarEntry } from './tar/entry.js'
import { readEntry, type OpenEntry } from './tar/reader.js'

export interface LayerHash extends FileSystemHash {
  /** SHA-256 of all bytes of the tar: the layer's entry in `rootfs.diff_ids` of the image configuration. */
  readonly diffId: OciDigest
}

export interface FileSystemHash {
  /** Root of the dm-verity tree over the file system: what a CCE policy lists under `layers`. */
  readonly rootHash: Sha256Hex
  /** Size of the file system in bytes, and in blocks of 4096. */
  readonly ext4Size: number
  readonly blocks: number
  /** Inodes that the file system has room for. */
  readonly inodes: number
  /**
   * Directories that have something in them and no entry of their own, the first 100. A platform with a
   * hcsshim older than its change #2270 gives them the current time, and so finds another hash each time.
   */
  readonly implicitParents: readonly string[]
}

export interface LayerHashOptions {
  /** Receives the blocks of the file system, each once and in no particular order. */
  readonly onBlock?: BlockSink
  /** Largest file system, in bytes; at most 128 GiB, where the format ends. */
  readonly maxImageBytes?: number
  /** Memory for names, inodes and attributes, in bytes, 512 MiB if not given: about a million files. */
  readonly maxMetadataBytes?: number
  /** Looked at with every piece of data; its reason is thrown as it is. */
  readonly signal?: AbortSignal | undefined
}

/**
 * To be raised with every change that gives some layer another root hash, or other facts, than before:
 * what was remembered of layers is then computed anew.
 */
export const converterVersion = 1

const maxImplicitParents = 100
const defaultMaxMetadataBytes = 512 * 1024 * 1024
const whiteoutPrefix = asciiBytes('.wh.')
const opaqueWhiteout = asciiBytes('.wh..wh..opq')
const opaqueXattr = asciiBytes('trusted.overlay.opaque')
const opaqueValue = Buffer.from('y')
const noTimes: InodeTimes = { accessed: noTime, modified: noTime, changed: noTime, created: noTime }

/**
 * Hashes a layer as the platform does before it mounts it: the uncompressed tar becomes an ext4 image
 * with overlay whiteouts, and the image a dm-verity device whose root hash is returned. Equal to
 * `dmverity-vhd roothash` and to hcsshim's `tar2ext4.ConvertAndComputeRootDigest`.
 *
 * Nothing is kept of the files but their metadata. Reads `tar` to its end, also behind the end of the
 * archive. Throws a {@link LayerError} for a layer that the platform would refuse.
 */
export async function layerRootHash(
  tar: AsyncIterable<Uint8Array>,
  options: LayerHashOptions = {}
): Promise<LayerHash> {
  const hash = createHash('sha256')
  const result = await hashFileSystem(new WholeSource(tar, options.signal, hash), options)
  return { ...result, diffId: parseOciDigest(`sha256:${hash.digest('hex')}`, 'diff id') }
}

/**
 * The same without the diff id, which is a quarter of the work: for a stream that checks it by its own end, or where
 * only the root hash is asked for. Also reads `tar` to its end.
 */
export async function fileSystemHash(
  tar: AsyncIterable<Uint8Array>,
  options: LayerHashOptions = {}
): Promise<FileSystemHash> {
  return hashFileSystem(new WholeSource(tar, options.signal), options)
}

async function hashFileSystem(source: WholeSource, options: LayerHashOptions): Promise<FileSystemHash> {
  const tree = new VerityTree()
  const { onBlock, signal } = options
  const image = new Ext4Image(
    (index, block) => {
      tree.add(index, block)
      onBlock?.(index, block)
    },
    {
      maxBlocks: Math.floor(Math.min(options.maxImageBytes ?? maxDiskBytes, maxDiskBytes) / blockBytes),
      maxMetadataBytes: options.maxMetadataBytes ?? defaultMaxMetadataBytes
    }
  )
  try {
    await addEntries(new ByteReader(source), image, signal)
    await source.readRest()
  } finally {
    await source.close()
  }
  const { blocks, inodes } = image.finish()
  return {
    rootHash: tree.root(blocks),
    ext4Size: blocks * blockBytes,
    blocks,
    inodes,
    implicitParents: image.implicitDirectories(maxImplicitParents).map(displayText)
  }
}

/** What `readTar` gives, with a promise only where there is something to wait for: layers have many small files. */
async function addEntries(reader: ByteReader, image: Ext4Image, signal: AbortSignal | undefined): Promise<void> {
  for (;;) {
    const next = await readEntry(reader)
    if (next === undefined) return
    if (addEntry(next.entry, image)) await copyData(next, image, signal)
    if (!next.data.discardNow()) await next.data.discard()
  }
}

/** Makes the file of an entry, and tells whether it takes the entry's data. */
function addEntry(entry: TarEntry, image: Ext4Image): boolean {
  image.makeParents(entry.pathBytes)
  const { parent, name } = splitPath(entry.pathBytes)
  if (name === opaqueWhiteout) {
    image.addXattr(parent, opaqueXattr, opaqueValue)
  } else if (name.startsWith(whiteoutPrefix)) {
    image.create(joinBytes(parent, sliceBytes(name, whiteoutPrefix.length)), whiteout)
  } else if (entry.kind === 'hard-link') {
    image.link(entry.linkPathBytes, entry.pathBytes)
  } else {
    image.create(entry.pathBytes, attributesOf(entry))
    return entry.size > 0
  }
  return false
}

async function copyData(
  { entry, data, isSparse }: OpenEntry,
  image: Ext4Image,
  signal: AbortSignal | undefined
): Promise<void> {
  if (!isSparse) {
    while (data.remaining > 0) image.write(data.takeNow() ?? (await data.takeSome()))
    return
  }
  for await (const bytes of entry.data) {
    // Also here, because a hole comes from no source.
    signal?.throwIfAborted()
    image.write(bytes)
  }
}

/** What overlayfs takes for "removed in this layer": a character device 0/0. */
const whiteout: InodeAttributes = {
  mode: fileTypes.characterDevice,
  uid: 0,
  gid: 0,
  times: noTimes,
  size: 0,
  linkTarget: asciiBytes(''),
  deviceMajor: 0,
  deviceMinor: 0,
  xattrs: new Map()
}

function attributesOf(entry: TarEntry): InodeAttributes {
  const modified = encodeTime(entry.modifiedAt)
  return {
    mode: typeOf(entry) | entry.mode,
    uid: entry.uid,
    gid: entry.gid,
    times: {
      accessed: encodeTime(entry.accessedAt),
      modified,
      changed: encodeTime(entry.changedAt),
      created: modified
    },
    size: entry.size,
    linkTarget: entry.linkPathBytes,
    deviceMajor: entry.deviceMajor,
    deviceMinor: entry.deviceMinor,
    xattrs: entry.xattrs
  }
}

function typeOf({ kind }: TarEntry): number {
  switch (kind) {
    case 'directory':
      return fileTypes.directory
    case 'symbolic-link':
      return fileTypes.symbolicLink
    case 'character-device':
      return fileTypes.characterDevice
    case 'block-device':
      return fileTypes.blockDevice
    case 'fifo':
      return fileTypes.fifo
    case 'file':
    case 'global-header':
      return fileTypes.regular
    case 'hard-link':
      throw new TypeError('a hard link has no inode of its own')
    default:
      return kind satisfies never
  }
}

/** Is read to its end, also where the reader of the archive stops before; hashes what passes if there is a hash. */
class WholeSource implements AsyncIterable<Uint8Array> {
  private readonly source: AsyncIterator<Uint8Array>
  private ended = false

  constructor(
    bytes: AsyncIterable<Uint8Array>,
    private readonly signal: AbortSignal | undefined,
    private readonly hash?: Hash
  ) {
    this.source = bytes[Symbol.asyncIterator]()
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    return { next: () => this.next() }
  }

  async readRest(): Promise<void> {
    while ((await this.next()).done !== true);
  }

  async close(): Promise<void> {
    if (!this.ended) await this.source.return?.()
  }

  private async next(): Promise<IteratorResult<Uint8Array>> {
    this.signal?.throwIfAborted()
    const result = await this.source.next()
    if (result.done === true) this.ended = true
    else this.hash?.update(result.value)
    return result
  }
}
