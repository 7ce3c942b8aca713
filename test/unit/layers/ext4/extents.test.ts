import { describe, expect, it } from '@jest/globals'
import { extentLeafCount, extentTree } from '../../../../src/layers/ext4/extents.js'

const extentBlocks = 32_768

/** Block in the file, length and block on the disk of each extent. */
function extentsIn(node: Buffer): number[][] {
  return Array.from({ length: node.readUInt16LE(2) }, (_, i) => {
    const at = 12 * (i + 1)
    return [node.readUInt32LE(at), node.readUInt16LE(at + 4), node.readUInt32LE(at + 8)]
  })
}

describe('extentTree', () => {
  it('has up to four extents in the inode', () => {
    const { root, leaves } = extentTree(9, 3 * extentBlocks + 1)
    expect(leaves).toEqual([])
    expect([root.readUInt16LE(0), root.readUInt16LE(4), root.readUInt16LE(6)]).toEqual([0xf30a, 4, 0])
    expect(extentsIn(root)).toEqual([
      [0, extentBlocks, 9],
      [extentBlocks, extentBlocks, 9 + extentBlocks],
      [2 * extentBlocks, extentBlocks, 9 + 2 * extentBlocks],
      [3 * extentBlocks, 1, 9 + 3 * extentBlocks]
    ])
  })

  it('has more of them in a block behind the data', () => {
    const blocks = 4 * extentBlocks + 1
    const { root, leaves } = extentTree(9, blocks)
    expect([root.readUInt16LE(2), root.readUInt16LE(6)]).toEqual([1, 1])
    expect([root.readUInt32LE(12), root.readUInt32LE(16)]).toEqual([0, 9 + blocks])
    expect(leaves.map((leaf) => [leaf.length, leaf.readUInt16LE(4), extentsIn(leaf).length])).toEqual([[4096, 340, 5]])
    expect(extentsIn(leaves[0] ?? root)[4]).toEqual([4 * extentBlocks, 1, 9 + 4 * extentBlocks])
  })

  it('has a second block from 340 extents on, with the mistakes of the platform', () => {
    const { root, leaves } = extentTree(9, 342 * extentBlocks - 1)
    expect(root.readUInt16LE(2)).toBe(2)
    expect(root.readUInt32LE(24)).toBe(340 * extentBlocks)
    expect(leaves.map((leaf) => extentsIn(leaf).length)).toEqual([340, 340])
    // The offset counts twice, and there are extents behind the end of the file.
    expect(extentsIn(leaves[1] ?? root).slice(0, 4)).toEqual([
      [340 * extentBlocks, extentBlocks, 9 + 680 * extentBlocks],
      [341 * extentBlocks, extentBlocks - 1, 9 + 681 * extentBlocks],
      [342 * extentBlocks, extentBlocks, 9 + 682 * extentBlocks],
      [343 * extentBlocks, extentBlocks, 9 + 683 * extentBlocks]
    ])
  })

  it('says beforehand how many blocks it needs', () => {
    for (const extents of [1, 4, 5, 339, 340, 680, 1024]) {
      const blocks = extents * extentBlocks
      expect(extentLeafCount(blocks)).toBe(extentTree(9, blocks).leaves.length)
    }
  })

  it('does not describe what does not fit', () => {
    expect(() => extentTree(9, 1400 * extentBlocks)).toThrow(RangeError)
  })
})
