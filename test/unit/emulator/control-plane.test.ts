import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { randomUUID } from 'node:crypto'
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { RunningEmulator } from '../../../src/emulator/index.js'
import {
  type Clients,
  clientsFor,
  failureOf,
  listAll,
  prepare,
  quickPoll,
  startTestEmulator,
  temporaryDirectory
} from './support/emulator.js'
import { rawRequest, type RawRequest } from './support/http.js'

const vectors = join(import.meta.dirname, '../../vectors/azure')
const releaseUser = '08bbd89e-9f13-488c-ac41-acfcb10c90ab'
const administrator = '00482a5a-887f-4fb3-b363-3b7fe8e74483'
const reader = 'acdd72a7-3385-48ef-bd42-f606fba81ae7'
const dataAccessAdministrator = '8b54135c-b56d-4d72-a534-26097cfdc8d8'

/** A recorded answer of Azure. */
async function recorded(name: string): Promise<{ status: number; code: string; message: string }> {
  const { response } = JSON.parse(await readFile(join(vectors, `${name}.json`), 'utf8'))
  return { status: response.status, ...response.body.error }
}

describe('the control plane, driven by the real SDK clients', () => {
  let directory: string
  let emulator: RunningEmulator
  let clients: Clients
  let now = new Date()

  beforeAll(async () => {
    directory = await temporaryDirectory()
    emulator = await startTestEmulator(directory, { clock: () => now })
    clients = await clientsFor(emulator.environment)
  })
  afterAll(async () => {
    await emulator.close()
    await rm(directory, { recursive: true, force: true })
  })

  const raw = async (request: RawRequest) =>
    rawRequest(emulator.environment.armEndpoint, clients.ca, {
      ...request,
      headers: { authorization: `Bearer ${await clients.token()}`, ...request.headers }
    })
  const vault = (change: object = {}) => ({
    location: 'westeurope',
    properties: {
      tenantId: emulator.environment.tenantId,
      sku: { family: 'A' as const, name: 'premium' as const },
      accessPolicies: [],
      enableRbacAuthorization: true,
      softDeleteRetentionInDays: 90,
      ...change
    }
  })
  const putVault = (name: string, change: object = {}) =>
    clients.vaults.vaults.createOrUpdate('rg', name, vault(change), quickPoll)
  const role = (guid: string) =>
    `/subscriptions/${emulator.environment.subscriptionId}/providers/Microsoft.Authorization/roleDefinitions/${guid}`

  it('refuses the first write to a namespace until it is registered, in Azure’s words', async () => {
    await clients.resources.resourceGroups.createOrUpdate('rg', { location: 'westeurope' })
    const expected = await recorded('error-provider-not-registered')
    const failure = await failureOf(
      clients.identities.userAssignedIdentities.createOrUpdate('rg', 'id0', { location: 'westeurope' })
    )
    expect(failure).toEqual({
      statusCode: expected.status,
      code: expected.code,
      message: expected.message.replace('Microsoft.ContainerInstance', 'Microsoft.ManagedIdentity')
    })
    const registering = await clients.resources.providers.register('Microsoft.ManagedIdentity')
    expect(registering.registrationState).toBe('Registering')
    const registered = await clients.resources.providers.get('microsoft.managedidentity')
    expect(registered.registrationState).toBe('Registered')
    expect(await failureOf(clients.resources.providers.get('Microsoft.Nothing'))).toMatchObject({ statusCode: 404 })
    await prepare(clients)
  })

  describe('resource groups', () => {
    it('are created once, found in any case, and keep their location', async () => {
      expect((await clients.resources.resourceGroups.checkExistence('none')).body).toBe(false)
      expect((await clients.resources.resourceGroups.checkExistence('RG')).body).toBe(true)
      expect(await failureOf(clients.resources.resourceGroups.get('none'))).toMatchObject({
        statusCode: 404,
        code: 'ResourceGroupNotFound'
      })
      const moved = clients.resources.resourceGroups.createOrUpdate('rg', { location: 'eastus' })
      expect(await failureOf(moved)).toMatchObject({ statusCode: 409, code: 'InvalidResourceGroupLocation' })
      const nowhere = clients.resources.resourceGroups.createOrUpdate('nowhere', { location: 'westeuropa' })
      expect(await failureOf(nowhere)).toMatchObject({
        statusCode: 400,
        code: 'LocationNotAvailableForResourceType'
      })
      const bad = clients.resources.resourceGroups.createOrUpdate('ends.with.', { location: 'eastus' })
      expect(await failureOf(bad)).toMatchObject({ statusCode: 400, code: 'InvalidResourceGroup' })
    })

    it('are deleted with all that is in them; a vault stays recoverable', async () => {
      await clients.resources.resourceGroups.createOrUpdate('gone', { location: 'westeurope' })
      await clients.vaults.vaults.createOrUpdate('gone', 'kv-in-group', vault(), quickPoll)
      await clients.identities.userAssignedIdentities.createOrUpdate('gone', 'id1', { location: 'westeurope' })
      await clients.attestation.attestationProviders.create('gone', 'attgone', {
        location: 'westeurope',
        properties: {}
      })
      expect(
        (await listAll(clients.resources.resources.listByResourceGroup('gone'))).map(({ type }) => type).sort()
      ).toEqual([
        'Microsoft.Attestation/attestationProviders',
        'Microsoft.KeyVault/vaults',
        'Microsoft.ManagedIdentity/userAssignedIdentities'
      ])
      await clients.resources.resourceGroups.beginDeleteAndWait('gone', quickPoll)
      expect((await clients.resources.resourceGroups.checkExistence('gone')).body).toBe(false)
      expect((await clients.vaults.vaults.getDeleted('kv-in-group', 'westeurope')).name).toBe('kv-in-group')
      expect((await failureOf(clients.identities.userAssignedIdentities.get('gone', 'id1'))).code).toBe(
        'ResourceGroupNotFound'
      )
    })
  })

  describe('attestation providers', () => {
    it('are created at once, with an endpoint of their own', async () => {
      const created = await clients.attestation.attestationProviders.create('rg', 'att1', {
        location: 'West Europe',
        properties: {}
      })
      expect(created).toMatchObject({ status: 'Ready', trustModel: 'AAD', location: 'westeurope' })
      expect(created.attestUri).toMatch(/^https:\/\/127\.0\.0\.1:\d+$/)
      const discovery = await rawRequest(created.attestUri ?? '', clients.ca, {
        path: '/.well-known/openid-configuration'
      })
      expect(discovery.body).toMatchObject({ issuer: created.attestUri })
      const again = await clients.attestation.attestationProviders.create('rg', 'att1', {
        location: 'westeurope',
        properties: {}
      })
      expect(again.attestUri).toBe(created.attestUri)
    })

    it('refuse a name that is taken, with the answer that Azure gave', async () => {
      await clients.resources.resourceGroups.createOrUpdate('rg2', { location: 'westeurope' })
      await clients.attestation.attestationProviders.create('rg', 'e2etestap', {
        location: 'westeurope',
        properties: {}
      })
      const failure = await failureOf(
        clients.attestation.attestationProviders.create('rg2', 'e2etestap', { location: 'westeurope', properties: {} })
      )
      const { status: statusCode, code, message } = await recorded('error-attestation-name-in-use')
      expect(failure).toEqual({ statusCode, code, message })
    })

    it('have another signing key when they come again after a deletion', async () => {
      const make = () =>
        clients.attestation.attestationProviders.create('rg', 'attagain', { location: 'westeurope', properties: {} })
      const keyOf = async (origin: string | undefined) =>
        (await rawRequest(origin ?? '', clients.ca, { path: '/certs' })).text
      const before = await keyOf((await make()).attestUri)
      await clients.attestation.attestationProviders.delete('rg', 'attagain')
      expect(await keyOf((await make()).attestUri)).not.toBe(before)
    })

    it('refuse names that Azure refuses', async () => {
      const bad = clients.attestation.attestationProviders.create('rg', 'No-Hyphens', {
        location: 'westeurope',
        properties: {}
      })
      expect(await failureOf(bad)).toMatchObject({ statusCode: 400 })
      expect(await failureOf(clients.attestation.attestationProviders.get('rg', 'nothing'))).toMatchObject({
        statusCode: 404,
        code: 'ResourceNotFound'
      })
    })
  })

  describe('key vaults', () => {
    it('come up as RegisteringDns, then Succeeded with a slash at the end of their address', async () => {
      const path = `/subscriptions/${emulator.environment.subscriptionId}/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/kv-wire?api-version=2026-02-01`
      const put = await raw({
        method: 'PUT',
        path,
        body: JSON.stringify(vault({ enableRbacAuthorization: undefined }))
      })
      expect(put.status).toBe(200)
      expect(put.headers['azure-asyncoperation'] ?? put.headers.location).toBeUndefined()
      expect(put.body).toMatchObject({
        properties: { provisioningState: 'RegisteringDns', vaultUri: expect.stringMatching(/\d$/) }
      })
      const get = await raw({ path })
      expect(get.body).toMatchObject({
        properties: {
          provisioningState: 'Succeeded',
          vaultUri: expect.stringMatching(/\d\/$/),
          enableRbacAuthorization: true
        }
      })
    })

    it('answer 404 with Azure’s words when there is none', async () => {
      const { code, message } = await recorded('error-vault-not-found')
      const failure = await failureOf(clients.vaults.vaults.get('rg', 'cli-test-kv-mgmt'))
      expect(failure.statusCode).toBe(404)
      expect(failure.code).toBe(code)
      expect(
        message.replace(/vaults\/\S+' under resource group '\S+'/, "vaults/cli-test-kv-mgmt' under resource group 'rg'")
      ).toBe(failure.message)
    })

    it('never lose purge protection and never change their retention', async () => {
      const created = await putVault('kv-fixed', { enablePurgeProtection: true })
      expect(created.properties).toMatchObject({ enablePurgeProtection: true, softDeleteRetentionInDays: 90 })
      expect(await failureOf(putVault('kv-fixed', { enablePurgeProtection: false }))).toMatchObject({ statusCode: 400 })
      expect(await failureOf(putVault('kv-fixed', { softDeleteRetentionInDays: 7 }))).toMatchObject({ statusCode: 400 })
      const kept = await putVault('kv-fixed')
      expect(kept.properties.enablePurgeProtection).toBe(true)
      const upgraded = await putVault('kv-fixed', { sku: { family: 'A', name: 'standard' } })
      expect(upgraded.properties.sku.name).toBe('standard')
    })

    it('hold their names when they are deleted, and come back when they are recovered', async () => {
      await putVault('kv-again', { enablePurgeProtection: true })
      await clients.vaults.vaults.delete('rg', 'kv-again')
      expect(await failureOf(clients.vaults.vaults.get('rg', 'kv-again'))).toMatchObject({ statusCode: 404 })
      const { status: statusCode, code, message } = await recorded('error-vault-soft-deleted-conflict')
      expect(await failureOf(putVault('kv-again'))).toEqual({ statusCode, code, message })
      const availability = await clients.vaults.vaults.checkNameAvailability({
        name: 'kv-again',
        type: 'Microsoft.KeyVault/vaults'
      })
      expect(availability).toMatchObject({ nameAvailable: false, reason: 'AlreadyExists' })
      const deleted = await clients.vaults.vaults.getDeleted('kv-again', 'westeurope')
      expect(deleted.properties?.purgeProtectionEnabled).toBe(true)
      expect(await failureOf(clients.vaults.vaults.purgeDeleted('kv-again', 'westeurope', quickPoll))).toMatchObject({
        statusCode: 405,
        code: 'MethodNotAllowed'
      })
      const recovered = await putVault('kv-again', { createMode: 'recover' })
      expect(recovered.properties.provisioningState).toBe('Succeeded')
      expect(await failureOf(clients.vaults.vaults.getDeleted('kv-again', 'westeurope'))).toMatchObject({
        statusCode: 404
      })
    })

    it('are purged on request without purge protection, and by themselves after their retention', async () => {
      await putVault('kv-purged', { softDeleteRetentionInDays: 7 })
      await clients.vaults.vaults.delete('rg', 'kv-purged')
      await clients.vaults.vaults.purgeDeleted('kv-purged', 'westeurope', quickPoll)
      expect(
        (await clients.vaults.vaults.checkNameAvailability({ name: 'kv-purged', type: 'Microsoft.KeyVault/vaults' }))
          .nameAvailable
      ).toBe(true)
      await putVault('kv-purged', { softDeleteRetentionInDays: 7 })
      await clients.vaults.vaults.delete('rg', 'kv-purged')
      now = new Date(now.getTime() + 8 * 24 * 3600 * 1000)
      clients = await clientsFor(emulator.environment)
      expect(await failureOf(clients.vaults.vaults.getDeleted('kv-purged', 'westeurope'))).toMatchObject({
        statusCode: 404
      })
    })

    it('refuse a name of another group, and names and settings that Azure refuses', async () => {
      await putVault('arcgis-enterprise')
      const { status: statusCode, code, message } = await recorded('error-vault-already-exists')
      const elsewhere = clients.vaults.vaults.createOrUpdate('rg2', 'arcgis-enterprise', vault(), quickPoll)
      expect(await failureOf(elsewhere)).toEqual({ statusCode, code, message })
      expect(await failureOf(putVault('1-starts-with-digit'))).toMatchObject({ code: 'VaultNameNotValid' })
      expect(await failureOf(putVault('two--hyphens'))).toMatchObject({ code: 'VaultNameNotValid' })
      for (const sku of [{ name: 'premium' }, { family: 'B', name: 'premium' }]) {
        expect(await failureOf(putVault('kv-none', { sku }))).toMatchObject({ statusCode: 400 })
      }
      expect(await failureOf(putVault('kv-none', { createMode: 'recover' }))).toMatchObject({ statusCode: 404 })
      expect(await failureOf(putVault('kv-none', { tenantId: randomUUID() }))).toMatchObject({ statusCode: 400 })
      expect(await failureOf(putVault('kv-none', { softDeleteRetentionInDays: 5 }))).toMatchObject({ statusCode: 400 })
      expect(await failureOf(putVault('kv-none', { enableRbacAuthorization: false }))).toMatchObject({
        statusCode: 501
      })
    })

    it('do not hand the keys of a purged vault to the next one of its name', async () => {
      const scope = (await putVault('kv-keys')).id ?? ''
      const grant = () =>
        clients.authorization.roleAssignments.create(scope, randomUUID(), {
          roleDefinitionId: role(administrator),
          principalId: emulator.environment.operatorObjectId,
          principalType: 'ServicePrincipal'
        })
      await grant()
      const first = clients.keys((await clients.vaults.vaults.get('rg', 'kv-keys')).properties.vaultUri ?? '')
      await first.createKey('k1', 'RSA', { keySize: 2048 })
      await clients.vaults.vaults.delete('rg', 'kv-keys')
      await clients.vaults.vaults.purgeDeleted('kv-keys', 'westeurope', quickPoll)
      await putVault('kv-keys')
      const second = clients.keys((await clients.vaults.vaults.get('rg', 'kv-keys')).properties.vaultUri ?? '')
      // Role assignments end with the vault, too.
      expect(await failureOf(second.getKey('k1'))).toMatchObject({ statusCode: 403 })
      await grant()
      expect(await failureOf(second.getKey('k1'))).toMatchObject({ statusCode: 404 })
    })
  })

  describe('identities', () => {
    it('keep their principal when they are created again, and spell resourcegroups in lower case', async () => {
      const first = await clients.identities.userAssignedIdentities.createOrUpdate('rg', 'id1', {
        location: 'westeurope'
      })
      const again = await clients.identities.userAssignedIdentities.createOrUpdate('rg', 'id1', {
        location: 'westeurope'
      })
      expect(again).toEqual(first)
      expect(first.id).toContain('/resourcegroups/rg/')
      expect(
        (await listAll(clients.identities.userAssignedIdentities.listByResourceGroup('rg'))).map(({ name }) => name)
      ).toEqual(['id1'])
      await clients.identities.userAssignedIdentities.delete('rg', 'id1')
      expect(await failureOf(clients.identities.userAssignedIdentities.get('rg', 'id1'))).toMatchObject({
        statusCode: 404
      })
    })
  })

  describe('role assignments', () => {
    let scope: string
    let principalId: string
    const properties = (change: object = {}) => ({
      roleDefinitionId: role(releaseUser),
      principalId,
      principalType: 'ServicePrincipal' as const,
      ...change
    })
    const create = (name: string, change: object = {}) =>
      clients.authorization.roleAssignments.create(scope, name, properties(change))

    beforeAll(async () => {
      scope = (await putVault('kv-roles')).id ?? ''
      const identity = await clients.identities.userAssignedIdentities.createOrUpdate('rg', 'id-roles', {
        location: 'westeurope'
      })
      principalId = identity.principalId ?? ''
    })

    it('are created through a doubled slash, found by principal, and deleted', async () => {
      const name = randomUUID()
      const created = await create(name)
      expect(created).toMatchObject({ name, principalId, scope, roleDefinitionId: role(releaseUser) })
      const found = await listAll(
        clients.authorization.roleAssignments.listForScope(scope, { filter: `principalId eq '${principalId}'` })
      )
      expect(found.map((assignment) => assignment.name)).toEqual([name])
      const assigned = await listAll(
        clients.authorization.roleAssignments.listForScope(scope, { filter: `assignedTo('${principalId}')` })
      )
      expect(assigned).toHaveLength(1)
      const atScope = await listAll(clients.authorization.roleAssignments.listForScope(scope, { filter: 'atScope()' }))
      expect(atScope).toHaveLength(2)
      await clients.authorization.roleAssignments.deleteById(created.id ?? '')
      expect(await failureOf(clients.authorization.roleAssignments.get(scope, name))).toMatchObject({ statusCode: 404 })
    })

    it('are unique by principal, role and scope, whatever their name', async () => {
      const name = randomUUID()
      await create(name)
      expect((await create(name)).name).toBe(name)
      const { status: statusCode, code, message } = await recorded('error-role-assignment-exists')
      const failure = await failureOf(create(randomUUID()))
      expect(failure).toMatchObject({ statusCode, code })
      expect(failure.message.startsWith(message)).toBe(true)
      const other = await failureOf(create(name, { principalId: emulator.environment.operatorObjectId }))
      expect(other).toMatchObject({ statusCode: 400, code: 'RoleAssignmentUpdateNotPermitted' })
    })

    it('refuse principals, roles, scopes and names that do not exist', async () => {
      const unknown = '0f14a80d-42e5-4d57-afe0-46acf9dfae05'
      const { status: statusCode, code, message } = await recorded('error-principal-not-found')
      expect(await failureOf(create(randomUUID(), { principalId: unknown }))).toEqual({
        statusCode,
        code,
        message: message.replace('c7cb8e56-3c8d-431c-a94c-866e27a25b45', emulator.environment.tenantId)
      })
      expect(await failureOf(create(randomUUID(), { roleDefinitionId: role(randomUUID()) }))).toMatchObject({
        code: 'RoleDefinitionDoesNotExist'
      })
      expect(await failureOf(create('not-a-guid'))).toMatchObject({ code: 'InvalidRoleAssignmentId' })
      expect(await failureOf(create(randomUUID(), { principalType: 'User' }))).toMatchObject({
        code: 'UnmatchedPrincipalType'
      })
      const nowhere = clients.authorization.roleAssignments.create(`${scope}-none`, randomUUID(), properties())
      expect(await failureOf(nowhere)).toMatchObject({ statusCode: 404 })
    })

    it('take the whole id of a role and nothing less', async () => {
      const other = role(releaseUser).replace(emulator.environment.subscriptionId, randomUUID())
      for (const roleDefinitionId of [releaseUser, `/x${role(releaseUser)}`, other, role('no-guid')]) {
        expect(await failureOf(create(randomUUID(), { roleDefinitionId }))).toMatchObject({
          statusCode: 400,
          code: 'BadRequestFormat'
        })
      }
    })

    it('list the built-in roles', async () => {
      const [found] = await listAll(
        clients.authorization.roleDefinitions.list(scope, {
          filter: "roleName eq 'Key Vault Crypto Service Release User'"
        })
      )
      expect(found?.name).toBe(releaseUser)
      expect(found?.permissions?.[0]?.dataActions).toEqual(['Microsoft.KeyVault/vaults/keys/release/action'])
    })
  })

  describe('the caller', () => {
    it('needs a token for this resource manager', async () => {
      const path = `/subscriptions/${emulator.environment.subscriptionId}?api-version=2022-12-01`
      expect(await raw({ path })).toMatchObject({
        status: 200,
        body: { subscriptionId: emulator.environment.subscriptionId }
      })
      const without = await rawRequest(emulator.environment.armEndpoint, clients.ca, { path })
      expect(without).toMatchObject({ status: 401, body: { error: { code: 'AuthenticationFailed' } } })
      expect(without.headers['www-authenticate']).toContain(`authorization_uri="${emulator.environment.armEndpoint}/`)
      const forVaults = (await clients.credential.getToken('https://vault.azure.net/.default')).token
      const wrong = await raw({ path, headers: { authorization: `Bearer ${forVaults}` } })
      expect(wrong).toMatchObject({ status: 401, body: { error: { code: 'InvalidAuthenticationToken' } } })
      const [head, body] = (await clients.token()).split('.')
      const forged = await raw({ path, headers: { authorization: `Bearer ${head}.${body}.AAAA` } })
      expect(forged.status).toBe(401)
    })

    it('gets request ids, and as az alone a Retry-After of one second', async () => {
      const deletionBy = async (agent: string, group: string) => {
        const path = `/subscriptions/${emulator.environment.subscriptionId}/resourcegroups/${group}?api-version=2025-03-01`
        await raw({ method: 'PUT', path, body: '{"location":"westeurope"}' })
        return raw({ method: 'DELETE', path, headers: { 'user-agent': agent } })
      }
      const sdk = await deletionBy('azsdk-js-arm-resources/6.1.0', 'by-sdk')
      expect(sdk.status).toBe(202)
      expect(sdk.headers['retry-after']).toBeUndefined()
      expect(sdk.headers['x-ms-request-id']).toMatch(/^[0-9a-f-]{36}$/)
      expect(sdk.headers['x-ms-correlation-request-id']).toBe(sdk.headers['x-ms-request-id'])
      const az = await deletionBy('AZURECLI/2.91.0 azsdk-python-core/1.35.0', 'by-az')
      expect(az.headers['retry-after']).toBe('1')
    })

    it.each([
      ['without api-version', '/subscriptions/SUB/resourcegroups', 400, 'MissingApiVersionParameter'],
      ['with a version that never was', '/subscriptions/SUB?api-version=2099-01-01', 400, 'InvalidApiVersionParameter'],
      ...[
        'Microsoft.KeyVault/vaults/kv1?api-version=2025-03-01',
        'Microsoft.Attestation/attestationProviders/att1?api-version=2024-11-30',
        'Microsoft.ManagedIdentity/userAssignedIdentities/id1?api-version=2023-05-01',
        'Microsoft.ContainerInstance/containerGroups/g?api-version=2018-06-01',
        'Microsoft.ContainerInstance/containerGroups/g?api-version=2021-09-01',
        'Microsoft.Authorization/roleAssignments/r?api-version=2025-03-01'
      ].map(
        (path) =>
          [
            `with a version that ${path.split('/')[0]} does not have: ${path.split('=')[1]}`,
            `/subscriptions/SUB/resourceGroups/rg/providers/${path}`,
            400,
            'NoRegisteredProviderFound'
          ] as const
      ),
      [
        'with a strange api-version',
        '/subscriptions/SUB/resourcegroups?api-version=latest',
        400,
        'InvalidApiVersionParameter'
      ],
      [
        'to another subscription',
        `/subscriptions/${'0'.repeat(8)}-0000-0000-0000-${'0'.repeat(12)}?api-version=2022-12-01`,
        404,
        'SubscriptionNotFound'
      ],
      [
        'for what is not emulated',
        '/subscriptions/SUB/providers/Microsoft.Compute/virtualMachines?api-version=2022-12-01',
        501,
        'NotImplemented'
      ],
      ['with a broken path', '/subscriptions/%E0%A4%A?api-version=2022-12-01', 400, 'InvalidRequestUri']
    ])('is refused %s', async (_, path, status, code) => {
      const answer = await raw({ path: path.replace('SUB', emulator.environment.subscriptionId) })
      expect(answer).toMatchObject({ status, body: { error: { code } } })
    })

    it('is refused with a body that is no JSON, or too large', async () => {
      const path = `/subscriptions/${emulator.environment.subscriptionId}/resourcegroups/x?api-version=2025-03-01`
      expect(await raw({ method: 'PUT', path, body: '{' })).toMatchObject({
        status: 400,
        body: { error: { code: 'InvalidRequestContent' } }
      })
      expect(await raw({ method: 'PUT', path, body: '"text"' })).toMatchObject({
        status: 400,
        body: { error: { code: 'InvalidRequestContent' } }
      })
      const large = await raw({ method: 'PUT', path, body: ' '.repeat(5 * 1024 * 1024) }).catch(() => undefined)
      // The connection may break before the answer arrives: nothing was accepted either way.
      expect(large?.status ?? 413).toBe(413)
    })
  })

  describe('roles', () => {
    /** A container's token for Resource Manager: the only other kind of principal there is. */
    const tokenOf = async (name: string, roleGuid: string) => {
      const { tokensOf } = await import('./support/tokens.js')
      const identity = await clients.identities.userAssignedIdentities.createOrUpdate('rg', name, {
        location: 'westeurope'
      })
      await clients.authorization.roleAssignments.create(
        `/subscriptions/${emulator.environment.subscriptionId}/resourceGroups/rg`,
        randomUUID(),
        { roleDefinitionId: role(roleGuid), principalId: identity.principalId ?? '', principalType: 'ServicePrincipal' }
      )
      return tokensOf(
        directory,
        emulator.environment,
        { objectId: identity.principalId ?? '', clientId: identity.clientId ?? '' },
        () => now
      )
    }

    it('let a reader read and not write', async () => {
      const headers = { authorization: `Bearer ${await tokenOf('id-reader', reader)}` }
      const path = `/subscriptions/${emulator.environment.subscriptionId}/resourcegroups/rg?api-version=2025-03-01`
      expect((await raw({ path, headers })).status).toBe(200)
      const put = await raw({ method: 'PUT', path, headers, body: '{"location":"westeurope"}' })
      expect(put).toMatchObject({ status: 403, body: { error: { code: 'AuthorizationFailed' } } })
      expect(put.text).toContain("perform action 'Microsoft.Resources/subscriptions/resourceGroups/write'")
      const above = await raw({
        path: `/subscriptions/${emulator.environment.subscriptionId}?api-version=2022-12-01`,
        headers
      })
      expect(above.status).toBe(403)
    })

    it('let a delegated administrator hand out key vault roles and no others', async () => {
      const headers = { authorization: `Bearer ${await tokenOf('id-delegated', dataAccessAdministrator)}` }
      const group = `/subscriptions/${emulator.environment.subscriptionId}/resourceGroups/rg`
      const { principalId } = await clients.identities.userAssignedIdentities.get('rg', 'id-delegated')
      const assign = (guid: string) =>
        raw({
          method: 'PUT',
          path: `${group}/providers/Microsoft.Authorization/roleAssignments/${randomUUID()}?api-version=2022-04-01`,
          headers,
          body: JSON.stringify({
            properties: { roleDefinitionId: role(guid), principalId, principalType: 'ServicePrincipal' }
          })
        })
      expect((await assign(administrator)).status).toBe(201)
      expect((await assign('8e3af657-a8ff-443c-a75c-2fe8c4bcb635')).status).toBe(403)
    })
  })
})
