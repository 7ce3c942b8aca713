import { describe, expect, it } from '@jest/globals'
import { bytesOf, readTar, type LayerErrorCode, type TarEntry } from '../../../src/layers/index.js'
import {
  archive,
  base256,
  collect,
  directory,
  entry,
  file,
  hardLink,
  octal,
  pax,
  pieces,
  symbolicLink
} from './tar-builder.js'

describe('readTar', () => {
  it('gives entries with their fields and contents', async () => {
    const tar = archive(
      directory('d/', { mode: octal(0o41777, 7) }),
      file('d/f', 'hello', { mode: octal(0o104755, 7), uid: octal(1000, 7), gid: octal(100, 7), mtime: octal(12, 11) }),
      symbolicLink('l', 'd/f'),
      hardLink('h', 'd/f'),
      entry({ name: 'null', type: '3', deviceMajor: octal(1, 7), deviceMinor: octal(3, 7) }),
      entry({ name: 'disk', type: '4', deviceMajor: octal(8, 7), deviceMinor: octal(1, 7) }),
      entry({ name: 'pipe', type: '6' })
    )
    const entries = await read(tar)
    expect(entries.map(({ entry: { kind, path, linkPath } }) => [kind, path, linkPath])).toEqual([
      ['directory', 'd/', ''],
      ['file', 'd/f', ''],
      ['symbolic-link', 'l', 'd/f'],
      ['hard-link', 'h', 'd/f'],
      ['character-device', 'null', ''],
      ['block-device', 'disk', ''],
      ['fifo', 'pipe', '']
    ])
    expect(entries[0]?.entry.mode).toBe(0o1777)
    expect(entries[1]?.entry).toMatchObject({
      typeFlag: '0',
      size: 5,
      mode: 0o4755,
      uid: 1000,
      gid: 100,
      modifiedAt: { seconds: 12, nanoseconds: 0 },
      accessedAt: undefined,
      changedAt: undefined
    })
    expect(entries[1]?.contents).toBe('hello')
    expect(entries[4]?.entry).toMatchObject({ deviceMajor: 1, deviceMinor: 3 })
  })

  it('skips contents that nobody reads, and what is left of those that somebody does', async () => {
    const tar = archive(file('a', 'x'.repeat(2000)), file('b', 'y'.repeat(2000)), file('c', 'z'))
    const paths: string[] = []
    for await (const { path, data } of readTar(pieces(tar, 300))) {
      paths.push(path)
      if (path === 'b') for await (const piece of data) if (piece.length > 0) break
    }
    expect(paths).toEqual(['a', 'b', 'c'])
  })

  it('does not give contents twice, or after the next entry was asked for', async () => {
    const kept: TarEntry[] = []
    for await (const next of readTar(pieces(archive(file('a', 'x'), file('b', 'y')), 512))) {
      kept.push(next)
      if (next.path === 'b') {
        await expect(collect(next.data)).resolves.toEqual(Buffer.from('y'))
        expect(() => next.data[Symbol.asyncIterator]()).toThrow('only once')
      }
    }
    await expect(collect(kept[0]?.data ?? pieces(Buffer.alloc(0)))).rejects.toThrow('before the next entry')
  })

  it('closes its source when the caller stops', async () => {
    let closed = false
    async function* source() {
      try {
        for (;;) yield file('f', 'x')
      } finally {
        closed = true
      }
    }
    for await (const { path } of readTar(source())) if (path === 'f') break
    expect(closed).toBe(true)
  })

  it('keeps the bytes of names that are not UTF-8', async () => {
    const [only] = await read(archive(entry({ name: Uint8Array.of(0x61, 0xff) })))
    expect(only?.entry.path).toBe('a\ufffd')
    expect(bytesOf(only?.entry.pathBytes ?? ('' as never))).toEqual(Buffer.from([0x61, 0xff]))
  })

  describe('numbers', () => {
    it('may be base-256, negative too', async () => {
      const [only] = await read(archive(entry({ mtime: base256(-5n, 12), patches: [[108, base256(70_000n, 8)]] })))
      expect(only?.entry).toMatchObject({ uid: 70_000, modifiedAt: { seconds: -5, nanoseconds: 0 } })
    })

    it('may be padded with spaces and NULs, and empty', async () => {
      const [only] = await read(archive(entry({ uid: '  17 \0  ', gid: '\0\0\0\0\0\0\0\0', mode: ' 644\0xyz' })))
      expect(only?.entry).toMatchObject({ uid: 0o17, gid: 0, mode: 0o644 })
    })

    it('keep their lower 32 bits where a file system has no more', async () => {
      const records = pax([['uid', '4294967297'], ['gid', '-2']]) // prettier-ignore
      const [only] = await read(archive(records, file('f')))
      expect(only?.entry).toMatchObject({ uid: 1, gid: 0xffff_fffe })
    })
  })

  describe('extended headers', () => {
    it('replace what is in the header, except by an empty value', async () => {
      const records = pax([
        ['path', 'long'],
        ['linkpath', 'target'],
        ['uid', '5'],
        ['size', '3'],
        ['mtime', '1.5'],
        ['atime', '-1.5'],
        ['ctime', '2.1234567899'],
        ['gid', '']
      ])
      const [only] = await read(archive(records, file('f', 'abc', { gid: octal(7, 7), size: octal(0, 11) })))
      expect(only).toMatchObject({
        contents: 'abc',
        entry: {
          path: 'long',
          linkPath: 'target',
          uid: 5,
          gid: 7,
          modifiedAt: { seconds: 1, nanoseconds: 500_000_000 },
          accessedAt: { seconds: -2, nanoseconds: 500_000_000 },
          changedAt: { seconds: 2, nanoseconds: 123_456_789 }
        }
      })
    })

    it('carry extended attributes of any bytes', async () => {
      const value = Uint8Array.of(0, 1, 0x3d, 0x0a, 0xff)
      const [only] = await read(archive(pax([['SCHILY.xattr.user.a', value], ['SCHILY.xattr.b', '']]), file('f'))) // prettier-ignore
      expect([...(only?.entry.xattrs ?? [])]).toEqual([
        ['user.a', Buffer.from(value)],
        ['b', Buffer.alloc(0)]
      ])
    })

    it('hold for one entry, and a second one replaces the first', async () => {
      const entries = await read(archive(pax([['path', 'a'], ['uid', '1']]), pax([['path', 'b']]), file('f'), file('g'))) // prettier-ignore
      expect(entries.map(({ entry: { path, uid } }) => [path, uid])).toEqual([
        ['b', 0],
        ['g', 0]
      ])
    })

    it('yield to a long name of GNU, unless that is empty', async () => {
      const long = (name: string) => entry({ type: 'L', format: 'gnu', data: `${name}\0` })
      const records = pax([['path', 'pax']])
      const entries = await read(archive(records, long('gnu'), file('f'), long(''), file('g')))
      expect(entries.map(({ entry: { path } }) => path)).toEqual(['gnu', 'g'])
    })

    it('that are global come out as an entry of their own and change no other', async () => {
      const global = pax([['path', 'all'], ['comment', 'x'], ['SCHILY.xattr.user.a', '1']], 'g') // prettier-ignore
      const entries = await read(archive(pax([['uid', '5']]), global, file('f')))
      expect(entries.map(({ entry: { kind, path, mode, uid, size } }) => [kind, path, mode, uid, size])).toEqual([
        ['global-header', 'all', 0, 0, 0],
        ['file', 'f', 0o644, 0, 0]
      ])
      expect(entries[0]?.entry).toMatchObject({ modifiedAt: undefined, typeFlag: 'g' })
      expect(entries[0]?.entry.xattrs.size).toBe(1)
    })
  })

  describe('formats before pax', () => {
    it('have access and change time in GNU and star', async () => {
      const gnu = entry({ format: 'gnu', patches: [[345, octal(7, 11)], [357, octal(8, 11)]] }) // prettier-ignore
      const star = entry({ format: 'star', patches: [[476, octal(9, 11)], [488, octal(10, 11)], [345, 'p']] }) // prettier-ignore
      const [a, b] = await read(archive(gnu, star))
      expect(a?.entry).toMatchObject({ accessedAt: { seconds: 7 }, changedAt: { seconds: 8 } })
      expect(b?.entry).toMatchObject({ path: 'p/f', accessedAt: { seconds: 9 }, changedAt: { seconds: 10 } })
    })

    it('have a prefix in GNU headers of old Go programs, if it is ASCII', async () => {
      const [a, b] = await read(
        archive(
          entry({ format: 'gnu', patches: [[345, 'dir/of/go']] }),
          entry({ format: 'gnu', patches: [[345, 'dir/\u00ff']] })
        )
      )
      expect(a?.entry).toMatchObject({ path: 'dir/of/go/f', accessedAt: undefined, changedAt: undefined })
      expect(b?.entry).toMatchObject({ path: 'f', accessedAt: undefined })
    })

    it('have neither prefix nor devices in v7', async () => {
      const [only] = await read(archive(entry({ format: 'v7', deviceMajor: 'rubbish', patches: [[345, 'prefix']] })))
      expect(only?.entry).toMatchObject({ path: 'f', deviceMajor: 0 })
    })

    it('accept the signed checksum of old Sun tars', async () => {
      const header = entry({ name: Uint8Array.of(0xe4, 0xf6) })
      const sum = Number.parseInt(header.toString('latin1', 148, 154), 8)
      header.write(octal(sum - 512, 6), 148, 'latin1')
      expect((await read(archive(header))).length).toBe(1)
    })
  })

  describe('the end of an archive', () => {
    const whole = file('f', 'abc')
    const ends: Readonly<Record<string, Buffer>> = {
      'is two blocks of zeros, whatever follows': Buffer.concat([whole, Buffer.alloc(1024), Buffer.from('rubbish')]),
      'may be one block of zeros': Buffer.concat([whole, Buffer.alloc(512)]),
      'may be the end of the bytes': whole,
      'may be inside the padding': whole.subarray(0, 515)
    }
    for (const [what, tar] of Object.entries(ends)) {
      it(what, async () => {
        expect((await read(tar)).map(({ contents }) => contents)).toEqual(['abc'])
      })
    }
  })

  describe('sparse files', () => {
    const expected = `${'\0'.repeat(10)}abc${'\0'.repeat(7)}de${'\0'.repeat(8)}`
    const records00 = [
      ['GNU.sparse.size', '30'],
      ['GNU.sparse.numblocks', '2'],
      ['GNU.sparse.offset', '10'],
      ['GNU.sparse.numbytes', '3'],
      ['GNU.sparse.offset', '20'],
      ['GNU.sparse.numbytes', '2']
    ] as const
    const records01 = [
      ['GNU.sparse.major', '0'],
      ['GNU.sparse.minor', '1'],
      ['GNU.sparse.name', 'real'],
      ['GNU.sparse.size', '30'],
      ['GNU.sparse.numblocks', '2'],
      ['GNU.sparse.map', '10,3,20,2']
    ] as const
    const records10 = [
      ['GNU.sparse.major', '1'],
      ['GNU.sparse.minor', '0'],
      ['GNU.sparse.realsize', '30']
    ] as const
    const map10 = Buffer.alloc(512, '2\n10\n3\n20\n2\n\0'.padEnd(512, '\0'))
    const oldMap = Buffer.concat(
      [octal(10, 11), octal(3, 11), octal(20, 11), octal(2, 11)].map((text) => Buffer.from(text))
    )
    const old = entry({ type: 'S', format: 'gnu', data: 'abcde', patches: [[386, oldMap], [483, octal(30, 11)]] }) // prettier-ignore
    const archives: Readonly<Record<string, Buffer>> = {
      'of pax 0.0': archive(pax(records00), file('f', 'abcde')),
      'of pax 0.1': archive(pax(records01), file('f', 'abcde')),
      'of pax 1.0': archive(pax(records10), file('f', Buffer.concat([map10, Buffer.from('abcde')]))),
      'of old GNU': archive(old)
    }
    for (const [what, tar] of Object.entries(archives)) {
      it(`${what} come with their holes`, async () => {
        const [only] = await read(tar)
        expect(only?.entry.size).toBe(30)
        expect(only?.contents).toBe(expected)
      })
    }

    it('of old GNU may have more fragments than fit the header', async () => {
      const fragments = Array.from({ length: 6 }, (_, i) => octal(2 * i, 11) + octal(1, 11))
      const header = entry({
        type: 'S',
        format: 'gnu',
        size: octal(6, 11),
        patches: [[386, fragments.slice(0, 4).join('')], [482, '\x01'], [483, octal(12, 11)]] // prettier-ignore
      })
      const more = Buffer.alloc(512)
      more.write(fragments.slice(4).join(''), 'latin1')
      const data = Buffer.alloc(512, 'abcdef'.padEnd(512, '\0'))
      const [only, next] = await read(archive(header, more, data, file('g', 'x')))
      expect(only?.contents).toBe('a\0b\0c\0d\0e\0f\0')
      expect(next?.contents).toBe('x')
    })

    it('of pax 0.1 have the name that their map gives them', async () => {
      const [only] = await read(archive(pax(records01), file('f', 'abcde')))
      expect(only?.entry.path).toBe('real')
    })

    it('of an unknown version are files as they are stored', async () => {
      const [only] = await read(archive(pax([...records01.slice(2), ['GNU.sparse.major', '2'], ['GNU.sparse.minor', '0']]), file('f', 'abcde'))) // prettier-ignore
      expect(only?.contents).toBe('abcde')
    })

    const sparse01 = (change: Readonly<Record<string, string>>, data = 'abcde') =>
      archive(pax(records01.map(([key, value]) => [key, change[key] ?? value])), file('f', data))
    const faults: readonly (readonly [string, LayerErrorCode, Buffer])[] = [
      ['too few bytes', 'tar-sparse-data', sparse01({}, 'abcd')],
      ['too many bytes', 'tar-sparse-data', sparse01({}, 'abcdef')],
      ['fragments that overlap', 'tar-header', sparse01({ 'GNU.sparse.map': '10,11,20,2' })],
      ['fragments out of order', 'tar-header', sparse01({ 'GNU.sparse.map': '20,2,10,3' })],
      ['a fragment behind the end', 'tar-header', sparse01({ 'GNU.sparse.map': '10,3,29,2' })],
      ['a negative offset', 'tar-header', sparse01({ 'GNU.sparse.map': '-1,3,20,2' })],
      ['another number of fragments', 'tar-header', sparse01({ 'GNU.sparse.numblocks': '3' })],
      ['a number that is none', 'tar-header', sparse01({ 'GNU.sparse.map': '1x,3,20,2' })],
      ['no size', 'tar-header', sparse01({ 'GNU.sparse.size': 'x' })],
      ['offsets and lengths that do not alternate', 'tar-header', archive(pax([records00[3]]), file('f'))],
      ['a map in a directory', 'tar-header', archive(pax(records01), directory('d'))],
      ['a map of star', 'tar-header', archive(entry({ type: 'S', format: 'star' }))],
      ['a map without end', 'tar-truncated', archive(pax(records10), file('f', Buffer.alloc(512, '9')))],
      ['a map that is larger than the limit', 'tar-header-too-long', archive(pax(records10), file('f', Buffer.alloc(1024 * 1024 + 512, '1')))], // prettier-ignore
      ['a count that is larger than the limit', 'tar-header-too-long', archive(pax(records10), file('f', Buffer.alloc(2 * 1024 * 1024, '999999999999\n')))] // prettier-ignore
    ]
    for (const [what, code, tar] of faults) {
      it(`are refused with ${what}`, async () => {
        await expect(read(tar)).rejects.toMatchObject({ name: 'LayerError', code })
      })
    }

    it('of old GNU are refused when their map does not end', async () => {
      const header = entry({ type: 'S', format: 'gnu', patches: [[482, '\x01'], [483, octal(12, 11)]] }) // prettier-ignore
      const more = Buffer.alloc(3000 * 512)
      for (let i = 0; i < 3000; i++) more[i * 512 + 504] = 1
      await expect(read(archive(header, more))).rejects.toMatchObject({ code: 'tar-header-too-long' })
    })
  })

  describe('refuses', () => {
    const header = (patches: readonly (readonly [number, string | Uint8Array])[], type = '0') =>
      archive(entry({ type, patches }))
    const record = (text: string) => archive(entry({ type: 'x', data: text }), file('f'))
    const faults: readonly (readonly [string, LayerErrorCode, Buffer])[] = [
      ['a header cut short', 'tar-truncated', file('f').subarray(0, 511)],
      ['contents cut short', 'tar-truncated', file('f', 'abc').subarray(0, 514)],
      ['an extended header cut short', 'tar-truncated', pax([['path', 'x']]).subarray(0, 515)],
      ['a second block of zeros cut short', 'tar-truncated', Buffer.alloc(600)],
      ['an archive that goes on after one block of zeros', 'tar-header', Buffer.concat([Buffer.alloc(512), file('f')])],
      ['a changed byte in a header', 'tar-header', archive(damaged(file('f'), 3))],
      ['a size that is no number', 'tar-header', header([[124, '9']])],
      ['a device number that is none, on a file too', 'tar-header', header([[329, 'x']])],
      ['a negative size', 'tar-header', archive(entry({ size: base256(-1n, 12) }))],
      ['a negative size, even if a record replaces it', 'tar-header', archive(pax([['size', '1']]), entry({ size: base256(-1n, 12) }))], // prettier-ignore
      ['a number of more than 64 bits', 'tar-header', archive(entry({ mtime: base256(2n ** 63n, 12) }))],
      ['a record without a length', 'tar-header', record('path=x\n')],
      ['a record with a wrong length', 'tar-header', record('8 path=x\n')],
      ['a record longer than its header', 'tar-header', record('99 path=x\n')],
      ['a record without "="', 'tar-header', record('7 path\n')],
      ['a record without a key', 'tar-header', record('5 =x\n')],
      ['a record whose length covers nothing', 'tar-header', record('000005 =x\n')],
      ['a path with a NUL', 'tar-header', archive(pax([['path', 'a\0b']]), file('f'))],
      ['a key with a NUL', 'tar-header', archive(pax([['a\0b', 'x']]), file('f'))],
      ['a time that is none', 'tar-header', archive(pax([['mtime', '1.x']]), file('f'))],
      ['a time without seconds', 'tar-header', archive(pax([['mtime', '.5']]), file('f'))],
      ['a user id of more than 64 bits', 'tar-header', archive(pax([['uid', '9223372036854775808']]), file('f'))],
      ['an extended header of more than 1 MiB', 'tar-header-too-long', archive(pax([['path', 'x'.repeat(1024 * 1024)]]), file('f'))] // prettier-ignore
    ]
    for (const [what, code, tar] of faults) {
      it(what, async () => {
        await expect(read(tar)).rejects.toMatchObject({ name: 'LayerError', code })
      })
    }
  })
})

interface ReadEntry {
  readonly entry: TarEntry
  readonly contents: string
}

async function read(tar: Uint8Array): Promise<ReadEntry[]> {
  const entries: ReadEntry[] = []
  for await (const next of readTar(pieces(tar, 700))) {
    entries.push({ entry: next, contents: (await collect(next.data)).toString('latin1') })
  }
  return entries
}

function damaged(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes)
  copy[at] = (copy[at] ?? 0) ^ 1
  return copy
}
