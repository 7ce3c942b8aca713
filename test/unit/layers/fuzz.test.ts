import { gzipSync } from 'node:zlib'
import { describe, expect, it } from '@jest/globals'
import { decompressLayer, layerRootHash, LayerError, type LayerErrorCode } from '../../../src/layers/index.js'
import { RandomTree } from './random-tree.js'
import { integer, pick, seeded, type Random } from './seeded.js'
import { base256, collect, endOfArchive, entry, file, pax, pieces, sealHeader } from './tar-builder.js'
import { layerTar, layerVectors, readVector } from './vectors.js'

const limits = { maxImageBytes: 64 * 1024 * 1024, maxMetadataBytes: 4 * 1024 * 1024 }
const slowestMs = 5000

/** Small, or a mutation would hardly ever hit a header. */
const tars = layerVectors()
  .map(({ name }) => name)
  .filter((name) => !['ext2', 'feat1', 'ok-manyfiles-1000', 'ok-size-40960'].includes(name))
  .map((name) => trimmed(layerTar(name)))

describe('mutated layers', () => {
  it('are hashed or refused, and nothing else', async () => {
    const random = seeded(20_261_122)
    const outcomes = new Map<LayerErrorCode | 'hashed', number>()
    for (let i = 0; i < 2000; i++) {
      const tar = mutate(pick(tars, random), random)
      const outcome = await outcomeOf(i, () => layerRootHash(pieces(tar, 1 + Math.floor(random() * 5000)), limits))
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
    }
    // The mutations must get past the first check, or this test says nothing.
    expect(outcomes.get('hashed')).toBeGreaterThan(200)
    expect([...outcomes.keys()].length).toBeGreaterThan(6)
  })
})

describe('layers that are cut short', () => {
  it('are refused as truncated, or hashed where the cut is between two entries', async () => {
    const tar = trimmed(new RandomTree(seeded(11), 40, 'any').tar)
    const random = seeded(12)
    for (let i = 0; i < 150; i++) {
      const end = integer(0, Math.ceil(tar.length / 512), random) * 512 - pick([0, 0, 1, 511], random)
      const cut = tar.subarray(0, Math.max(end, 0))
      const outcome = await outcomeOf(i, () => layerRootHash(pieces(cut, 65_536), limits))
      expect(['hashed', 'tar-truncated']).toContain(outcome)
    }
  })

  for (const end of [2, 3, 9, 10, 11, 100, 1000, -9, -8, -4, -1]) {
    it(`are refused with the reason when gzip ends at byte ${end}`, async () => {
      const layer = decompressLayer(pieces(gzipSync(layerTar('tiny')).subarray(0, end), 1000))
      await expect(layerRootHash(layer)).rejects.toMatchObject({
        name: 'LayerError',
        code: 'compression',
        message: 'the gzip stream of the layer ends too early: some of the layer is missing'
      })
    })
  }
})

describe('layers that say that they are huge', () => {
  const huge = [2n ** 31n, 2n ** 32n + 1n, 2n ** 40n, 2n ** 53n, 2n ** 63n - 1n]
  const layers: Readonly<Record<string, (size: bigint) => Buffer>> = {
    'a file': (size) => entry({ size: base256(size, 12) }),
    'a file, by a record': (size) => Buffer.concat([pax([['size', String(size)]]), file('f')]),
    'an extended header': (size) => entry({ type: 'x', size: base256(size, 12) }),
    'a global header': (size) => entry({ type: 'g', size: base256(size, 12) }),
    'a long name': (size) => entry({ type: 'L', format: 'gnu', size: base256(size, 12) }),
    'a long target': (size) => entry({ type: 'K', format: 'gnu', size: base256(size, 12) }),
    'the length of a record': (size) => Buffer.concat([entry({ type: 'x', data: `${size} path=x\n` }), file('f')]),
    'a sparse file, by a record': (size) =>
      Buffer.concat([pax([['GNU.sparse.major', '1'], ['GNU.sparse.minor', '0'], ['GNU.sparse.realsize', String(size)]]), file('f', '0\n')]), // prettier-ignore
    'the map of a sparse file': (size) =>
      Buffer.concat([pax([['GNU.sparse.major', '1'], ['GNU.sparse.minor', '0'], ['GNU.sparse.realsize', '9']]), file('f', `${size}\n`)]), // prettier-ignore
    'a sparse file of GNU': (size) => entry({ type: 'S', format: 'gnu', patches: [[483, base256(size, 12)]] })
  }
  for (const [what, make] of Object.entries(layers)) {
    it(`are refused, and take no memory for it: ${what}`, async () => {
      const before = process.resourceUsage().maxRSS
      for (const [i, size] of huge.entries()) {
        const outcome = await outcomeOf(i, () => layerRootHash(pieces(make(size), 1000), limits))
        expect(outcome).not.toBe('hashed')
      }
      expect(process.resourceUsage().maxRSS - before).toBeLessThan(64 * 1024)
    })
  }
})

