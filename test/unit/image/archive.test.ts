import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from '@jest/globals'
import { ociDigest } from '../../../src/base/digest.js'
import { imageFacts, openArchiveImage } from '../../../src/image/index.js'
import { bytesOf, temporaryFolder, vectors } from './support.js'
import { tarFile, type Member } from './tar-file.js'

interface GoldenImage {
  file: string
  ref: string
  kind: string
  manifest_digest: string | null
  config: Record<string, unknown>
  layer_diff_ids: string[]
  root_hashes?: string[]
}

const golden = (JSON.parse(readFileSync(join(vectors, 'images.json'), 'utf8')) as { images: GoldenImage[] }).images
const tinyRootHash = golden[0]?.root_hashes?.[0]

describe('openArchiveImage with the archives of the real tools', () => {
  it.each(golden.map((image) => [image.file, image] as const))('reads %s', async (file, expected) => {
    const image = await openArchiveImage(join(vectors, file), expected.ref)
    expect(image.digest).toBe(expected.manifest_digest ?? undefined)
    expect(image.layers.map(({ diffId }) => diffId)).toEqual(expected.layer_diff_ids)
    const { ExposedPorts: ports = {}, ...members } = expected.config
    expect(image.config.ExposedPorts).toEqual(Object.keys(ports as object))
    for (const [member, value] of Object.entries(members)) {
      expect(image.config).toHaveProperty(member, value === '' ? undefined : value)
    }
    const facts = await imageFacts(image)
    // The original tool does not read zstd; that layer is the one of the other tiny images.
    expect(facts.layers).toEqual(expected.root_hashes ?? [tinyRootHash])
  })

  it('takes a digest in the reference when the archive can prove it', async () => {
    const image = golden.find(({ file }) => file === 'tiny-oci-gzip.tar')
    const pinned = `localhost/tiny@${image?.manifest_digest ?? ''}`
    expect((await openArchiveImage(join(vectors, 'tiny-oci-gzip.tar'), pinned)).digest).toBe(image?.manifest_digest)
    await expect(openArchiveImage(join(vectors, 'tiny-docker.tar'), pinned)).rejects.toMatchObject({
      code: 'image.unpinnable'
    })
  })

  it.each(['tiny-docker.tar', 'tiny-oci-gzip.tar', 'tiny-hybrid.tar'])('finds no other name in %s', async (file) => {
    const opening = openArchiveImage(join(vectors, file), 'localhost/other:9')
    await expect(opening).rejects.toMatchObject({ code: 'image.not-found', why: 'it holds "localhost/tiny:1"' })
  })

  it('finds no other digest', async () => {
    const opening = openArchiveImage(join(vectors, 'tiny-oci-gzip.tar'), `localhost/tiny@sha256:${'0'.repeat(64)}`)
    await expect(opening).rejects.toMatchObject({ code: 'image.not-found' })
  })
})

const layer = tarFile([
  { name: 'etc/', type: '5' },
  { name: 'etc/x', content: 'x' }
])
const config = { architecture: 'amd64', os: 'linux', config: { Cmd: ['x'] }, rootfs: { diff_ids: [ociDigest(layer)] } }

