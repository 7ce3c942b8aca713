import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { lstat, mkdir, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { containedLinkTarget, followInside } from '../../../../src/emulator/services/aci/contained-path.js'
import { extractLayers } from '../../../../src/emulator/services/aci/rootfs.js'
import { temporaryDirectory } from '../support/emulator.js'
import { tar, type TarItem } from '../support/tar.js'

let directory: string
let root: string
beforeEach(async () => {
  directory = await temporaryDirectory()
  root = join(directory, 'a', 'rootfs')
  await writeFile(join(directory, 'outside'), 'untouched')
})
afterEach(() => rm(directory, { recursive: true, force: true }))

const signal = new AbortController().signal
const layer = (...items: TarItem[]) => ({
  async *open() {
    yield tar(items)
  }
})
const extract = (...layers: ReturnType<typeof layer>[]) => extractLayers(layers, root, signal)
const read = (path: string) => readFile(join(root, path), 'utf8')

describe('the extraction of layers', () => {
  it('writes files, directories and links, and takes set-user-id away', async () => {
    await extract(
      layer(
        { path: 'bin/', kind: 'directory', mode: 0o755 },
        { path: 'bin/tool', content: 'tool', mode: 0o4755 },
        { path: './bin/other', kind: 'hard-link', linkPath: 'bin/tool' },
        { path: 'sbin', kind: 'symbolic-link', linkPath: '/bin' }
      )
    )
    expect(await read('bin/tool')).toBe('tool')
    expect(await read('bin/other')).toBe('tool')
    expect((await lstat(join(root, 'bin/tool'))).mode & 0o7777).toBe(0o755)
    expect(await readlink(join(root, 'sbin'))).toBe('bin')
    expect(await read('sbin/tool')).toBe('tool')
  })

  it('lets later layers replace, remove and hide what earlier ones hold', async () => {
    await extract(
      layer(
        { path: 'a/one', content: '1' },
        { path: 'a/two', content: '2' },
        { path: 'b/three', content: '3' },
        { path: 'c', content: 'file' }
      ),
      layer(
        { path: 'a/.wh.one', content: '' },
        { path: 'b/new', content: 'new' },
        { path: 'b/.wh..wh..opq', content: '' },
        { path: 'c', kind: 'directory', mode: 0o755 },
        { path: 'a/two', content: 'changed' }
      )
    )
    expect((await readdir(join(root, 'a'))).sort()).toEqual(['two'])
    expect(await read('a/two')).toBe('changed')
    expect(await readdir(join(root, 'b'))).toEqual(['new'])
    expect((await lstat(join(root, 'c'))).isDirectory()).toBe(true)
  })

  it.each<[string, TarItem[]]>([
    ['a path that climbs', [{ path: '../../outside', content: 'evil' }]],
    ['an absolute path', [{ path: '/../../../outside', content: 'evil' }]],
    [
      'a link that climbs, written through',
      [
        { path: 'l', kind: 'symbolic-link', linkPath: '../../..' },
        { path: 'l/outside', content: 'evil' }
      ]
    ],
    [
      'an absolute link, written through',
      [
        { path: 'l', kind: 'symbolic-link', linkPath: '/' },
        { path: 'l/outside', content: 'evil' }
      ]
    ],
    [
      'a link to a file, overwritten',
      [
        { path: 'outside', kind: 'symbolic-link', linkPath: '../../outside' },
        { path: 'outside', content: 'evil' }
      ]
    ],
    [
      'a link in a link',
      [
        { path: 'd/x', kind: 'symbolic-link', linkPath: '../..' },
        { path: 'y', kind: 'symbolic-link', linkPath: 'd/x/..' },
        { path: 'y/outside', content: 'evil' }
      ]
    ],
    ['a hard link to the outside', [{ path: 'outside', kind: 'hard-link', linkPath: '../../outside' }]],
    ['a whiteout that climbs', [{ path: '../../.wh.outside', content: '' }]]
  ])('keeps inside: %s', async (_, items) => {
    await extract(layer(...items)).catch(() => undefined)
    expect(await readFile(join(directory, 'outside'), 'utf8')).toBe('untouched')
    expect((await readdir(directory)).sort()).toEqual(['a', 'outside'])
    expect(await readdir(join(directory, 'a'))).toEqual(['rootfs'])
  })

  it('never leaves a link on disk that the host could follow out of the root', async () => {
    await extract(
      layer(
        { path: 'deep/er/up', kind: 'symbolic-link', linkPath: '../../../../../../../etc/passwd' },
        { path: 'deep/abs', kind: 'symbolic-link', linkPath: '/etc/passwd' },
        { path: 'loop', kind: 'symbolic-link', linkPath: 'loop' }
      )
    )
    expect(await readlink(join(root, 'deep/er/up'))).toBe('../../etc/passwd')
    expect(await readlink(join(root, 'deep/abs'))).toBe('../etc/passwd')
    await expect(extract(layer({ path: 'loop/x', content: '' }))).rejects.toThrow('too many levels of symbolic links')
  })

  it('stops at its limits', async () => {
    const limits = { maxEntries: 2, maxBytes: 10 }
    const many = layer({ path: 'a', content: '' }, { path: 'b', content: '' }, { path: 'c', content: '' })
    await expect(extractLayers([many], root, signal, limits)).rejects.toThrow('too many files')
    await expect(extractLayers([layer({ path: 'a', content: 'x'.repeat(11) })], root, signal, limits)).rejects.toThrow(
      'too large'
    )
    await expect(extractLayers([layer({ path: 'a', content: '' })], root, AbortSignal.abort())).rejects.toThrow()
  })

  it('reads a layer to its end, where its digest is checked', async () => {
    const damaged = {
      async *open() {
        yield tar([{ path: 'a', content: 'x' }])
        yield new Uint8Array(512)
        throw new Error('the digest is wrong')
      }
    }
    await expect(extractLayers([damaged], root, signal)).rejects.toThrow('the digest is wrong')
  })
})

describe('a path inside a root', () => {
  it('is followed as if the root were everything', async () => {
    await mkdir(join(root, 'real'), { recursive: true })
    await writeFile(join(root, 'real/file'), '')
    await extract(layer({ path: 'link', kind: 'symbolic-link', linkPath: '/real' }))
    expect(await followInside(root, '/link/../../link/file', { followLast: true })).toEqual({
      inside: '/real/file',
      onHost: join(root, 'real/file'),
      exists: true
    })
    expect(await followInside(root, '/none/below', { followLast: true })).toMatchObject({
      exists: false,
      inside: '/none/below'
    })
    await expect(followInside(root, '/real/file/x', { followLast: true })).rejects.toThrow('not a directory')
    await expect(followInside(root, '/a\0b', { followLast: true })).rejects.toThrow('zero byte')
  })

  it('gives links a target that means the same and stays inside', () => {
    expect(containedLinkTarget('/a/b', '/c')).toBe('../../c')
    expect(containedLinkTarget('/', '../../x')).toBe('x')
    expect(containedLinkTarget('/a', '.')).toBe('.')
  })
})
