import { randomUUID } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { afterAll, beforeAll } from '@jest/globals'
import type { RunningEmulator } from '../../src/emulator/index.js'
import { attestBody, evidenceOf } from '../unit/emulator/attestation/evidence.js'
import { TestGroup } from '../unit/emulator/sidecar/group.js'
import { type InProcessSidecar, startInProcess } from '../unit/emulator/sidecar/in-process.js'
import {
  type Clients,
  clientsFor,
  prepare,
  quickPoll,
  startTestEmulator,
  temporaryDirectory
} from '../unit/emulator/support/emulator.js'
import { runArmSuite } from './arm.js'
import { runAttestationSuite } from './attestation.js'
import { runKeyVaultSuite } from './key-vault.js'
import { runSidecarSuite } from './sidecar.js'

const location = 'westeurope'
const administrator = '00482a5a-887f-4fb3-b363-3b7fe8e74483'

let directory: string
let emulator: RunningEmulator
let clients: Clients
let group: TestGroup
let sidecar: InProcessSidecar

beforeAll(async () => {
  directory = await temporaryDirectory()
  emulator = await startTestEmulator(directory)
  clients = await clientsFor(emulator.environment)
  await prepare(clients)
  group = await TestGroup.start()
  sidecar = await startInProcess(group.environment(await group.writeContext()))
}, 60_000)
afterAll(async () => {
  await sidecar.close()
  await group.close()
  await emulator.close()
  await rm(directory, { recursive: true, force: true })
})

const common = () => ({ credential: clients.credential, ca: clients.ca, prefix: 'conf', pollMs: 5 })

runArmSuite('emulator', async () => {
  const { armEndpoint, subscriptionId, tenantId } = emulator.environment
  return { ...common(), endpoint: armEndpoint, subscriptionId, tenantId, location }
})

runKeyVaultSuite('emulator', async () => {
  const { tenantId, subscriptionId, operatorObjectId } = emulator.environment
  const vault = await clients.vaults.vaults.createOrUpdate(
    'rg',
    'conformance',
    { location, properties: { tenantId, sku: { family: 'A', name: 'premium' }, accessPolicies: [] } },
    quickPoll
  )
  await clients.authorization.roleAssignments.create(vault.id!, randomUUID(), {
    roleDefinitionId: `/subscriptions/${subscriptionId}/providers/Microsoft.Authorization/roleDefinitions/${administrator}`,
    principalId: operatorObjectId,
    principalType: 'ServicePrincipal'
  })
  return { ...common(), vaultUri: vault.properties.vaultUri!, disableChallengeResourceVerification: true }
})

runAttestationSuite(
  'emulator',
  async () => ({
    attestUri: `https://${group.attestation}`,
    ca: group.tls.ca,
    attestBody: async () => attestBody(evidenceOf(group.hardware))
  }),
  { hasEvidence: true }
)

runSidecarSuite('emulator', async () => ({
  url: sidecar.origin,
  maaHost: group.attestation,
  vaultHost: group.keyVault
}))
