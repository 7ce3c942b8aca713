import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterEach, describe, expect, it } from '@jest/globals'
import { ociDigest } from '../../../src/base/digest.js'
import {
  buildNativeImage,
  composeNativeImage,
  imageFacts,
  type Image,
  openArchiveImage,
  openLayoutImage,
  openRegistryImage
} from '../../../src/image/index.js'
import { layerTar } from '../../../src/image/layer-tar.js'
import { blobFile, Blobs, types } from './oci-layout.js'
import { RegistryServer } from './registry-server.js'
import { bytesOf, describeWith, temporaryFolder } from './support.js'

const reference = 'ghcr.io/owner/router:1'
const files = [{ path: '/app/router.cjs', mode: 0o444, content: Buffer.from('console.log(1)\n') }]
const config = {
  entrypoint: ['/usr/local/bin/node', '/app/router.cjs'],
  env: ['NODE_ENV=production'],
  workingDir: '/app',
  user: '65532:65532',
  labels: { 'org.opencontainers.image.version': '1.2.3' },
  exposedPorts: ['8080/tcp'],
  stopSignal: 'SIGTERM'
}

/** Two layers, one compressed, in an index of two platforms: the form in which base images are published. */
const systemTar = layerTar([{ path: 'usr/local/bin/node', mode: 0o755, content: Buffer.from('#!/bin/sh\n') }])
const moreTar = layerTar([{ path: 'etc/os-release', mode: 0o644, content: Buffer.from('ID=test\n'.repeat(100)) }])

function makeBase(layerType = 'application/vnd.oci.image.layer.v1.tar') {
  const blobs = new Blobs()
  // Compressed once and for all: another zlib would give other bytes.
  const gzip = gzipSync(moreTar)
  const layers = [
    { ...blobs.add(layerType, systemTar) },
    { ...blobs.add(layerType.startsWith('application/vnd.docker') ? `${layerType}.gzip` : `${layerType}+gzip`, gzip) }
  ]
  const document = blobs.add(types.config, {
    architecture: 'amd64',
    os: 'linux',
    config: {
      Entrypoint: ['docker-entrypoint.sh'],
      Cmd: ['node'],
      Env: ['PATH=/usr/local/bin:/usr/bin:/bin', 'NODE_VERSION=24.0.0', 'NODE_ENV=development'],
      WorkingDir: '/',
      StopSignal: 'SIGKILL',
      ExposedPorts: { '9/udp': {} },
      Labels: { maintainer: 'somebody', 'org.opencontainers.image.revision': 'of the base' }
    },
    rootfs: { type: 'layers', diff_ids: [ociDigest(systemTar), ociDigest(moreTar)] }
  })
  const manifest = blobs.add(types.manifest, { schemaVersion: 2, mediaType: types.manifest, config: document, layers })
  const other = blobs.image([{ tar: systemTar }], { architecture: 'arm64' })
  const index = blobs.index([{ ...other }, { ...manifest, platform: { os: 'linux', architecture: 'amd64' } }])
  return { blobs, index, layers, name: `docker.io/library/node:24@${index.digest}` }
}

const base = makeBase()

/** Written down once: a change of any byte of config or manifest shows here. */
const fixedDigest = 'sha256:0f6a08f213837cd67fe5760b81267d0e4039c6364494b553f18cb1935c4b2dc5'

async function baseIn(folder: string): Promise<Image> {
  base.blobs.writeLayout(folder, [base.index])
  return openLayoutImage(folder, base.name)
}

