import type { BlockWriter } from './block-writer.js'
import {
  blockBytes,
  blocksPerGroup,
  descriptorBlocks,
  descriptorBytes,
  fileTypes,
  firstDataBlock,
  firstFreeInode,
  inodeBytes,
  inodesPerBlock,
  maxGroups,
  maxInodesPerGroup
} from './format.js'
import { fileType, writeInode, type Inode } from './inode.js'
import { LayerError } from '../layer-error.js'

/** Sizes as the superblock says them. */
export interface ImageSize {
  readonly blocks: number
  readonly inodes: number
}

interface Groups {
  readonly count: number
  readonly inodesPerGroup: number
}

interface GroupUse {
  readonly blocks: number
  readonly inodes: number
  readonly directories: number
}

/** Where the metadata behind the data is, in blocks. */
interface Layout extends Groups {
  readonly inodeTable: number
  readonly bitmaps: number
  /** Behind the last block in use. */
  readonly end: number
  /** Blocks of the whole image. */
  readonly size: number
}

/**
 * Writes what follows files and directories (inode tables, bitmaps, zeros up to the size of the
 * image) and then the blocks before them: group descriptors and superblock.
 */
export function finishLayout(inodes: readonly (Inode | undefined)[], writer: BlockWriter): ImageSize {
  const inodeTable = writer.next
  const groups = chooseGroups(inodeTable, inodes.length - 1)
  writeInodeTable(inodes, groups, writer)
  const bitmaps = writer.next
  const end = bitmaps + 2 * groups.count
  const size = Math.max(end, (groups.count - 1) * blocksPerGroup + 1)
  const layout: Layout = { ...groups, inodeTable, bitmaps, end, size }
  if (layout.count > maxGroups) throw new LayerError('image-too-large', `the file system needs ${layout.count} groups`)
  const use = writeBitmaps(inodes, layout, writer)
  const zeros = Buffer.alloc(blockBytes)
  for (let i = end; i < size; i++) writer.write(zeros)
  writeDescriptors(layout, use, writer)
  writeSuperblock(layout, use, writer)
  return { blocks: layout.size, inodes: groups.count * groups.inodesPerGroup }
}

/** The fewest groups that hold all blocks and inodes, and of those the fewest inodes in a group. */
function chooseGroups(blocks: number, inodes: number): Groups {
  let best: Groups = { count: Infinity, inodesPerGroup: 0 }
  for (let inodesPerGroup = inodesPerBlock; inodesPerGroup <= maxInodesPerGroup; inodesPerGroup += inodesPerBlock) {
    // Each group gives up blocks for its part of the inode table and two bitmaps.
    const dataBlocks = blocksPerGroup - inodesPerGroup / inodesPerBlock - 2
    const needed = Math.max(blocks, Math.floor((inodes - 1) / inodesPerGroup) * dataBlocks + 1)
    const count = Math.ceil(needed / dataBlocks)
    if (count < best.count) best = { count, inodesPerGroup }
  }
  return best
}

function writeInodeTable(inodes: readonly (Inode | undefined)[], groups: Groups, writer: BlockWriter): void {
  const block = Buffer.alloc(blockBytes)
  const blocks = (groups.count * groups.inodesPerGroup) / inodesPerBlock
  for (let i = 0; i < blocks; i++) {
    block.fill(0)
    for (let slot = 0; slot < inodesPerBlock; slot++) {
      const inode = inodes[i * inodesPerBlock + slot + 1]
      if (inode !== undefined) writeInode(inode, block, slot * inodeBytes)
    }
    writer.write(block)
  }
}

/** For each group a bitmap of its blocks and one of its inodes. */
function writeBitmaps(inodes: readonly (Inode | undefined)[], layout: Layout, writer: BlockWriter): GroupUse[] {
  return Array.from({ length: layout.count }, (_, group) => {
    const blocks = blockBitmap(group, layout)
    writer.write(blocks.bits)
    const bits = Buffer.alloc(blockBytes)
    let used = 0
    let directories = 0
    for (let i = 0; i < layout.inodesPerGroup; i++) {
      const number = 1 + group * layout.inodesPerGroup + i
      const inode = inodes[number]
      if (number < firstFreeInode || inode !== undefined) {
        setBit(bits, i)
        used++
      }
      if (inode !== undefined && fileType(inode) === fileTypes.directory) directories++
    }
    writer.write(bits)
    return { blocks: blocks.used, inodes: used, directories }
  })
}

