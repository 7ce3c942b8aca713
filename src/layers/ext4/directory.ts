import { asciiBytes, type ByteString } from '../byte-string.js'
import type { BlockWriter } from './block-writer.js'
import { finishData } from './file-data.js'
import { blockBytes, fileTypes } from './format.js'
import { fileType, sortedChildren, type Inode } from './inode.js'

const entryHeaderBytes = 8
/** Every block ends with an empty entry, which takes at least this. */
const lastEntryBytes = 12

/** File types in directory entries. */
const entryTypes: Readonly<Record<number, number>> = {
  [fileTypes.regular]: 1,
  [fileTypes.directory]: 2,
  [fileTypes.characterDevice]: 3,
  [fileTypes.blockDevice]: 4,
  [fileTypes.fifo]: 5,
  [fileTypes.symbolicLink]: 7
}

/** Writes the contents of all directories, each before those in it. */
export function writeDirectories(root: Inode, writer: BlockWriter): void {
  // Paths can be too deep for a recursive function.
  const waiting = [root]
  for (let directory = waiting.pop(); directory !== undefined; directory = waiting.pop()) {
    const children = sortedChildren(directory)
    writeDirectory(directory, children, writer)
    for (const [, child] of children.reverse()) if (child.children !== undefined) waiting.push(child)
  }
}

function writeDirectory(
  directory: Inode,
  children: readonly (readonly [name: ByteString, inode: Inode])[],
  writer: BlockWriter
): void {
  const firstBlock = writer.next
  const block = Buffer.alloc(blockBytes)
  let at = 0
  const finishBlock = () => {
    block.writeUInt16LE(blockBytes - at, at + 4)
    writer.write(block)
    block.fill(0)
    at = 0
  }
  const add = (name: ByteString, inode: Inode) => {
    const length = Math.ceil((entryHeaderBytes + name.length) / 4) * 4
    if (blockBytes - at < length + lastEntryBytes) finishBlock()
    block.writeUInt32LE(inode.number, at)
    block.writeUInt16LE(length, at + 4)
    block.writeUInt8(name.length, at + 6)
    block.writeUInt8(entryTypes[fileType(inode)] ?? 0, at + 7)
    block.write(name, at + entryHeaderBytes, 'latin1')
    at += length
  }
  add(asciiBytes('.'), directory)
  add(asciiBytes('..'), directory.parent ?? directory)
  for (const [name, inode] of children) add(name, inode)
  finishBlock()
  directory.size = (writer.next - firstBlock) * blockBytes
  finishData(directory, firstBlock, writer)
}