describe('mutated compressed layers', () => {
  const sources = {
    gzip: gzipSync(layerTar('tiny')),
    zstd: readVector('tiny.tar.zst'),
    'large zstd': readVector('feat1.tar.zst')
  }
  for (const [name, bytes] of Object.entries(sources)) {
    it(`are decompressed or refused, and nothing else: ${name}`, async () => {
      const random = seeded(7)
      for (let i = 0; i < 300; i++) {
        const damaged = damage(bytes, random)
        const layer = () => decompressLayer(pieces(damaged, 1000), { maxBytes: 4 * 1024 * 1024 })
        await outcomeOf(i, () => collect(layer()))
        await outcomeOf(i, () => layerRootHash(layer(), limits))
      }
    })
  }
})

async function outcomeOf(round: number, run: () => Promise<unknown>): Promise<LayerErrorCode | 'hashed'> {
  const start = performance.now()
  try {
    await run()
    return 'hashed'
  } catch (error) {
    if (!(error instanceof LayerError)) throw new Error(`round ${round} failed`, { cause: error })
    return error.code
  } finally {
    expect(performance.now() - start).toBeLessThan(slowestMs)
  }
}

/** Damages some bytes, mostly in headers, moves blocks about, and mostly makes checksums right again. */
function mutate(tar: Buffer, random: Random): Buffer {
  let bytes = Buffer.from(tar)
  const blocks = () => Math.floor(bytes.length / 512)
  const blockAt = () => 512 * Math.floor(random() * blocks())
  const rounds = 1 + Math.floor(random() * 3)
  for (let i = 0; i < rounds; i++) {
    const at = blockAt()
    const kind = random()
    if (kind < 0.35) bytes[at + 100 + Math.floor(random() * 60)] = pickByte(random)
    else if (kind < 0.5) bytes[at + 156] = pick([...Buffer.from('0123456789xgLKSZ\0')], random)
    else if (kind < 0.75) bytes[at + Math.floor(random() * 512)] = pickByte(random)
    else if (kind < 0.85) bytes = Buffer.concat([bytes, bytes.subarray(at, at + 1024)])
    else if (kind < 0.95) bytes.copyWithin(blockAt(), at, at + 512)
    else bytes = bytes.subarray(0, Math.floor(random() * bytes.length))
  }
  if (random() < 0.9)
    for (let at = 0; at + 512 <= bytes.length; at += 512)
      if (isHeader(bytes, at)) sealHeader(bytes.subarray(at, at + 512))
  return Buffer.concat([bytes, endOfArchive])
}

function damage(bytes: Buffer, random: Random): Buffer {
  const copy = Buffer.from(bytes)
  for (let i = 0; i < 1 + Math.floor(random() * 4); i++) {
    const reach = random() < 0.5 ? 40 : copy.length
    copy[Math.floor(random() * Math.min(reach, copy.length))] = pickByte(random)
  }
  return random() < 0.1 ? copy.subarray(0, Math.floor(random() * copy.length)) : copy
}

function isHeader(bytes: Buffer, at: number): boolean {
  return bytes.toString('latin1', at + 257, at + 262) === 'ustar'
}

/** Without the zeros at the end, so that something can follow. */
function trimmed(tar: Buffer): Buffer {
  let end = tar.length
  while (end >= 512 && tar.subarray(end - 512, end).every((byte) => byte === 0)) end -= 512
  return tar.subarray(0, end)
}

function pickByte(random: Random): number {
  return pick([0, 0x20, 0x2f, 0x30, 0x37, 0x38, 0x7f, 0x80, 0xff, Math.floor(random() * 256)], random)
}
