import { createHash } from 'node:crypto'
import { describe, expect, it } from '@jest/globals'
import {
  fileSystemHash,
  layerRootHash,
  type LayerErrorCode,
  type LayerHash,
  type LayerHashOptions
} from '../../../src/layers/index.js'
import {
  archive,
  base256,
  directory,
  entry,
  file,
  hardLink,
  numbered,
  octal,
  pax,
  pieces,
  symbolicLink,
  type HeaderFields
} from './tar-builder.js'

const gibibyte = 1024 ** 3
/** What Go takes for "no time", and so the time that the root has. */
const noTime = base256(-62_135_596_800n, 12)

describe('the root hash of a layer is the same', () => {
  const same: Readonly<Record<string, readonly [Buffer, Buffer]>> = {
    'however a path is written': [
      archive(file('a', '1'), file('b', '2')),
      archive(file('./a', '1'), file('/../b', '2'))
    ],
    'for a long name by GNU and by pax': [
      archive(entry({ type: 'L', format: 'gnu', data: `${'n'.repeat(150)}\0` }), file('short', 'x')),
      archive(pax([['path', 'n'.repeat(150)]]), file('short', 'x'))
    ],
    'for a long target by GNU and by pax': [
      archive(entry({ type: 'K', format: 'gnu', data: `${'t'.repeat(150)}\0` }), symbolicLink('l', 't')),
      archive(pax([['linkpath', 't'.repeat(150)]]), symbolicLink('l', 't'))
    ],
    'for a name in two fields and in one': [
      archive(directory('a'), entry({ name: 'b', patches: [[345, 'a']] })),
      archive(directory('a'), entry({ name: 'a/b' }))
    ],
    'for numbers in octal and in base-256': [
      archive(file('f', 'data', { uid: octal(1000, 7), mtime: octal(99, 11) })),
      archive(
        file('f', 'data', { size: base256(4n, 12), mtime: base256(99n, 12), patches: [[108, base256(1000n, 8)]] })
      )
    ],
    'for a directory by its flag and by the slash behind its name': [
      archive(directory('d')),
      archive(directory('d/', { type: '\0' }))
    ],
    'for a contiguous file, an unknown type and a file': [
      archive(file('a', '1', { type: '7' }), file('b', '2', { type: 'Z' })),
      archive(file('a', '1'), file('b', '2'))
    ],
    'for a parent without an entry and one that has the attributes of the root': [
      archive(file('d/f', 'x')),
      archive(directory('d', { mtime: noTime }), file('d/f', 'x'))
    ],
    'for a parent whose own entry comes late': [
      archive(file('d/f', 'x'), directory('d', { mtime: octal(5, 11), uid: octal(7, 7) })),
      archive(directory('d', { mtime: octal(5, 11), uid: octal(7, 7) }), file('d/f', 'x'))
    ],
    'for an empty file that is replaced and one that is not': [
      archive(file('f', ''), file('f', 'data')),
      archive(file('f', 'data'))
    ],
    'for a directory that gets its extended attributes one by one': [
      archive(pax([['SCHILY.xattr.user.a', '1']]), directory('d'), pax([['SCHILY.xattr.user.b', '2']]), directory('d')),
      archive(pax(['a1', 'b2'].map(([name, value]) => [`SCHILY.xattr.user.${name}`, value ?? ''])), directory('d'))
    ],
    'for an opaque whiteout and the attribute that it stands for': [
      archive(directory('d', { mtime: octal(5, 11) }), file('d/.wh..wh..opq')),
      archive(pax([['SCHILY.xattr.trusted.overlay.opaque', 'y']]), directory('d', { mtime: octal(5, 11) }))
    ],
    'for a whiteout and a device 0/0 without times': [
      archive(file('.wh.gone', 'ignored', { mtime: octal(5, 11), uid: octal(5, 7) })),
      archive(entry({ name: 'gone', type: '3', mode: octal(0, 7), mtime: noTime }))
    ]
  }
  for (const [name, [left, right]] of Object.entries(same)) {
    it(name, async () => {
      const [a, b] = [await hashOf(left), await hashOf(right)]
      expect(a.rootHash).toBe(b.rootHash)
      expect(a.diffId).not.toBe(b.diffId)
    })
  }
})