describe('a docker-archive', () => {
  it('is read with links between layers and names with ./', async () => {
    const image = await open([
      { name: './manifest.json', content: manifest({ Layers: ['b/layer.tar'] }) },
      { name: './config.json', content: JSON.stringify(config) },
      { name: './a/layer.tar', content: layer },
      { name: './b/layer.tar', type: '2', link: '../a/layer.tar' }
    ])
    expect(await bytesOf(image.layers[0]!.open())).toEqual(Buffer.from(layer))
  })

  it('is read when a pax header or a GNU header has the name of a member', async () => {
    const name = `${'long/'.repeat(60)}layer.tar`
    for (const headers of ['pax', 'gnu'] as const) {
      const image = await open([
        { name: 'manifest.json', content: manifest({ Layers: [name] }) },
        { name: 'config.json', content: JSON.stringify(config) },
        { name, content: layer, headers }
      ])
      expect(image.layers[0]?.size).toBe(layer.length)
      expect(await bytesOf(image.layers[0]!.open())).toEqual(Buffer.from(layer))
    }
  })

  it('never leaves the archive, whatever its names are', async () => {
    const secret = join(temporaryFolder(), 'secret')
    writeFileSync(secret, JSON.stringify(config))
    for (const name of [secret, `../../../../../../../..${secret}`, '../config.json']) {
      const opening = open([
        { name: 'manifest.json', content: manifest({ Config: name, Layers: [] }) },
        { name: 'config.json', type: '2', link: secret }
      ])
      await expect(opening).rejects.toMatchObject({ code: 'image.malformed' })
    }
    const throughLink = open([
      { name: 'manifest.json', content: manifest({ Layers: [] }) },
      { name: 'config.json', type: '2', link: `../../../../../../../..${secret}` }
    ])
    await expect(throughLink).rejects.toMatchObject({ code: 'image.malformed' })
  })

  it('does not confuse a member with .. in its name with another one', async () => {
    const image = await open([
      { name: 'manifest.json', content: manifest({ Config: '../../config.json', Layers: ['layer.tar'] }) },
      { name: '../../config.json', content: JSON.stringify(config) },
      { name: 'config.json', content: 'another' },
      { name: 'layer.tar', content: layer }
    ])
    expect(image.config.Cmd).toEqual(['x'])
  })

  it('refuses a config that does not hash to its name', async () => {
    const opening = open([
      { name: 'manifest.json', content: manifest({ Config: `${'a'.repeat(64)}.json`, Layers: ['layer.tar'] }) },
      { name: `${'a'.repeat(64)}.json`, content: JSON.stringify(config) },
      { name: 'layer.tar', content: layer }
    ])
    await expect(opening).rejects.toMatchObject({ code: 'image.digest-mismatch' })
  })

  it('fails at the end of a layer that is not the one of the config', async () => {
    const image = await open([
      { name: 'manifest.json', content: manifest({ Layers: ['layer.tar'] }) },
      { name: 'config.json', content: JSON.stringify(config) },
      { name: 'layer.tar', content: tarFile([{ name: 'other', content: 'x' }]) }
    ])
    await expect(bytesOf(image.layers[0]!.open())).rejects.toMatchObject({ code: 'image.digest-mismatch' })
    await expect(imageFacts(image)).rejects.toMatchObject({ code: 'image.digest-mismatch' })
  })

  it('fails for a layer that differs only behind the end of its archive, where the root hash is the same', async () => {
    const image = await open([
      { name: 'manifest.json', content: manifest({ Layers: ['layer.tar'] }) },
      { name: 'config.json', content: JSON.stringify(config) },
      { name: 'layer.tar', content: Buffer.concat([layer, Buffer.alloc(512 * 1024)]) }
    ])
    await expect(imageFacts(image)).rejects.toMatchObject({ code: 'image.digest-mismatch' })
  })

  it.each<[string, readonly Member[], string]>([
    ['a layout of another version', [{ name: 'oci-layout', content: '{"imageLayoutVersion":"2.0.0"}' }, { name: 'index.json', content: '{"schemaVersion":2,"manifests":[]}' }], 'image.unsupported'], // prettier-ignore
    ['a sparse config', [...parts().slice(0, 1), { name: 'config.json', type: 'S', content: JSON.stringify(config) }], 'image.malformed'], // prettier-ignore
    ['a config of an unknown type', [...parts().slice(0, 1), { name: 'config.json', type: 'Z', content: JSON.stringify(config) }], 'image.malformed'], // prettier-ignore
    ['two members of one name', [...parts(), { name: 'config.json', content: '{}' }], 'image.malformed'],
    ['a link to a link', [...parts({ Layers: ['l'] }), { name: 'l', type: '2', link: 'l' }], 'image.malformed'],
    ['a missing layer', parts({ Layers: ['missing'] }), 'image.malformed'],
    ['a layer too many', parts({ Layers: ['layer.tar', 'layer.tar'] }), 'image.malformed'],
    ['layers that are no list', parts({ Layers: 'layer.tar' as never }), 'image.malformed'],
    ['a manifest.json that is no list', [{ name: 'manifest.json', content: '{}' }], 'image.malformed'],
    ['a manifest.json that is no JSON', [{ name: 'manifest.json', content: '[' }], 'image.malformed'],
    ['an image without a name', parts({ RepoTags: null as never }), 'image.not-found'],
    ['neither kind of manifest', [{ name: 'hello', content: 'x' }], 'image.unsupported'],
    ['another architecture', parts({}, { ...config, architecture: 'arm64' }), 'image.unsupported'],
    ['another operating system', parts({}, { ...config, os: 'windows' }), 'image.unsupported'],
    ['a config without layers', parts({}, { ...config, rootfs: {} as never }), 'image.malformed'],
    ['an Env that is no list', parts({}, { ...config, config: { Env: 'A=1' } as never }), 'image.malformed'],
    ['a Cmd with a number in it', parts({}, { ...config, config: { Cmd: [1] } as never }), 'image.malformed'],
    ['a User that is no text', parts({}, { ...config, config: { User: 7 } as never }), 'image.malformed']
  ])('is refused with %s', async (_, members, code) => {
    await expect(open(members)).rejects.toMatchObject({ code })
  })
})

