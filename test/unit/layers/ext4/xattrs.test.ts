import { describe, expect, it } from '@jest/globals'
import { asciiBytes } from '../../../../src/layers/byte-string.js'
import {
  emptyXattrBlock,
  packXattrs,
  unpackInlineXattrs,
  unpackXattrBlock,
  type Xattrs
} from '../../../../src/layers/ext4/xattrs.js'

const path = asciiBytes('f')

function xattrs(values: Readonly<Record<string, string>>): Xattrs {
  return new Map(Object.entries(values).map(([name, value]) => [asciiBytes(name), Buffer.from(value)]))
}

describe('packXattrs', () => {
  it('stores nothing for nothing', () => {
    expect(packXattrs(new Map(), path)).toEqual({ inline: undefined, block: undefined })
  })

  it('keeps every name and value, in the inode and in the block', () => {
    const some = xattrs({
      'user.a': '1',
      'system.other': 'o',
      'trusted.overlay.opaque': 'y',
      'security.capability': 'c'.repeat(20),
      'user.large': 'x'.repeat(1000),
      'user.empty': '',
      unprefixed: 'u'
    })
    const { inline, block } = packXattrs(some, path)
    expect([inline?.length, block?.length]).toEqual([104, 4096])
    const stored = [...unpackInlineXattrs(inline ?? Buffer.alloc(0)), ...unpackXattrBlock(block ?? Buffer.alloc(0))]
    expect(new Map(stored.map(([name, value]) => [name, Buffer.from(value)]))).toEqual(new Map(some))
  })

  it('fills the inode to the last byte before it takes a block', () => {
    expect(packXattrs(xattrs({ 'user.abcd': 'x'.repeat(76) }), path).block).toBeUndefined()
    expect(packXattrs(xattrs({ 'user.abcd': 'x'.repeat(77) }), path).inline).toBeUndefined()
  })

  it('fills the block to the last byte and then refuses', () => {
    expect(packXattrs(xattrs({ 'user.abcd': 'x'.repeat(4040) }), path).block).toHaveLength(4096)
    const tooLarge = () => packXattrs(xattrs({ 'user.abcd': 'x'.repeat(4041) }), path)
    expect(tooLarge).toThrow(
      expect.objectContaining({ code: 'xattrs-too-large', message: expect.stringContaining('"f"') })
    )
  })
})

describe('an access control list', () => {
  it('ends what can be read back, because nothing is left of its name', () => {
    const { inline } = packXattrs(xattrs({ 'security.a': '1', 'system.posix_acl_access': '2', 'user.b': '3' }), path)
    expect([...unpackInlineXattrs(inline ?? Buffer.alloc(0)).keys()]).toEqual(['security.a'])
  })
})

describe('an attribute block', () => {
  it('may be empty', () => {
    expect(unpackXattrBlock(emptyXattrBlock()).size).toBe(0)
  })

  it('with a name whose length does not fit a byte is written, and cannot be read back', () => {
    const { block } = packXattrs(xattrs({ [`user.${'n'.repeat(257)}`]: 'x' }), path)
    expect(block).toHaveLength(4096)
    expect(() => unpackXattrBlock(block ?? Buffer.alloc(0))).toThrow(
      expect.objectContaining({ code: 'xattrs-too-large' })
    )
  })
})