describe('the root hash of a layer changes', () => {
  const base: HeaderFields = { name: 'f', data: 'data' }
  const changes: Readonly<Record<string, Buffer>> = {
    'with the name': entry({ ...base, name: 'g' }),
    'with the contents': entry({ ...base, data: 'dato' }),
    'with the mode': entry({ ...base, mode: octal(0o4644, 7) }),
    'with the owner': entry({ ...base, uid: octal(1, 7) }),
    'with the group': entry({ ...base, gid: octal(1, 7) }),
    'with the time': entry({ ...base, mtime: octal(1, 11) }),
    'with a nanosecond': Buffer.concat([pax([['mtime', '0.000000001']]), entry(base)]),
    'with an extended attribute': Buffer.concat([pax([['SCHILY.xattr.user.a', '']]), entry(base)]),
    'with a byte of a name that is not UTF-8': entry({ ...base, name: Uint8Array.of(0xff) })
  }
  it('with everything that a file is', async () => {
    const hashes = [
      await hashOf(archive(entry(base))),
      ...(await Promise.all(Object.values(changes).map((c) => hashOf(archive(c)))))
    ]
    expect(new Set(hashes.map(({ rootHash }) => rootHash)).size).toBe(Object.keys(changes).length + 1)
  })

  it('between two names that are both not UTF-8', async () => {
    const names = [Uint8Array.of(0xff), Uint8Array.of(0xfe)].map((name) => archive(file('', '', { name })))
    const [a, b] = await Promise.all(names.map((tar) => hashOf(tar)))
    expect(a?.rootHash).not.toBe(b?.rootHash)
  })
})

describe('the diff id', () => {
  it('covers what is behind the end of the archive, and the root hash does not', async () => {
    const tar = archive(file('f', 'data'))
    const padded = Buffer.concat([tar, Buffer.from('more bytes')])
    const [plain, long] = [await hashOf(tar), await hashOf(padded)]
    expect(long.rootHash).toBe(plain.rootHash)
    expect(long.diffId).toBe(`sha256:${createHash('sha256').update(padded).digest('hex')}`)
  })
})

describe('the root hash without the diff id', () => {
  const tar = archive(file('f', 'data'), file('a/b', 'more'))

  it('is the same, with all else that is told of it', async () => {
    const { diffId: _, ...facts } = await hashOf(tar)
    expect(await fileSystemHash(pieces(tar))).toEqual(facts)
  })

  it('is none where the check fails behind the end of the archive', async () => {
    const failure = new Error('another digest')
    async function* failing() {
      yield* pieces(tar)
      yield Buffer.from('behind the end')
      throw failure
    }
    await expect(fileSystemHash(failing())).rejects.toBe(failure)
  })
})

describe('directories that the tar lacks', () => {
  it('are reported with their paths, from the root, in the order in which they are needed', async () => {
    const tar = archive(directory('a'), file('a/b/c/d'), file('e/.wh.f'), file('ü/g'))
    expect((await hashOf(tar)).implicitParents).toEqual(['a/b', 'a/b/c', 'e', 'ü'])
  })

  it('are not reported when their own entry comes later', async () => {
    const tar = archive(file('a/b/c'), directory('a/b'), directory('a'))
    expect((await hashOf(tar)).implicitParents).toEqual([])
  })

  it('are reported when only an opaque whiteout mentions them', async () => {
    expect((await hashOf(archive(file('a/.wh..wh..opq')))).implicitParents).toEqual(['a'])
  })

  it('are reported up to a hundred of them', async () => {
    const files = Array.from({ length: 150 }, (_, i) => file(`d${i}/f`))
    expect((await hashOf(archive(...files))).implicitParents).toHaveLength(100)
  })

  it('may be nested deeper than a call stack', async () => {
    const depth = 20_000
    const tar = archive(pax([['path', `${'a/'.repeat(depth)}f`]]), file('f'))
    const hash = await hashOf(tar)
    expect(hash.implicitParents[1]).toBe('a/a')
    expect(hash.blocks).toBeGreaterThan(depth)
  })
})

