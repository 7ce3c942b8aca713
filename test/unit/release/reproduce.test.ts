import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from '@jest/globals'
import { sha256Hex } from '../../../src/base/digest.js'
import { UserError } from '../../../src/base/user-error.js'
import { buildNativeImage, type Image, ImageError, imageFacts, openLayoutImage } from '../../../src/image/index.js'
import {
  checkRelease,
  type CompleteRelease,
  coverageOf,
  deployedPolicy,
  encodeRelease,
  parseRelease,
  rebuildRelease,
  regeneratePolicy,
  type Release,
  valuesToRead
} from '../../../src/release/index.js'
import {
  alteredRelease,
  type Anything,
  buildProgram,
  commit,
  type Deployment,
  deployment,
  differing,
  errorOf,
  git,
  headOf,
  makeCheckout,
  releasedDeployment,
  router,
  sidecar,
  temporaryFolder,
  write
} from './support.js'

let made: Deployment
let release: CompleteRelease
beforeAll(async () => {
  made = await releasedDeployment({
    yaml: 'containerGroup: { dnsLabel: my-router }\nrouter: { tls: { port: 8443 } }\n'
  })
  release = await made.release()
})

const rebuild = (changed: Release, from: Partial<Deployment> = {}) =>
  rebuildRelease(changed, {
    packageFolder: from.checkout ?? made.checkout,
    openImage: from.openImage ?? made.openImage
  })
const regenerate = (changed: CompleteRelease, openImage = made.openImage) => regeneratePolicy(changed, { openImage })

/** The release with one change, however inconsistent. */
const altered = (change: (release: Anything) => void) => alteredRelease(release, change)

describe('a release as it was published', () => {
  it('is the same when policy and image are made again', async () => {
    expect(checkRelease(release)).toEqual([])
    const regenerated = await regenerate(release)
    expect(regenerated.map(({ what, same }) => [what, same])).toEqual([
      ['layers[0].diffIds', true],
      ['layers[0].rootHashes', true],
      ['layers[1].diffIds', true],
      ['layers[1].rootHashes', true],
      ['policy.text', true],
      ['hostData', true]
    ])
    const rebuilt = await rebuild(release)
    expect(rebuilt.map(({ what, same }) => [what, same])).toEqual([
      ['source.repository', true],
      ['source.version', true],
      ['image.digest', true],
      ['template', true],
      ...regenerated.map(({ what }) => [what, true]),
      ...valuesToRead(release).map(({ name }) => [`read: ${name}`, true])
    ])
    expect(rebuilt.find(({ what }) => what === 'hostData')).toEqual({
      what: 'hostData',
      expected: release.hostData,
      actual: release.hostData,
      same: true
    })
  })

  it('is built again from another clone of the source, into nothing that stays', async () => {
    const clone = join(temporaryFolder(), 'clone')
    git(made.checkout, 'clone', '--quiet', made.checkout, clone)
    await buildProgram(clone)
    const temporary = temporaryFolder()
    const before = process.env['TMPDIR']
    process.env['TMPDIR'] = temporary
    try {
      expect(differing(await rebuild(release, { checkout: clone }))).toEqual([])
    } finally {
      if (before === undefined) delete process.env['TMPDIR']
      else process.env['TMPDIR'] = before
    }
    expect(readdirSync(temporary)).toEqual([])
    expect(git(clone, 'status', '--porcelain')).toBe('')
  })

  it('does not need the router image from anywhere when it is built again', async () => {
    const opened: string[] = []
    const openImage = (reference: string) => {
      opened.push(reference)
      return made.openImage(reference)
    }
    await rebuild(release, { openImage })
    expect(opened).toEqual([release.layers[1]?.image])
  })

  it('may be one without a policy: image and layers are compared', async () => {
    const { build, text, checkout, openImage } = await deployment()
    await build()
    const comparisons = await rebuild(parseRelease(await text()), { checkout, openImage })
    expect(comparisons.map(({ what, same }) => [what, same])).toEqual([
      ['source.repository', true],
      ['source.version', true],
      ['image.digest', true],
      ['layers[0].diffIds', true],
      ['layers[0].rootHashes', true]
    ])
  })
})

