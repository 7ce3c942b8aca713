import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { layerTar } from '../../../src/image/layer-tar.js'
import { openRegistryImage, pushLayoutImage } from '../../../src/image/index.js'
import { checkRelease, encodeRelease, parseRelease, rebuildRelease, type Release } from '../../../src/release/index.js'
import { checkBuild } from '../../../src/steps/index.js'
import type { Run } from '../../../src/steps/index.js'
import { Blobs } from '../image/oci-layout.js'
import { startRealRegistry, type RealRegistry } from '../image/real-registry.js'
import { describeWith } from '../image/support.js'
import {
  buildProgram,
  commit,
  type Deployment,
  deployment,
  differing,
  errorOf,
  git,
  headOf,
  makeCheckout,
  temporaryFolder,
  write
} from './support.js'

const open = (reference: string) => openRegistryImage({ reference, fetch, wait: async () => undefined })

/** A base of one layer, published; returns it by its digest. */
async function publishBase(host: string, tag: string): Promise<string> {
  const blobs = new Blobs()
  const tar = layerTar([{ path: 'usr/local/bin/node', mode: 0o755, content: Buffer.from(`node ${tag}\n`) }])
  const manifest = blobs.image([{ tar }])
  const reference = `${host}/library/node:${tag}`
  const entry = { ...manifest, annotations: { 'io.containerd.image.name': reference } }
  await pushLayoutImage({ layout: blobs.writeLayout(temporaryFolder(), [entry]), reference, fetch })
  return `${reference}@${manifest.digest}`
}

/** What a cloud with registries gives to the steps. */
function withRegistry(host: string, image: Partial<Run['config']['image']>) {
  return (run: Run): Run => ({
    ...run,
    config: { ...run.config, image: { ...run.config.image, repository: `${host}/o/router`, ...image } },
    imageStore: {
      ...run.imageStore,
      open,
      openBase: open,
      publish: async (reference) => {
        await pushLayoutImage({ layout: run.imageStore.layout, reference, fetch })
      }
    }
  })
}

async function builtRelease({ run }: Deployment): Promise<Release> {
  return parseRelease(readFileSync(join(run.policyDirectory, 'release.json'), 'utf8'))
}

const check = (made: Deployment) => checkBuild(made.run, () => undefined)

