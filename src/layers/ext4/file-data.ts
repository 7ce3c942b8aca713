import type { BlockWriter } from './block-writer.js'
import { extentLeafCount, extentTree } from './extents.js'
import type { Inode } from './inode.js'

/** Ends the data that was written from `firstBlock` on, and describes where it is. */
export function finishData(inode: Inode, firstBlock: number, writer: BlockWriter): void {
  writer.align()
  inode.firstBlock = firstBlock
  inode.blocks = writer.next - firstBlock
  const leafCount = extentLeafCount(inode.blocks)
  inode.allBlocks += inode.blocks + leafCount
  if (leafCount > 0) for (const leaf of extentTree(firstBlock, inode.blocks).leaves) writer.write(leaf)
}