describe('every single field of release.json', () => {
  /** What somebody would say of a changed text: problems of form, of consistency, differences, or why it cannot be said. */
  async function verdict(changed: unknown): Promise<readonly string[]> {
    try {
      const parsed = parseRelease(encodeRelease(changed as Release))
      const problems = checkRelease(parsed)
      return [...problems, ...differing(await rebuild(parsed))]
    } catch (error) {
      if (error instanceof UserError) return [error.code, ...(error.why === undefined ? [] : [error.why])]
      throw error
    }
  }

  it('is noticed when it is altered, but for values of one deployment that are not measured', async () => {
    const unnoticed: string[] = []
    const leaves = leavesOf(release, [])
    expect(leaves.length).toBeGreaterThan(60)
    for (const path of leaves) {
      if ((await verdict(alteredAt(release, path))).length === 0) unnoticed.push(path.join('.'))
    }
    const group = 'template.resources.0.properties'
    expect(unnoticed.sort()).toEqual([
      'template.parameters.location.defaultValue',
      'template.parameters.name.defaultValue',
      `${group}.containers.0.properties.ports.0.port`,
      `${group}.containers.0.properties.ports.1.port`,
      `${group}.containers.0.properties.resources.requests.cpu`,
      `${group}.containers.0.properties.resources.requests.memoryInGB`,
      `${group}.containers.1.properties.ports.0.port`,
      `${group}.containers.1.properties.resources.requests.cpu`,
      `${group}.containers.1.properties.resources.requests.memoryInGB`,
      `${group}.ipAddress.dnsNameLabel`,
      `${group}.ipAddress.ports.0.port`,
      `${group}.ipAddress.ports.1.port`
    ])
  }, 60_000)

  it.each<[string, (release: Anything) => void, string]>([
    ['version', (r) => (r.version = 2), 'version must be 1'],
    ['source.repository', (r) => (r.source.repository = 'https://example.com/fork.git'), 'source.repository'],
    ['source.commit', (r) => (r.source.commit = 'b'.repeat(40)), 'reproduce.other-commit'],
    ['source.dirty', (r) => (r.source.dirty = true), 'reproduce.source-unknown'],
    ['source.version', (r) => (r.source.version = '9.9.9'), 'source.version'],
    ['image.reference', (r) => (r.image.reference = r.layers[1].image), 'image.digest is'],
    ['image.digest', (r) => (r.image.digest = `sha256:${'0'.repeat(64)}`), 'image.digest is'],
    ['image.builder', (r) => (r.image.builder = 'docker'), 'reproduce.builder'],
    ['layers[0].image', (r) => (r.layers[0].image = r.layers[1].image), 'layers[0].image is'],
    ['layers[0].diffIds', (r) => (r.layers[0].diffIds = [`sha256:${'0'.repeat(64)}`]), 'layers[0].diffIds'],
    ['layers[1].rootHashes', (r) => (r.layers[1].rootHashes = ['0'.repeat(64)]), 'for container skr'],
    [
      'template',
      (r) => (r.template.resources[0].properties.restartPolicy = 'Never'),
      'template.resources[0].properties.restartPolicy'
    ],
    ['template', (r) => (router(r).environmentVariables[0].value = '0.0.0.0'), 'policy.text'],
    ['policy.api', (r) => (r.policy.api = '0.10.0'), 'policy.api is 0.10.0, and policy.text is of 0.11.0'],
    ['policy.engine', (r) => (r.policy.engine = 'az'), 'reproduce.engine'],
    ['policy.text', (r) => (r.policy.text = r.policy.text.replace('xterm', 'xtern')), 'the SHA-256 of policy.text is'],
    ['hostData', (r) => (r.hostData = '0'.repeat(64)), `hostData is ${'0'.repeat(64)}, and the SHA-256`]
  ])('names what is wrong when %s is altered', async (_name, change, expected) => {
    const found = await verdict(altered(change))
    expect(found.join('\n')).toContain(expected)
  })
})