describeWith(['docker-registry'], 'a native image on a base from a registry', () => {
  let registry: RealRegistry
  let base: string
  let made: Deployment
  let release: Release

  beforeAll(async () => {
    registry = await startRealRegistry(temporaryFolder())
    base = await publishBase(registry.host, '24')
    const checkout = await makeCheckout()
    write(checkout, 'Dockerfile', `FROM ${base}\n`)
    commit(checkout, 'with a Dockerfile')
    made = await deployment({ checkout, change: withRegistry(registry.host, { base }) })
    expect(await made.build()).toBe('create')
    release = await builtRelease(made)
  })
  afterAll(() => registry.stop())

  it('has the commit in a label, and the base in release.json', async () => {
    expect(release.image.base).toBe(base)
    expect(checkRelease(release)).toEqual([])
    const { config } = await open(release.image.reference)
    expect(config.Labels).toMatchObject({
      'org.opencontainers.image.revision': headOf(made.checkout),
      'org.opencontainers.image.version': '1.2.3',
      'org.opencontainers.image.source': 'https://github.com/confrouter/confrouter.git'
    })
    expect(release.source).toMatchObject({ commit: headOf(made.checkout), dirty: false })
  })

  it('is made again by somebody else from a clone and the published base, to the same digest', async () => {
    const clone = join(temporaryFolder(), 'clone')
    git(made.checkout, 'clone', '--quiet', made.checkout, clone)
    await buildProgram(clone)
    const opened: string[] = []
    const comparisons = await rebuildRelease(release, {
      packageFolder: clone,
      openImage: (reference) => {
        opened.push(reference)
        return open(reference)
      }
    })
    expect(differing(comparisons)).toEqual([])
    expect(comparisons.map(({ what }) => what)).toEqual([
      'source.repository',
      'source.version',
      'image.digest',
      'layers[0].diffIds',
      'layers[0].rootHashes',
      'image.base'
    ])
    expect(opened).toEqual([base])
  })

  it('is made again at a later commit that changed only a page', async () => {
    const clone = join(temporaryFolder(), 'clone')
    git(made.checkout, 'clone', '--quiet', made.checkout, clone)
    write(clone, 'README.md', 'more words\n')
    commit(clone, 'pages')
    await buildProgram(clone)
    expect(differing(await rebuildRelease(release, { packageFolder: clone, openImage: open }))).toEqual([])
  })

  it('leaves a base that the source does not name for a person to judge', async () => {
    const other = await publishBase(registry.host, '25')
    const chosen = await deployment({
      checkout: made.checkout,
      change: withRegistry(registry.host, { base: other, tag: 'other' })
    })
    await chosen.build()
    const comparisons = await rebuildRelease(await builtRelease(chosen), {
      packageFolder: made.checkout,
      openImage: open
    })
    expect(differing(comparisons)).toEqual([])
    expect(comparisons.at(-1)).toMatchObject({ what: 'read: image.base', actual: other })
  })

  it('differs when the release claims another base, and cannot be checked when that is gone', async () => {
    const other = await publishBase(registry.host, '26')
    const claimed = (text: string): Release => ({ ...release, image: { ...release.image, base: text } })
    const rebuild = (changed: Release) => rebuildRelease(changed, { packageFolder: made.checkout, openImage: open })
    expect(differing(await rebuild(claimed(other)))).toEqual([
      'image.digest',
      'layers[0].diffIds',
      'layers[0].rootHashes'
    ])
    const sameDigest = base.replace(':24@', ':23@')
    expect(differing(await rebuild(claimed(sameDigest)))).toEqual(['image.digest'])
    const gone = `${base.slice(0, -64)}${'0'.repeat(64)}`
    expect(await errorOf(rebuild(claimed(gone)))).toMatchObject({ code: 'reproduce.image-missing', exitCode: 5 })
  })

  it('is refused in a release that says that an engine built it', () => {
    const changed: Release = { ...release, image: { ...release.image, builder: 'docker' } }
    expect(checkRelease(changed)).toEqual([expect.stringContaining('only a native build has one')])
    const unpinned = { ...release, image: { ...release.image, base: 'docker.io/library/node:24' } }
    expect(() => parseRelease(encodeRelease(unpinned))).toThrow('the release has a problem')
  })

  it('passes its own check, and shows what a change of the source changes', async () => {
    const same = await check(made)
    expect(same).toMatchObject({ recorded: release.image.reference, digest: release.image.digest, warnings: [] })
    expect(differing(same.comparisons)).toEqual([])
    const source = readFileSync(join(made.checkout, 'src/router/answer.ts'), 'utf8')
    write(made.checkout, 'src/router/answer.ts', 'export const answer: number = 43\n')
    try {
      const { comparisons } = await check(made)
      expect(differing(comparisons)).toEqual([
        'image.digest',
        'layers[1]',
        'label org.opencontainers.image.revision',
        'release.json: image.digest',
        'release.json: layers[0].diffIds'
      ])
      const revision = comparisons.find(({ what }) => what.startsWith('label') && what.endsWith('revision'))
      expect(revision).toMatchObject({ expected: headOf(made.checkout), actual: 'none' })
    } finally {
      write(made.checkout, 'src/router/answer.ts', source)
      await buildProgram(made.checkout)
    }
    expect(differing((await check(made)).comparisons)).toEqual([])
  })

  it('is checked by its digest alone where the published image is gone', async () => {
    const run: Run = {
      ...made.run,
      imageStore: { ...made.run.imageStore, open: (reference) => open(`${reference.slice(0, -64)}${'0'.repeat(64)}`) }
    }
    const { comparisons, warnings } = await checkBuild(run, () => undefined)
    expect(comparisons.map(({ what }) => what)).toEqual([
      'image.digest',
      'release.json: image.reference',
      'release.json: image.digest',
      'release.json: layers[0].diffIds'
    ])
    expect(warnings).toEqual([expect.stringContaining('is not there any more')])
  })

  it('finds a release.json that is of another image, or unreadable', async () => {
    const path = join(made.run.policyDirectory, 'release.json')
    const text = readFileSync(path, 'utf8')
    try {
      writeFileSync(path, text.replaceAll(release.image.digest, `sha256:${'0'.repeat(64)}`))
      expect(differing((await check(made)).comparisons)).toEqual([
        'release.json: image.reference',
        'release.json: image.digest'
      ])
      writeFileSync(path, '{}')
      expect(await errorOf(check(made))).toMatchObject({ code: 'release-file.invalid' })
      rmSync(path)
      expect(differing((await check(made)).comparisons)).toEqual([])
    } finally {
      writeFileSync(path, text)
    }
  })

  it('is not checked where the configuration names an image that exists already', async () => {
    const [, digest] = release.image.reference.split('@')
    const run = withRegistry(registry.host, { digest: digest as never })(made.run)
    expect(await errorOf(checkBuild(run, () => undefined))).toMatchObject({ code: 'builder.nothing-recorded' })
  })
})

