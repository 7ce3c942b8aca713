import { randomUUID } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { createVault, deleteVault } from '../../../src/azure/key-vault.js'
import { allows } from '../../../src/azure/permissions.js'
import { createResourceGroup } from '../../../src/azure/resource-group.js'
import { registerProvider } from '../../../src/azure/resource-providers.js'
import { type AzureSession, openAzure } from '../../../src/azure/session.js'
import type { Config } from '../../../src/config/index.js'
import { localEnvironment } from '../../../src/composition/local-cloud.js'
import type { RunningEmulator } from '../../../src/emulator/index.js'
import { type DoctorReport, examine } from '../../../src/steps/doctor.js'
import { azureChecks } from '../../../src/steps/doctor-azure.js'
import { clientsFor, startTestEmulator, temporaryDirectory } from '../emulator/support/emulator.js'
import { tokensOf } from '../emulator/support/tokens.js'

let directory: string
let emulator: RunningEmulator
let azure: AzureSession
const location = 'westeurope'

beforeAll(async () => {
  directory = await temporaryDirectory()
  emulator = await startTestEmulator(directory, {
    faults: {
      requests: [
        {
          method: 'GET',
          path: '**/locations/northeurope/usages',
          times: 0,
          answer: {
            status: 200,
            body: {
              value: [
                { name: { value: 'StandardCores' }, currentValue: 9, limit: 10, unit: 'Count' },
                { name: { value: 'ContainerGroups' }, currentValue: 1, limit: 100, unit: 'Count' }
              ]
            }
          }
        },
        {
          method: 'GET',
          path: '**/locations/eastus/usages',
          times: 0,
          answer: { status: 200, body: { value: [] } }
        }
      ]
    }
  })
  const environment = await localEnvironment(emulator.environment)
  azure = openAzure(environment, emulator.environment.subscriptionId, new AbortController().signal)
  await registerProvider(azure, 'Microsoft.KeyVault')
  for (const group of ['ours', 'theirs']) await createResourceGroup(azure, group, location)
  const vault = { location, retentionDays: 90, purgeProtection: true, recover: false }
  const { tenantId } = emulator.environment
  for (const [resourceGroup, name] of [
    ['theirs', 'taken-vault'],
    ['theirs', 'deleted-theirs'],
    ['ours', 'deleted-ours'],
    ['ours', 'living-ours']
  ] as const) {
    await createVault(azure, { ...vault, resourceGroup, name, tenantId })
    if (name.startsWith('deleted')) await deleteVault(azure, resourceGroup, name)
  }
})
afterAll(async () => {
  await emulator.close()
  await rm(directory, { recursive: true, force: true })
})

async function find(
  id: string,
  change: Record<string, unknown> = {},
  hostExists: (name: string) => Promise<boolean> = () => Promise.reject(new Error('not asked')),
  session: AzureSession = azure,
  skipRoles = false
): Promise<DoctorReport | undefined> {
  const { containerGroup, ...more } = change
  const config = {
    cloud: 'azure',
    resourceGroup: 'ours',
    location,
    keyVault: { name: 'free-vault' },
    attestation: { name: 'crmaa' },
    containerGroup: {
      name: 'cr',
      cpu: 2,
      memoryGb: 4,
      replicas: 1,
      regions: [more['location'] ?? location],
      ...(containerGroup as object | undefined)
    },
    sidecar: { cpu: 1, memoryGb: 1 },
    ...more
  } as unknown as Config
  const access = { config: () => config, azure: async () => session, hostExists, skipRoles }
  const checks = [
    { id: 'config', title: 'c', look: async () => ({ outcome: 'pass', detail: '' }) as const },
    ...azureChecks(access)
  ]
  const options = { limitMs: 10_000, signal: new AbortController().signal, onDone: () => undefined }
  return (await examine(checks, options)).find((each) => each.id === id)
}