/** Paths of all values that are no object or list. */
function leavesOf(value: unknown, path: readonly string[]): readonly (readonly string[])[] {
  if (typeof value !== 'object' || value === null) return [path]
  return Object.entries(value).flatMap(([name, member]) => leavesOf(member, [...path, name]))
}

/** Another value of the same form, so that it is not refused for its form alone where that can be helped. */
function alteredAt(whole: unknown, path: readonly string[]): unknown {
  const copy = JSON.parse(JSON.stringify(whole))
  const last = path.at(-1) ?? ''
  const holder = path.slice(0, -1).reduce((value, name) => value[name], copy)
  holder[last] = otherThan(holder[last])
  return copy
}

function otherThan(value: unknown): unknown {
  if (typeof value === 'number') return value + 1
  if (typeof value === 'boolean') return !value
  if (typeof value !== 'string') return 'x'
  if (/[0-9a-f]{40}$/.test(value)) return value.slice(0, -1) + (value.endsWith('0') ? '1' : '0')
  return `${value}x`
}

describe('checkRelease', () => {
  it.each<[string, (release: Anything) => void, readonly string[]]>([
    [
      'a dirty tree of no commit',
      (r) => Object.assign(r.source, { commit: null, dirty: true }),
      ['source.dirty is true, and there is no source.commit']
    ],
    [
      'a commit of which nobody says whether the tree was that commit',
      (r) => (r.source.dirty = null),
      ['source.dirty is null, and source.commit is']
    ],
    [
      'more diff ids than root hashes',
      (r) => r.layers[0].diffIds.push(r.layers[0].diffIds[0]),
      ['layers[0] has 2 diffIds for 1 rootHashes']
    ],
    [
      'one layer with two root hashes',
      (r) => (r.layers[1].diffIds[0] = r.layers[0].diffIds[0]),
      ['stands elsewhere for it']
    ],
    ['images in another order', (r) => r.layers.reverse(), ['layers[0].image is', 'layers are of']],
    [
      'an image that the template does not have',
      (r) => r.layers.push({ ...r.layers[1], image: `x/y@sha256:${'0'.repeat(64)}` }),
      ['layers are of']
    ],
    [
      'a template with another router',
      (r) => (router(r).image = `x/y@sha256:${'0'.repeat(64)}`),
      ["the template's first container has", 'layers are of', 'for container router, not']
    ],
    [
      'an image by its tag',
      (r) => (sidecar(r).image = 'mcr.microsoft.com/aci/skr:2.12'),
      ['which pins no digest', 'layers are of', 'for container skr, not']
    ],
    [
      'a template that says that prompts go elsewhere than the policy allows',
      (r) =>
        Object.assign(
          router(r).environmentVariables.find(({ name }: { name: string }) => name === 'CONFROUTER_PROVIDERS'),
          { value: '{}' }
        ),
      ['sets CONFROUTER_PROVIDERS to {}, and policy.text does not allow container router that']
    ],
    [
      'a template with another command than the policy has',
      (r) => (sidecar(r).command = ['/bin/sh', '-c', 'evil']),
      ['policy.text has the command']
    ],
    [
      'a container that the policy does not have',
      (r) => (r.template.resources[0].properties.containers[1].name = 'other'),
      [
        "policy.text is for the containers router, skr, pause-container, and the template's are router, other, pause-container"
      ]
    ]
  ])('finds %s', (_name, change, expected) => {
    const problems = checkRelease(altered(change))
    expect(problems).toHaveLength(expected.length)
    expected.forEach((text, index) => expect(problems[index]).toContain(text))
  })

  it('compares a command word by word', () => {
    const problems = checkRelease(
      altered((r) => {
        r.policy.text = r.policy.text.replace('["/skr.sh"]', '["/skr.sh","x"]')
        r.hostData = sha256Hex(r.policy.text)
        sidecar(r).command = ['/skr.sh x']
      })
    )
    expect(problems).toEqual([expect.stringContaining('has the command ["/skr.sh","x"] for container skr, not')])
  })

  const withText = (change: (text: string) => string) =>
    altered((r) => {
      r.policy.text = change(r.policy.text)
      r.hostData = sha256Hex(r.policy.text)
    })
  const rootHash = (index: number) => release.layers[index]?.rootHashes[0] ?? ''

  it.each<[string, () => CompleteRelease, string]>([
    [
      'another layer for the router',
      () => withText((text) => text.replace(rootHash(0), '0'.repeat(64))),
      `policy.text has the layers ${'0'.repeat(64)} for container router, not`
    ],
    [
      'another layer for the sidecar',
      () => withText((text) => text.replace(rootHash(1), '0'.repeat(64))),
      'for container skr, not'
    ],
    [
      'one more layer',
      () => withText((text) => text.replace(`"${rootHash(0)}"`, `"${rootHash(0)}", "${rootHash(1)}"`)),
      ' for container router, not'
    ],
    [
      'layers of the containers exchanged',
      () =>
        withText((text) =>
          text.replace(rootHash(0), 'TMP').replace(rootHash(1), rootHash(0)).replace('TMP', rootHash(1))
        ),
      'for container router, not'
    ],
    [
      'another pause container',
      () =>
        withText((text) =>
          text.replace('16b514057a06ad665f92c02863aca074fd5976c755d26bff16365299169e8415', '0'.repeat(64))
        ),
      'for pause-container, not'
    ],
    [
      'a rule of its own',
      () => withText((text) => `${text}\nallow := true`),
      'policy.text cannot be read: CCE policy: line'
    ],
    ['an open door', () => withText(() => openDoor), 'policy.text allows everything']
  ])('finds a policy text with %s under its right hash', (_name, make, expected) => {
    expect(checkRelease(make()).join('\n')).toContain(expected)
  })
})

