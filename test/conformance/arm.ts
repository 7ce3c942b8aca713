import { randomUUID } from 'node:crypto'
import { afterAll, describe, expect, it } from '@jest/globals'
import type { TokenCredential } from '@azure/core-auth'
import { AttestationManagementClient } from '@azure/arm-attestation'
import { AuthorizationManagementClient } from '@azure/arm-authorization'
import { KeyVaultManagementClient } from '@azure/arm-keyvault'
import { ManagedServiceIdentityClient } from '@azure/arm-msi'
import { ResourceManagementClient } from '@azure/arm-resources'

export interface ArmTarget {
  readonly endpoint: string
  readonly credential: TokenCredential
  /** PEM of the root to trust; undefined for those that Node ships. */
  readonly ca: string | undefined
  readonly subscriptionId: string
  readonly tenantId: string
  readonly location: string
  /** Put before every name; 3 to 10 letters and digits, new for each run. */
  readonly prefix: string
  readonly pollMs: number
}

const releaseUser = '08bbd89e-9f13-488c-ac41-acfcb10c90ab'

/** What this product relies on in Resource Manager. Makes one resource group and deletes it. */
export function runArmSuite(name: string, open: () => Promise<ArmTarget>): void {
  describe(`Resource Manager: ${name}`, () => {
    let target: Promise<ArmTarget> | undefined
    const world = async () => clientsOf(await (target ??= open()))
    const test = (title: string, body: (clients: Clients) => Promise<void>) =>
      it(title, async () => body(await world()), 300_000)

    afterAll(async () => {
      const { resources, vaults, group, vaultName, target, poll } = await world()
      await resources.resourceGroups.beginDeleteAndWait(group, poll).catch(ignoreAbsence)
      await vaults.vaults.purgeDeleted(vaultName, target.location, poll).catch(ignoreAbsence)
    }, 600_000)

    test('says that a resource group is not there, and then makes it with 201', async ({
      resources,
      group,
      target
    }) => {
      await expect(resources.resourceGroups.get(group)).rejects.toMatchObject({
        statusCode: 404,
        code: 'ResourceGroupNotFound'
      })
      let status = 0
      await resources.resourceGroups.createOrUpdate(
        group,
        { location: target.location },
        { onResponse: (response) => void (status = response.status) }
      )
      expect(status).toBe(201)
    })

    test('repeats a resource group with 200', async ({ resources, group, target }) => {
      let status = 0
      await resources.resourceGroups.createOrUpdate(
        group,
        { location: target.location },
        { onResponse: (response) => void (status = response.status) }
      )
      expect(status).toBe(200)
    })

    test('makes a vault whose URI is final with the next GET', async ({ vaults, group, vaultName, vault, poll }) => {
      await vaults.vaults.createOrUpdate(group, vaultName, vault(), poll)
      const { properties, id } = await vaults.vaults.get(group, vaultName)
      expect(properties.vaultUri).toMatch(/^https:\/\/.*\/$/)
      expect([properties.enableRbacAuthorization, properties.sku.name]).toEqual([true, 'premium'])
      expect(id?.toLowerCase()).toContain(`/resourcegroups/${group}/`)
    })

    test('says that the name of a living vault is taken', async ({ vaults, vaultName }) => {
      const answer = await vaults.vaults.checkNameAvailability({ name: vaultName, type: 'Microsoft.KeyVault/vaults' })
      expect([answer.nameAvailable, answer.reason]).toEqual([false, 'AlreadyExists'])
    })

    test('gives an identity the same principal when it is made again', async ({ identities, group, target, name }) => {
      const make = () =>
        identities.userAssignedIdentities.createOrUpdate(group, name('id'), { location: target.location })
      const [first, second] = [await make(), await make()]
      expect(first.principalId).toMatch(/^[0-9a-f-]{36}$/)
      expect(second.principalId).toBe(first.principalId)
    })

    test('refuses the same role assignment under another name', async ({
      identities,
      authorization,
      vaults,
      ...rest
    }) => {
      const { group, vaultName, target, name } = rest
      const { principalId } = await identities.userAssignedIdentities.get(group, name('id'))
      const scope = (await vaults.vaults.get(group, vaultName)).id!
      const assign = () =>
        authorization.roleAssignments.create(scope, randomUUID(), {
          roleDefinitionId: `/subscriptions/${target.subscriptionId}/providers/Microsoft.Authorization/roleDefinitions/${releaseUser}`,
          principalId: principalId!,
          principalType: 'ServicePrincipal'
        })
      await assign()
      await expect(assign()).rejects.toMatchObject({ statusCode: 409, code: 'RoleAssignmentExists' })
      const found: string[] = []
      for await (const each of authorization.roleAssignments.listForScope(scope, {
        filter: `principalId eq '${principalId}'`
      }))
        found.push(each.roleDefinitionId ?? '')
      expect(found.filter((id) => id.endsWith(releaseUser))).toHaveLength(1)
    })

    test('makes an attestation provider and names its endpoint without a slash', async (clients) => {
      const { attestation, group, target, name } = clients
      await expect(attestation.attestationProviders.get(group, name('maa'))).rejects.toMatchObject({ statusCode: 404 })
      const { attestUri, status } = await attestation.attestationProviders.create(group, name('maa'), {
        location: target.location,
        properties: {}
      })
      expect(attestUri).toMatch(/^https:\/\/.*[^/]$/)
      expect(status).toBe('Ready')
    })

    test('deploys a template, and keeps its outputs', async ({ resources, group, poll }) => {
      const properties = {
        mode: 'Incremental' as const,
        template: template({ outputs: { word: { type: 'string', value: "[concat('a', 'b')]" } } })
      }
      const { properties: done } = await resources.deployments.beginCreateOrUpdateAndWait(
        group,
        'conformance',
        { properties },
        poll
      )
      expect(done?.provisioningState).toBe('Succeeded')
      expect(done?.outputs).toMatchObject({ word: { value: 'ab' } })
    })

    test('refuses a template that is none', async ({ resources, group, poll }) => {
      const properties = { mode: 'Incremental' as const, template: template({ resources: [{ type: 'x' }] }) }
      const wrong = resources.deployments.beginCreateOrUpdateAndWait(group, 'wrong', { properties }, poll)
      await expect(wrong).rejects.toMatchObject({ statusCode: 400, code: 'InvalidTemplate' })
    })

    test('keeps the name of a deleted vault, and brings the vault back', async ({
      vaults,
      group,
      vaultName,
      ...rest
    }) => {
      const { vault, target, poll } = rest
      await vaults.vaults.delete(group, vaultName)
      const { properties } = await vaults.vaults.getDeleted(vaultName, target.location)
      expect(properties?.scheduledPurgeDate?.getTime()).toBeGreaterThan(Date.now())
      await expect(vaults.vaults.createOrUpdate(group, vaultName, vault(), poll)).rejects.toMatchObject({
        statusCode: 409,
        code: expect.stringMatching(/^(ConflictError|VaultAlreadyExists)$/)
      })
      await vaults.vaults.createOrUpdate(group, vaultName, vault({ createMode: 'recover' }), poll)
      await expect(vaults.vaults.get(group, vaultName)).resolves.toHaveProperty('id')
      await vaults.vaults.delete(group, vaultName)
    })
  })
}

