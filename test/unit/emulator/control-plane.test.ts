import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { rm } from 'node:fs/promises'
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

describe('the control plane, driven by the real SDK clients', () => {
  let directory: string
  let emulator: RunningEmulator
  let clients: Clients

  beforeAll(async () => {
    directory = await temporaryDirectory()
    emulator = await startTestEmulator(directory)
    clients = await clientsFor(emulator.environment)
    await prepare(clients)
  })
  afterAll(async () => {
    await emulator.close()
    await rm(directory, { recursive: true, force: true })
  })

  it('starts', async () => {
    const group = await clients.resources.resourceGroups.get('rg')
    expect(group.location).toBe('westeurope')
    const vault = await clients.vaults.vaults.createOrUpdate(
      'rg',
      'kv1',
      {
        location: 'westeurope',
        properties: {
          tenantId: emulator.environment.tenantId,
          sku: { family: 'A', name: 'premium' },
          accessPolicies: [],
          enableRbacAuthorization: true,
          enablePurgeProtection: true,
          softDeleteRetentionInDays: 90
        }
      },
      quickPoll
    )
    expect(vault.properties.provisioningState).toBe('Succeeded')
    void failureOf
    void listAll
  })
})