function blockBitmap(group: number, layout: Layout): { bits: Buffer; used: number } {
  const first = group * blocksPerGroup
  const bits = Buffer.alloc(blockBytes)
  let used = Math.min(Math.max(layout.end - first, 0), blocksPerGroup)
  setBits(bits, 0, used)
  if (group === 0) {
    // Reserved for group descriptors that this image does not have.
    for (let i = 1 + usedDescriptorBlocks(layout); i < firstDataBlock; i++) {
      clearBit(bits, i)
      used--
    }
  }
  const present = layout.size % blocksPerGroup
  if (group === layout.count - 1 && present !== 0) {
    setBits(bits, present, blocksPerGroup)
    used += blocksPerGroup - present
  }
  return { bits, used }
}

function writeDescriptors(layout: Layout, use: readonly GroupUse[], writer: BlockWriter): void {
  const table = Buffer.alloc(descriptorBlocks * blockBytes)
  for (const [group, { blocks, inodes, directories }] of use.entries()) {
    const at = group * descriptorBytes
    table.writeUInt32LE(layout.bitmaps + 2 * group, at)
    table.writeUInt32LE(layout.bitmaps + 2 * group + 1, at + 4)
    table.writeUInt32LE(layout.inodeTable + (group * layout.inodesPerGroup) / inodesPerBlock, at + 8)
    table.writeUInt16LE((blocksPerGroup - blocks) & 0xffff, at + 12)
    table.writeUInt16LE((layout.inodesPerGroup - inodes) & 0xffff, at + 14)
    table.writeUInt16LE(directories & 0xffff, at + 16)
  }
  for (let i = 0; i < descriptorBlocks; i++) {
    writer.place(1 + i, table.subarray(i * blockBytes, (i + 1) * blockBytes))
  }
}

/** Fields and features by their names in the kernel's `struct ext4_super_block`. */
function writeSuperblock(layout: Layout, use: readonly GroupUse[], writer: BlockWriter): void {
  const block = Buffer.alloc(blockBytes)
  const superblock = block.subarray(1024, 2048)
  const inodes = layout.count * layout.inodesPerGroup
  const u16 = (value: number, at: number) => superblock.writeUInt16LE(value, at)
  const u32 = (value: number, at: number) => superblock.writeUInt32LE(value >>> 0, at)
  u32(inodes, 0x00)
  u32(layout.size, 0x04)
  u32(layout.count * blocksPerGroup - sum(use.map(({ blocks }) => blocks & 0xffff)), 0x0c)
  u32(inodes - sum(use.map((group) => group.inodes & 0xffff)), 0x10)
  u32(2, 0x18) // log_block_size: 1024 << 2
  u32(2, 0x1c) // log_cluster_size
  u32(blocksPerGroup, 0x20)
  u32(blocksPerGroup, 0x24) // clusters_per_group
  u32(layout.inodesPerGroup, 0x28)
  u16(0xef53, 0x38) // magic
  u16(1, 0x3a) // state: cleanly unmounted
  u16(1, 0x3c) // errors: continue
  u32(1, 0x4c) // rev_level: inode sizes vary
  u32(firstFreeInode, 0x54)
  u16(inodeBytes, 0x58)
  u32(0x208, 0x5c) // feature_compat: sparse_super2, ext_attr
  u32(0x242, 0x60) // feature_incompat: filetype, extents, flex_bg
  u32(0x104a, 0x64) // feature_ro_compat: large_file, huge_file, extra_isize, readonly
  u16(24, 0x15c) // min_extra_isize
  u16(24, 0x15e) // want_extra_isize
  superblock.writeUInt8(31, 0x174) // log_groups_per_flex: one flexible group
  u32(firstFreeInode, 0x268) // lpf_ino: lost+found
  writer.place(0, block)
}

function usedDescriptorBlocks(layout: Groups): number {
  return Math.ceil((layout.count * descriptorBytes) / blockBytes)
}

/** From `start` up to `end`, a byte at a time where all of its bits are meant. */
function setBits(bits: Buffer, start: number, end: number): void {
  for (let i = start; i < end;) {
    if (i % 8 === 0 && i + 8 <= end) {
      bits[i >> 3] = 0xff
      i += 8
    } else {
      setBit(bits, i++)
    }
  }
}

function setBit(bits: Buffer, i: number): void {
  bits[i >> 3] = (bits[i >> 3] ?? 0) | (1 << (i & 7))
}

function clearBit(bits: Buffer, i: number): void {
  bits[i >> 3] = (bits[i >> 3] ?? 0) & ~(1 << (i & 7))
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, n) => total + n, 0)
}
