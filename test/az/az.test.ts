import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { type Document, openWorkspace, outcome, type Workspace } from '../cli/workspace.js'
import { type NameProxy, startNameProxy } from './name-proxy.js'

/** The real Azure CLI: `az`, or what CONFROUTER_TEST_AZ names, such as a script that enters a folder made by debootstrap. */
const program = process.env['CONFROUTER_TEST_AZ'] ?? 'az'
const hasAz = spawnSync(program, ['version'], { timeout: 60_000, env: { ...process.env } }).status === 0
const skip = `the Azure CLI is not here; set CONFROUTER_TEST_AZ to one (Debian trixie has the package azure-cli)`
const suite = hasAz ? describe : describe.skip

const group = 'az-group'
const vault = `kvaz${randomBytes(5).toString('hex')}`
const minute = 60_000

suite(`the manual procedure by the real az, and confrouter after it${hasAz ? '' : ` (skipped: ${skip})`}`, () => {
  let space: Workspace
  let proxy: NameProxy
  let settings: Document

  beforeAll(async () => {
    space = await openWorkspace()
    proxy = await startNameProxy()
    await space.write(
      'confrouter.yaml',
      [
        'name: azcompare',
        'cloud: local',
        'location: westeurope',
        `resourceGroup: ${group}`,
        'attestation: { name: maaazcompare }',
        `keyVault: { name: ${vault}, retentionDays: 90, purgeProtection: true }`,
        'identity: { name: az-identity }',
        'containerGroup: { name: az-router }',
        ''
      ].join('\n')
    )
    await space.run('emulator', 'start')
    settings = (await space.json('emulator', 'env')).document
    for (const line of settings['azSetup'] as string[]) await shell(line)
  }, 2 * minute)
  afterAll(async () => {
    await proxy.close()
    await space.end()
  }, minute)

  const environment = (): Record<string, string> => ({
    ...space.environment,
    ...(settings['variables'] as Record<string, string>),
    NO_PROXY: '127.0.0.1',
    HTTPS_PROXY: proxy.url,
    PYTHONWARNINGS: 'ignore'
  })

  /** As a user pastes it. */
  async function shell(line: string): Promise<void> {
    const command = line.replace(/^az /, `${program} `)
    const child = spawn('/bin/sh', ['-c', command], { cwd: space.directory, env: environment() })
    const { code, stderr } = await outcome(child)
    if (code !== 0) throw new Error(`${line}: ${stderr}`)
  }

  async function az(...args: readonly string[]): Promise<Document> {
    const child = spawn(program, [...args, '-o', 'json', '--only-show-errors'], {
      cwd: space.directory,
      env: environment()
    })
    const { code, stdout, stderr } = await outcome(child)
    if (code !== 0) throw new Error(`az ${args.join(' ')}: ${stderr}`)
    return (stdout.trim() === '' ? {} : JSON.parse(stdout)) as Document
  }

  const file = (name: string) => join(space.directory, '.confrouter', 'policy', name)
  const variable = (name: string) => (settings['variables'] as Record<string, string>)[name] ?? ''
  const inGroup = (path: string) =>
    `/subscriptions/${variable('AZURE_SUBSCRIPTION_ID')}/resourceGroups/${group}/providers/${path}`
  const vaultId = () => inGroup(`Microsoft.KeyVault/vaults/${vault}`)

  it(
    'makes group, attestation provider, vault, identity and roles, and provision finds nothing to do',
    async () => {
      for (const namespace of ['KeyVault', 'ManagedIdentity', 'ContainerInstance', 'Attestation']) {
        await az('provider', 'register', '-n', `Microsoft.${namespace}`)
        const { registrationState } = await az('provider', 'show', '-n', `Microsoft.${namespace}`)
        expect(registrationState).toBe('Registered')
      }
      await az('group', 'create', '-n', group, '-l', 'westeurope')
      // `az attestation` is an extension; this is the request that it makes.
      const arm = (settings['azSetup'] as string[])[0]?.split(' ').at(-1) ?? ''
      await az(
        ...['rest', '--method', 'put', '--resource', arm],
        ...[
          '--url',
          `${arm}${inGroup('Microsoft.Attestation/attestationProviders/maaazcompare')}?api-version=2020-10-01`
        ],
        ...['--body', '{"location":"westeurope","properties":{}}']
      )
      const made = await az(
        ...['keyvault', 'create', '-n', vault, '-g', group, '-l', 'westeurope', '--sku', 'premium'],
        ...['--enable-rbac-authorization', 'true', '--enable-purge-protection', 'true', '--retention-days', '90']
      )
      expect(made['properties']).toMatchObject({ enablePurgeProtection: true, provisioningState: 'Succeeded' })
      const { principalId } = await az('identity', 'create', '-g', group, '-n', 'az-identity')
      for (const [principal, role] of [
        [variable('AZURE_CLIENT_ID'), 'Key Vault Administrator'],
        [principalId as string, 'Key Vault Crypto Service Release User']
      ] as const) {
        await az('role', 'assignment', 'create', '--assignee', principal, '--role', role, '--scope', vaultId())
      }
      const listed = (await az('role', 'assignment', 'list', '--scope', vaultId())) as unknown as Document[]
      expect(listed.map(({ roleDefinitionName }) => roleDefinitionName as string).sort()).toEqual([
        'Key Vault Administrator',
        'Key Vault Crypto Service Release User'
      ])

      const signing = await az(
        ...['keyvault', 'key', 'create', '--vault-name', vault, '-n', 'default-secrets', '--kty', 'EC-HSM'],
        ...['--curve', 'P-256', '--ops', 'sign', 'verify']
      )
      expect(signing['key']).toMatchObject({ kty: 'EC-HSM', crv: 'P-256' })

      const { code, document } = await space.json('provision')
      expect(code).toBe(0)
      expect(document).toMatchObject({ ok: true, changed: false })
    },
    4 * minute
  )

  it(
    'makes the key under the release policy of confrouter policy, and confrouter key finds it as wanted',
    async () => {
      expect((await space.json('build')).code).toBe(0)
      expect((await space.json('policy')).code).toBe(0)
      const { key, releasePolicy } = await az(
        ...['keyvault', 'key', 'create', '--vault-name', vault, '-n', 'default', '--kty', 'RSA-HSM', '--size', '2048'],
        ...['--exportable', 'true', '--ops', 'wrapKey', 'unwrapKey', '--policy', file('skr-policy.json')]
      )
      expect(JSON.parse((releasePolicy as Document)['encodedPolicy'] as string)).toEqual(
        JSON.parse(await space.read('.confrouter/policy/skr-policy.json'))
      )
      const { document } = await space.json('key')
      expect(document).toMatchObject({ ok: true, changed: false, keyId: (key as Document)['kid'] })
    },
    2 * minute
  )

  it(
    'deploys the template that confrouter made, and up and smoke find the same group as their own',
    async () => {
      const first = await space.json('up')
      expect(first.document).toMatchObject({ ok: true, changed: true })
      const { sealedSecrets } = (JSON.parse(await space.read('.confrouter/state.json')) as Document)[
        'active'
      ] as Document
      await az('container', 'delete', '-y', '-g', group, '-n', 'az-router')
      await expect(az('container', 'show', '-g', group, '-n', 'az-router')).rejects.toThrow(/ResourceNotFound/)

      await space.write('parameters.json', JSON.stringify(parameterFile({ sealedSecrets: { value: sealedSecrets } })))
      const deployment = ['-g', group, '-n', 'by-az', '-f', file('template.json'), '-p', '@parameters.json'] as const
      const { changes } = await az('deployment', 'group', 'what-if', '--no-pretty-print', ...deployment)
      expect((changes as Document[]).map(({ changeType }) => changeType as string)).toEqual(['Create'])
      await az('deployment', 'group', 'create', ...deployment)
      const shown = await az('container', 'show', '-g', group, '-n', 'az-router')
      expect(shown).toMatchObject({ instanceView: { state: 'Running' }, sku: 'Confidential' })

      expect((await space.json('smoke')).document).toMatchObject({ ok: true })
      const second = await space.json('up')
      expect(second.document).toMatchObject({ ok: true, changed: false, hostData: first.document['hostData'] })
    },
    4 * minute
  )

  it(
    'refuses the template when one byte of its policy has been changed, and says why',
    async () => {
      const template = await space.read('.confrouter/policy/template.json')
      const policy = /"ccePolicy": "([^"]+)"/.exec(template)?.[1] ?? ''
      const changed = Buffer.from(policy, 'base64').toString('utf8').replace('"/skr.sh"', '"/skr.sx"')
      await space.write('changed.json', template.replace(policy, Buffer.from(changed).toString('base64')))
      await az('container', 'delete', '-y', '-g', group, '-n', 'az-router')
      const deployed = az(
        ...[
          'deployment',
          'group',
          'create',
          '-g',
          group,
          '-n',
          'changed',
          '-f',
          'changed.json',
          '-p',
          '@parameters.json'
        ]
      )
      await expect(deployed).rejects.toThrow(/invalid command/)
    },
    2 * minute
  )
})

const parameterFile = (parameters: object): object => ({
  $schema: 'https://schema.management.azure.com/schemas/2019-04-01/deploymentParameters.json#',
  contentVersion: '1.0.0.0',
  parameters
})
