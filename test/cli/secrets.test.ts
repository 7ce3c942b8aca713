import { readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { getContainerGroup } from '../../src/azure/container-group.js'
import { deployTemplate } from '../../src/azure/deployment.js'
import { getSigningKey, signWithVault } from '../../src/azure/signing-key.js'
import { getKey } from '../../src/azure/vault-key.js'
import { sealSecrets } from '../../src/seal/secrets.js'
import { type BundleSigner, readSignedSecrets, signSecrets } from '../../src/seal/signed-secrets.js'
import { testSigner } from '../unit/seal/signed-bundle.js'
import { azureOf } from './azure.js'
import { type Document, openWorkspace, outcome, type Workspace } from './workspace.js'

const configuration = (port: number, more = '') => `cloud: local
providers:
  mine: { baseUrl: "http://127.0.0.1:${port}/v1", allowPrivate: true, apiKey: { env: MINE_KEY }, default: true }
  other: { baseUrl: "http://127.0.0.1:${port}/v1", allowPrivate: true, apiKey: { file: other.key } }
${more}`

/** Problems of a document in the published shape of its command. */
const problemsOf = (document: Document) => {
  const file = join(
    import.meta.dirname,
    '../../schema/output',
    `${String(document['command']).replace(' ', '-')}.schema.json`
  )
  const validate = new Ajv2020({ strict: true, allErrors: true, allowUnionTypes: true }).compile(
    JSON.parse(readFileSync(file, 'utf8'))
  )
  validate(document)
  return validate.errors
}

describe('the provider keys of a deployment', () => {
  /** What the provider was shown, in order. */
  const shown: (string | undefined)[] = []
  let provider: Server
  let workspace: Workspace
  let first: Awaited<ReturnType<Workspace['json']>>
  let port: number

  beforeAll(async () => {
    provider = createServer((request, response) => {
      shown.push(request.headers.authorization)
      request.resume().once('end', () => response.end('{"choices":[{"message":{"content":"ok"}}]}'))
    })
    await new Promise<void>((resolve) => provider.listen(0, '127.0.0.1', resolve))
    port = (provider.address() as AddressInfo).port
    workspace = await openWorkspace()
    await workspace.write('confrouter.yaml', configuration(port))
    await workspace.write('.env', 'MINE_KEY=sk-first\n')
    await workspace.write('other.key', 'sk-other\n')
    first = await workspace.json('up')
  }, 120_000)
  afterAll(async () => {
    await workspace.end()
    provider.close()
  }, 60_000)

  const keyShown = async (model = 'mine:m') => {
    const response = await fetch(`${first.document['endpoint']}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model, messages: [] })
    })
    expect(response.status).toBe(200)
    return shown.at(-1)
  }
  const state = async (): Promise<Document> => JSON.parse(await workspace.read('.confrouter/state.json')) as Document
  const digests = async () => {
    const { azure } = await azureOf(workspace)
    const group = await getContainerGroup(azure, 'confrouter', 'confrouter')
    const vault = { azure, vaultUri: String(first.document['vaultUri']), onWait: () => undefined }
    const files = ['policy.rego', 'template.json', 'skr-policy.json', 'trust.json', 'release.json']
    return {
      ccePolicy: group?.ccePolicy,
      key: await getKey(vault, 'default'),
      signingKey: await getSigningKey(vault, 'default-secrets'),
      files: await Promise.all(files.map((file) => workspace.read(`.confrouter/policy/${file}`))),
      hostData: (await state())['deployed'].hostData as string
    }
  }
  const readyz = async () => {
    const response = await fetch(`${first.document['endpoint']}/readyz`)
    const { code } = (await response.json()) as { code?: string }
    return { status: response.status, code }
  }

  it('reach the provider, signed by a key that the policy measures and nobody can export', async () => {
    expect([first.code, first.document['ok']]).toEqual([0, true])
    expect([await keyShown(), await keyShown('other:m')]).toEqual(['Bearer sk-first', 'Bearer sk-other'])
    const { signingKey, files } = await digests()
    if (signingKey === undefined || 'unusable' in signingKey) throw new Error('no signing key')
    const signer = /CONFROUTER_SECRETS_SIGNER=([\w-]{43})/.exec(files[0] ?? '')?.[1] ?? ''
    const bundle = await readSignedSecrets((await state())['active'].sealedSecrets, {
      signer,
      deployment: 'confrouter'
    })
    expect(bundle.secrets.map(({ name }) => name)).toEqual(['mine', 'other'])
    expect(files[0]).toContain('CONFROUTER_DEPLOYMENT=confrouter')
  })

  it('are sealed once: the next run needs none of them', async () => {
    await workspace.write('.env', '')
    const { code, document } = await workspace.json('up')
    expect([code, document['changed']]).toEqual([0, false])
  }, 60_000)

  it('are listed by name and version, never by value', async () => {
    const { code, document } = await workspace.json('secrets', 'list')
    const version = document['version'] as number
    expect(problemsOf(document)).toBeNull()
    expect([code, document]).toEqual([
      0,
      {
        schemaVersion: 1,
        ok: true,
        command: 'secrets list',
        version,
        deployedVersion: version,
        secrets: [
          { name: 'mine', version, source: 'variable MINE_KEY', needed: true },
          { name: 'other', version, source: 'file other.key', needed: true }
        ]
      }
    ])
    const human = await workspace.run('secrets', 'list')
    expect(human.stdout).toMatch(new RegExp(`^mine +version ${version}, variable MINE_KEY$`, 'm'))
    expect(human.stdout + human.stderr + JSON.stringify(document)).not.toContain('sk-')
  }, 30_000)

  it('are rotated without a change of any digest', async () => {
    const before = await digests()
    await workspace.write('.env', 'MINE_KEY=sk-rotated\n')
    const { code, document } = await workspace.json('secrets', 'rotate', 'mine')
    expect([code, document['command'], document['hostData']]).toEqual([0, 'secrets rotate', before.hostData])
    expect(problemsOf(document)).toBeNull()
    const actions = (document['steps'] as { id: string; action: string }[]).filter(({ action }) => action !== 'none')
    expect(actions).toEqual([expect.objectContaining({ id: 'deploy', action: 'update' })])
    const smoke = await workspace.json('smoke')
    expect(smoke.code).toBe(0)
    expect(await keyShown()).toBe('Bearer sk-rotated')
    expect(await keyShown('other:m')).toBe('Bearer sk-other')
    expect(await digests()).toEqual(before)
    const again = await workspace.json('up')
    expect([again.code, again.document['changed'], again.document['hostData']]).toEqual([0, false, before.hostData])
  }, 90_000)

  it('are set from stdin, a file or a variable, and deployed after that', async () => {
    const child = workspace.start('secrets', 'set', 'mine', '--json')
    child.stdin?.end()
    // The workspace gives no stdin: nothing is piped in, so there is no value.
    const empty = await outcome(child)
    expect([empty.code, JSON.parse(empty.stdout).error.code]).toEqual([3, 'secrets.no-value'])
    await workspace.write('new.key', 'sk-from-file\n')
    const set = await workspace.json('secrets', 'set', 'mine', '--from-file', 'new.key')
    expect([set.code, set.document['name'], problemsOf(set.document)]).toEqual([0, 'mine', null])
    const list = await workspace.json('secrets', 'list')
    expect(list.document['secrets'][0]).toMatchObject({
      name: 'mine',
      source: 'secrets set',
      version: set.document['version']
    })
    expect(list.document['deployedVersion']).toBeLessThan(list.document['version'])
    expect((await workspace.json('deploy')).code).toBe(0)
    await workspace.run('smoke')
    expect(await keyShown()).toBe('Bearer sk-from-file')
    await workspace.write('.env', 'MINE_KEY=sk-rotated\nNEXT=sk-from-env\n')
    expect((await workspace.json('secrets', 'set', 'mine', '--from-env', 'NEXT')).code).toBe(0)
    expect((await workspace.json('up')).code).toBe(0)
    expect(await keyShown()).toBe('Bearer sk-from-env')
  }, 120_000)

  it('are no argument, and for no provider that the configuration does not know', async () => {
    const argument = await workspace.run('secrets', 'set', 'mine', 'sk-on-the-command-line')
    expect([argument.code, argument.stderr.includes('sk-on')]).toEqual([2, false])
    const stranger = await workspace.json('secrets', 'set', 'nobody', '--from-env', 'NEXT')
    expect([stranger.code, stranger.document['error'].code]).toEqual([3, 'secrets.unknown-name'])
    const unset = await workspace.json('secrets', 'set', 'mine', '--from-env', 'NOT_THERE')
    expect([unset.code, unset.document['error'].code]).toEqual([3, 'secrets.no-value'])
  }, 30_000)

  it('are refused by deploy and up when one that is needed is nowhere', async () => {
    const third = `  third: { baseUrl: "http://127.0.0.1:${port}/v1", allowPrivate: true, apiKey: { env: THIRD_KEY } }\n`
    await workspace.write('confrouter.yaml', configuration(port, third))
    const before = [await state(), await digests()]
    for (const verb of ['up', 'deploy']) {
      const { code, document } = await workspace.json(verb)
      expect([verb, code, document['error'].code]).toEqual([verb, 3, 'provider.key-missing'])
      expect(document['error'].message).toBe('a provider key is missing: third: variable THIRD_KEY is not set')
    }
    expect([await state(), await digests()]).toEqual(before)
    await workspace.write('confrouter.yaml', configuration(port))
  }, 60_000)

  it('are not rotated together with anything else', async () => {
    await workspace.write('confrouter.yaml', configuration(port, 'encryption: required\n'))
    const { code, document } = await workspace.json('secrets', 'rotate')
    expect([code, document['error'].code]).toEqual([4, 'step.not-ready'])
    await workspace.write('confrouter.yaml', configuration(port))
  }, 60_000)

  describe('that somebody else put into the container group', () => {
    const deployed = async (sealedSecrets: string) => {
      const { azure } = await azureOf(workspace)
      const template = JSON.parse(await workspace.read('.confrouter/policy/template.json'))
      const deployment = { resourceGroup: 'confrouter', name: 'swapped', template, parameters: { sealedSecrets } }
      await deployTemplate(azure, deployment, { token: undefined, save: () => Promise.resolve() })
      const deadline = Date.now() + 20_000
      let answer: Awaited<ReturnType<typeof readyz>> | undefined
      // The sidecar may still be starting: that answer is none yet.
      const isOpen = () => answer?.code === undefined || answer.code === 'sidecar.unreachable'
      while (Date.now() < deadline && isOpen() && answer?.status !== 200) {
        await new Promise((resolve) => setTimeout(resolve, 50))
        answer = await readyz().catch(() => undefined)
      }
      return answer
    }
    const made = async (change: { deployment?: string; signer?: (own: BundleSigner) => BundleSigner }) => {
      const { azure } = await azureOf(workspace)
      const vault = { azure, vaultUri: String(first.document['vaultUri']), onWait: () => undefined }
      const key = await getKey(vault, 'default')
      const own = await getSigningKey(vault, 'default-secrets')
      if (key === undefined || own === undefined || 'unusable' in own) throw new Error('no keys')
      const version = 4_000_000_000
      const jwe = await sealSecrets({ values: { mine: 'sk-mallory' }, version, recipient: key.publicKey })
      const signer = { publicKey: own.publicKey, sign: (data: Uint8Array) => signWithVault(vault, own, data) }
      const bundle = {
        deployment: change.deployment ?? 'confrouter',
        version,
        secrets: [{ name: 'mine', version, jwe }]
      }
      return { jwe, text: await signSecrets(bundle, change.signer?.(signer) ?? signer) }
    }

    it.each<[string, string, () => Promise<string>]>([
      ['unsigned', 'secrets.unsigned', async () => (await made({})).jwe],
      [
        'signed by a key of their own',
        'secrets.foreign-signer',
        async () => (await made({ signer: () => testSigner() })).text
      ],
      ['of another deployment', 'secrets.other-deployment', async () => (await made({ deployment: 'staging' })).text]
    ])(
      'are refused by the router when they are %s, which smoke says; up mends it',
      async (_, code, text) => {
        const answer = await deployed(await text())
        expect(answer).toMatchObject({ status: 503, code })
        const smoke = await workspace.json('smoke')
        expect([smoke.code, smoke.document['error'].code]).toEqual([5, 'smoke.not-ready'])
        expect(smoke.document['error'].message).toContain(code)
        const up = await workspace.json('up')
        expect([up.code, up.document['changed']]).toEqual([0, true])
        expect(await keyShown()).toBe('Bearer sk-from-env')
      },
      90_000
    )

    it('are run when they are an older bundle of ours, which status shows and up replaces', async () => {
      const { azure } = await azureOf(workspace)
      const current = (await state())['secrets'].bundle as string
      const set = await workspace.json('secrets', 'set', 'mine', '--from-env', 'NEXT')
      expect(set.code).toBe(0)
      expect((await workspace.json('deploy')).code).toBe(0)
      const answer = await deployed(current)
      expect(answer?.status).toBe(200)
      const status = await workspace.run('status')
      expect(status.stdout).toMatch(/container group +its provider keys differ/)
      const up = await workspace.json('up')
      expect([up.code, up.document['changed']]).toEqual([0, true])
      const group = await getContainerGroup(azure, 'confrouter', 'confrouter')
      expect(group?.containers[0]?.environment['CONFROUTER_SECRETS']).toBe((await state())['secrets'].bundle)
    }, 90_000)
  })
})
