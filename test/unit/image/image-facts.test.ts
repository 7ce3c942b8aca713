import { chmodSync, chownSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from '@jest/globals'
import { imageFacts, openArchiveImage, openLayoutImage } from '../../../src/image/index.js'
import { archive, base256, entry as tarEntry } from '../layers/tar-builder.js'
import { Blobs } from './oci-layout.js'
import { temporaryFolder, vectors } from './support.js'
import { tarFile } from './tar-file.js'

const features = join(vectors, 'features-oci-gzip.tar')
const expected = [
  'b13fb6ace4f5fbe19954fc7ef5595e2356872a6324aedacdbe114135836f116f',
  'a6303a5cde505d4557071b4550c91b4e09e65679debf11627230ac50076ca023',
  'e9319f98f3bcaf1841e1ed18409d06b537e45457866c110f095eb27b4a862714'
]

describe('imageFacts', () => {
  it('remembers root hashes by diff id, and then reads no layer', async () => {
    const cacheFile = join(temporaryFolder(), 'hashes.json')
    const image = await openArchiveImage(features, 'localhost/features:1')
    expect((await imageFacts(image, { cacheFile })).layers).toEqual(expected)
    const unreadable = image.layers.map((layer) => ({
      ...layer,
      open: () => {
        throw new Error('read')
      }
    }))
    expect((await imageFacts({ ...image, layers: unreadable }, { cacheFile })).layers).toEqual(expected)
    await expect(imageFacts({ ...image, layers: unreadable })).rejects.toThrow('read')
  })

  it('keeps what others have remembered', async () => {
    const cacheFile = join(temporaryFolder(), 'hashes.json')
    const tiny = await openArchiveImage(join(vectors, 'tiny-docker.tar'), 'localhost/tiny:1')
    await imageFacts(tiny, { cacheFile })
    await imageFacts(await openArchiveImage(features, 'localhost/features:1'), { cacheFile })
    const { layers } = JSON.parse(readFileSync(cacheFile, 'utf8'))
    expect(Object.keys(layers)).toHaveLength(4)
    expect(layers).toHaveProperty([tiny.layers[0]!.diffId])
  })

  it.each([
    ['is no JSON', 'x{'],
    ['is an array', '[]'],
    ['is of another version', '{"version":2,"converter":1,"layers":{}}'],
    ['has no layers', '{"version":1,"converter":1}'],
    ['has a root hash of the wrong length', entry({ rootHash: 'ab', implicitParents: [] })],
    ['has a root hash in capitals', entry({ rootHash: 'AB'.repeat(32), implicitParents: [] })],
    ['has no root hash', entry({ implicitParents: [] })],
    ['has no list of directories', entry({ rootHash: 'ab'.repeat(32) })],
    ['has a directory that is no text', entry({ rootHash: 'ab'.repeat(32), implicitParents: [1] })],
    ['has an entry that is a text', entry('ab'.repeat(32))]
  ])('does not use a cache that %s, and mends it', async (_, text) => {
    const cacheFile = join(temporaryFolder(), 'hashes.json')
    writeFileSync(cacheFile, text)
    const image = await openArchiveImage(features, 'localhost/features:1')
    expect((await imageFacts(image, { cacheFile })).layers).toEqual(expected)
    expect(Object.keys(JSON.parse(readFileSync(cacheFile, 'utf8')).layers)).toHaveLength(3)
  })

  const distrusted: (readonly [string, (cacheFile: string) => void])[] = [
    ['its group may write to', (cacheFile) => { chmodSync(cacheFile, 0o620) }], // prettier-ignore
    ['everybody may write to', (cacheFile) => { chmodSync(cacheFile, 0o602) }], // prettier-ignore
    ['another version of the converter has written', (cacheFile) => { replaceIn(cacheFile, '"converter":1', '"converter":0') }], // prettier-ignore
    ['names no converter', (cacheFile) => { replaceIn(cacheFile, '"converter":1,', '') }] // prettier-ignore
  ]
  // Only root can give a file away.
  if (process.getuid?.() === 0) distrusted.push(['belongs to another user', (cacheFile) => { chownSync(cacheFile, 12345, 12345) }]) // prettier-ignore
  it.each(distrusted)('does not use a cache that %s, and writes its own', async (_, change) => {
    const cacheFile = join(temporaryFolder(), 'hashes.json')
    const image = await openArchiveImage(features, 'localhost/features:1')
    await imageFacts(image, { cacheFile })
    const wrong = readFileSync(cacheFile, 'utf8').replaceAll(expected[0]!, '0'.repeat(64))
    writeFileSync(cacheFile, wrong)
    expect((await imageFacts(image, { cacheFile })).layers[0]).toBe('0'.repeat(64))
    change(cacheFile)
    expect((await imageFacts(image, { cacheFile })).layers).toEqual(expected)
    const { mode, uid } = statSync(cacheFile)
    expect([mode & 0o777, uid]).toEqual([0o600, process.getuid?.()])
    expect((await imageFacts(image, { cacheFile })).layers).toEqual(expected)
  })

  it('hashes a layer that occurs twice once', async () => {
    const image = await openArchiveImage(join(vectors, 'empty-layer.tar'), 'localhost/emptylayer:1')
    let opened = 0
    const layers = image.layers.map((layer) => ({
      ...layer,
      open: () => {
        opened++
        return layer.open()
      }
    }))
    const { layers: hashes } = await imageFacts({ ...image, layers })
    expect(hashes[1]).toBe(hashes[3])
    expect(opened).toBe(3)
  })

  it('warns of directories without an entry, from the cache too', async () => {
    const cacheFile = join(temporaryFolder(), 'hashes.json')
    const blobs = new Blobs()
    const layout = blobs.writeLayout(temporaryFolder(), [
      blobs.image([{ tar: tarFile([{ name: 'a/b/c', content: 'x' }]) }])
    ])
    const image = await openLayoutImage(layout, 'a:1')
    const first = await imageFacts(image, { cacheFile })
    expect(first.warnings).toEqual([expect.stringMatching(/^layer 0 of a:1 has no entry of its own for .*a.*b/)])
    expect(await imageFacts(image, { cacheFile })).toEqual(first)
  })

  it('refuses a layer that no host could mount', async () => {
    const blobs = new Blobs()
    const layout = blobs.writeLayout(temporaryFolder(), [blobs.image([{ tar: Buffer.alloc(1024, 0x41) }])])
    await expect(imageFacts(await openLayoutImage(layout, 'a:1'))).rejects.toMatchObject({ code: 'image.layer' })
  })

  it('refuses a layer whose few bytes stand for more than any image has', async () => {
    await expect(imageFacts(await sparseImage(40 * 1024 ** 3))).rejects.toMatchObject({
      code: 'image.layer',
      message: expect.stringContaining('larger than')
    })
  })

  it('stops in the middle of a hole', async () => {
    const controller = new AbortController()
    const reason = new Error('enough')
    setTimeout(() => {
      controller.abort(reason)
    }, 20)
    await expect(imageFacts(await sparseImage(15 * 1024 ** 3), { signal: controller.signal })).rejects.toBe(reason)
  })

  it('stops when it is told to', async () => {
    const image = await openArchiveImage(features, 'localhost/features:1')
    const reason = new Error('enough')
    await expect(imageFacts(image, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
  })

  it('says so when the cache cannot be written', async () => {
    const image = await openArchiveImage(features, 'localhost/features:1')
    const cacheFile = join(temporaryFolder(), 'missing', 'hashes.json')
    await expect(imageFacts(image, { cacheFile })).rejects.toMatchObject({ code: 'image.file' })
  })
})

function entry(value: unknown): string {
  const diffId = 'sha256:27f0033c001c1f38f3cc21a681a3c8acf178c4262416f6d7938433f8d3d97ead'
  return JSON.stringify({ version: 1, converter: 1, layers: { [diffId]: value } })
}

async function sparseImage(size: number) {
  const blobs = new Blobs()
  const hole = tarEntry({ name: 'hole', type: 'S', format: 'gnu', patches: [[483, base256(BigInt(size), 12)]] })
  return openLayoutImage(blobs.writeLayout(temporaryFolder(), [blobs.image([{ tar: archive(hole) }])]), 'a:1')
}

function replaceIn(path: string, text: string, other: string): void {
  writeFileSync(path, readFileSync(path, 'utf8').replace(text, other))
}
