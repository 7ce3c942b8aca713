import type { ByteString } from '../byte-string.js'
import { writeExtentRoot } from './extents.js'
import { fileTypeMask, fileTypes, inodeFlags } from './format.js'
import type { Ext4Time } from './time.js'

/** Bytes of an inode in use; what is behind them is for extended attributes. */
const usedBytes = 152
const baseBytes = 128
/** The longest symbolic link that is stored in the inode and not in a block. */
export const maxInlineLinkBytes = 59

export interface InodeTimes {
  readonly accessed: Ext4Time
  readonly modified: Ext4Time
  readonly changed: Ext4Time
  readonly created: Ext4Time
}

/** What an entry says about a file. */
export interface InodeAttributes {
  /** File type and permissions. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly times: InodeTimes
  /** Of a regular file; its data has to be written. */
  readonly size: number
  /** Of a symbolic link. */
  readonly linkTarget: ByteString
  readonly deviceMajor: number
  readonly deviceMinor: number
  readonly xattrs: ReadonlyMap<ByteString, Uint8Array>
}

/** A file as it will be in the inode table. */
export interface Inode extends Omit<InodeAttributes, 'xattrs'> {
  readonly number: number
  mode: number
  uid: number
  gid: number
  times: InodeTimes
  size: number
  linkTarget: ByteString
  deviceMajor: number
  deviceMinor: number
  links: number
  /** The data: contiguous, none if `blocks` is 0. */
  firstBlock: number
  blocks: number
  /** Data, extent tree and attribute block together, as `i_blocks` counts them. */
  allBlocks: number
  /** 0 if there is none. */
  xattrBlock: number
  inlineXattrs: Uint8Array | undefined
  /** Only a directory has them. */
  readonly children: Map<ByteString, Inode> | undefined
  /** Where a directory was created, to name it in warnings. */
  readonly parent: Inode | undefined
  readonly name: ByteString
  /** A directory that was created because something is in it, and that has no entry of its own. */
  implicit: boolean
}

export function fileType(inode: { readonly mode: number }): number {
  return inode.mode & fileTypeMask
}

/** Directories by inode number, other names of one inode by their bytes. */
export function sortedChildren(directory: Inode): [name: ByteString, inode: Inode][] {
  const children = [...(directory.children ?? [])]
  // Most come in this order.
  return children.every((child, i) => i === 0 || compareChildren(children[i - 1] ?? child, child) < 0)
    ? children
    : children.sort(compareChildren)
}

type Child = readonly [name: ByteString, inode: Inode]

function compareChildren(a: Child, b: Child): number {
  return a[1].number - b[1].number || (a[0] < b[0] ? -1 : 1)
}

/** Writes the 256 bytes of an inode into `table`, which is zero there. */
export function writeInode(inode: Inode, table: Buffer, at: number): void {
  const { times } = inode
  table.writeUInt16LE(inode.mode, at)
  table.writeUInt16LE(inode.uid & 0xffff, at + 0x02)
  table.writeUInt32LE(inode.size % 2 ** 32, at + 0x04)
  table.writeUInt32LE(times.accessed.low, at + 0x08)
  table.writeUInt32LE(times.changed.low, at + 0x0c)
  table.writeUInt32LE(times.modified.low, at + 0x10)
  table.writeUInt16LE(inode.gid & 0xffff, at + 0x18)
  table.writeUInt16LE(inode.links & 0xffff, at + 0x1a)
  table.writeUInt32LE(inode.allBlocks, at + 0x1c)
  table.writeUInt32LE(inodeFlags.hugeFile | (inode.blocks > 0 ? inodeFlags.extents : 0), at + 0x20)
  writeBlockPointers(inode, table, at + 0x28)
  table.writeUInt32LE(inode.xattrBlock, at + 0x68)
  table.writeUInt32LE(Math.floor(inode.size / 2 ** 32), at + 0x6c)
  table.writeUInt16LE(inode.uid >>> 16, at + 0x78)
  table.writeUInt16LE(inode.gid >>> 16, at + 0x7a)
  table.writeUInt16LE(usedBytes - baseBytes, at + 0x80)
  table.writeUInt32LE(times.changed.high, at + 0x84)
  table.writeUInt32LE(times.modified.high, at + 0x88)
  table.writeUInt32LE(times.accessed.high, at + 0x8c)
  table.writeUInt32LE(times.created.low, at + 0x90)
  table.writeUInt32LE(times.created.high, at + 0x94)
  if (inode.inlineXattrs !== undefined) table.set(inode.inlineXattrs, at + usedBytes)
}

/** `i_block`: the extents, or the target of a short link, or the number of a device. */
function writeBlockPointers(inode: Inode, table: Buffer, at: number): void {
  if (inode.blocks > 0) {
    writeExtentRoot(inode.firstBlock, inode.blocks, table, at)
    return
  }
  switch (fileType(inode)) {
    case fileTypes.symbolicLink:
      table.write(inode.linkTarget, at, 'latin1')
      break
    case fileTypes.characterDevice:
    case fileTypes.blockDevice: {
      const { deviceMajor: major, deviceMinor: minor } = inode
      table.writeUInt32LE(((minor & 0xff) | (major << 8) | ((minor & 0xffffff00) << 12)) >>> 0, at + 4)
    }
  }
}
