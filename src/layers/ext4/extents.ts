import { blockBytes } from './format.js'

const nodeBytes = 12
const maxBlocksPerExtent = 32_768
const maxInRoot = 4
const maxInLeaf = Math.floor(blockBytes / nodeBytes) - 1
const magic = 0xf30a

/** Writes the root of {@link extentTree} into the 60 bytes of `i_block`, which are zero; most files have nothing else. */
export function writeExtentRoot(start: number, blocks: number, table: Buffer, at: number): void {
  if (blocks > maxBlocksPerExtent) {
    extentTree(start, blocks).root.copy(table, at)
    return
  }
  table.writeUInt16LE(magic, at)
  table.writeUInt16LE(1, at + 2)
  table.writeUInt16LE(maxInRoot, at + 4)
  table.writeUInt16LE(blocks, at + nodeBytes + 4)
  table.writeUInt32LE(start, at + nodeBytes + 8)
}

/** How a file's blocks, which are contiguous, are described in its inode. */
export interface ExtentTree {
  /** The 60 bytes of `i_block`. */
  readonly root: Buffer
  /** Blocks of the tree itself; they follow the data. */
  readonly leaves: readonly Buffer[]
}

/** For `blocks` > 0 blocks from `start`. */
export function extentTree(start: number, blocks: number): ExtentTree {
  const extents = Math.ceil(blocks / maxBlocksPerExtent)
  const root = Buffer.alloc(60)
  if (extents <= maxInRoot) {
    writeLeaf(root, maxInRoot, extents, start, 0, blocks)
    return { root, leaves: [] }
  }
  const leafCount = leavesFor(extents)
  if (leafCount > maxInRoot) throw new RangeError(`a file of ${blocks} blocks is too large`)
  writeHeader(root, leafCount, maxInRoot, 1)
  const leaves = Array.from({ length: leafCount }, (_, i) => {
    const offset = i * maxInLeaf * maxBlocksPerExtent
    root.writeUInt32LE(offset, nodeBytes * (i + 1))
    root.writeUInt32LE(start + blocks + i, nodeBytes * (i + 1) + 4)
    const leaf = Buffer.alloc(blockBytes)
    // From 340 extents (42 GiB) on, the platform's converter counts the extents of the second and
    // later leaves wrongly and adds their offset twice. The hash is that of its image.
    writeLeaf(leaf, maxInLeaf, Math.min(extents - i * leafCount, maxInLeaf), start + offset, offset, blocks)
    return leaf
  })
  return { root, leaves }
}

/** Blocks that the tree needs besides the inode. */
export function extentLeafCount(blocks: number): number {
  const extents = Math.ceil(blocks / maxBlocksPerExtent)
  return extents <= maxInRoot ? 0 : leavesFor(extents)
}

function leavesFor(extents: number): number {
  return Math.floor(extents / maxInLeaf) + 1
}

function writeLeaf(node: Buffer, max: number, count: number, start: number, offset: number, blocks: number): void {
  writeHeader(node, count, max, 0)
  for (let i = 0; i < count; i++) {
    const block = offset + i * maxBlocksPerExtent
    const left = (blocks - block) >>> 0
    const at = nodeBytes * (i + 1)
    node.writeUInt32LE(block, at)
    node.writeUInt16LE(Math.min(left, maxBlocksPerExtent), at + 4)
    node.writeUInt32LE((start + block) >>> 0, at + 8)
  }
}

function writeHeader(node: Buffer, entries: number, max: number, depth: number): void {
  node.writeUInt16LE(magic, 0)
  node.writeUInt16LE(entries, 2)
  node.writeUInt16LE(max, 4)
  node.writeUInt16LE(depth, 6)
}
