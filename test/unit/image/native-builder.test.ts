import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from '@jest/globals'
import { ociDigest } from '../../../src/base/digest.js'
import { buildNativeImage, imageFacts, openLayoutImage, type NativeImage } from '../../../src/image/index.js'
import { bytesOf, describeWith, temporaryFolder } from './support.js'

const reference = 'ghcr.io/owner/router:1'
const recipe = {
  reference,
  files: [
    { path: '/app/router.cjs', mode: 0o444, content: Buffer.from('console.log(1)\n') },
    { path: '/app/a b', mode: 0o600, content: new Uint8Array(0) },
    { path: 'app-data/ünïcödé', mode: 0o644, content: Buffer.from('x'.repeat(513)) },
    { path: `deep/${'d'.repeat(90)}/${'e'.repeat(90)}/f`, mode: 0o644, content: Buffer.from('prefix') },
    { path: `deep/${'g'.repeat(200)}/h`, mode: 0o4755, content: Buffer.from('pax') }
  ],
  config: {
    entrypoint: ['/usr/local/bin/node', '/app/router.cjs'],
    cmd: ['serve'],
    env: ['NODE_ENV=production', 'A='],
    workingDir: '/app',
    user: '65532:65532',
    labels: { b: '2', a: '1' },
    exposedPorts: ['8080/tcp'],
    stopSignal: 'SIGTERM'
  }
} satisfies Omit<NativeImage, 'layout'>

/** Written down once: a change of any byte of layer, config or manifest shows here. */
const expectedDigest = 'sha256:4eda17020782b3c7709716e4320f955632404cf988a69ada48e631f7d3971cdf'