const openDoor = readFileSync(join(import.meta.dirname, '../../vectors/policy/open-door.rego'), 'utf8')

describe('regeneratePolicy', () => {
  it('shows where two policy texts part, line and column, on both sides', async () => {
    const changed = altered((r) => {
      r.policy.text = r.policy.text.replace('TERM=xterm', 'TERM=other')
      r.hostData = sha256Hex(r.policy.text)
    })
    const comparisons = await regenerate(changed)
    expect(differing(comparisons)).toEqual(['policy.text', 'hostData'])
    const [text] = comparisons.filter(({ what }) => what === 'policy.text')
    expect(text?.expected).toMatch(/^line \d+, column \d+: .*TERM=other/)
    expect(text?.actual).toMatch(/^line \d+, column \d+: .*TERM=xterm/)
    expect(text?.actual.length).toBeLessThan(250)
  })

  it('says where a text ends too early', async () => {
    const changed = altered((r) => (r.policy.text = r.policy.text.slice(0, -5)))
    const [text] = (await regenerate(changed)).filter(({ what }) => what === 'policy.text')
    expect(text?.expected).toContain('(ends here)')
  })

  it('finds root hashes that the published images do not have, though policy and host data agree with them', async () => {
    const [was] = release.layers[0]?.rootHashes ?? []
    const changed = altered((r) => {
      r.layers[0].rootHashes = ['0'.repeat(64)]
      r.policy.text = r.policy.text.replaceAll(was ?? '', '0'.repeat(64))
      r.hostData = sha256Hex(r.policy.text)
    })
    expect(checkRelease(changed)).toEqual([])
    const comparisons = await regenerate(changed)
    expect(differing(comparisons)).toEqual(['layers[0].rootHashes', 'policy.text', 'hostData'])
    expect(comparisons[1]).toMatchObject({ expected: '0'.repeat(64), actual: was })
  })

  it('finds an image whose layer is another one', async () => {
    const layout = temporaryFolder()
    const other = await buildNativeImage({
      layout,
      reference: 'x/y:1',
      files: [{ path: '/app/router.cjs', mode: 0o444, content: Buffer.from('other') }],
      config: { entrypoint: ['node'] }
    })
    const openImage = (reference: string): Promise<Image> =>
      reference === release.image.reference ? openLayoutImage(layout, `x/y@${other.digest}`) : made.openImage(reference)
    expect(differing(await regenerate(release, openImage))).toEqual([
      'layers[0].diffIds',
      'layers[0].rootHashes',
      'policy.text',
      'hostData'
    ])
  })

  it('finds a template of which no policy can be made', async () => {
    const changed = altered((r) => (sidecar(r).image = `x/y@sha256:${'0'.repeat(64)}`))
    expect((await regenerate(changed)).at(-1)).toEqual({
      what: 'policy.text',
      expected: release.hostData,
      actual: `none: container "skr": image x/y@sha256:${'0'.repeat(64)} was not read`,
      same: false
    })
  })

  it('makes a policy of the API version that the release names', async () => {
    const images = new Map(
      await Promise.all(
        release.layers.map(async ({ image }) => [image, await imageFacts(await made.openImage(image))] as const)
      )
    )
    const { rego, hostData } = deployedPolicy(release.template, images, '0.10.0')
    const older = altered((r) =>
      Object.assign(r, { hostData, policy: { api: '0.10.0', engine: 'native', text: rego } })
    )
    expect(checkRelease(older)).toEqual([])
    expect(differing(await regenerate(older))).toEqual([])
  })

  it('believes no root hash that it has not worked out', async () => {
    const before = readFileSync(made.run.imageStore.hashCache, 'utf8')
    expect(before).toContain(release.layers[0]?.rootHashes[0])
    writeFileSync(
      made.run.imageStore.hashCache,
      before.replaceAll(release.layers[0]?.rootHashes[0] ?? '', 'f'.repeat(64))
    )
    try {
      expect(differing(await regenerate(release))).toEqual([])
    } finally {
      writeFileSync(made.run.imageStore.hashCache, before)
    }
  })

  describe('that cannot check', () => {
    it.each<[string, () => Promise<Image>, string, number]>([
      [
        'an image that is gone',
        () => Promise.reject(new ImageError('image.not-found', 'no such image')),
        'reproduce.image-missing',
        5
      ],
      [
        'a registry that does not answer',
        () => Promise.reject(new ImageError('registry.unreachable', 'no answer')),
        'registry.unreachable',
        5
      ],
      [
        'a registry that wants a login',
        () => Promise.reject(new ImageError('registry.not-logged-in', 'login')),
        'registry.not-logged-in',
        4
      ],
      [
        'an image of another kind',
        () => Promise.reject(new ImageError('image.unsupported', 'windows')),
        'reproduce.image-unreadable',
        4
      ]
    ])('says so for %s, and gives no verdict', async (_name, openImage, code, exitCode) => {
      for (const work of [regenerate(release, openImage), rebuild(release, { openImage })]) {
        expect(await errorOf(work)).toMatchObject({ code, exitCode })
      }
    })

    it('says so for a layer that was damaged on the way', async () => {
      const layout = join(temporaryFolder(), 'images')
      cpSync(made.layout, layout, { recursive: true })
      const image = await openLayoutImage(layout, release.image.reference)
      const blob = join(layout, 'blobs/sha256', image.layers[0]?.digest.slice(7) ?? '')
      const bytes = readFileSync(blob)
      bytes[1040] = (bytes[1040] ?? 0) ^ 1
      writeFileSync(blob, bytes)
      const error = await errorOf(regenerate(release, (reference) => openLayoutImage(layout, reference)))
      expect(error).toMatchObject({ code: 'image.digest-mismatch', fault: 'machine' })
    })

    it('says so for a policy of az confcom, and for an API version that it does not know', async () => {
      for (const policy of [{ engine: 'az' }, { api: '0.99.0' }]) {
        const changed = altered((r) => Object.assign(r.policy, policy))
        expect(await errorOf(regenerate(changed))).toMatchObject({ code: 'reproduce.engine', fault: 'machine' })
      }
    })

    it('ends with the reason of the caller when it is interrupted', async () => {
      const reason = new Error('stopped')
      const work = regeneratePolicy(release, { openImage: made.openImage, signal: AbortSignal.abort(reason) })
      await expect(work).rejects.toBe(reason)
    })
  })
})