type Clients = ReturnType<typeof clientsOf>

function clientsOf(target: ArmTarget) {
  const { endpoint, credential, subscriptionId, ca, prefix, location, tenantId } = target
  const tls = ca === undefined ? {} : { tlsOptions: { ca } }
  const scope = `${endpoint}/.default`
  const options = { endpoint, credentialScopes: scope, ...tls }
  const name = (suffix: string) => `${prefix}${suffix}`
  return {
    target,
    name,
    group: name('rg'),
    vaultName: name('kv'),
    vault: (more: object = {}) => ({
      location,
      properties: {
        tenantId,
        sku: { family: 'A' as const, name: 'premium' as const },
        accessPolicies: [],
        enableRbacAuthorization: true,
        softDeleteRetentionInDays: 7,
        ...more
      }
    }),
    poll: { updateIntervalInMs: target.pollMs },
    resources: new ResourceManagementClient(credential, subscriptionId, options),
    vaults: new KeyVaultManagementClient(credential, subscriptionId, {
      endpoint,
      credentials: { scopes: [scope] },
      ...tls
    }),
    identities: new ManagedServiceIdentityClient(credential, subscriptionId, options),
    authorization: new AuthorizationManagementClient(credential, subscriptionId, options),
    attestation: new AttestationManagementClient(credential, subscriptionId, options)
  }
}

function template(more: object): Record<string, unknown> {
  return {
    $schema: 'https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#',
    contentVersion: '1.0.0.0',
    resources: [],
    ...more
  }
}

function ignoreAbsence(error: unknown): void {
  if ((error as { statusCode?: unknown }).statusCode !== 404) throw error
}