describe('a native build on a base', () => {
  it('puts one layer on those of the base, which stay as they are', async () => {
    const image = await baseIn(temporaryFolder())
    const layout = temporaryFolder()
    const recipe = { reference, files, config, base: { reference: base.name, image } }
    const { digest, size } = await buildNativeImage({ ...recipe, layout })
    const built = await openLayoutImage(layout, reference)
    expect(built.digest).toBe(digest)
    expect(built.layers.map((layer) => [layer.digest, layer.mediaType, layer.size])).toEqual([
      ...base.layers.map((layer) => [layer.digest, layer.mediaType, layer.size]),
      [ociDigest(layerTar(files)), types.layer, layerTar(files).length]
    ])
    for (const layer of built.layers) expect(ociDigest(await bytesOf(layer.open()))).toBe(layer.diffId)
    const stored = readdirSync(join(layout, 'blobs/sha256')).map((name) => statSync(join(layout, 'blobs/sha256', name)))
    expect(stored.reduce((total, { size: bytes }) => total + bytes, 0)).toBe(size)
    expect(readdirSync(layout).sort()).toEqual(['blobs', 'index.json', 'oci-layout'])
    expect((await imageFacts(built)).warnings).toEqual([])
  })

  it('says how the image is run, over what the base says, and names the base in labels', async () => {
    const image = await baseIn(temporaryFolder())
    const { config: made } = composeNativeImage({
      reference,
      files,
      config,
      base: { reference: base.name, image }
    }).image
    expect(made).toEqual({
      Entrypoint: config.entrypoint,
      Cmd: undefined,
      Env: ['PATH=/usr/local/bin:/usr/bin:/bin', 'NODE_VERSION=24.0.0', 'NODE_ENV=production'],
      WorkingDir: '/app',
      User: '65532:65532',
      StopSignal: 'SIGTERM',
      ExposedPorts: ['8080/tcp', '9/udp'],
      Labels: {
        maintainer: 'somebody',
        'org.opencontainers.image.version': '1.2.3',
        'org.opencontainers.image.base.name': 'docker.io/library/node:24',
        'org.opencontainers.image.base.digest': base.index.digest
      }
    })
  })

  it('gives the same digest from a layout, from an archive and from a registry, and without storing anything', async () => {
    const folder = temporaryFolder()
    const fromLayout = await baseIn(folder)
    const tar = join(temporaryFolder(), 'base.tar')
    execFileSync('tar', ['--create', '--file', tar, '--directory', folder, '.'])
    const { digest: archived, ...rest } = await openArchiveImage(tar, base.name)
    const server = await RegistryServer.start({ blobs: base.blobs })
    try {
      const fromRegistry = await openRegistryImage({ reference: `${server.host}/o/a@${base.index.digest}`, fetch })
      const digests = [fromLayout, { ...rest, digest: archived! }, fromRegistry].map(
        (image) => composeNativeImage({ reference, files, config, base: { reference: base.name, image } }).image.digest
      )
      const built = await buildNativeImage({
        layout: temporaryFolder(),
        ...{ reference, files, config, base: { reference: base.name, image: fromRegistry } }
      })
      expect(new Set([...digests, built.digest]).size).toBe(1)
    } finally {
      await server.close()
    }
  })

  it('is the same on every machine: its documents are written down here', async () => {
    const image = await baseIn(temporaryFolder())
    const fixed: Image = { ...image, layers: image.layers.slice(0, 1) }
    const pinned = `docker.io/library/node:24@sha256:${'0'.repeat(64)}`
    const { digest } = composeNativeImage({ reference, files, config, base: { reference: pinned, image: fixed } }).image
    expect(digest).toBe(fixedDigest)
  })

  it('calls the layers of a Docker base by their OCI names', async () => {
    const docker = makeBase('application/vnd.docker.image.rootfs.diff.tar')
    const folder = docker.blobs.writeLayout(temporaryFolder(), [docker.index])
    const image = await openLayoutImage(folder, docker.name)
    const { layers } = composeNativeImage({ reference, files, config, base: { reference: docker.name, image } }).image
    expect(layers.map(({ mediaType }) => mediaType)).toEqual([types.layer, `${types.layer}+gzip`, types.layer])
  })

  it('fetches no layer that the layout has, and one that is damaged there', async () => {
    const server = await RegistryServer.start({ blobs: base.blobs })
    try {
      const layout = temporaryFolder()
      const image = await openRegistryImage({ reference: `${server.host}/o/a@${base.index.digest}`, fetch })
      const recipe = { layout, reference, files, config, base: { reference: base.name, image } }
      const fetched = () =>
        server.requests.filter(({ path }) => base.layers.some(({ digest }) => path.endsWith(digest)))
      await buildNativeImage(recipe)
      expect(fetched()).toHaveLength(2)
      expect(await buildNativeImage(recipe)).toMatchObject({ changed: false })
      expect(fetched()).toHaveLength(2)
      writeFileSync(blobFile(layout, base.layers[0]!.digest), 'damaged')
      await buildNativeImage(recipe)
      expect(fetched()).toHaveLength(3)
      expect(readFileSync(blobFile(layout, base.layers[0]!.digest))).toEqual(Buffer.from(systemTar))
    } finally {
      await server.close()
    }
  })

  it('refuses a base without a digest, and one whose user is a name that nobody replaced', async () => {
    const image = await baseIn(temporaryFolder())
    const on = (name: string) => ({ reference, files, config, base: { reference: name, image } })
    expect(() => composeNativeImage(on('docker.io/library/node:24'))).toThrow(/a base is named by its digest/)
    const named: Image = { ...image, config: { ...image.config, User: 'node' } }
    const { user: _, ...without } = config
    const recipe = { reference, files, config: without, base: { reference: base.name, image: named } }
    expect(() => composeNativeImage(recipe)).toThrow(/the user must be numeric/)
  })
})

