import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { deleteContainerGroup, restartContainerGroup } from '../../src/azure/container-group.js'
import { deployTemplate } from '../../src/azure/deployment.js'
import { createVault, deleteVault } from '../../src/azure/key-vault.js'
import { createResourceGroup } from '../../src/azure/resource-group.js'
import { registerProvider } from '../../src/azure/resource-providers.js'
import { getKey, updateReleasePolicy } from '../../src/azure/vault-key.js'
import { azureOf } from './azure.js'
import { openWorkspace, outcome, type Workspace } from './workspace.js'

let workspace: Workspace
beforeEach(async () => {
  workspace = await openWorkspace()
})
afterEach(() => workspace.end(), 60_000)

const group = 'confrouter'
const noResume = { token: undefined, save: () => Promise.resolve() }

describe('a tampered policy', () => {
  it('keeps ACI from starting anything, which status says in one sentence and up mends', async () => {
    expect((await workspace.json('up', '--local')).code).toBe(0)
    const { azure } = await azureOf(workspace)
    const template = JSON.parse(await workspace.read('.confrouter/policy/template.json'))
    const properties = template.resources[0].properties
    const rego = Buffer.from(properties.confidentialComputeProperties.ccePolicy, 'base64').toString()
    const layer = /"layers":\["([0-9a-f]{64})"/.exec(rego)![1]!
    const tampered = rego.replace(
      layer,
      layer.replace(/^./, (digit) => (digit === '0' ? '1' : '0'))
    )
    properties.confidentialComputeProperties.ccePolicy = Buffer.from(tampered).toString('base64')
    const sealedSecrets = JSON.parse(await workspace.read('.confrouter/state.json')).active.sealedSecrets
    await deleteContainerGroup(azure, group, group)
    const deployment = { resourceGroup: group, name: 'tampered', template, parameters: { sealedSecrets } }
    await expect(deployTemplate(azure, deployment, noResume)).rejects.toMatchObject({ fault: 'cloud' })

    const status = await workspace.run('status', '--local')
    expect(status.stdout).toMatch(
      /container "router" was not started: the CCE policy denied it \(deviceHash not found\)/
    )
    const smoke = await workspace.json('smoke', '--local')
    expect([smoke.code, smoke.document['error'].code]).toEqual([6, 'smoke.host-data'])
    const again = await workspace.json('up', '--local')
    expect([again.code, again.document['changed']]).toEqual([0, true])
  }, 90_000)
})

describe('a key that is bound to another policy', () => {
  it('is not released: smoke exits 6 and says which hashes differ, up binds it again', async () => {
    const up = await workspace.json('up', '--local')
    const { azure } = await azureOf(workspace)
    const vault = { azure, vaultUri: up.document['vaultUri'] as string, onWait: () => undefined }
    const key = (await getKey(vault, 'default'))!
    const other = 'ab'.repeat(32)
    await updateReleasePolicy(vault, key, key.releasePolicy!.replaceAll(up.document['hostData'], other))
    await restartContainerGroup(azure, group, group)

    const { code, document } = await workspace.json('smoke', '--local')
    expect([code, document['error'].code, document['error'].fault]).toEqual([6, 'release.policy-not-met', 'evidence'])
    expect(document['error'].why).toContain(up.document['hostData'])
    expect(document['error'].why).toContain(other)
    expect(document['checks'].at(-1)).toMatchObject({ id: 'ready', outcome: 'fail' })
    expect(document['error'].next[0]).toBe('confrouter key --local')

    const again = await workspace.json('up', '--local')
    expect([again.code, again.document['keyId']]).toEqual([0, up.document['keyId']])
  }, 120_000)
})

describe('a vault name', () => {
  const location = 'eastus'
  const vault = { location, retentionDays: 90, purgeProtection: true, recover: false }

  async function someoneElses() {
    await workspace.write('confrouter.yaml', 'cloud: local\nkeyVault: { name: taken-vault }\n')
    await workspace.run('emulator', 'start', '--port', workspace.environment['CONFROUTER_EMULATOR_PORT']!)
    const { azure, emulator } = await azureOf(workspace)
    await registerProvider(azure, 'Microsoft.KeyVault')
    await createResourceGroup(azure, 'other', location)
    await createVault(azure, { ...vault, resourceGroup: 'other', name: 'taken-vault', tenantId: emulator.tenantId })
    return azure
  }

  it('that somebody has is an error with the way out, and nothing half-made', async () => {
    await someoneElses()
    const { code, document } = await workspace.json('up')
    expect([code, document['error'].code]).toEqual([5, 'keyvault.name-taken'])
    expect(document['error'].next.join()).toContain('keyVault.name')
  }, 60_000)

  it('that a deleted vault still owns is an error that says until when', async () => {
    const azure = await someoneElses()
    await deleteVault(azure, 'other', 'taken-vault')
    const { code, document } = await workspace.json('up')
    expect([code, document['error'].code]).toEqual([5, 'keyvault.soft-deleted'])
    expect(document['error'].why).toMatch(/until \d{4}-\d\d-\d\d/)
  }, 60_000)
})

describe('down', () => {
  it('deletes what was recorded, whatever the configuration says by now', async () => {
    expect((await workspace.json('up', '--local')).code).toBe(0)
    await workspace.write('confrouter.yaml', 'cloud: local\nkeyVault: { name: another-vault }\n')
    const { code, document } = await workspace.json('down')
    expect([code, document['kept']]).toEqual([0, []])
    expect(document['deleted'].join()).toMatch(/key vault "confrouter-[0-9a-f]{6}"/)
    expect(JSON.parse(await workspace.read('.confrouter/state.json')).created).toEqual([])
  }, 60_000)

  it('refuses to purge a protected vault before anything is deleted', async () => {
    expect((await workspace.json('up', '--local')).code).toBe(0)
    const { code, document } = await workspace.json('down', '--local', '--purge')
    expect([code, document['error'].code]).toEqual([3, 'keyvault.purge-protected'])
    expect((await workspace.json('status', '--local')).document['upToDate']).toBe(true)
  }, 60_000)
})

describe('a rotated provider key', () => {
  it('is deployed without changing host data or key', async () => {
    await workspace.write('confrouter.yaml', 'cloud: local\nproviders:\n  openai: { apiKey: { file: key.txt } }\n')
    await workspace.write('key.txt', 'sk-first')
    const first = await workspace.json('up')
    await workspace.write('key.txt', 'sk-second')
    const second = await workspace.json('up')
    expect([first.code, second.code]).toEqual([0, 0])
    const changed = second.document['steps'].filter(({ action }: { action: string }) => action !== 'none')
    expect(changed.map(({ id, action }: { id: string; action: string }) => `${id} ${action}`)).toEqual([
      'deploy update'
    ])
    for (const pinned of ['hostData', 'keyId', 'imageDigest'])
      expect(second.document[pinned]).toBe(first.document[pinned])
    const written =
      (await workspace.read('.confrouter/state.json')) + (await workspace.read('.confrouter/policy/template.json'))
    expect(written).not.toMatch(/sk-(first|second)/)
  }, 60_000)
})

describe('a vault that is not as configured', () => {
  it('is refused and never changed', async () => {
    expect((await workspace.json('up', '--local')).code).toBe(0)
    await workspace.write('confrouter.yaml', 'cloud: local\nkeyVault: { retentionDays: 30 }\n')
    const { code, document } = await workspace.json('up')
    expect([code, document['error'].code]).toEqual([3, 'keyvault.different'])
    expect(document['error'].message).toContain('90')
  }, 60_000)
})

describe('roles that have not spread', () => {
  it('are waited for visibly, and up completes', async () => {
    await workspace.run(
      'emulator',
      'start',
      '--rbac-delay',
      '3',
      '--port',
      workspace.environment['CONFROUTER_EMULATOR_PORT']!
    )
    const { code, stderr } = await workspace.run('up', '--local')
    expect(stderr).toMatch(/waiting for the role assignment to reach the vault, \d+ s left/)
    expect(code).toBe(0)
  }, 60_000)
})

describe('an interruption', () => {
  it('by Ctrl+C ends with 130 and says how to go on', async () => {
    await workspace.run(
      'emulator',
      'start',
      '--rbac-delay',
      '600',
      '--port',
      workspace.environment['CONFROUTER_EMULATOR_PORT']!
    )
    const child = workspace.start('up', '--local', '--json')
    const ended = outcome(child)
    await new Promise<void>((resolve) =>
      child.stderr?.on('data', (text: Buffer) => {
        if (text.toString().includes('waiting for the role')) resolve()
      })
    )
    child.kill('SIGINT')
    const { code, stdout } = await ended
    expect(code).toBe(130)
    expect(JSON.parse(stdout)).toMatchObject({ ok: false, error: { code: 'interrupted' } })
  }, 60_000)

  // From the first moment of the command to after its last step, on one state directory each.
  it.each([60, 400, 800, 1300, 2000])(
    'by a kill after %i ms is completed by the same command',
    async (delay) => {
      const child = workspace.start('up', '--local')
      const ended = outcome(child)
      await new Promise((resolve) => setTimeout(resolve, delay))
      child.kill('SIGKILL')
      await ended
      const { code, document } = await workspace.json('up', '--local')
      expect(document['error']).toBeUndefined()
      expect(code).toBe(0)
      expect((await workspace.json('up', '--local')).document['changed']).toBe(false)
    },
    90_000
  )
})