describe('layerRootHash refuses', () => {
  const refusals: readonly (readonly [string, LayerErrorCode, Buffer])[] = [
    ['a whiteout of a directory', 'replaces-directory', archive(directory('d'), file('.wh.d'))],
    ['a whiteout without a name, which is its directory', 'replaces-directory', archive(file('.wh.'))],
    ['a file at the root', 'replaces-directory', archive(file('./', 'x'))],
    ['a file below a symbolic link', 'parent-not-directory', archive(symbolicLink('l', 'd'), file('l/f'))],
    ['a directory two levels below a file', 'parent-not-directory', archive(file('f'), file('f/a/b'))],
    ['a parent with a name of 256 bytes', 'name-too-long', archive(pax([['path', `${'n'.repeat(256)}/f`]]), file('f'))],
    [
      'a hard link over the only name of a file',
      'link-orphans-file',
      archive(file('a'), file('b'), hardLink('a', 'b'))
    ],
    ['a hard link over a directory', 'link-orphans-file', archive(file('a'), directory('d'), hardLink('d', 'a'))],
    ['a hard link at the root', 'link-orphans-file', archive(file('a'), hardLink('.', 'a'))],
    ['a hard link below a file', 'parent-not-directory', archive(file('a'), hardLink('a/b', 'a'))],
    ['an opaque whiteout in a file with data', 'overwrites-data', archive(file('a', 'x'), file('a/.wh..wh..opq'))],
    ['a second long symbolic link', 'overwrites-data', archive(...[1, 2].map(() => symbolicLink('l', 'x'.repeat(60))))],
    [
      'attributes that fit nowhere',
      'xattrs-too-large',
      archive(pax([['SCHILY.xattr.user.a', 'x'.repeat(4100)]]), file('f'))
    ],
    ['attributes that fit only one by one', 'xattrs-too-large', archive(pax(['a', 'b'].map((n) => [`SCHILY.xattr.user.${n}`, 'x'.repeat(3000)])), file('f'))], // prettier-ignore
    ['a file of more than 128 GiB', 'file-too-large', archive(file('f', '', { size: base256(128n * BigInt(gibibyte) + 1n, 12) }))] // prettier-ignore
  ]
  for (const [what, code, tar] of refusals) {
    it(what, async () => {
      await expect(hashOf(tar)).rejects.toMatchObject({ name: 'LayerError', code })
    })
  }

  it('more than 65,000 subdirectories', async () => {
    const tar = archive(numbered(65_001, { type: '5' }))
    await expect(hashOf(tar)).rejects.toMatchObject({ code: 'too-many-links' })
  })

  it('more than 65,000 links to a file', async () => {
    const tar = archive(file('f'), numbered(65_000, { type: '1', linkName: 'f' }))
    await expect(hashOf(tar)).rejects.toMatchObject({ code: 'too-many-links' })
  })

  it('a file system larger than the caller allows, before it reads on', async () => {
    let given = 0
    async function* endless() {
      yield entry({ name: 'f', size: octal(gibibyte, 11) })
      for (;;) {
        given += 65_536
        yield new Uint8Array(65_536)
      }
    }
    await expect(layerRootHash(endless(), { maxImageBytes: 1024 * 1024 })).rejects.toMatchObject({
      code: 'image-too-large'
    })
    expect(given).toBeLessThan(2 * 1024 * 1024)
  })

  it('a file system that grows too large with its directories', async () => {
    const tar = archive(...Array.from({ length: 50 }, (_, i) => directory(`d${i}`)))
    await expect(hashOf(tar, { maxImageBytes: 40 * 4096 })).rejects.toMatchObject({ code: 'image-too-large' })
  })

  it('more metadata than the caller allows', async () => {
    const tar = archive(...Array.from({ length: 100 }, (_, i) => file(`f${i}`)))
    await expect(hashOf(tar, { maxMetadataBytes: 10_000 })).rejects.toMatchObject({ code: 'metadata-limit' })
  })

  it('a sparse file larger than the caller allows, before any of its hole is filled', async () => {
    let blocks = 0
    const hash = layerRootHash(pieces(sparseFile(64 * gibibyte)), {
      maxImageBytes: 17 * gibibyte,
      onBlock: () => blocks++
    })
    await expect(hash).rejects.toMatchObject({ code: 'image-too-large' })
    expect(blocks).toBe(0)
  })

  it('more hard links than the memory allows', async () => {
    const tar = archive(file('a'), numbered(100, { type: '1', linkName: 'a' }))
    await expect(hashOf(tar, { maxMetadataBytes: 20_000 })).rejects.toMatchObject({ code: 'metadata-limit' })
    await expect(hashOf(tar, { maxMetadataBytes: 40_000 })).resolves.toMatchObject({ inodes: expect.any(Number) })
  })

  it('more attribute blocks than the caller allows, which are kept because they may change', async () => {
    const withBlock = (i: number) =>
      Buffer.concat([pax([['SCHILY.xattr.user.a', 'x'.repeat(200)]]), directory(`d${i}`)])
    const tar = archive(...Array.from({ length: 30 }, (_, i) => withBlock(i)))
    await expect(hashOf(tar, { maxMetadataBytes: 100_000 })).rejects.toMatchObject({ code: 'metadata-limit' })
  })
})

