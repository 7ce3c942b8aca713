import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from '@jest/globals'
import { readExtent } from '../../../src/image/file-content.js'
import { temporaryFolder } from './support.js'

const chunkBytes = 256 * 1024

/** A file whose chunks all differ. */
function fileOf(length: number): { readonly path: string; readonly bytes: Buffer } {
  const bytes = Buffer.alloc(length)
  for (let at = 0; at + 4 <= length; at += 4) bytes.writeUInt32LE(at, at)
  const path = join(temporaryFolder(), 'file')
  writeFileSync(path, bytes)
  return { path, bytes }
}

async function chunksOf(source: AsyncIterable<Uint8Array>): Promise<Uint8Array[]> {
  const chunks: Uint8Array[] = []
  for await (const chunk of source) chunks.push(chunk)
  return chunks
}

describe('readExtent', () => {
  it.each<[string, number, { readonly offset: number; readonly size: number | undefined }]>([
    ['nothing of an empty file', 0, { offset: 0, size: undefined }],
    ['nothing where nothing is asked for', 100, { offset: 7, size: 0 }],
    ['a whole file', 3 * chunkBytes + 5, { offset: 0, size: undefined }],
    ['a file of whole chunks', 2 * chunkBytes, { offset: 0, size: undefined }],
    ['a part', 4 * chunkBytes, { offset: 1000, size: 2 * chunkBytes + 1 }],
    ['a part of whole chunks', 4 * chunkBytes, { offset: 1, size: 2 * chunkBytes }],
    ['what there is of a part that goes beyond the end', chunkBytes, { offset: 10, size: 5 * chunkBytes }]
  ])('reads %s, and leaves what it gave alone', async (_, length, extent) => {
    const { path, bytes } = fileOf(length)
    const end = extent.size === undefined ? length : extent.offset + extent.size
    const read = Buffer.concat(await chunksOf(readExtent(path, extent)))
    expect(read.equals(bytes.subarray(extent.offset, end))).toBe(true)
  })

  it('may be left while it reads ahead', async () => {
    const { path, bytes } = fileOf(4 * chunkBytes)
    for (let i = 0; i < 20; i++) {
      for await (const chunk of readExtent(path, { offset: 0, size: undefined })) {
        expect(bytes.subarray(0, chunkBytes).equals(chunk)).toBe(true)
        break
      }
    }
  })

  it('fails for what cannot be read', async () => {
    const reading = chunksOf(readExtent(temporaryFolder(), { offset: 0, size: undefined }))
    await expect(reading).rejects.toMatchObject({ code: 'image.file' })
  })
})
