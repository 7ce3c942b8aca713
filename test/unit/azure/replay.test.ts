import { readdirSync, readFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { createAttestationProvider } from '../../../src/azure/attestation.js'
import { deployTemplate } from '../../../src/azure/deployment.js'
import { createIdentity } from '../../../src/azure/identity.js'
import { createVault, getVault } from '../../../src/azure/key-vault.js'
import { registerProvider } from '../../../src/azure/resource-providers.js'
import { createResourceGroup } from '../../../src/azure/resource-group.js'
import { createRoleAssignment } from '../../../src/azure/roles.js'
import { type AzureSession, openAzure } from '../../../src/azure/session.js'
import { createKey, getKey, updateReleasePolicy, type VaultKey } from '../../../src/azure/vault-key.js'
import { UserError } from '../../../src/base/user-error.js'
import { localEnvironment } from '../../../src/composition/local-cloud.js'
import type { RequestFault, RunningEmulator } from '../../../src/emulator/index.js'
import { startTestEmulator, temporaryDirectory } from '../emulator/support/emulator.js'

/** Every error of test/vectors/azure, answered by the emulator to the product's own calls through the real SDK clients. */
const vectors = join(import.meta.dirname, '../../vectors/azure')

interface Vector {
  readonly response: { readonly status: number; readonly body: unknown }
  readonly as_seen_in_deployment?: unknown
}

function vector(file: string): Vector {
  return JSON.parse(readFileSync(join(vectors, `error-${file}.json`), 'utf8')) as Vector
}

interface World {
  readonly azure: AzureSession
  readonly vaultUri: string
  /** What was waited for. */
  readonly waits: string[]
}

interface Replay {
  readonly file: string
  /** Requests that get the file's answer. */
  readonly at: Omit<RequestFault, 'answer'>
  /** In place of the file's answer, where it is part of one. */
  readonly answer?: RequestFault['answer']
  readonly call: (world: World, name: string) => Promise<unknown>
  /** Product code, exit code and what the first remedy says; `undefined` if it is no failure. */
  readonly expected: readonly [code: string, exit: number, remedy: RegExp] | undefined
}

const wanted = { size: 2048, releasePolicy: '{"version":"1.0.0","anyOf":[]}' }
const noResume = { token: undefined, save: () => Promise.resolve() }
const role = { principalId: '00000000-0000-0000-0000-00000000000a', principalType: 'ServicePrincipal' as const }
const key = (name: string): VaultKey => ({
  id: `https://vault/keys/${name}/v`,
  name,
  publicKey: { kty: 'RSA', n: 'AQAB', e: 'AQAB' },
  size: 2048,
  exportable: true,
  hsm: true,
  immutablePolicy: false,
  releasePolicy: undefined
})

const access = ({ azure, vaultUri, waits }: World) => ({
  azure,
  vaultUri,
  onWait: (reason: string) => void waits.push(reason)
})
const deployGroup = ({ azure }: World, name: string) =>
  deployTemplate(
    azure,
    {
      resourceGroup: 'rg',
      name,
      template: {
        $schema: 'https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#',
        contentVersion: '1.0.0.0',
        resources: [
          {
            type: 'Microsoft.ContainerInstance/containerGroups',
            apiVersion: '2023-05-01',
            name,
            location: 'westeurope',
            properties: {}
          }
        ]
      },
      parameters: {}
    },
    noResume
  )
const vaultNamed =
  (recover: boolean) =>
  ({ azure }: World, name: string) =>
    createVault(azure, {
      resourceGroup: 'rg',
      name,
      location: 'westeurope',
      tenantId: '00000000-0000-0000-0000-00000000000b',
      retentionDays: 90,
      purgeProtection: true,
      recover
    })
const assignment = ({ azure }: World, name: string) =>
  createRoleAssignment(
    azure,
    {
      scope: `/subscriptions/${azure.subscriptionId}/resourceGroups/${name}`,
      role: 'Key Vault Crypto Service Release User',
      ...role
    },
    '00000000-0000-0000-0000-00000000000c'
  )
const keyCreated = (world: World, name: string) => createKey(access(world), name, wanted)

/** The group's own PUT is refused inside the deployment, which wraps the answer in its own error. */
const group = (file: string, ...expected: NonNullable<Replay['expected']>): Replay => ({
  file,
  at: { method: 'PUT', path: `**/containerGroups/${file}` },
  call: deployGroup,
  expected
})

/** The deployment is accepted, goes on for a while, and then its poll says this. */
const polled = (file: string, body: unknown, ...expected: NonNullable<Replay['expected']>): Replay => ({
  file,
  at: { method: 'GET', path: `**/deployments/${file}/operationStatuses/*`, from: 3, times: 0 },
  answer: { status: 200, body },
  call: deployGroup,
  expected
})

const keyFault = (file: string, verb: string, ...expected: NonNullable<Replay['expected']>): Replay => ({
  file,
  at: { method: 'POST', path: `/keys/${file}/${verb}`, times: 0 },
  call: keyCreated,
  expected
})

const deniedEnvironment = JSON.stringify(vector('cg-policy-denied-env').response.body)

const replays: readonly Replay[] = [
  {
    file: 'attestation-name-in-use',
    at: { method: 'PUT', path: '**/attestationProviders/*' },
    call: ({ azure }) => createAttestationProvider(azure, 'rg', 'taken', 'westeurope'),
    expected: ['attestation.name-taken', 5, /attestation\.name to another name/]
  },
  {
    file: 'authorization-failed',
    at: { method: 'PUT', path: '**/authorization-failed/**/roleAssignments/*' },
    call: assignment,
    expected: [
      'azure.forbidden',
      5,
      /^az role assignment create --assignee <oid> --role "Role Based Access Control Administrator" --scope \/subscriptions/
    ]
  },
  polled(
    'cg-ccepolicy-empty',
    vector('cg-ccepolicy-empty').as_seen_in_deployment,
    'aci.policy-invalid',
    5,
    /^confrouter policy$/
  ),
  group('cg-dns-label-invalid', 'aci.dns-label-invalid', 3, /containerGroup\.dnsLabel to 5 to 63/),
  group('cg-invalid-registry-server', 'aci.registry-invalid', 3, /without a protocol/),
  group('cg-invalid-update', 'aci.immutable', 5, /^az container delete -g GROUP -n cg-invalid-update/),
  group('cg-limit-greater-than-request', 'aci.resources', 3, /containerGroup\.cpu/),
  group('cg-no-capacity', 'aci.no-capacity', 5, /again later/),
  group('cg-quota-exceeded', 'aci.quota', 5, /^az container list-usage/),
  group('cg-region-without-confidential', 'azure.error', 5, /^confrouter doctor/),
  polled(
    'cg-policy-denied-env',
    {
      status: 'Failed',
      error: {
        code: 'DeploymentFailed',
        message: 'At least one resource deployment operation failed.',
        details: [
          {
            code: 'ResourceDeploymentFailure',
            message: 'The resource write operation failed.',
            details: [
              {
                message: `Error: Failed to start container router, Error response: container creation denied by policy: ${deniedEnvironment};The container group provisioning has failed.`
              }
            ]
          }
        ]
      }
    },
    'aci.policy-denied',
    5,
    /^confrouter policy --engine native$/
  ),
  polled(
    'cg-policy-denied-mount',
    vector('cg-policy-denied-mount').response.body,
    'aci.policy-denied',
    5,
    /^confrouter build$/
  ),
  polled('lro-failed-operation', vector('lro-failed-operation').response.body, 'aci.no-capacity', 5, /again later/),
  keyFault('key-exportable-needs-policy', 'create', 'key.release-policy-refused', 1, /^confrouter policy$/),
  keyFault('key-policy-needs-exportable', 'create', 'key.release-policy-refused', 1, /^confrouter policy$/),
  keyFault('key-exportable-needs-premium', 'create', 'keyvault.not-premium', 3, /properties\.sku\.name=premium/),
  keyFault('key-hsm-on-standard-vault', 'create', 'keyvault.refused', 5, /premium/),
  {
    // The key is recovered, and that fails too: nothing is deleted, so the service has nothing to recover.
    file: 'key-deleted-but-recoverable',
    at: { method: 'POST', path: '/**/key-deleted-but-recoverable/*', times: 0 },
    call: keyCreated,
    expected: ['keyvault.key-soft-deleted', 5, /^confrouter key --soft-deleted recover$/]
  },
  {
    file: 'key-not-found',
    at: { method: '*', path: '/keys/key-not-found', times: 0 },
    call: async (world, name) => {
      await expect(getKey(access(world), name)).resolves.toBeUndefined()
      return updateReleasePolicy(access(world), key(name), wanted.releasePolicy)
    },
    expected: ['key.not-found', 5, /^confrouter key$/]
  },
  {
    file: 'keyvault-forbidden-by-rbac',
    at: { method: 'GET', path: '/keys/keyvault-forbidden-by-rbac', times: 0 },
    call: (world, name) => getKey(access(world), name),
    expected: ['keyvault.forbidden', 5, /^confrouter provision$/]
  },
  {
    file: 'principal-not-found',
    at: { method: 'PUT', path: '**/principal-not-found/**/roleAssignments/*', times: 0 },
    call: assignment,
    expected: ['identity.not-visible-yet', 5, /in two minutes/]
  },
  {
    file: 'provider-not-registered',
    at: { method: 'PUT', path: '**/userAssignedIdentities/provider-not-registered' },
    call: ({ azure }, name) => createIdentity(azure, 'rg', name, 'westeurope'),
    expected: [
      'azure.provider-not-registered',
      5,
      /^az provider register --namespace Microsoft\.ContainerInstance --wait$/
    ]
  },
  {
    file: 'role-assignment-exists',
    at: { method: 'PUT', path: '**/role-assignment-exists/**/roleAssignments/*' },
    call: assignment,
    expected: undefined
  },
  {
    file: 'template-validation',
    at: { method: 'POST', path: '**/deployments/template-validation/validate' },
    call: deployGroup,
    expected: ['aci.template-invalid', 5, /^confrouter policy$/]
  },
  {
    file: 'vault-already-exists',
    at: { method: 'PUT', path: '**/vaults/vault-already-exists' },
    call: vaultNamed(false),
    expected: ['keyvault.name-taken', 5, /keyVault\.name to another name/]
  },
  {
    file: 'vault-not-found',
    at: { method: 'GET', path: '**/vaults/vault-not-found' },
    call: ({ azure }, name) => getVault(azure, 'rg', name),
    expected: undefined
  },
  {
    file: 'vault-soft-deleted-conflict',
    at: { method: 'PUT', path: '**/vaults/vault-soft-deleted-conflict' },
    call: vaultNamed(false),
    expected: ['keyvault.soft-deleted', 5, /--soft-deleted recover$/]
  }
]

describe('errors of Azure, through the real SDK clients', () => {
  let directory: string
  let emulator: RunningEmulator
  let world: World

  beforeAll(async () => {
    directory = await temporaryDirectory()
    emulator = await startTestEmulator(directory, {
      faults: {
        requests: replays.map(({ file, at, answer }) => ({ ...at, answer: answer ?? vector(file).response }))
      }
    })
    const environment = {
      ...(await localEnvironment(emulator.environment)),
      // What is never going to change is not waited for here.
      roleWaitSeconds: 0,
      directoryWaitSeconds: 0
    }
    const azure = openAzure(environment, emulator.environment.subscriptionId, new AbortController().signal)
    for (const namespace of ['Attestation', 'ContainerInstance', 'KeyVault', 'ManagedIdentity'])
      await registerProvider(azure, `Microsoft.${namespace}`)
    await createResourceGroup(azure, 'rg', 'westeurope')
    const { tenantId } = emulator.environment
    const vault = { resourceGroup: 'rg', name: 'replay', location: 'westeurope', retentionDays: 90 }
    await createVault(azure, { ...vault, tenantId, purgeProtection: true, recover: false })
    const { vaultUri } = (await getVault(azure, 'rg', 'replay'))!
    world = { azure, vaultUri, waits: [] }
  })
  afterAll(async () => {
    await emulator.close()
    await rm(directory, { recursive: true, force: true })
  })

  it.each(replays)('$file has its code, its exit code and its remedy', async ({ file, call, expected }) => {
    const error: unknown = await call(world, file).then(
      () => undefined,
      (thrown: unknown) => thrown
    )
    if (expected === undefined) {
      expect(error).toBeUndefined()
      return
    }
    expect(error).toBeInstanceOf(UserError)
    const { code, exitCode, next, why, requestId } = error as UserError
    expect([code, exitCode]).toEqual(expected.slice(0, 2))
    expect(next[0]).toMatch(expected[2])
    expect(why).toMatch(/\w/)
    expect(requestId).toMatch(/^[0-9a-f-]{36}$/)
  })

  it('covers every error of the vectors', () => {
    const files = readdirSync(vectors).flatMap((name) => /^error-(.*)\.json$/.exec(name)?.[1] ?? [])
    expect(replays.map(({ file }) => file).sort()).toEqual(files.sort())
  })

  it('waits for nothing but a role or a name that is late', () => {
    expect(world.waits.filter((reason) => !reason.includes('recovering'))).toEqual([])
  })
})
