import { createHash } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import { describe, expect, it } from '@jest/globals'
import { decompressLayer, type DecompressOptions } from '../../../src/layers/index.js'
import { collect, pieces } from './tar-builder.js'
import { layerTar, readVector } from './vectors.js'

const text = Buffer.from('a layer '.repeat(1000))
const zstdMagic = [0x28, 0xb5, 0x2f, 0xfd]
/** Magic number, length 3, contents. */
const skippable = Buffer.from([0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3])

describe('decompressLayer', () => {
  for (const size of [1, 7, 65_536]) {
    it(`passes on what is not compressed, in pieces of ${size}`, async () => {
      expect(await decompress(text, {}, size)).toEqual(text)
    })

    it(`decompresses gzip in pieces of ${size}`, async () => {
      expect(await decompress(gzipSync(text), {}, size)).toEqual(text)
    })

    it(`decompresses zstd in pieces of ${size}`, async () => {
      expect(await decompress(readVector('tiny.tar.zst'), {}, size)).toEqual(layerTar('tiny'))
    })
  }

  it('passes on nothing and very little', async () => {
    expect(await decompress(Buffer.alloc(0))).toEqual(Buffer.alloc(0))
    expect(await decompress(Buffer.from([0x1f]))).toEqual(Buffer.from([0x1f]))
  })

  it('decompresses gzip of several members', async () => {
    expect(await decompress(Buffer.concat([gzipSync(text), gzipSync(Buffer.from('more'))]))).toEqual(
      Buffer.concat([text, Buffer.from('more')])
    )
  })

  it('decompresses zstd of several blocks and frames, and skips what a frame says to skip', async () => {
    const zstd = Buffer.concat([
      skippable,
      readVector('feat1.tar.zst'),
      skippable,
      readVector('tiny.tar.zst'),
      skippable
    ])
    const digest = createHash('sha256')
      .update(await decompress(zstd, {}, 1000))
      .digest('hex')
    const expected = createHash('sha256').update(layerTar('feat1')).update(layerTar('tiny')).digest('hex')
    expect(digest).toBe(expected)
  })

  it('decompresses zstd blocks that are stored and that repeat a byte', async () => {
    const frame = zstdFrame(0, [stored('abc', false), repeated('x', 5, true)])
    expect((await decompress(frame)).toString()).toBe('abcxxxxx')
  })

  it('lets the event loop turn while few bytes become many', async () => {
    let turns = 0
    const timer = setInterval(() => turns++)
    const bomb = zstdFrame(0, [...Array.from({ length: 2_000 }, () => repeated('x', 131_072, false)), stored('', true)])
    for await (const piece of decompressLayer(pieces(bomb, bomb.length))) expect(piece.length).toBeGreaterThan(0)
    clearInterval(timer)
    expect(turns).toBeGreaterThan(5)
  })

  describe('refuses', () => {
    const gzip = gzipSync(text)
    const zstd = readVector('tiny.tar.zst')
    const faults: Readonly<Record<string, Buffer>> = {
      'gzip that is cut short': gzip.subarray(0, -1),
      'gzip that is only a beginning': gzip.subarray(0, 3),
      'gzip with another checksum': changed(gzip, gzip.length - 6),
      'gzip whose second member is cut short': Buffer.concat([gzip, gzip.subarray(0, 10)]),
      'gzip with bytes behind it': Buffer.concat([gzip, Buffer.from('rubbish')]),
      'gzip with zeros behind it': Buffer.concat([gzip, Buffer.alloc(512)]),
      'zstd that is cut short': zstd.subarray(0, -1),
      'zstd that is only a beginning': zstd.subarray(0, 5),
      'zstd that is cut short in what it skips': Buffer.concat([zstd, skippable.subarray(0, -1)]),
      'zstd with bytes behind it': Buffer.concat([zstd, Buffer.from('rubbish')]),
      'zstd with very few bytes behind it': Buffer.concat([zstd, Buffer.from('ru')]),
      'zstd with a reserved type of block': zstdFrame(0, [Buffer.from([0b111, 0, 0])]),
      'zstd with a block larger than 128 KiB': zstdFrame(0, [repeated('x', 200_000, true)]),
      'zstd with the reserved bit': zstdFrame(8, [stored('abc', true)]),
      'zstd that needs a dictionary': Buffer.from([...zstdMagic, 0x01, 0x58, 7, ...stored('abc', true)]),
      'zstd that wants a window of 2 GiB': Buffer.from([...zstdMagic, 0x00, 21 << 3, ...stored('abc', true)]),
      'zstd that wants a segment of 2 GiB': Buffer.from([...zstdMagic, 0xa0, 0, 0, 0, 128, ...stored('abc', true)]),
      'zstd with damaged contents': damagedZstd()
    }
    for (const [what, bytes] of Object.entries(faults)) {
      it(what, async () => {
        await expect(decompress(bytes)).rejects.toMatchObject({ name: 'LayerError', code: 'compression' })
        await expect(decompress(bytes, {}, 3)).rejects.toMatchObject({ name: 'LayerError', code: 'compression' })
      })
    }

    const bombs: Readonly<Record<string, Buffer>> = {
      gzip: gzipSync(Buffer.alloc(10_000_000)),
      zstd: zstdFrame(0, [
        ...Array.from({ length: 99 }, () => repeated('x', 100_000, false)),
        repeated('x', 100_000, true)
      ]),
      'a plain tar': Buffer.alloc(10_000_000)
    }
    for (const [what, bytes] of Object.entries(bombs)) {
      it(`${what} that grows beyond the limit, before much more has come out`, async () => {
        let given = 0
        const grow = async () => {
          for await (const piece of decompressLayer(pieces(bytes, 65_536), { maxBytes: 1_000_000 }))
            given += piece.length
        }
        await expect(grow()).rejects.toMatchObject({ name: 'LayerError', code: 'expansion-limit' })
        expect(given).toBeLessThanOrEqual(1_000_000)
      })
    }
  })

  it('accepts exactly what the limit allows', async () => {
    expect((await decompress(gzipSync(Buffer.alloc(1000)), { maxBytes: 1000 })).length).toBe(1000)
  })

  for (const [what, bytes] of [
    ['gzip', gzipSync(text)],
    ['zstd', readVector('tiny.tar.zst')],
    ['plain', text]
  ] as const) {
    // prettier-ignore
    it(`passes on a failure of the source of ${what}`, async () => {
      const failure = new Error('connection lost')
      async function* source() {
        yield bytes.subarray(0, 20)
        throw failure
      }
      await expect(collect(decompressLayer(source()))).rejects.toBe(failure)
    })

    it(`closes the source of ${what} when the caller stops`, async () => {
      let closed = false
      async function* source() {
        try {
          yield bytes
          for (;;) yield bytes
        } finally {
          closed = true
        }
      }
      for await (const piece of decompressLayer(source())) if (piece.length > 0) break
      expect(closed).toBe(true)
    })
  }
})