describe('a base that cannot be had', () => {
  let server: RegistryServer
  afterEach(() => server.close())

  /** What is in a layout after a build that failed: files and their names, partial ones included. */
  const contents = (layout: string) =>
    readdirSync(layout, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => entry.name)

  async function build(fault: NonNullable<Parameters<typeof RegistryServer.start>[0]>['fault'], signal?: AbortSignal) {
    let isLayer = false
    server = await RegistryServer.start({
      blobs: base.blobs,
      fault: (request, response) => {
        isLayer = base.layers[0]!.digest === request.url?.split('/').at(-1)
        return isLayer && fault!(request, response)
      }
    })
    const layout = temporaryFolder()
    const wait = async () => undefined
    const image = await openRegistryImage({ reference: `${server.host}/o/a@${base.index.digest}`, fetch, wait, signal })
    const building = buildNativeImage({
      layout,
      ...{ reference, files, config, base: { reference: base.name, image }, signal }
    })
    const error: unknown = await building.then(
      () => undefined,
      (caught: unknown) => caught
    )
    return { error, left: contents(layout) }
  }

  it('leaves nothing when a layer is another one, is cut short, or is refused', async () => {
    for (const [fault, code] of [
      [
        (answer: Buffer) => ({ status: 200, body: Buffer.concat([answer.subarray(1), Buffer.from('x')]) }),
        'image.digest-mismatch'
      ],
      [(answer: Buffer) => ({ status: 200, body: answer.subarray(0, 700) }), 'image.digest-mismatch'],
      [(answer: Buffer) => ({ status: 200, body: Buffer.concat([answer, answer]) }), 'image.digest-mismatch'],
      [() => ({ status: 401, body: Buffer.from('') }), 'registry.not-logged-in'],
      [() => ({ status: 404, body: Buffer.from('') }), 'image.not-found'],
      [() => ({ status: 429, body: Buffer.from('slow down') }), 'registry.failed'],
      [() => ({ status: 500, body: Buffer.from('') }), 'registry.failed']
    ] as const) {
      const { error, left } = await build((_, response) => {
        const { status, body } = fault(Buffer.from(systemTar))
        response.writeHead(status).end(body)
        return true
      })
      expect(error).toMatchObject({ code })
      expect(left).toEqual([])
      await server.close()
    }
  })

  it('says how often it asked, and that a login may help where there are too many calls', async () => {
    const { error } = await build((_, response) => {
      response.writeHead(429, { 'retry-after': '1' }).end('slow down')
      return true
    })
    expect(error).toMatchObject({
      problem: expect.stringMatching(/^127\.0\.0\.1:\d+ answered 429 for blob sha256:/),
      why: 'it was asked 5 times; the registry says "slow down"',
      next: [expect.stringMatching(/^docker login 127\.0\.0\.1:\d+ /)]
    })
  })

  it('leaves nothing when it is interrupted in the middle of a layer', async () => {
    const interruption = new AbortController()
    const reason = new Error('interrupted')
    const { error, left } = await build((_, response) => {
      response.writeHead(200).write(systemTar.subarray(0, 600))
      setTimeout(() => interruption.abort(reason), 50)
      return true
    }, interruption.signal)
    expect(error).toBe(reason)
    expect(left).toEqual([])
  })

  it('goes on where the connection broke, and shows how far it is', async () => {
    let broken = 0
    const { error } = await build((request, response) => {
      if (broken++ > 0) return false
      response.writeHead(200, { 'content-length': systemTar.length }).write(systemTar.subarray(0, 600), () => {
        request.socket.destroy()
      })
      return true
    })
    expect(error).toBeUndefined()
    expect(server.requests.filter(({ path }) => path.endsWith(base.layers[0]!.digest))).toMatchObject([
      { range: undefined },
      { range: 'bytes=600-' }
    ])
  })
})

