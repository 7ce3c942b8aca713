import { createHash } from 'node:crypto'
import { describe, expect, it } from '@jest/globals'
import { VerityTree } from '../../../src/layers/dm-verity.js'

const salt = Buffer.alloc(32)

/** The definition, level by level over all of the device. */
function rootOf(device: Buffer): string {
  let level = device
  do {
    const digests: Buffer[] = []
    for (let at = 0; at < level.length; at += 4096) {
      digests.push(
        createHash('sha256')
          .update(salt)
          .update(level.subarray(at, at + 4096))
          .digest()
      )
    }
    const joined = Buffer.concat(digests)
    level = Buffer.concat([joined, Buffer.alloc((4096 - (joined.length % 4096)) % 4096)])
  } while (level.length > 4096)
  return createHash('sha256').update(salt).update(level).digest('hex')
}

function device(blocks: number): Buffer {
  const bytes = Buffer.alloc(blocks * 4096)
  for (let i = 0; i < blocks; i++) if (i % 3 !== 0) bytes.writeUInt32LE(i, i * 4096 + 100)
  return bytes
}

function block(bytes: Buffer, index: number): Buffer {
  return bytes.subarray(index * 4096, (index + 1) * 4096)
}

describe('VerityTree', () => {
  for (const blocks of [1, 2, 127, 128, 129, 256, 1000, 16_384, 16_385]) {
    it(`has the root of ${blocks} blocks, in whatever order they come`, () => {
      const bytes = device(blocks)
      const tree = new VerityTree()
      // Every second block first, the way metadata comes after data.
      for (let i = 1; i < blocks; i += 2) tree.add(i, block(bytes, i))
      for (let i = 0; i < blocks; i += 2) tree.add(i, block(bytes, i))
      expect(tree.root(blocks)).toBe(rootOf(bytes))
    })
  }

  it('has no root while blocks are missing', () => {
    const bytes = device(300)
    const tree = new VerityTree()
    for (let i = 0; i < 300; i++) if (i !== 200) tree.add(i, block(bytes, i))
    expect(() => tree.root(300)).toThrow('299 blocks')
  })

  it('has no root of fewer blocks than it was given', () => {
    const tree = new VerityTree()
    for (let i = 0; i < 10; i++) tree.add(i, block(device(10), i))
    expect(() => tree.root(9)).toThrow('10 blocks')
  })

  it('takes whole blocks only', () => {
    expect(() => new VerityTree().add(0, new Uint8Array(4095))).toThrow(RangeError)
  })
})