async function decompress(bytes: Uint8Array, options: DecompressOptions = {}, size = 65_536): Promise<Buffer> {
  return collect(decompressLayer(pieces(bytes, size), options))
}

function changed(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes)
  copy[at] = (copy[at] ?? 0) ^ 1
  return copy
}

/** The tables at the beginning of the first block; damage further back often decodes to something. */
function damagedZstd(): Buffer {
  const zstd = readVector('feat1.tar.zst')
  return zstd.fill(0xff, 9, 60)
}

/** With a window of 1 MiB. */
function zstdFrame(descriptor: number, blocks: readonly Uint8Array[]): Buffer {
  return Buffer.concat([Buffer.from([...zstdMagic, descriptor, 10 << 3]), ...blocks])
}

function stored(contents: string, isLast: boolean): Buffer {
  return Buffer.concat([blockHeader(0, contents.length, isLast), Buffer.from(contents)])
}

function repeated(byte: string, count: number, isLast: boolean): Buffer {
  return Buffer.concat([blockHeader(1, count, isLast), Buffer.from(byte)])
}

function blockHeader(type: number, size: number, isLast: boolean): Buffer {
  const header = Buffer.alloc(3)
  header.writeUIntLE((size << 3) | (type << 1) | Number(isLast), 0, 3)
  return header
}
