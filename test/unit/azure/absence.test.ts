import { rm } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { getAttestationProvider } from '../../../src/azure/attestation.js'
import { waitForIdleDeployment } from '../../../src/azure/deployment.js'
import { getIdentity } from '../../../src/azure/identity.js'
import { createVault, getDeletedVault, getVault } from '../../../src/azure/key-vault.js'
import { createResourceGroup, getResourceGroup } from '../../../src/azure/resource-group.js'
import { registerProvider } from '../../../src/azure/resource-providers.js'
import { type AzureSession, openAzure } from '../../../src/azure/session.js'
import { getSigningKey } from '../../../src/azure/signing-key.js'
import { getDeletedKey, getKey } from '../../../src/azure/vault-key.js'
import { localEnvironment } from '../../../src/composition/local-cloud.js'
import type { RunningEmulator } from '../../../src/emulator/index.js'
import { startTestEmulator, temporaryDirectory } from '../emulator/support/emulator.js'

/** What a proxy says that does not know the host: to be taken for an error and never for an absent resource. */
const answer = { status: 404, body: 'no such page' }
const name = 'proxied'

const looks: Readonly<Record<string, (azure: AzureSession, vaultUri: string) => Promise<unknown>>> = {
  key: (azure, vaultUri) => getKey({ azure, vaultUri, onWait: () => undefined }, name),
  'deleted key': (azure, vaultUri) => getDeletedKey({ azure, vaultUri, onWait: () => undefined }, name),
  'signing key': (azure, vaultUri) => getSigningKey({ azure, vaultUri, onWait: () => undefined }, name),
  vault: (azure) => getVault(azure, 'rg', name),
  'deleted vault': (azure) => getDeletedVault(azure, name, 'eastus'),
  identity: (azure) => getIdentity(azure, 'rg', name),
  'attestation provider': (azure) => getAttestationProvider(azure, 'rg', name),
  'resource group': (azure) => getResourceGroup(azure, name),
  deployment: (azure) => waitForIdleDeployment(azure, 'rg', name)
}

describe('a 404 of something in between', () => {
  let directory: string
  let emulator: RunningEmulator
  let azure: AzureSession
  let vaultUri: string
  beforeAll(async () => {
    directory = await temporaryDirectory()
    emulator = await startTestEmulator(directory, {
      faults: { requests: [{ method: 'GET', path: `/**/${name}**`, times: 0, answer }] }
    })
    const environment = await localEnvironment(emulator.environment)
    azure = openAzure(environment, emulator.environment.subscriptionId, new AbortController().signal)
    await registerProvider(azure, 'Microsoft.KeyVault')
    await createResourceGroup(azure, 'rg', 'eastus')
    const vault = { resourceGroup: 'rg', name: 'absence', location: 'eastus', retentionDays: 90, recover: false }
    await createVault(azure, { ...vault, tenantId: emulator.environment.tenantId, purgeProtection: false })
    vaultUri = (await getVault(azure, 'rg', 'absence'))!.vaultUri
  })
  afterAll(async () => {
    await emulator.close()
    await rm(directory, { recursive: true, force: true })
  })

  it.each(Object.keys(looks))('is no word about the %s', async (kind) => {
    await expect(looks[kind]!(azure, vaultUri)).rejects.toMatchObject({ code: 'azure.foreign-answer', exitCode: 5 })
  })
})