describe('coverageOf', () => {
  const names = (parts: readonly { readonly what: string }[]) => parts.map(({ what }) => what)
  const own = ['hostData', 'image.digest', 'layers[].rootHashes', 'template: images, commands, variables']
  const digests = ['layers[0].diffIds', 'layers[0].rootHashes', 'layers[1].diffIds', 'layers[1].rootHashes']

  it('claims of images and of source just what is compared with them', async () => {
    const ofImages = names(await regenerate(release))
    const { checked, unchecked } = coverageOf(release, 'images')
    expect(names(checked)).toEqual([...own, ...digests])
    expect(ofImages).toEqual(expect.arrayContaining(digests))
    const ofSource = names(await rebuild(release))
    const source = names(unchecked).filter((what) => !what.startsWith('template:'))
    expect(names(coverageOf(release, 'source').checked)).toEqual([...own, ...digests, ...source])
    // That the checkout is of the commit is asked before anything is compared.
    expect(ofSource).toEqual(expect.arrayContaining(source.filter((what) => what !== 'source.commit')))
  })

  it('leaves open of a file what only its images and its source show, each with what shows it', () => {
    const { checked, unchecked } = coverageOf(release, 'file')
    expect(names(checked)).toEqual(own)
    const by = (what: string) => unchecked.find((part) => part.what === what)?.by
    for (const what of digests) expect(by(what)).toEqual(['--rebuild', '--image'])
    for (const what of ['source.commit', 'image.digest', 'template']) expect(by(what)).toEqual(['--rebuild'])
    expect(by('template: name, location, DNS label, ports, cpu, memory')).toEqual([])
  })

  it.each<[string, (release: Anything) => void]>([
    ['image.builder is docker', (r) => (r.image.builder = 'docker')],
    ['image.builder is not known', (r) => (r.image.builder = null)],
    ['policy.engine is az', (r) => (r.policy.engine = 'az')],
    ['source.commit is not known', (r) => Object.assign(r.source, { commit: null, dirty: null })],
    ['a changed work tree', (r) => (r.source.dirty = true)]
  ])('proposes no rebuild that would be refused: %s', async (why, change) => {
    const { unchecked } = coverageOf(altered(change), 'file')
    expect(unchecked.find(({ what }) => what === 'source.commit')).toMatchObject({
      why: expect.stringContaining(why),
      by: []
    })
    expect(unchecked.flatMap(({ by }) => by)).not.toContain('--rebuild')
    await expect(rebuild(altered(change))).rejects.toThrow(UserError)
  })
})

