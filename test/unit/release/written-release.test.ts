import { createHash } from 'node:crypto'
import { cpSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from '@jest/globals'
import { imageFacts, openLayoutImage } from '../../../src/image/index.js'
import { readCheckout } from '../../../src/release/checkout.js'
import { checkRelease, deployedPolicy, encodeRelease, parseRelease } from '../../../src/release/index.js'
import type { Run } from '../../../src/steps/index.js'
import {
  buildProgram,
  commit,
  deployment,
  git,
  headOf,
  makeCheckout,
  releasedDeployment,
  repository,
  subscription,
  temporaryFolder,
  write
} from './support.js'

describe('the release that policy writes', () => {
  it('says all of the chain, from the commit to the host data', async () => {
    const { checkout, layout, run, release } = await releasedDeployment()
    const written = await release()
    const image = await openLayoutImage(layout, written.image.reference)
    const rego = readFileSync(join(run.policyDirectory, 'policy.rego'), 'utf8')
    expect(written).toMatchObject({
      version: 1,
      source: { repository, commit: headOf(checkout), dirty: false, version: '1.2.3' },
      image: { reference: `confrouter.local/router@${image.digest}`, digest: image.digest, builder: 'native' },
      policy: { api: '0.11.0', engine: 'native', text: rego },
      hostData: createHash('sha256').update(rego).digest('hex')
    })
    expect(
      written.layers.map(({ image: { length }, diffIds, rootHashes }) => [
        length > 0,
        diffIds?.length,
        rootHashes.length
      ])
    ).toEqual([
      [true, 1, 1],
      [true, 1, 1]
    ])
    expect(written.layers[0]?.diffIds).toEqual([image.layers[0]?.diffId])
    expect(checkRelease(written)).toEqual([])
  })

  it('is read and written again to the same bytes', async () => {
    const { text } = await releasedDeployment({ yaml: 'containerGroup: { cpu: 0.5, memoryGb: 1.5 }' })
    const written = await text()
    expect(encodeRelease(parseRelease(written))).toBe(written)
  })

  it('has the template that was deployed, without policy and without the identity', async () => {
    const { run, release } = await releasedDeployment({ yaml: 'containerGroup: { dnsLabel: my-router }' })
    const deployed = JSON.parse(readFileSync(join(run.policyDirectory, 'template.json'), 'utf8'))
    expect(JSON.stringify(deployed)).toContain(subscription)
    deployed.resources[0].properties.confidentialComputeProperties.ccePolicy = ''
    deployed.resources[0].identity.userAssignedIdentities = {}
    const { template } = await release()
    expect(template).toEqual(deployed)
    expect(JSON.stringify(template)).not.toContain(subscription)
  })

  it('keeps its bytes on a second run, which changes nothing', async () => {
    const { build, policy, text } = await releasedDeployment()
    const first = await text()
    expect([await build(), await policy()]).toEqual(['none', 'none'])
    expect(await text()).toBe(first)
  })

  it('is written anew when it is gone or damaged', async () => {
    const { run, build, policy, text } = await releasedDeployment()
    const first = await text()
    const file = join(run.policyDirectory, 'release.json')
    for (const spoil of [() => rmSync(file), () => writeFileSync(file, first.slice(0, 100))]) {
      spoil()
      expect([await build(), await policy()]).toEqual(['none', 'update: writing release.json'])
      expect(await text()).toBe(first)
    }
  })

  it('leaves nothing beside itself in the folder', async () => {
    const { run } = await releasedDeployment()
    expect(readdirSync(run.policyDirectory).sort()).toEqual([
      'policy.rego',
      'release.json',
      'skr-policy.json',
      'template.json',
      'trust.json'
    ])
  })
})

describe('the release that build writes', () => {
  it('says what is known before there is a policy', async () => {
    const { build, text, checkout } = await deployment()
    expect(await build()).toBe('create')
    const written = parseRelease(await text())
    expect(written).toMatchObject({
      source: { commit: headOf(checkout), dirty: false },
      image: { builder: 'native' },
      template: null,
      policy: null,
      hostData: null
    })
    expect(written.layers.map(({ image }) => image)).toEqual([written.image.reference])
    expect(checkRelease(written)).toEqual([])
  })

  it('is not put in place of a whole one of the same image', async () => {
    const { build, text, layout } = await releasedDeployment()
    const whole = await text()
    rmSync(layout, { recursive: true })
    expect(await build()).toBe('update')
    expect(await text()).toBe(whole)
  })

  it('takes the place of one of another image, whose policy is void', async () => {
    const { build, text, checkout } = await releasedDeployment()
    write(checkout, 'dist/router/router.cjs', 'console.log(2)\n')
    expect(await build()).toBe('update')
    expect(parseRelease(await text()).policy).toBeNull()
  })
})

describe('the source of a release', () => {
  const sourceOf = async (checkout: string, change?: (run: Run) => Run) => {
    const { release } = await releasedDeployment({ checkout, ...(change === undefined ? {} : { change }) })
    return (await release()).source
  }

  it.each([
    ['a changed file', 'src/router/answer.ts'],
    ['a new file', 'src/router/more.ts'],
    ['a changed template', 'templates/container-group.json'],
    ['changed packages', 'npm-shrinkwrap.json']
  ])('is dirty with %s', async (_name, path) => {
    const checkout = await makeCheckout()
    const before = path.endsWith('.json') ? readFileSync(join(checkout, path), 'utf8') : '// '
    write(checkout, path, `${before}\n`)
    utimesSync(join(checkout, 'dist/router/router.cjs'), new Date(), new Date(Date.now() + 1000))
    expect(await sourceOf(checkout)).toMatchObject({ commit: headOf(checkout), dirty: true })
  })

  it('is dirty with a change that is only staged', async () => {
    const checkout = await makeCheckout()
    write(checkout, 'src/router/answer.ts', '// staged\n')
    git(checkout, 'add', '--all')
    utimesSync(join(checkout, 'dist/router/router.cjs'), new Date(), new Date(Date.now() + 1000))
    expect(await sourceOf(checkout)).toMatchObject({ dirty: true })
  })

  it('is dirty when the program was built before the last change of its source, though all is committed', async () => {
    const checkout = await makeCheckout()
    utimesSync(join(checkout, 'dist/router/router.cjs'), new Date(0), new Date(0))
    expect(await sourceOf(checkout)).toMatchObject({ commit: headOf(checkout), dirty: true })
  })

  it('is not dirty with what no image and no policy is made of', async () => {
    const checkout = await makeCheckout()
    write(checkout, 'confrouter.yaml', 'name: mine\n')
    write(checkout, 'README.md', 'changed\n')
    expect(await sourceOf(checkout)).toMatchObject({ commit: headOf(checkout), dirty: false })
  })

  it('is found in a linked work tree too', async () => {
    const checkout = await makeCheckout()
    const linked = join(temporaryFolder(), 'linked')
    git(checkout, 'worktree', 'add', '--quiet', linked)
    write(linked, 'dist/router/router.cjs', 'console.log(1)\n')
    expect(await sourceOf(linked)).toMatchObject({ commit: headOf(checkout), dirty: false })
  })

  it('is not the history of another project that the package is installed in', async () => {
    const outer = await makeCheckout()
    const inner = await makeCheckout()
    rmSync(join(inner, '.git'), { recursive: true })
    const installed = join(outer, 'node_modules', 'confrouter')
    cpSync(inner, installed, { recursive: true })
    expect(await sourceOf(installed)).toEqual({ repository, commit: null, dirty: null, version: '1.2.3' })
  })

  it('is not where variables of a git hook lead', async () => {
    const [checkout, other] = [await makeCheckout(), await makeCheckout()]
    write(other, 'README.md', 'another history\n')
    commit(other, 'second')
    process.env['GIT_DIR'] = join(other, '.git')
    process.env['GIT_WORK_TREE'] = other
    try {
      const source = await sourceOf(checkout)
      delete process.env['GIT_DIR']
      delete process.env['GIT_WORK_TREE']
      expect(source).toMatchObject({ commit: headOf(checkout), dirty: false })
    } finally {
      delete process.env['GIT_DIR']
      delete process.env['GIT_WORK_TREE']
    }
  })

  it('has no commit where there is none yet, or no git', async () => {
    const checkout = await makeCheckout()
    rmSync(join(checkout, '.git'), { recursive: true })
    git(checkout, 'init', '--quiet')
    expect(await sourceOf(checkout)).toMatchObject({ commit: null, dirty: null })
    const path = process.env['PATH']
    process.env['PATH'] = ''
    try {
      expect(await sourceOf(checkout)).toMatchObject({ commit: null, dirty: null })
    } finally {
      process.env['PATH'] = path
    }
  })

  it('is that of the labels, and of nothing else, for an image that was not built here', async () => {
    const checkout = await makeCheckout()
    const built = await releasedDeployment({ checkout })
    const { image } = await built.release()
    const withLabels = (labels: Record<string, string>) => (run: Run) => ({
      ...run,
      config: { ...run.config, image: { ...run.config.image, digest: image.digest } },
      imageStore: {
        ...run.imageStore,
        open: async (reference: string) => {
          const opened = await openLayoutImage(built.layout, reference)
          return { ...opened, config: { ...opened.config, Labels: labels } }
        }
      }
    })
    const revision = 'a'.repeat(40)
    expect(
      await sourceOf(
        checkout,
        withLabels({
          'org.opencontainers.image.revision': revision,
          'org.opencontainers.image.source': 'https://user:secret@example.com/router',
          'org.opencontainers.image.version': '9.9.9'
        })
      )
    ).toEqual({ repository: 'https://example.com/router', commit: revision, dirty: false, version: '9.9.9' })
    expect(await sourceOf(checkout, withLabels({ 'org.opencontainers.image.revision': 'main' }))).toEqual({
      repository: null,
      commit: null,
      dirty: null,
      version: null
    })
    const { release } = await releasedDeployment({ checkout, change: withLabels({}) })
    expect((await release()).image.builder).toBeNull()
  })

  it('stays the clean commit that gave the same image and policy when another commit follows', async () => {
    const { checkout, policy, text } = await releasedDeployment()
    const first = await text()
    write(checkout, 'README.md', 'more words\n')
    commit(checkout, 'second')
    expect(await policy()).toBe('none')
    write(checkout, 'src/other.ts', '// not committed\n')
    expect(await policy()).toBe('none')
    expect(await text()).toBe(first)
  })

  it('is corrected once what was changed is committed', async () => {
    const checkout = await makeCheckout()
    write(checkout, 'templates/more.json', '{}')
    const { build, policy, release } = await releasedDeployment({ checkout })
    expect((await release()).source.dirty).toBe(true)
    const head = commit(checkout, 'second')
    // The image has no label with this commit as long as it is not built again.
    expect(await policy()).toBe('update: writing release.json')
    expect((await release()).source).toMatchObject({ commit: head, dirty: true })
    expect(await build()).toBe('update')
    expect(await policy()).toContain('release.json')
    expect((await release()).source).toMatchObject({ commit: head, dirty: false })
    expect(await policy()).toBe('none')
  })

  it('is the commit that last changed the source, whatever the policy has become since', async () => {
    const { checkout, run, build, policy, release } = await releasedDeployment()
    const first = headOf(checkout)
    write(checkout, 'README.md', 'more words\n')
    commit(checkout, 'second')
    Object.assign(run, { listenAddress: '127.0.0.2' })
    expect(await build()).toBe('none')
    expect(await policy()).toContain('release.json')
    expect((await release()).source).toMatchObject({ commit: first, dirty: false })
    write(checkout, 'src/router/answer.ts', 'export const answer: number = 43\n')
    const third = commit(checkout, 'third')
    await buildProgram(checkout)
    expect(await build()).toBe('update')
    expect(await policy()).toContain('release.json')
    expect((await release()).source).toMatchObject({ commit: third, dirty: false })
  })

  it('is the side that changed it when two lines of history are merged', async () => {
    const { checkout, build } = await releasedDeployment()
    const first = headOf(checkout)
    git(checkout, 'checkout', '--quiet', '-b', 'pages')
    write(checkout, 'README.md', 'more words\n')
    commit(checkout, 'pages')
    git(checkout, 'checkout', '--quiet', '-')
    write(checkout, 'LICENSE', 'free\n')
    commit(checkout, 'licence')
    git(checkout, '-c', 'user.name=t', '-c', 'user.email=t@example.com', 'merge', '--quiet', '--no-edit', 'pages')
    expect(await readCheckout(checkout)).toEqual({
      kind: 'checkout',
      head: headOf(checkout),
      commit: first,
      changed: []
    })
    expect(await build()).toBe('none')
  })
})

describe('a release whose policy az confcom makes', () => {
  /** A group of commands named `az` that writes this policy into the template, as the real one does. */
  async function withAz(rego: string, work: () => Promise<void>): Promise<void> {
    const folder = temporaryFolder()
    const ccePolicy = Buffer.from(rego).toString('base64')
    const template = { resources: [{ properties: { confidentialComputeProperties: { ccePolicy } } }] }
    writeFileSync(join(folder, 'template.json'), JSON.stringify(template))
    writeFileSync(join(folder, 'az'), `#!/bin/sh\ncp '${folder}/template.json' "$4"\n`, { mode: 0o755 })
    const path = process.env['PATH'] ?? ''
    process.env['PATH'] = `${folder}:${path}`
    try {
      await work()
    } finally {
      process.env['PATH'] = path
    }
  }

  it('names the engine and the API version of the text, whatever it is, and no policy in the template', async () => {
    const checkout = await makeCheckout()
    const native = await releasedDeployment({ checkout })
    const { template, layers } = await native.release()
    const images = new Map<string, Awaited<ReturnType<typeof imageFacts>>>()
    for (const { image } of layers) images.set(image, await imageFacts(await native.openImage(image)))
    const { rego, hostData } = deployedPolicy(template, images, '0.10.0')
    await withAz(rego, async () => {
      const { release } = await releasedDeployment({ checkout, yaml: 'policy: { engine: az }' })
      const written = await release()
      expect(written.policy).toEqual({ api: '0.10.0', engine: 'az', text: rego })
      expect([written.hostData, written.template]).toEqual([hostData, template])
      expect(checkRelease(written)).toEqual([])
    })
  })

  it('is not written of a text that names no API version', async () => {
    const made = await deployment({ yaml: 'policy: { engine: az }' })
    await made.build()
    const rules = 'package policy # "APP_IDENTITY_ENDPOINT=" "IDENTITY_ENDPOINT=" "IMDS_ENDPOINT="'
    await withAz(rules, async () => {
      await expect(made.policy()).rejects.toMatchObject({ code: 'policy.az-failed' })
    })
  })
})

describe('secrets', () => {
  const providerKey = 'sk-MARKED-provider-key-0123456789'
  const accessToken = 'MARKED-access-token-0123456789'
  const tokenHash = createHash('sha256').update(accessToken).digest('hex')

  it('are in no file, neither provider keys nor access tokens', async () => {
    const { run, build, policy, text } = await releasedDeployment({
      yaml: `access: { mode: token, tokensSha256: [${tokenHash}] }
providers:
  openai: { apiKey: { env: OPENAI_API_KEY } }
  mine: { baseUrl: "https://api.example/v1", apiKey: { file: /run/secrets/key } }
`,
      providerKeys: { openai: providerKey, mine: providerKey },
      accessToken
    })
    expect(await text()).toContain(tokenHash)
    for (const file of readdirSync(run.policyDirectory)) {
      const content = readFileSync(join(run.policyDirectory, file), 'utf8')
      expect([file, content.includes('MARKED'), content.includes('OPENAI_API_KEY')]).toEqual([file, false, false])
    }
    expect([await build(), await policy()]).toEqual(['none', 'none'])
  })

  it.each([
    ['the key of provider mine', { providerKeys: { mine: providerKey } }, providerKey],
    ['CONFROUTER_ACCESS_TOKEN', { accessToken }, accessToken]
  ])('are refused with no file written where %s stands in an address', async (name, secrets, secret) => {
    const made = await deployment({
      yaml: `providers: { mine: { baseUrl: "https://api.example/${secret}/v1", apiKey: { env: KEY } } }`,
      ...secrets
    })
    await made.build()
    const error = await made.policy().catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({
      code: 'release-file.secret',
      exitCode: 3,
      problem: `${name} would be published in clear text`
    })
    expect(JSON.stringify(error)).not.toContain('MARKED')
    expect(readdirSync(made.run.policyDirectory)).toEqual(['release.json'])
    expect(await made.text()).not.toContain('MARKED')
  })

  it('are not asked for where they cannot be read', async () => {
    const { release } = await releasedDeployment({
      yaml: 'providers: { openai: { apiKey: { env: OPENAI_API_KEY } } }',
      change: (run) => ({ ...run, providerKeys: () => Promise.reject(new Error('no key')) })
    })
    expect(checkRelease(await release())).toEqual([])
  })
})