describe('a disk that is full', () => {
  const megabyte = 1024 * 1024
  const big = [{ path: 'big', mode: 0o644, content: Buffer.alloc(2 * megabyte, 'x') }]

  /** A file system of one megabyte; undefined where none may be mounted. */
  function smallDisk(): { folder: string; unmount: () => void } | undefined {
    const folder = temporaryFolder()
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'confrouter-test', folder], { stdio: 'ignore' })
    } catch {
      return undefined
    }
    return { folder, unmount: () => void execFileSync('umount', [folder]) }
  }

  const disk = smallDisk()
  disk?.unmount()
  const onSmallDisk = disk === undefined ? it.skip : it

  onSmallDisk('is said, with the image before it whole and nothing half-written (needs mount)', async () => {
    const small = smallDisk()!
    try {
      const layout = join(small.folder, 'images')
      const before = await buildNativeImage({ layout, reference, files, config })
      const kept = readFileSync(join(layout, 'index.json'), 'utf8')
      const tooLarge = buildNativeImage({ layout, reference, files: big, config })
      await expect(tooLarge).rejects.toMatchObject({
        code: 'image.file',
        why: 'no space is left there',
        next: [expect.stringMatching(/^df -h /)]
      })
      const blobs = new Blobs()
      const manifest = blobs.image([{ tar: layerTar(big) }])
      const folder = blobs.writeLayout(temporaryFolder(), [manifest])
      const image = await openLayoutImage(folder, `x/y@${manifest.digest}`)
      const largeBase = { reference: `x/y@${manifest.digest}`, image }
      const onLarge = buildNativeImage({ layout, reference, files, config, base: largeBase })
      await expect(onLarge).rejects.toMatchObject({ code: 'image.file', why: 'no space is left there' })
      expect(readFileSync(join(layout, 'index.json'), 'utf8')).toBe(kept)
      expect((await openLayoutImage(layout, reference)).digest).toBe(before.digest)
      expect(readdirSync(layout).sort()).toEqual(['blobs', 'index.json', 'oci-layout'])
      for (const name of readdirSync(join(layout, 'blobs/sha256'))) {
        expect(ociDigest(readFileSync(join(layout, 'blobs/sha256', name)))).toBe(`sha256:${name}`)
      }
    } finally {
      small.unmount()
    }
  })
})

describeWith(['skopeo', 'umoci'], 'an image on a base, read by other tools', () => {
  it('is validated by skopeo, and unpacked by umoci to the files of base and layer', async () => {
    const image = await baseIn(temporaryFolder())
    const layout = temporaryFolder()
    const { digest } = await buildNativeImage({
      layout,
      ...{ reference, files, config, base: { reference: base.name, image } }
    })
    const inspected = JSON.parse(execFileSync('skopeo', ['inspect', `oci:${layout}:1`]).toString())
    expect(inspected).toMatchObject({ Digest: digest, Layers: { length: 3 }, Created: '1970-01-01T00:00:00Z' })
    const copy = join(temporaryFolder(), 'copy')
    mkdirSync(copy)
    execFileSync('skopeo', ['copy', '--quiet', `oci:${layout}:1`, `dir:${copy}/image`])
    const bundle = join(temporaryFolder(), 'bundle')
    execFileSync('umoci', ['unpack', '--rootless', '--image', `${layout}:1`, bundle])
    const modes = ['app', 'app/router.cjs', 'usr/local/bin/node', 'etc/os-release'].map((path) => {
      const { mode } = statSync(join(bundle, 'rootfs', path))
      return [path, (mode & 0o7777).toString(8)]
    })
    expect(modes).toEqual([
      ['app', '755'],
      ['app/router.cjs', '444'],
      ['usr/local/bin/node', '755'],
      ['etc/os-release', '644']
    ])
    expect(readFileSync(join(bundle, 'rootfs/app/router.cjs'))).toEqual(files[0]!.content)
    expect(JSON.parse(readFileSync(join(bundle, 'config.json'), 'utf8')).process).toMatchObject({
      args: config.entrypoint,
      cwd: '/app',
      user: { uid: 65532, gid: 65532 }
    })
  })
})
