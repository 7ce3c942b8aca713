import { createHash } from 'node:crypto'
import { gunzipSync } from 'node:zlib'
import { describe, expect, it } from '@jest/globals'
import { decompressLayer, layerRootHash, type LayerErrorCode } from '../../../src/layers/index.js'
import { pieces } from './tar-builder.js'
import { layerTar, layerVectors, readVector } from './vectors.js'

const largestImageInMemory = 1024 * 1024

/** The kind of failure of each layer that the platform refuses. */
const refusals: Readonly<Record<string, { code: LayerErrorCode; path: string }>> = {
  'err-dup-nonempty-file': { code: 'overwrites-data', path: '"a"' },
  'err-file-over-dir': { code: 'replaces-directory', path: '"a"' },
  'err-dir-over-file': { code: 'replaces-file-with-directory', path: '"a/"' },
  'err-whiteout-over-file': { code: 'overwrites-data', path: '"a"' },
  'err-hardlink-missing': { code: 'link-target-missing', path: '"nope"' },
  'err-hardlink-dir': { code: 'link-target-directory', path: '"b"' },
  'err-parent-is-file': { code: 'parent-not-directory', path: '"a/b"' },
  'err-name-256': { code: 'name-too-long', path: 'nnnn' },
  'err-bad-checksum': { code: 'tar-header', path: '' }
}

const vectors = layerVectors()

describe('layers that the platform accepts', () => {
  for (const vector of vectors.filter(({ error }) => error === undefined)) {
    it(`hashes ${vector.name} as the platform does`, async () => {
      const layer = decompressLayer(pieces(readVector(vector.file), 65_536))
      const hash = await layerRootHash(layer)
      expect(hash).toMatchObject({
        rootHash: vector.root_hash,
        diffId: `sha256:${vector.tar_sha256}`,
        ext4Size: vector.ext4_size,
        blocks: vector.ext4_blocks,
        inodes: vector.inodes_count
      })
    })
  }

  for (const vector of vectors.filter(({ ext4_size = Infinity }) => ext4_size <= largestImageInMemory)) {
    it(`writes the file system of ${vector.name} byte for byte`, async () => {
      const image = await imageOf(layerTar(vector.name))
      if (vector.ext4_file !== undefined) {
        expect(firstDifference(image, gunzipSync(readVector(vector.ext4_file)))).toBeUndefined()
      }
      expect(createHash('sha256').update(image).digest('hex')).toBe(vector.ext4_sha256)
    })
  }
})

describe('layers that the platform refuses', () => {
  for (const vector of vectors.filter(({ error }) => error !== undefined)) {
    it(`refuses ${vector.name} with its own code`, async () => {
      const expected = refusals[vector.name]
      const hash = layerRootHash(pieces(layerTar(vector.name)))
      await expect(hash).rejects.toMatchObject({
        name: 'LayerError',
        code: expected?.code,
        message: expect.stringContaining(expected?.path ?? 'a path')
      })
    })
  }
})

describe('the pieces in which a layer comes', () => {
  for (const size of [1, 511, 513, 4097, 1 << 20]) {
    it(`do not matter: ${size} bytes each`, async () => {
      const vector = vectors.find(({ name }) => name === 'feat2')
      const hash = await layerRootHash(pieces(layerTar('feat2'), size))
      expect(hash.rootHash).toBe(vector?.root_hash)
    })
  }
})

async function imageOf(tar: Uint8Array): Promise<Buffer> {
  const blocks: Buffer[] = []
  await layerRootHash(pieces(tar, 65_536), {
    onBlock: (index, block) => {
      if (blocks[index] !== undefined) throw new Error(`block ${index} came twice`)
      blocks[index] = Buffer.from(block)
    }
  })
  return Buffer.concat(blocks)
}

/** Says where images differ; a comparison of the whole would print megabytes. */
function firstDifference(actual: Buffer, expected: Buffer): string | undefined {
  if (actual.length !== expected.length) return `${actual.length} bytes instead of ${expected.length}`
  const at = actual.findIndex((byte, i) => byte !== expected[i])
  return at < 0
    ? undefined
    : `block ${Math.floor(at / 4096)}, byte ${at % 4096}: ${actual[at]} instead of ${expected[at]}`
}
