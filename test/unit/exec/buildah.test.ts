import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, expect, it } from '@jest/globals'
import { buildWithEngine, probeEngine } from '../../../src/exec/index.js'
import { type ImageLayer, openRegistryImage } from '../../../src/image/index.js'
import { readTarMembers, type TarFile } from '../../../src/layers/index.js'
import { startRealRegistry, type RealRegistry } from '../image/real-registry.js'
import { bytesOf, describeWith, temporaryFolder } from '../image/support.js'

describeWith(['buildah', 'docker-registry'], 'buildWithEngine with the real buildah and a real registry', () => {
  let registry: RealRegistry
  const changed = ['CONTAINERS_REGISTRIES_CONF', 'CONTAINERS_STORAGE_CONF', 'BUILDAH_ISOLATION']
  const before = changed.map((name) => [name, process.env[name]] as const)
  const folder = temporaryFolder()

  beforeAll(async () => {
    registry = await startRealRegistry(folder)
    write('registries.conf', `[[registry]]\nlocation = "${registry.host}"\ninsecure = true\n`)
    write('storage.conf', `[storage]\ndriver = "vfs"\nrunroot = "${folder}/run"\ngraphroot = "${folder}/graph"\n`)
    process.env['CONTAINERS_REGISTRIES_CONF'] = join(folder, 'registries.conf')
    process.env['CONTAINERS_STORAGE_CONF'] = join(folder, 'storage.conf')
    process.env['BUILDAH_ISOLATION'] = 'chroot'
  })

  afterAll(() => {
    registry.stop()
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
    }
  })

  it('is ready', async () => {
    expect(await probeEngine('buildah')).toMatchObject({ outcome: 'ready' })
  })

  it('gives the digest under which the registry has the image, and the same one again', async () => {
    write('Dockerfile', 'FROM scratch\nCOPY program /program\nUSER 65532:65532\nENTRYPOINT ["/program"]\n')
    write('program', '#!/bin/true\n')
    const reference = `${registry.host}/owner/router:1`
    const build = { engine: 'buildah', context: folder, dockerfile: join(folder, 'Dockerfile'), reference } as const
    const { digest } = await buildWithEngine(build)
    const image = await openRegistryImage({ reference, fetch })
    expect(image.digest).toBe(digest)
    expect(image.config).toMatchObject({ Entrypoint: ['/program'], User: '65532:65532' })
    expect(await buildWithEngine(build)).toEqual({ digest })
  })

  it('reports a Dockerfile that does not build', async () => {
    write('Dockerfile', 'FROM scratch\nCOPY missing /\n')
    const dockerfile = join(folder, 'Dockerfile')
    const building = buildWithEngine({
      engine: 'buildah',
      context: folder,
      dockerfile,
      reference: `${registry.host}/o/r:1`
    })
    await expect(building).rejects.toMatchObject({ code: 'builder.failed', why: expect.stringContaining('missing') })
  })

  // `RUN` without root needs user namespaces, which many sandboxes forbid.
  const asRoot = process.getuid?.() === 0 ? it : it.skip

  asRoot(
    'builds the Dockerfile of this package, on a small base with the Node of this machine (needs root)',
    async () => {
      // The base of the Dockerfile is at a registry that a test does not call; all else is as it stands there.
      const base = `${registry.host}/library/node:24`
      const system = join(folder, 'system')
      makeSystem(system)
      write('Dockerfile.base', 'FROM scratch\nCOPY . /\nENV PATH=/usr/local/bin:/usr/bin:/bin\n')
      await buildWithEngine({
        ...{ engine: 'buildah', reference: base },
        context: system,
        dockerfile: join(folder, 'Dockerfile.base')
      })
      const context = join(folder, 'context')
      for (const name of copied) cpSync(join(packageRoot, name), join(context, name), { recursive: true })
      const text = readFileSync(join(packageRoot, 'Dockerfile'), 'utf8')
      write('Dockerfile', text.replaceAll(/^FROM \S+/gm, `FROM ${base}`))
      const reference = `${registry.host}/owner/router:2`
      await buildWithEngine({
        ...{ engine: 'buildah', reference, context },
        dockerfile: join(folder, 'Dockerfile')
      })
      const image = await openRegistryImage({ reference, fetch })
      expect(image.config).toMatchObject({
        Entrypoint: ['/usr/local/bin/node', '/app/router.cjs'],
        Cmd: undefined,
        Env: ['PATH=/usr/local/bin:/usr/bin:/bin', 'NODE_ENV=production'],
        WorkingDir: '/app',
        User: '65532:65532',
        StopSignal: 'SIGTERM',
        ExposedPorts: ['8080/tcp']
      })
      const files: string[] = []
      for await (const member of readTarMembers(await layerFile(image.layers.at(-1)!))) {
        if (member.kind === 'file') files.push(member.path)
      }
      expect(files).toEqual(['app/router.cjs'])
    },
    120_000
  )

  function write(name: string, text: string): void {
    writeFileSync(join(folder, name), text)
  }
})

const packageRoot = join(import.meta.dirname, '..', '..', '..')

/** What the context of the Dockerfile may have (.dockerignore). */
const copied = [
  '.dockerignore',
  'package.json',
  'npm-shrinkwrap.json',
  'tsconfig.json',
  'tsconfig.build.json',
  'scripts',
  'src'
]

/**
 * A root file system that can run the Dockerfile: shell, Node and their libraries from this machine. Its `npm`
 * installs nothing: it puts a compiler and a bundler there that are as small as the base.
 */
function makeSystem(folder: string): void {
  const programs = { '/bin/sh': '/bin/sh', [process.execPath]: '/usr/local/bin/node', '/bin/mkdir': '/bin/mkdir' }
  for (const [from, to] of Object.entries(programs)) {
    copy(from, join(folder, to))
    const libraries = execFileSync('ldd', [from])
      .toString()
      .matchAll(/(?:=> |\t)(\/\S+)/g)
    for (const [, library = ''] of libraries)
      if (!existsSync(join(folder, library))) copy(library, join(folder, library))
  }
  const tsc = 'process.exit(0)'
  const esbuild = [
    'import { mkdirSync, writeFileSync } from "node:fs"',
    'import { dirname } from "node:path"',
    'export async function build({ entryPoints: [entry], outdir, outfile = outdir + "/entry.js" }) {',
    '  mkdirSync(dirname(outfile), { recursive: true })',
    '  writeFileSync(outfile, "// made of " + entry)',
    '}'
  ]
  const install = [
    '#!/bin/sh',
    'test "$*" = "ci --ignore-scripts --no-audit --no-fund" || exit 1',
    'mkdir -p node_modules/typescript/bin node_modules/esbuild',
    `echo '${tsc}' > node_modules/typescript/bin/tsc`,
    `echo '{"type":"module","exports":"./main.js"}' > node_modules/esbuild/package.json`,
    ...esbuild.map((line) => `echo '${line}' >> node_modules/esbuild/main.js`)
  ]
  writeFileSync(join(folder, 'usr/local/bin/npm'), `${install.join('\n')}\n`, { mode: 0o755 })
}

function copy(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true })
  cpSync(realpathSync(from), to)
}

/** The tar of a layer in memory. */
async function layerFile(layer: ImageLayer): Promise<TarFile> {
  const bytes = await bytesOf(layer.open())
  return { size: bytes.length, read: async (position, length) => bytes.subarray(position, position + length) }
}