describe('layerRootHash allows', () => {
  const layers: Readonly<Record<string, Buffer>> = {
    'a hard link over a name of a file that has two': archive(file('a', '1'), hardLink('b', 'a'), file('c', '2'), hardLink('b', 'c')), // prettier-ignore
    'a hard link to itself under another name': archive(file('a', '1'), hardLink('b', 'a'), hardLink('b', 'a')),
    'a hard link to a symbolic link': archive(symbolicLink('a', 'x'), hardLink('b', 'a')),
    'an opaque whiteout below a symbolic link': archive(symbolicLink('a', 'x'), file('a/.wh..wh..opq')),
    'a name of 255 bytes': archive(pax([['path', 'n'.repeat(255)]]), file('f')),
    'attributes with a name that has no prefix': archive(pax([['SCHILY.xattr.strange', 'x']]), file('f')),
    'nothing at all': Buffer.alloc(0)
  }
  for (const [what, tar] of Object.entries(layers)) {
    it(what, async () => {
      await expect(hashOf(tar)).resolves.toMatchObject({ rootHash: expect.stringMatching(/^[0-9a-f]{64}$/) })
    })
  }

  it('removes an attribute block whose attributes are gone only from its contents', async () => {
    const large = pax([['SCHILY.xattr.user.a', 'x'.repeat(200)]])
    const twice = await hashOf(archive(large, directory('d'), directory('d')))
    const once = await hashOf(archive(large, directory('d')))
    expect(twice.blocks).toBe(once.blocks)
    expect(twice.rootHash).not.toBe(once.rootHash)
  })
})

describe('layerRootHash stops', () => {
  it('in the middle of a hole, and lets the event loop turn meanwhile', async () => {
    const controller = new AbortController()
    const reason = new Error('enough')
    setTimeout(() => {
      controller.abort(reason)
    }, 20)
    const { signal } = controller
    await expect(layerRootHash(pieces(sparseFile(100 * gibibyte)), { signal })).rejects.toBe(reason)
  })

  it('while it reads what is behind the archive', async () => {
    const controller = new AbortController()
    const reason = new Error('enough')
    async function* endless() {
      yield archive(file('f'))
      for (let i = 0; ; i++) {
        if (i === 3) controller.abort(reason)
        yield new Uint8Array(512)
      }
    }
    await expect(layerRootHash(endless(), { signal: controller.signal })).rejects.toBe(reason)
  })
})

describe('the source of a layer', () => {
  it('is read to its end', async () => {
    let ended = false
    async function* source() {
      yield archive(file('f'))
      yield new Uint8Array(10)
      ended = true
    }
    await layerRootHash(source())
    expect(ended).toBe(true)
  })

  it('is closed when the layer is refused', async () => {
    let closed = false
    async function* source() {
      try {
        for (;;) yield archive(hardLink('a', 'b'))
      } finally {
        closed = true
      }
    }
    await expect(layerRootHash(source())).rejects.toMatchObject({ code: 'link-target-missing' })
    expect(closed).toBe(true)
  })

  it('fails with its own error', async () => {
    const failure = new Error('connection lost')
    async function* source() {
      yield file('f', 'data').subarray(0, 600)
      throw failure
    }
    await expect(layerRootHash(source())).rejects.toBe(failure)
  })
})

describe('large files', () => {
  it('are hashed in memory that does not grow with them', async () => {
    const megabyte = 1024 * 1024
    const size = 256 * megabyte
    const sizes: number[] = []
    async function* source() {
      yield entry({ name: 'f', size: octal(size, 11) })
      const piece = new Uint8Array(megabyte).fill(1)
      for (let given = 0; given < size; given += megabyte) {
        sizes.push(process.memoryUsage.rss())
        yield piece
      }
    }
    await layerRootHash(source())
    const [early, late] = [Math.max(...sizes.slice(0, 32)), Math.max(...sizes.slice(-32))]
    expect(late - early).toBeLessThan(64 * megabyte)
  })

  it('of more than four extents get a tree in a block behind their data', async () => {
    const blocks = new Map<number, Buffer>()
    const size = 5 * 128 * 1024 * 1024
    const hash = await layerRootHash(zeroFile(size), {
      onBlock: (index, block) => {
        if (block[0] !== 0) blocks.set(index, Buffer.from(block))
      }
    })
    const leaf = blocks.get(9 + size / 4096)
    expect(leaf?.readUInt16LE(0)).toBe(0xf30a)
    expect(leaf?.readUInt16LE(2)).toBe(5)
    expect(leaf?.readUInt32LE(12 * 5 + 8)).toBe(9 + 4 * 32_768)
    expect(hash.blocks).toBeGreaterThan(size / 4096 + 10)
  })
})

async function* zeroFile(size: number): AsyncGenerator<Uint8Array, void, void> {
  yield entry({ name: 'f', size: octal(size, 11) })
  const zeros = new Uint8Array(1024 * 1024)
  for (let left = size; left > 0; left -= zeros.length) yield zeros
}

async function hashOf(tar: Uint8Array, options?: LayerHashOptions): Promise<LayerHash> {
  return layerRootHash(pieces(tar, 65_536), options)
}

/** One sparse file that is a hole, in GNU's old format. */
function sparseFile(size: number): Buffer {
  return archive(entry({ name: 'sparse', type: 'S', format: 'gnu', patches: [[483, base256(BigInt(size), 12)]] }))
}
