import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { X509Certificate } from 'node:crypto'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { RunningEmulator } from '../../../src/emulator/index.js'
import { isLocalCaller, vaultOfHost } from '../../../src/emulator/local-caller.js'
import { openTlsIdentity } from '../../../src/emulator/tls.js'
import {
  type Clients,
  clientsFor,
  listAll,
  prepare,
  startTestEmulator,
  temporaryDirectory
} from './support/emulator.js'
import { type RawAnswer, rawRequest } from './support/http.js'

/** The requests that only the real `az` makes; test/az runs that itself where it is installed. */
describe('what az asks and the SDKs do not', () => {
  let directory: string
  let emulator: RunningEmulator
  let clients: Clients
  let arm: (path: string, more?: { method?: string; body?: object; host?: string }) => Promise<RawAnswer>
  const subscription = () => `/subscriptions/${emulator.environment.subscriptionId}`

  beforeAll(async () => {
    directory = await temporaryDirectory()
    emulator = await startTestEmulator(directory)
    clients = await clientsFor(emulator.environment)
    await prepare(clients)
    const { tenantId } = emulator.environment
    await clients.vaults.vaults.createOrUpdate('rg', 'kv-by-name', {
      location: 'westeurope',
      properties: { tenantId, sku: { family: 'A', name: 'premium' }, enableRbacAuthorization: true }
    })
    await clients.identities.userAssignedIdentities.createOrUpdate('rg', 'id1', { location: 'westeurope' })
    const authorization = `Bearer ${await clients.token()}`
    arm = (path, { method = 'GET', body, host } = {}) =>
      rawRequest(emulator.environment.armEndpoint, clients.ca, {
        method,
        path,
        headers: { authorization, 'content-type': 'application/json', ...(host === undefined ? {} : { host }) },
        ...(body === undefined ? {} : { body: JSON.stringify(body) })
      })
  })
  afterAll(async () => {
    await emulator.close()
    await rm(directory, { recursive: true, force: true })
  })

  const port = () => new URL(emulator.environment.armEndpoint).port

  it('has vaults at NAME.vault.localhost on the port of Resource Manager, with a challenge for that domain', async () => {
    const answer = await arm('/keys?api-version=7.6', { host: `kv-by-name.vault.localhost:${port()}` })
    expect(answer.status).toBe(401)
    expect(answer.headers['www-authenticate']).toContain('resource="https://vault.localhost"')
    const { token } = (await clients.credential.getToken('https://vault.localhost/.default')) ?? {}
    const forVault = await rawRequest(emulator.environment.armEndpoint, clients.ca, {
      path: '/keys?api-version=7.6',
      headers: { authorization: `Bearer ${token}`, host: `kv-by-name.vault.localhost:${port()}` }
    })
    // The operator owns the subscription and has no data role: Key Vault tells the two apart.
    expect(forVault.status).toBe(403)
  })

  it('does not take the token of the vault’s name at its own address', async () => {
    const { token } = (await clients.credential.getToken('https://vault.localhost/.default')) ?? {}
    const { properties } = await clients.vaults.vaults.get('rg', 'kv-by-name')
    const answer = await rawRequest(properties.vaultUri ?? '', clients.ca, {
      path: '/keys?api-version=7.6',
      headers: { authorization: `Bearer ${token}` }
    })
    expect(answer.status).toBe(401)
  })

  it('says that there is no vault at a name that nobody has', async () => {
    const answer = await arm('/keys?api-version=7.6', { host: `nobody.vault.localhost:${port()}` })
    expect(answer.status).toBe(404)
  })

  it.each([
    'a.kv.vault.localhost',
    'kv.vault.localhost.example',
    'vault.localhost',
    '.vault.localhost',
    'kv_1.vault.localhost'
  ])('takes %s for no vault, and refuses whoever calls it so', (host) => {
    expect(vaultOfHost(`${host}:1`, 1)).toBeUndefined()
    expect(isLocalCaller({ host: `${host}:1` }, 1)).toBe(false)
    expect(isLocalCaller({ host: 'kv1.vault.localhost:1' }, 1)).toBe(true)
    expect(isLocalCaller({ host: 'kv1.vault.localhost:2' }, 1)).toBe(false)
  })

  it('has a certificate for these names, and makes a new one where an older one lacks them', async () => {
    const tls = join(directory, 'tls-of-another-version')
    const made = await openTlsIdentity(tls)
    expect(new X509Certificate(made.certificate).checkHost('kv.vault.localhost')).toBeDefined()
    expect((await openTlsIdentity(tls)).certificate).toBe(made.certificate)
    // A certificate that verifies under its root and has no such name: the root itself.
    await writeFile(join(tls, 'server.pem'), await readFile(join(tls, 'ca.pem')))
    expect((await openTlsIdentity(tls)).certificate).not.toBe(made.certificate)
  })

  it('lists resources of all types, by name, type and group', async () => {
    const names = (answer: RawAnswer) => (answer.body as { value: { name: string }[] }).value.map(({ name }) => name)
    const list = async (filter?: string) =>
      names(
        await arm(
          `${subscription()}/resources?api-version=2021-04-01${filter === undefined ? '' : `&$filter=${encodeURIComponent(filter)}`}`
        )
      )
    expect((await list()).sort()).toEqual(['id1', 'kv-by-name'])
    expect(await list("resourceType eq 'microsoft.keyvault/VAULTS' and name eq 'kv-by-name'")).toEqual(['kv-by-name'])
    expect(await list("resourceGroup eq 'other'")).toEqual([])
    const strange = await arm(`${subscription()}/resources?api-version=2021-04-01&$filter=tagName%20eq%20'x'%20or%20y`)
    expect(strange.status).toBe(501)
  })

  it('has no managed HSMs', async () => {
    const answer = await arm(`${subscription()}/providers/Microsoft.KeyVault/managedHSMs?api-version=2023-02-01`)
    expect(answer).toMatchObject({ status: 200, body: { value: [] } })
  })

  it('finds applications and identities in the directory by client id and by object id', async () => {
    const { clientId, operatorObjectId } = emulator.environment
    const byClient = await arm(
      `/v1.0/servicePrincipals?$filter=${encodeURIComponent(`servicePrincipalNames/any(c:c eq '${clientId}')`)}`
    )
    expect(byClient.body).toMatchObject({ value: [{ id: operatorObjectId, appId: clientId }] })
    const { principalId } = await clients.identities.userAssignedIdentities.get('rg', 'id1')
    const byId = await arm('/v1.0/directoryObjects/getByIds', { method: 'POST', body: { ids: [principalId, 'none'] } })
    expect(byId.body).toMatchObject({ value: [{ id: principalId, displayName: 'id1' }] })
    expect((await arm('/v1.0/me')).status).toBe(400)
    expect((await arm('/v1.0/groups')).status).toBe(501)
    const anonymous = await rawRequest(emulator.environment.armEndpoint, clients.ca, {
      path: '/v1.0/servicePrincipals'
    })
    expect(anonymous.status).toBe(401)
  })

  it('says by what-if which resources a template would create and changes nothing', async () => {
    const template = {
      $schema: 'https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#',
      contentVersion: '1.0.0.0',
      resources: ['id1', 'id2'].map((name) => ({
        type: 'Microsoft.ManagedIdentity/userAssignedIdentities',
        apiVersion: '2024-11-30',
        name,
        location: 'westeurope'
      }))
    }
    const result = await clients.resources.deployments.beginWhatIfAndWait('rg', 'asked', {
      properties: { mode: 'Incremental', template }
    })
    expect(result.changes?.map(({ changeType }) => changeType)).toEqual(['Deploy', 'Create'])
    expect((await listAll(clients.identities.userAssignedIdentities.listByResourceGroup('rg'))).length).toBe(1)
  })
})
