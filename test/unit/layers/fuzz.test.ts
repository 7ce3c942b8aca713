import { gzipSync } from 'node:zlib'
import { describe, expect, it } from '@jest/globals'
import { decompressLayer, layerRootHash, LayerError, type LayerErrorCode } from '../../../src/layers/index.js'
import { collect, endOfArchive, pieces, sealHeader } from './tar-builder.js'
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
        await outcomeOf(i, () => collect(decompressLayer(pieces(damaged, 1000), { maxBytes: 4 * 1024 * 1024 })))
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
function mutate(tar: Buffer, random: () => number): Buffer {
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

function damage(bytes: Buffer, random: () => number): Buffer {
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

function pickByte(random: () => number): number {
  return pick([0, 0x20, 0x2f, 0x30, 0x37, 0x38, 0x7f, 0x80, 0xff, Math.floor(random() * 256)], random)
}

function pick<T>(items: readonly T[], random: () => number): T {
  return items[Math.floor(random() * items.length)] as T
}

/** Mulberry32: the same sequence on every machine. */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