describe('rebuildRelease', () => {
  it('finds an image that is not what the source gives, and what it would be', async () => {
    const checkout = await makeCheckout()
    write(checkout, 'src/router/answer.ts', 'export const answer = 43 // and whatever else\n')
    const head = commit(checkout, 'something else')
    await buildProgram(checkout)
    const other = await (await releasedDeployment({ checkout })).release()
    const claimed = altered((r) => (r.source.commit = head))
    const comparisons = await rebuild(claimed, { checkout })
    expect(differing(comparisons)).toEqual([
      'image.digest',
      'layers[0].diffIds',
      'layers[0].rootHashes',
      'policy.text',
      'hostData'
    ])
    expect(comparisons.find(({ what }) => what === 'image.digest')).toMatchObject({
      expected: release.image.digest,
      actual: other.image.digest
    })
  })

  describe('refuses, with the reason and what to do,', () => {
    const refusal = async (changed: Release, checkout = made.checkout) => {
      const { code, fault, problem, why, next } = await errorOf(rebuild(changed, { checkout }))
      expect(fault).toBe('machine')
      return { code, says: `${problem}: ${why ?? ''}`, next: next.join('\n') }
    }

    it.each(['docker', 'podman', 'buildah'] as const)(
      'an image of %s, which is not the same bit for bit',
      async (builder) => {
        expect(await refusal(altered((r) => (r.image.builder = builder)))).toMatchObject({
          code: 'reproduce.builder',
          says: expect.stringMatching(
            new RegExp(`that ${builder} built: only image.builder: native gives the same bytes`)
          )
        })
      }
    )

    it('an image whose builder is not known', async () => {
      expect(await refusal(altered((r) => (r.image.builder = null)))).toMatchObject({ code: 'reproduce.builder' })
    })

    it('a release of no commit, and one of a changed tree', async () => {
      const code = 'reproduce.source-unknown'
      expect(await refusal(altered((r) => (r.source.commit = null)))).toMatchObject({ code })
      expect(await refusal(altered((r) => (r.source.dirty = true)))).toMatchObject({ code })
      expect(await refusal(altered((r) => Object.assign(r.source, { commit: null, dirty: null })))).toMatchObject({
        code
      })
    })

    it('a policy of az confcom', async () => {
      expect(await refusal(altered((r) => (r.policy.engine = 'az')))).toMatchObject({ code: 'reproduce.engine' })
    })

    it('a checkout of another commit', async () => {
      const checkout = await makeCheckout()
      write(checkout, 'README.md', 'other\n')
      const head = commit(checkout, 'other')
      const { code, says, next } = await refusal(release, checkout)
      expect(code).toBe('reproduce.other-commit')
      expect(says).toContain(`is at commit ${head}, and the release is of ${headOf(made.checkout)}`)
      expect(next).toContain(`git -C ${checkout} checkout ${headOf(made.checkout)}`)
    })

    it('a checkout with changes, which it names', async () => {
      const checkout = await makeCheckout()
      const own = altered((r) => (r.source.commit = headOf(checkout)))
      write(checkout, 'src/router/a name.ts', '// new\n')
      git(checkout, 'mv', 'src/router/answer.ts', 'src/router/moved.ts')
      const { code, says } = await refusal(own, checkout)
      expect(code).toBe('reproduce.dirty')
      expect(says).toContain('differs from its commit: src/router/moved.ts, src/router/a name.ts')
    })

    it('a folder without history', async () => {
      const checkout = await makeCheckout()
      rmSync(join(checkout, '.git'), { recursive: true })
      expect(await refusal(release, checkout)).toMatchObject({
        code: 'reproduce.no-checkout',
        says: expect.stringContaining('is no git checkout'),
        next: expect.stringContaining('git clone https://github.com/confrouter/confrouter.git')
      })
    })

    it('a checkout whose git does not answer', async () => {
      const checkout = await makeCheckout()
      rmSync(join(checkout, '.git/HEAD'))
      const { code, says } = await refusal(release, checkout)
      expect([code, says]).toEqual(['reproduce.no-checkout', expect.stringContaining('git ended with exit code 128')])
    })

    const withOwnCommit = async (checkout: string) => {
      const head = commit(checkout, 'changed')
      return altered((r) => (r.source.commit = head))
    }

    it('a program that was not built from the source that is there', async () => {
      const checkout = await makeCheckout()
      write(checkout, 'dist/router/router.cjs', 'console.log("something else")\n')
      const own = altered((r) => (r.source.commit = headOf(checkout)))
      const code = 'reproduce.not-built'
      expect(await refusal(own, checkout)).toMatchObject({ code, next: expect.stringContaining('npm run build') })
      rmSync(join(checkout, 'dist'), { recursive: true })
      expect(await refusal(own, checkout)).toMatchObject({ code })
    })

    it('packages that are not the locked ones, which it names', async () => {
      const checkout = await makeCheckout()
      write(checkout, 'src/router/main.ts', "import 'small'\n")
      write(
        checkout,
        'npm-shrinkwrap.json',
        JSON.stringify({ packages: { 'node_modules/small': { version: '1.0.0' } } })
      )
      mkdirSync(join(checkout, 'node_modules/small'), { recursive: true })
      write(checkout, 'node_modules/small/package.json', '{"name":"small","version":"1.0.1","main":"index.js"}')
      write(checkout, 'node_modules/small/index.js', 'console.log(1)\n')
      const { code, says } = await refusal(await withOwnCommit(checkout), checkout)
      expect(code).toBe('reproduce.not-built')
      expect(says).toContain('node_modules/small is 1.0.1, locked is 1.0.0')
      expect(says).toContain('node_modules/esbuild is')
    })

    it('a source that does not compile', async () => {
      const checkout = await makeCheckout()
      write(checkout, 'src/router/main.ts', "import './missing.js'\n")
      const { code, says } = await refusal(await withOwnCommit(checkout), checkout)
      expect([code, says]).toEqual(['reproduce.not-built', expect.stringContaining('Could not resolve "./missing.js"')])
    })
  })
})