describe('buildNativeImage', () => {
  it('gives the same digest in every folder, in any order of files, and says it on every machine', async () => {
    const first = await buildNativeImage({ ...recipe, layout: temporaryFolder() })
    const second = await buildNativeImage({ ...recipe, files: [...recipe.files].reverse(), layout: temporaryFolder() })
    expect(first).toEqual({ digest: expectedDigest, size: first.size, changed: true })
    expect(second).toEqual(first)
  })

  it('gives the same digest under another umask and time zone', async () => {
    const layout = temporaryFolder()
    const umask = process.umask(0o077)
    const zone = process.env['TZ']
    process.env['TZ'] = 'Pacific/Chatham'
    try {
      expect((await buildNativeImage({ ...recipe, layout })).digest).toBe(expectedDigest)
    } finally {
      process.umask(umask)
      if (zone === undefined) delete process.env['TZ']
      else process.env['TZ'] = zone
    }
  })

  it('changes nothing when the same image is written again', async () => {
    const layout = temporaryFolder()
    await buildNativeImage({ ...recipe, layout })
    const before = snapshot(layout)
    expect(await buildNativeImage({ ...recipe, layout })).toMatchObject({ digest: expectedDigest, changed: false })
    expect(snapshot(layout)).toEqual(before)
  })

  it('writes a blob again whose content is not what its name says', async () => {
    const layout = temporaryFolder()
    const { digest } = await buildNativeImage({ ...recipe, layout })
    const image = await openLayoutImage(layout, reference)
    for (const damaged of [digest, image.layers[0]!.digest]) {
      const path = blob(layout, damaged)
      const good = readFileSync(path)
      writeFileSync(path, Buffer.concat([good.subarray(0, good.length - 1), Buffer.from('!')]))
      expect(await buildNativeImage({ ...recipe, layout })).toMatchObject({ changed: true })
      expect(readFileSync(path)).toEqual(good)
    }
  })

  it('keeps the other images of a layout, and the unknown members of their entries', async () => {
    const layout = temporaryFolder()
    await buildNativeImage({ ...recipe, layout })
    const index = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8'))
    index.annotations = { kept: 'yes' }
    index.manifests[0].artifactType = 'kept/too'
    writeFileSync(join(layout, 'index.json'), JSON.stringify(index))
    const other = await buildNativeImage({ ...recipe, layout, reference: 'ghcr.io/owner/router:2', files: [] })
    const after = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8'))
    expect(after).toMatchObject({ annotations: { kept: 'yes' }, manifests: [{ artifactType: 'kept/too' }, {}] })
    expect((await openLayoutImage(layout, reference)).digest).toBe(expectedDigest)
    expect((await openLayoutImage(layout, 'ghcr.io/owner/router:2')).digest).toBe(other.digest)
  })

  it('moves a name to the new image', async () => {
    const layout = temporaryFolder()
    await buildNativeImage({ ...recipe, layout })
    const { digest, changed } = await buildNativeImage({ ...recipe, layout, files: [] })
    expect(changed).toBe(true)
    expect((await openLayoutImage(layout, reference)).digest).toBe(digest)
    expect(
      await openLayoutImage(layout, `ghcr.io/owner/router@${expectedDigest}`).catch((error: unknown) => error)
    ).toMatchObject({
      code: 'image.not-found'
    })
  })

  it('loses no entry when many builds write one layout at once', async () => {
    const layout = temporaryFolder()
    const references = Array.from({ length: 12 }, (_, number) => `ghcr.io/owner/router:v${number}`)
    await Promise.all(
      references.map((name, number) =>
        buildNativeImage({
          ...recipe,
          layout,
          reference: name,
          files: [{ path: 'n', mode: 0o644, content: Buffer.from(`${number % 3}`) }]
        })
      )
    )
    for (const name of references) expect((await openLayoutImage(layout, name)).layers).toHaveLength(1)
    expect(readdirSync(layout).sort()).toEqual(['blobs', 'index.json', 'oci-layout'])
  })

  it('takes over the lock of a process that died', async () => {
    const layout = temporaryFolder()
    const lock = join(layout, '.confrouter.lock')
    writeFileSync(lock, '')
    utimesSync(lock, new Date(0), new Date(0))
    await buildNativeImage({ ...recipe, layout })
    expect(readdirSync(layout)).not.toContain('.confrouter.lock')
  })

  it('is read back with everything that went in', async () => {
    const layout = temporaryFolder()
    const { digest, size } = await buildNativeImage({ ...recipe, layout })
    const image = await openLayoutImage(layout, reference)
    expect(image).toMatchObject({
      digest,
      reference,
      config: {
        Entrypoint: recipe.config.entrypoint,
        Cmd: ['serve'],
        Env: ['NODE_ENV=production', 'A='],
        WorkingDir: '/app',
        User: '65532:65532',
        StopSignal: 'SIGTERM',
        Labels: { a: '1', b: '2' },
        ExposedPorts: ['8080/tcp']
      }
    })
    const files = readdirSync(join(layout, 'blobs', 'sha256')).map((name) =>
      readFileSync(join(layout, 'blobs', 'sha256', name))
    )
    expect(files.reduce((total, { length }) => total + length, 0)).toBe(size)
    // No implicit parent directories, so no warning.
    expect(await imageFacts(image)).toMatchObject({ warnings: [], layers: [expect.stringMatching(/^[0-9a-f]{64}$/)] })
  })

  it('stores a layer that GNU tar reads with root, time zero and the given modes', async () => {
    const layout = temporaryFolder()
    await buildNativeImage({ ...recipe, layout })
    const tar = await bytesOf((await openLayoutImage(layout, reference)).layers[0]!.open())
    expect(tar.length % 512).toBe(0)
    const listed = execFileSync('tar', ['--list', '--verbose', '--numeric-owner', '--utc', '--quoting-style=literal'], {
      input: tar,
      env: { ...process.env, LC_ALL: 'C.UTF-8' }
    })
    const lines = listed.toString().trimEnd().split('\n')
    expect(lines.map((line) => line.replace(/\s+/g, ' '))).toEqual([
      'drwxr-xr-x 0/0 0 1970-01-01 00:00 app/',
      'drwxr-xr-x 0/0 0 1970-01-01 00:00 app-data/',
      '-rw-r--r-- 0/0 513 1970-01-01 00:00 app-data/ünïcödé',
      '-rw------- 0/0 0 1970-01-01 00:00 app/a b',
      '-r--r--r-- 0/0 15 1970-01-01 00:00 app/router.cjs',
      'drwxr-xr-x 0/0 0 1970-01-01 00:00 deep/',
      `drwxr-xr-x 0/0 0 1970-01-01 00:00 deep/${'d'.repeat(90)}/`,
      `drwxr-xr-x 0/0 0 1970-01-01 00:00 deep/${'d'.repeat(90)}/${'e'.repeat(90)}/`,
      `-rw-r--r-- 0/0 6 1970-01-01 00:00 deep/${'d'.repeat(90)}/${'e'.repeat(90)}/f`,
      `drwxr-xr-x 0/0 0 1970-01-01 00:00 deep/${'g'.repeat(200)}/`,
      `-rwsr-xr-x 0/0 3 1970-01-01 00:00 deep/${'g'.repeat(200)}/h`
    ])
  })

  it.each([
    ['a path that leaves the root', { path: '../x' }],
    ['a path that leaves the root later', { path: '/app/../../x' }],
    ['a doubled slash', { path: '//x' }],
    ['a dot', { path: './x' }],
    ['a folder', { path: '/app/' }],
    ['the root', { path: '/' }],
    ['no path', { path: '' }],
    ['a NUL', { path: 'a\0b' }],
    ['half a surrogate pair', { path: 'a\ud800' }],
    ['a whiteout', { path: 'app/.wh.router.cjs' }],
    ['a name that no file system takes', { path: 'a'.repeat(256) }],
    ['a mode with a file type', { mode: 0o100644 }],
    ['a negative mode', { mode: -1 }],
    ['a mode that is no number', { mode: Number.NaN }]
  ])('refuses a file with %s', async (_, wrong) => {
    const layout = temporaryFolder()
    const files = [{ path: 'x', mode: 0o644, content: new Uint8Array(0), ...wrong }]
    await expect(buildNativeImage({ ...recipe, layout, files })).rejects.toMatchObject({ code: 'image.content' })
    expect(readdirSync(layout)).toEqual([])
  })

  it('refuses two files of one name, and a file below a file', async () => {
    const file = (path: string) => ({ path, mode: 0o644, content: new Uint8Array(0) })
    for (const paths of [
      ['a', '/a'],
      ['a', 'a/b'],
      ['a/b', 'a']
    ]) {
      const building = buildNativeImage({ ...recipe, layout: temporaryFolder(), files: paths.map(file) })
      await expect(building).rejects.toMatchObject({ code: 'image.content' })
    }
  })

  it.each([
    ['no entrypoint', { entrypoint: [] }],
    ['a relative working directory', { workingDir: 'app' }],
    ['a user by name', { user: 'node' }],
    ['a port without protocol', { exposedPorts: ['8080'] }],
    ['a variable without name', { env: ['=secret-value'] }],
    ['a variable without value', { env: ['secret-value'] }]
  ])('refuses a config with %s, and does not repeat values', async (_, wrong) => {
    const building = buildNativeImage({ ...recipe, layout: temporaryFolder(), config: { ...recipe.config, ...wrong } })
    const error: unknown = await building.catch((caught: unknown) => caught)
    expect(error).toMatchObject({ code: 'image.content' })
    expect(String(error)).not.toContain('secret-value')
  })

  it('refuses a reference with a digest', async () => {
    const pinned = `ghcr.io/owner/router:1@${expectedDigest}`
    const building = buildNativeImage({ ...recipe, layout: temporaryFolder(), reference: pinned })
    await expect(building).rejects.toMatchObject({ code: 'image.reference' })
  })

  it('refuses to write where it cannot, and into a layout that it cannot read', async () => {
    const folder = temporaryFolder()
    writeFileSync(join(folder, 'file'), '')
    await expect(buildNativeImage({ ...recipe, layout: join(folder, 'file') })).rejects.toMatchObject({
      code: 'image.file'
    })
    const broken = join(folder, 'broken')
    mkdirSync(broken)
    writeFileSync(join(broken, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
    writeFileSync(join(broken, 'index.json'), 'no index')
    await expect(buildNativeImage({ ...recipe, layout: broken })).rejects.toMatchObject({ code: 'image.malformed' })
    expect(readFileSync(join(broken, 'index.json'), 'utf8')).toBe('no index')
    rmSync(join(broken, 'oci-layout'))
    writeFileSync(join(broken, 'index.json'), '{"schemaVersion":2,"manifests":[]}')
    await expect(buildNativeImage({ ...recipe, layout: broken })).rejects.toMatchObject({ code: 'image.not-found' })
  })
})

describeWith(['skopeo', 'umoci'], 'a natively built image, read by other tools', () => {
  it('is what skopeo inspects and validates', async () => {
    const layout = temporaryFolder()
    await buildNativeImage({ ...recipe, layout })
    const inspected = JSON.parse(execFileSync('skopeo', ['inspect', `oci:${layout}:1`]).toString())
    expect(inspected).toMatchObject({
      Digest: expectedDigest,
      Os: 'linux',
      Architecture: 'amd64',
      Created: '1970-01-01T00:00:00Z',
      Env: ['NODE_ENV=production', 'A=']
    })
    const copy = join(temporaryFolder(), 'copy')
    execFileSync('skopeo', ['copy', '--quiet', `oci:${layout}:1`, `oci:${copy}:1`])
    expect((await openLayoutImage(copy, 'whatever:1')).config.Entrypoint).toEqual(recipe.config.entrypoint)
  })

  it('unpacks with umoci to the files that went in', async () => {
    const layout = temporaryFolder()
    const bundle = join(temporaryFolder(), 'bundle')
    await buildNativeImage({ ...recipe, layout })
    execFileSync('umoci', ['unpack', '--rootless', '--image', `${layout}:1`, bundle])
    for (const { path, content } of recipe.files) {
      expect(readFileSync(join(bundle, 'rootfs', path))).toEqual(Buffer.from(content))
    }
    expect(JSON.parse(readFileSync(join(bundle, 'config.json'), 'utf8')).process).toMatchObject({
      args: [...recipe.config.entrypoint, 'serve'],
      cwd: '/app'
    })
  })
})

function blob(layout: string, digest: string): string {
  return join(layout, 'blobs', 'sha256', digest.slice('sha256:'.length))
}

function snapshot(layout: string): readonly string[] {
  return readdirSync(layout, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .map((path) => `${path} ${ociDigest(readFileSync(path))}`)
    .sort()
}