describe('the checks of Azure', () => {
  it('find credential and subscription good', async () => {
    expect(await find('credential')).toMatchObject({ outcome: 'pass' })
    expect(await find('subscription')).toMatchObject({ outcome: 'pass' })
  })

  it('find a subscription of somebody else, and know nothing of the rest', async () => {
    const environment = await localEnvironment(emulator.environment)
    const other = openAzure(environment, '11111111-1111-1111-1111-111111111111', azure.signal)
    expect(await find('subscription', {}, undefined, other)).toMatchObject({ outcome: 'fail', fault: 'config' })
    expect(await find('quota', {}, undefined, other)).toMatchObject({ outcome: 'unknown' })
  })

  it('could not check a cloud that does not answer', async () => {
    const environment = { ...(await localEnvironment(emulator.environment)), armEndpoint: 'https://127.0.0.1:1' }
    const other = openAzure(environment, azure.subscriptionId, AbortSignal.timeout(300))
    expect((await find('subscription', {}, undefined, other))?.outcome).toBe('unknown')
  })

  it('warn of providers that are not registered, with the command for each', async () => {
    const report = await find('providers')
    expect(report?.outcome).toBe('warn')
    expect(report?.next).toContain('az provider register --namespace Microsoft.ContainerInstance --wait')
  })

  it.each([
    [{}, 'pass', /known to have/],
    [{ location: 'westeurope', cloud: 'azure-usgov' }, 'warn', /not known/],
    [{ resourceGroup: 'none', location: 'brazilsouth' }, 'warn', /not known/],
    [{ location: 'eastus' }, 'fail', /is in westeurope, not in eastus/]
  ])('say of the region with %j: %s', async (change, outcome, detail) => {
    const report = await find('region', change)
    expect(report?.outcome).toBe(outcome)
    expect(report?.detail).toMatch(detail)
  })

  it.each([
    ['free-vault', 'pass', /free/],
    ['living-ours', 'pass', /exists/],
    ['deleted-ours', 'warn', /recovers/],
    ['deleted-theirs', 'fail', /owns "deleted-theirs" until \d{4}/],
    ['taken-vault', 'fail', /already in use/]
  ])('say of the vault name %s: %s', async (name, outcome, detail) => {
    const report = await find('vault-name', { keyVault: { name } })
    expect(report?.outcome).toBe(outcome)
    expect(report?.detail).toMatch(detail)
  })

  it('claim nothing of an attestation provider’s name, which cannot be asked for', async () => {
    expect(await find('attestation-name')).toMatchObject({ outcome: 'skipped' })
  })

  describe('say of the rights', () => {
    const [contributor, reader] = ['b24988ac-6180-42a0-ab88-20f7382dd24c', 'acdd72a7-3385-48ef-bd42-f606fba81ae7']

    /** A session of an identity that has one role in one group and no other. */
    const sessionOf = async (name: string, role: string): Promise<AzureSession> => {
      const { environment } = emulator
      const clients = await clientsFor(environment)
      await clients.resources.providers.register('Microsoft.ManagedIdentity')
      const { principalId = '', clientId = '' } = await clients.identities.userAssignedIdentities.createOrUpdate(
        'ours',
        name,
        { location }
      )
      const subscription = `/subscriptions/${environment.subscriptionId}`
      await clients.authorization.roleAssignments.create(`${subscription}/resourceGroups/ours`, randomUUID(), {
        roleDefinitionId: `${subscription}/providers/Microsoft.Authorization/roleDefinitions/${role}`,
        principalId,
        principalType: 'ServicePrincipal'
      })
      const token = await tokensOf(directory, environment, { objectId: principalId, clientId }, () => new Date())
      const credential = { getToken: async () => ({ token, expiresOnTimestamp: Date.now() + 600_000 }) }
      const arm = {
        endpoint: environment.armEndpoint,
        credentialScopes: [`${environment.armEndpoint}/.default`],
        tlsOptions: { ca: clients.ca }
      }
      const { AuthorizationManagementClient } = await import('@azure/arm-authorization')
      const client = new AuthorizationManagementClient(credential, environment.subscriptionId, arm)
      const caller = { objectId: principalId, tenantId: environment.tenantId, kind: 'ServicePrincipal' as const }
      return { ...azure, authorization: async () => client, caller: async () => caller }
    }

    it('that an owner has enough', async () => {
      expect(await find('rights')).toMatchObject({ outcome: 'pass' })
    })

    it('that a contributor cannot assign roles: which step fails, and both remedies', async () => {
      const session = await sessionOf('only-contributor', contributor)
      const report = await find('rights', {}, undefined, session)
      expect(report).toMatchObject({ outcome: 'fail', fault: 'cloud' })
      expect(report?.detail).toBe(
        'these steps will fail: role assignments (Microsoft.Authorization/roleAssignments/write)'
      )
      expect(report?.next).toEqual([
        expect.stringMatching(/--role "Role Based Access Control Administrator" .*resourceGroups\/ours/),
        expect.stringContaining('confrouter up --no-roles')
      ])
      expect(await find('rights', {}, undefined, session, true)).toMatchObject({ outcome: 'pass' })
      const kept = { keyVault: { name: 'living-ours' } }
      expect(await find('rights', kept, undefined, session)).toMatchObject({ outcome: 'warn' })
    })

    it('that a reader can make nothing', async () => {
      const report = await find('rights', {}, undefined, await sessionOf('only-reader', reader))
      expect(report?.outcome).toBe('fail')
      for (const step of ['attestation provider', 'key vault', 'identity', 'role assignments', 'container group'])
        expect(report?.detail).toContain(step)
      expect(report?.next?.[0]).toContain('--role "Contributor"')
    })

    it('that nothing is known where the group does not exist yet', async () => {
      expect(await find('rights', { resourceGroup: 'none' })).toMatchObject({ outcome: 'skipped' })
    })
  })

  describe('an action is granted', () => {
    it.each([
      ['by its name, in any case', [{ actions: ['A.B/c/WRITE'], notActions: [] }], true],
      ['by a pattern', [{ actions: ['A.B/*'], notActions: [] }], true],
      ['not by another name that it begins with', [{ actions: ['A.B/c'], notActions: [] }], false],
      ['not by a dot that stands for any character', [{ actions: ['AxB/c/write'], notActions: [] }], false],
      ['not where the role excepts it', [{ actions: ['*'], notActions: ['A.B/*/write'] }], false],
      [
        'by a second role that does not except it',
        [
          { actions: ['*'], notActions: ['*'] },
          { actions: ['*'], notActions: [] }
        ],
        true
      ],
      ['not without any role', [], false]
    ])('%s', (_name, permissions, expected) => {
      expect(allows(permissions, 'A.B/c/write')).toBe(expected)
    })
  })

  const label = { containerGroup: { name: 'cr', cpu: 2, memoryGb: 4, dnsLabel: 'my-router' } }
  it.each([
    [async () => false, 'pass'],
    [async () => true, 'fail'],
    [() => Promise.reject(new Error('EAI_AGAIN')), 'unknown']
  ])('say of a DNS label by what the name service says', async (hostExists, outcome) => {
    expect((await find('dns-label', label, hostExists))?.outcome).toBe(outcome)
  })

  it.each([
    [location, 'pass', /of/],
    ['northeurope', 'fail', /StandardCores 9 of 10/],
    ['eastus', 'unknown', /shows no quota/]
  ])('say of the quota in %s: %s', async (region, outcome, detail) => {
    const report = await find('quota', { location: region, resourceGroup: 'none' })
    expect(report?.outcome).toBe(outcome)
    expect(report?.detail).toMatch(detail)
  })

  describe('with several regions', () => {
    const regions = (...names: string[]) => ({ containerGroup: { regions: names, dnsLabel: 'my-router', replicas: 2 } })

    it.each([
      [['westeurope', 'eastus'], 'pass', /^westeurope, eastus are known to have/],
      [['westeurope', 'brazilsouth'], 'warn', /^brazilsouth is not known to have/],
      [['westeurope', 'eastsu'], 'fail', /in "eastsu", did you mean eastus\?/],
      [['westeurope', 'atlantis'], 'fail', /in "atlantis", expected one of australiacentral, /]
    ])('say of the regions %j: %s', async (names, outcome, detail) => {
      const report = await find('region', regions(...names))
      expect(report?.outcome).toBe(outcome)
      expect(report?.detail).toMatch(detail)
    })

    it('ask for the label in each of them, and name the one where it is taken', async () => {
      const asked: string[] = []
      const report = await find('dns-label', regions('westeurope', 'eastus'), async (name) => {
        asked.push(name)
        return name.includes('.eastus.')
      })
      expect(asked).toEqual(['my-router.westeurope.azurecontainer.io', 'my-router.eastus.azurecontainer.io'])
      expect(report).toMatchObject({
        outcome: 'fail',
        detail: 'my-router.eastus.azurecontainer.io belongs to somebody'
      })
    })

    it('look at the quota of each for all of its groups', async () => {
      const none = { resourceGroup: 'none' }
      const full = await find('quota', { ...none, ...regions('westeurope', 'northeurope') })
      expect(full?.outcome).toBe('fail')
      expect(full?.detail).toMatch(/^westeurope: .*; northeurope: not enough left: StandardCores 9 of 10/)
      expect(full?.next).toContain('set containerGroup.regions without northeurope in confrouter.yaml')
      expect((await find('quota', { ...none, ...regions('westeurope', 'eastus') }))?.outcome).toBe('unknown')
      expect((await find('quota', { ...none, ...regions('westeurope', 'eastus2') }))?.outcome).toBe('pass')
    })
  })
})
