import { appendFileSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { describe, expect, it } from '@jest/globals'
import { openLayoutImage } from '../../../src/image/index.js'
import { blobFile, Blobs, types, type TestDescriptor } from './oci-layout.js'
import { bytesOf, temporaryFolder } from './support.js'
import { tarFile } from './tar-file.js'

const tar = tarFile([{ name: 'x', content: 'x'.repeat(3000) }])
const otherTar = tarFile([{ name: 'y', content: 'y' }])
const named = (descriptor: TestDescriptor, name: string, more = {}) => ({
  ...descriptor,
  annotations: { 'io.containerd.image.name': name, 'org.opencontainers.image.ref.name': name.split(':').pop(), ...more }
})

describe('openLayoutImage', () => {
  it('opens by tag, by digest and by both', async () => {
    const blobs = new Blobs()
    const first = blobs.image([{ tar }])
    const second = blobs.image([{ tar: otherTar }])
    const layout = blobs.writeLayout(temporaryFolder(), [named(first, 'ghcr.io/o/a:1'), named(second, 'ghcr.io/o/a:2')])
    for (const reference of [
      'ghcr.io/o/a:2',
      `ghcr.io/o/a@${second.digest}`,
      // The digest decides: which name an entry has in a layout is anybody's choice.
      `ghcr.io/o/a:1@${second.digest}`,
      `example.org/renamed@${second.digest}`
    ]) {
      expect((await openLayoutImage(layout, reference)).digest).toBe(second.digest)
    }
  })

  it.each([
    ['the tag alone', { 'org.opencontainers.image.ref.name': '1' }],
    ['the whole name as short name', { 'org.opencontainers.image.ref.name': 'ghcr.io/o/a:1' }],
    ['Docker defaults in the name', { 'io.containerd.image.name': 'ghcr.io/o/a:1' }],
    ['no name, when it is the only entry', {}]
  ])('finds an entry that has %s', async (_, annotations) => {
    const blobs = new Blobs()
    const image = blobs.image([{ tar }])
    const layout = blobs.writeLayout(temporaryFolder(), [{ ...image, annotations }])
    expect((await openLayoutImage(layout, 'ghcr.io/o/a:1')).digest).toBe(image.digest)
  })

  it('does not take the only entry when it has another name', async () => {
    for (const annotations of [
      { 'org.opencontainers.image.ref.name': '2' },
      { 'io.containerd.image.name': 'ghcr.io/o/b:1', 'org.opencontainers.image.ref.name': '1' },
      { 'io.containerd.image.name': 'NO REFERENCE' }
    ]) {
      const blobs = new Blobs()
      const layout = blobs.writeLayout(temporaryFolder(), [{ ...blobs.image([{ tar }]), annotations }])
      await expect(openLayoutImage(layout, 'ghcr.io/o/a:1')).rejects.toMatchObject({ code: 'image.not-found' })
    }
  })

  it('refuses to choose between two images of one name', async () => {
    const blobs = new Blobs()
    const entries = [blobs.image([{ tar }]), blobs.image([{ tar: otherTar }])].map((image) =>
      named(image, 'ghcr.io/o/a:1')
    )
    const layout = blobs.writeLayout(temporaryFolder(), entries)
    await expect(openLayoutImage(layout, 'ghcr.io/o/a:1')).rejects.toMatchObject({ code: 'image.malformed' })
  })

  it('takes linux/amd64 out of an index, also out of an index in an index', async () => {
    const blobs = new Blobs()
    const amd64 = blobs.image([{ tar }])
    const arm64 = blobs.image([{ tar: otherTar }], { architecture: 'arm64' })
    const attestation = {
      ...blobs.image([{ tar }], { manifest: { annotations: { a: 'b' } } }),
      platform: { os: 'unknown', architecture: 'unknown' }
    }
    const index = blobs.index([attestation, arm64, amd64])
    const outer = blobs.index([index])
    const layout = blobs.writeLayout(temporaryFolder(), [named(outer, 'ghcr.io/o/a:1')])
    for (const reference of ['ghcr.io/o/a:1', `a@${outer.digest}`, `a@${index.digest}`, `a@${amd64.digest}`]) {
      expect((await openLayoutImage(layout, reference)).digest).toBe(amd64.digest)
    }
    await expect(openLayoutImage(layout, `a@${arm64.digest}`)).rejects.toMatchObject({ code: 'image.unsupported' })
  })

  it('refuses an index without linux/amd64, and says what it has', async () => {
    const blobs = new Blobs()
    const index = blobs.index([blobs.image([{ tar }], { architecture: 'arm64' })])
    const layout = blobs.writeLayout(temporaryFolder(), [index])
    await expect(openLayoutImage(layout, 'a:1')).rejects.toMatchObject({
      code: 'image.unsupported',
      why: 'it offers linux/arm64'
    })
  })

  it('does not believe an index that calls another platform linux/amd64', async () => {
    const blobs = new Blobs()
    const arm64 = blobs.image([{ tar }], { architecture: 'arm64' })
    const index = blobs.index([{ ...arm64, platform: { os: 'linux', architecture: 'amd64' } }])
    const layout = blobs.writeLayout(temporaryFolder(), [index])
    await expect(openLayoutImage(layout, 'a:1')).rejects.toMatchObject({ code: 'image.unsupported' })
  })

  it('refuses indexes that go on for ever', async () => {
    const blobs = new Blobs()
    let entry = blobs.index([blobs.image([{ tar }])])
    for (let depth = 0; depth < 4; depth++) entry = blobs.index([entry])
    const layout = blobs.writeLayout(temporaryFolder(), [entry])
    await expect(openLayoutImage(layout, 'a:1')).rejects.toMatchObject({ code: 'image.malformed' })
  })

  it.each([
    ['a member twice', '"layers":[],', 'layers'],
    ['members that differ in case', '"Layers":[],', 'layers'],
    ['members that differ in the Kelvin sign', '"\u212a":1,"k":2,', 'k'],
    ['members that differ in an escape', '"\\u006cayers":[],', 'layers'],
    ['a repeated member further inside', '"x":[{"y":"\\"}"},{"y":{"z":1,"Z":2}}],', 'Z'],
    ['a repeated annotation', '"annotations":{"a":"1","a":"2"},', 'a']
  ])('refuses a manifest that has %s', async (_, members, name) => {
    const blobs = new Blobs()
    const text = blobs.content.get(blobs.image([{ tar }]).digest)!.toString()
    const manifest = blobs.add(types.manifest, Buffer.from(text.replace('{', `{${members}`)))
    const layout = blobs.writeLayout(temporaryFolder(), [manifest])
    await expect(openLayoutImage(layout, 'a:1')).rejects.toMatchObject({
      code: 'image.malformed',
      message: expect.stringContaining(`has the member "${name}" twice`)
    })
  })

  it('takes labels and annotations that differ in case, and the same member in several objects', async () => {
    const blobs = new Blobs()
    const manifest = { annotations: { version: '1', Version: '2' } }
    const image = blobs.image([{ tar }, { tar: otherTar }], { manifest })
    const layout = blobs.writeLayout(temporaryFolder(), [image])
    expect((await openLayoutImage(layout, 'a:1')).layers).toHaveLength(2)
  })

  it('reads an index that others name many times once, and not more indexes than a layout has', async () => {
    const blobs = new Blobs()
    const missing = `a@sha256:${'0'.repeat(64)}`
    const inner = blobs.index([blobs.image([{ tar }])])
    const wide = blobs.writeLayout(temporaryFolder(), [blobs.index(Array.from({ length: 900 }, () => inner))])
    await expect(openLayoutImage(wide, missing)).rejects.toMatchObject({ code: 'image.not-found' })
    const many = Array.from({ length: 1000 }, (_, i) => blobs.index([], { annotations: { i: String(i) } }))
    const deep = blobs.writeLayout(temporaryFolder(), [blobs.index(many)])
    await expect(openLayoutImage(deep, missing)).rejects.toMatchObject({
      code: 'image.malformed',
      message: expect.stringContaining('more indexes than are searched')
    })
  })

  it('notices every blob that is not what its digest says', async () => {
    const blobs = new Blobs()
    const image = blobs.image([{ tar }])
    const content = JSON.parse(blobs.content.get(image.digest)!.toString())
    for (const digest of [image.digest, content.config.digest]) {
      const layout = blobs.writeLayout(temporaryFolder(), [image])
      const path = blobFile(layout, digest)
      writeFileSync(path, readFileSync(path, 'utf8').replace('amd64', 'AMD64').replace('2', '3'))
      await expect(openLayoutImage(layout, 'a:1')).rejects.toMatchObject({ code: 'image.digest-mismatch' })
      appendFileSync(path, ' ')
      await expect(openLayoutImage(layout, 'a:1')).rejects.toMatchObject({ code: 'image.digest-mismatch' })
      rmSync(path)
      await expect(openLayoutImage(layout, 'a:1')).rejects.toMatchObject({ code: 'image.not-found' })
    }
  })

  it.each<[string, (layer: Buffer) => Buffer | undefined, string]>([
    ['changed', (layer) => Buffer.concat([Buffer.from('z'), layer.subarray(1)]), 'image.digest-mismatch'],
    ['cut short', (layer) => layer.subarray(0, layer.length - 1), 'image.digest-mismatch'],
    ['continued', (layer) => Buffer.concat([layer, Buffer.from('z')]), 'image.digest-mismatch'],
    ['missing', () => undefined, 'image.not-found']
  ])('throws by the end of a layer that was %s', async (_, change, code) => {
    for (const blob of [tar, gzipSync(tar)]) {
      const blobs = new Blobs()
      const image = blobs.image([{ tar, blob, mediaType: blob === tar ? types.layer : `${types.layer}+gzip` }])
      const layout = blobs.writeLayout(temporaryFolder(), [image])
      const [layer] = (await openLayoutImage(layout, 'a:1')).layers
      expect(await bytesOf(layer!.open())).toEqual(tar)
      const path = blobFile(layout, layer!.digest)
      const changed = change(readFileSync(path))
      if (changed === undefined) rmSync(path)
      else writeFileSync(path, changed)
      const error: unknown = await bytesOf(layer!.open()).catch((caught: unknown) => caught)
      expect(error).toMatchObject({ code: expect.stringMatching(/^image\.(digest-mismatch|malformed|not-found)$/) })
      if (blob === tar) expect(error).toMatchObject({ code })
    }
  })

  it('throws when a layer has its digest and not its diff id', async () => {
    const blobs = new Blobs()
    const image = blobs.image([{ tar, blob: gzipSync(otherTar), mediaType: `${types.layer}+gzip` }])
    const [layer] = (await openLayoutImage(blobs.writeLayout(temporaryFolder(), [image]), 'a:1')).layers
    await expect(bytesOf(layer!.open())).rejects.toMatchObject({ code: 'image.digest-mismatch' })
  })

  it('throws when a compressed layer goes on after its end, or is no compressed data', async () => {
    for (const blob of [Buffer.concat([gzipSync(tar), Buffer.from('appended')]), gzipSync(tar).subarray(0, 40)]) {
      const blobs = new Blobs()
      const image = blobs.image([{ tar, blob, mediaType: `${types.layer}+gzip` }])
      const [layer] = (await openLayoutImage(blobs.writeLayout(temporaryFolder(), [image]), 'a:1')).layers
      await expect(bytesOf(layer!.open())).rejects.toMatchObject({ code: 'image.malformed' })
    }
  })

  it.each<[string, Record<string, unknown>, string]>([
    [
      'a config that is no container image',
      { config: { mediaType: 'application/vnd.x', digest: `sha256:${'0'.repeat(64)}`, size: 2 } },
      'image.unsupported'
    ],
    [
      'an encrypted layer',
      { layers: [{ mediaType: `${types.layer}+encrypted`, digest: `sha256:${'0'.repeat(64)}`, size: 2 }] },
      'image.unsupported'
    ],
    ['a layer count that differs from the diff ids', { layers: [] }, 'image.malformed'],
    [
      'a digest of another algorithm',
      { layers: [{ mediaType: types.layer, digest: `sha512:${'0'.repeat(128)}`, size: 2 }] },
      'image.malformed'
    ],
    [
      'a digest that is a path',
      { layers: [{ mediaType: types.layer, digest: '../../../etc/passwd', size: 2 }] },
      'image.malformed'
    ],
    [
      'a negative size',
      { layers: [{ mediaType: types.layer, digest: `sha256:${'0'.repeat(64)}`, size: -1 }] },
      'image.malformed'
    ],
    [
      'a size that is a text',
      { layers: [{ mediaType: types.layer, digest: `sha256:${'0'.repeat(64)}`, size: '2' }] },
      'image.malformed'
    ],
    ['manifests besides layers', { manifests: [] }, 'image.malformed'],
    ['another media type than its descriptor', { mediaType: types.index }, 'image.malformed'],
    ['schema version 1', { schemaVersion: 1 }, 'image.unsupported'],
    [
      'a config of 9 MiB',
      { config: { mediaType: types.config, digest: `sha256:${'0'.repeat(64)}`, size: 9 * 1024 ** 2 } },
      'image.too-large'
    ]
  ])('refuses a manifest with %s', async (_, manifest, code) => {
    const blobs = new Blobs()
    const layout = blobs.writeLayout(temporaryFolder(), [blobs.image([{ tar }], { manifest })])
    await expect(openLayoutImage(layout, 'a:1')).rejects.toMatchObject({ code })
  })

  it('refuses a manifest of five megabytes before it reads it', async () => {
    const blobs = new Blobs()
    const image = blobs.image([{ tar }])
    const layout = blobs.writeLayout(temporaryFolder(), [{ ...image, size: 5 * 1024 ** 2 }])
    await expect(openLayoutImage(layout, 'a:1')).rejects.toMatchObject({ code: 'image.too-large' })
  })

  it('refuses what is not a layout', async () => {
    const empty = temporaryFolder()
    await expect(openLayoutImage(empty, 'a:1')).rejects.toMatchObject({ code: 'image.not-found' })
    const blobs = new Blobs()
    const layout = blobs.writeLayout(temporaryFolder(), [blobs.image([{ tar }])])
    writeFileSync(join(layout, 'oci-layout'), '{"imageLayoutVersion":"2.0.0"}')
    await expect(openLayoutImage(layout, 'a:1')).rejects.toMatchObject({ code: 'image.unsupported' })
    writeFileSync(join(layout, 'oci-layout'), '{}')
    await expect(openLayoutImage(layout, 'a:1')).rejects.toMatchObject({ code: 'image.malformed' })
    writeFileSync(join(layout, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
    for (const index of [
      '',
      '[]',
      'null',
      '{"schemaVersion":2}',
      '{"schemaVersion":2,"manifests":[1]}',
      '{"schemaVersion":2,"manifests":{}}'
    ]) {
      writeFileSync(join(layout, 'index.json'), index)
      await expect(openLayoutImage(layout, 'a:1')).rejects.toMatchObject({ code: 'image.malformed' })
    }
    rmSync(join(layout, 'index.json'))
    symlinkSync(layout, join(layout, 'index.json'))
    await expect(openLayoutImage(layout, 'a:1')).rejects.toMatchObject({ code: 'image.file' })
  })

  it('gives back the file when a layer is left early, and can be read again', async () => {
    const blobs = new Blobs()
    const layout = blobs.writeLayout(temporaryFolder(), [blobs.image([{ tar }])])
    const [layer] = (await openLayoutImage(layout, 'a:1')).layers
    for await (const chunk of layer!.open()) {
      expect(chunk.length).toBeGreaterThan(0)
      break
    }
    expect(await bytesOf(layer!.open())).toEqual(tar)
  })
})