describe('a tar file', () => {
  it('is refused when it is missing, cut short, damaged, compressed or something else', async () => {
    const whole = tarFile(parts())
    const damaged = Buffer.from(whole)
    damaged[3] = 0x41
    await expect(openArchiveImage(join(temporaryFolder(), 'none.tar'), 'x:1')).rejects.toMatchObject({
      code: 'image.not-found'
    })
    await expect(openBytes(whole.subarray(0, 700))).rejects.toMatchObject({ code: 'image.malformed' })
    await expect(openBytes(whole.subarray(0, 100))).rejects.toMatchObject({ code: 'image.malformed' })
    await expect(openBytes(damaged)).rejects.toMatchObject({ code: 'image.malformed' })
    await expect(openBytes(Buffer.from('hello world'.repeat(100)))).rejects.toMatchObject({ code: 'image.malformed' })
    const compressed = Buffer.concat([Buffer.from([0x1f, 0x8b]), Buffer.alloc(600)])
    await expect(openBytes(compressed)).rejects.toMatchObject({ code: 'image.unsupported' })
  })

  it('is refused when a member claims more than there is, in any number format', async () => {
    for (const size of [
      '77777777777',
      '\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff',
      '\xff'.repeat(12),
      '99999999999'
    ]) {
      const opening = openBytes(tarFile([{ name: 'manifest.json', content: '[]', rawSize: size }]))
      await expect(opening).rejects.toMatchObject({ code: 'image.malformed' })
    }
  })

  it('is refused when an extended header is huge or malformed', async () => {
    const huge = openBytes(tarFile([{ name: 'x', type: 'x', content: Buffer.alloc(1024 * 1024 + 1) }]))
    await expect(huge).rejects.toMatchObject({ code: 'image.too-large' })
    for (const content of ['no length', '5 a=b', '6 a=b\n7', '6 a=bX', '0 a=b\n', '99 a=b\n', '16 size=nothing\n']) {
      const opening = openBytes(tarFile([{ name: 'x', type: 'x', content }, ...parts()]))
      await expect(opening).rejects.toMatchObject({ code: 'image.malformed' })
    }
  })

  it('is read in the same way as a layer where readers could differ', async () => {
    const linkWithSize = { name: 'other', type: '1', link: './layer.tar', rawSize: '00000001000\0' }
    const image = await open([
      { name: 'manifest.json', content: manifest({ Layers: ['other'] }) },
      linkWithSize,
      { name: 'config.json', content: JSON.stringify(config) },
      { name: 'layer.tar', content: layer }
    ])
    expect(await bytesOf(image.layers[0]!.open())).toEqual(Buffer.from(layer))
    const paxSize = [
      { name: 'manifest.json', content: manifest({}) },
      { name: 'x', type: 'x', content: `${String(layer.length).length + 9} size=${layer.length}\n` },
      { name: 'layer.tar', content: layer, rawSize: '00000000000\0' },
      { name: 'x', type: 'x', content: '8 size=\n' },
      { name: 'config.json', content: JSON.stringify(config) }
    ]
    expect(await bytesOf((await open(paxSize)).layers[0]!.open())).toEqual(Buffer.from(layer))
  })

  it('may end without end blocks', async () => {
    const whole = tarFile(parts())
    expect((await openBytes(whole.subarray(0, whole.length - 1024))).config.Cmd).toEqual(['x'])
  })
})

function parts(entry: Parameters<typeof manifest>[0] = {}, document: unknown = config): Member[] {
  return [
    { name: 'manifest.json', content: manifest(entry) },
    { name: 'config.json', content: JSON.stringify(document) },
    { name: 'layer.tar', content: layer }
  ]
}

function manifest(entry: { Config?: string; RepoTags?: string[]; Layers?: string[] }): string {
  return JSON.stringify([{ Config: 'config.json', RepoTags: ['localhost/x:1'], Layers: ['layer.tar'], ...entry }])
}

function open(members: readonly Member[]) {
  return openBytes(tarFile(members))
}

function openBytes(bytes: Uint8Array) {
  const path = join(temporaryFolder(), 'image.tar')
  writeFileSync(path, bytes)
  return openArchiveImage(path, 'localhost/x:1')
}