describeWith(['docker-registry', 'buildah'], 'an image that a container engine builds', () => {
  const folder = temporaryFolder()
  const changed = ['CONTAINERS_REGISTRIES_CONF', 'CONTAINERS_STORAGE_CONF', 'BUILDAH_ISOLATION']
  const before = changed.map((name) => [name, process.env[name]] as const)
  let registry: RealRegistry
  let made: Deployment

  beforeAll(async () => {
    registry = await startRealRegistry(folder)
    const location = `[[registry]]\nlocation = "${registry.host}"\ninsecure = true\n`
    writeFileSync(join(folder, 'registries.conf'), location)
    const storage = `[storage]\ndriver = "vfs"\nrunroot = "${folder}/run"\ngraphroot = "${folder}/graph"\n`
    writeFileSync(join(folder, 'storage.conf'), storage)
    process.env['CONTAINERS_REGISTRIES_CONF'] = join(folder, 'registries.conf')
    process.env['CONTAINERS_STORAGE_CONF'] = join(folder, 'storage.conf')
    process.env['BUILDAH_ISOLATION'] = 'chroot'
    const checkout = await makeCheckout()
    for (const name of ['tsconfig.json', 'tsconfig.build.json', 'scripts/build.js']) write(checkout, name, '{}\n')
    const lines = ['FROM scratch', 'COPY src /app', 'USER 65532:65532', 'ENTRYPOINT ["/app/router.cjs"]']
    write(checkout, 'Dockerfile', `${lines.join('\n')}\n`)
    commit(checkout, 'with a Dockerfile')
    made = await deployment({ checkout, change: withRegistry(registry.host, { builder: 'buildah' }) })
    expect(await made.build()).toBe('create')
  }, 60_000)
  afterAll(() => {
    registry.stop()
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
    }
  })

  it('is compared by diff ids and configuration, not by a digest, and nothing of the second build stays', async () => {
    const { digest, comparisons } = await check(made)
    expect(digest).toBeUndefined()
    expect(differing(comparisons)).toEqual([])
    expect(comparisons.map(({ what }) => what)).toEqual(
      expect.arrayContaining(['layers[0]', 'config.Entrypoint', 'release.json: layers[0].diffIds'])
    )
    expect(comparisons.map(({ what }) => what)).not.toContain('image.digest')
    expect(execFileSync('buildah', ['images']).toString()).not.toContain('confrouter-check')
  }, 60_000)

  it('shows what differs: a layer, or how it is run', async () => {
    write(made.checkout, 'src/more.txt', 'more\n')
    const dockerfile = readFileSync(join(made.checkout, 'Dockerfile'), 'utf8')
    write(made.checkout, 'Dockerfile', dockerfile.replace('65532:65532', '1000:1000'))
    expect(differing((await check(made)).comparisons)).toEqual([
      'layers[0]',
      'config.User',
      'release.json: layers[0].diffIds'
    ])
  }, 60_000)

  it('cannot be compared when it is gone', async () => {
    const run: Run = {
      ...made.run,
      imageStore: { ...made.run.imageStore, open: (reference) => open(`${reference.slice(0, -64)}${'0'.repeat(64)}`) }
    }
    expect(await errorOf(checkBuild(run, () => undefined))).toMatchObject({ code: 'image.not-found' })
  }, 60_000)
})

describe('a build that was never made', () => {
  it('cannot be checked', async () => {
    const made = await deployment()
    expect(existsSync(join(made.run.policyDirectory, 'release.json'))).toBe(false)
    expect(await errorOf(check(made))).toMatchObject({ code: 'builder.nothing-recorded', exitCode: 3 })
  })

  it('is checked by release.json where the state is gone', async () => {
    const made = await deployment()
    await made.build()
    const run: Run = { ...made.run, state: { ...made.run.state, get: () => ({}) } as unknown as Run['state'] }
    const { comparisons } = await checkBuild(run, () => undefined)
    expect(differing(comparisons)).toEqual([])
  })
})
