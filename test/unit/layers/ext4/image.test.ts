import { describe, expect, it } from '@jest/globals'
import { asciiBytes } from '../../../../src/layers/byte-string.js'
import { fileTypes } from '../../../../src/layers/ext4/format.js'
import { Ext4Image } from '../../../../src/layers/ext4/image.js'
import type { InodeAttributes } from '../../../../src/layers/ext4/inode.js'
import { noTime } from '../../../../src/layers/ext4/time.js'

const emptyFile: InodeAttributes = {
  mode: fileTypes.regular | 0o644,
  uid: 0,
  gid: 0,
  times: { accessed: noTime, modified: noTime, changed: noTime, created: noTime },
  size: 0,
  linkTarget: asciiBytes(''),
  deviceMajor: 0,
  deviceMinor: 0,
  xattrs: new Map()
}

describe('Ext4Image', () => {
  it('limits the entries of a directory, files and hard links alike', () => {
    const image = new Ext4Image(() => undefined, { maxBlocks: 1000, maxMetadataBytes: 1e6, maxDirectoryEntries: 4 })
    image.create(asciiBytes('a'), emptyFile)
    image.create(asciiBytes('b'), emptyFile)
    image.link(asciiBytes('a'), asciiBytes('c'))
    image.link(asciiBytes('a'), asciiBytes('c'))
    expect(() => {
      image.link(asciiBytes('a'), asciiBytes('d'))
    }).toThrow('a directory of the layer has more than 4 entries')
    expect(() => {
      image.create(asciiBytes('e'), emptyFile)
    }).toThrow(expect.objectContaining({ code: 'metadata-limit' }))
  })
})
