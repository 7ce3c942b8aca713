import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { createPrivateKey, randomUUID } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { build } from 'esbuild'
import { type RunningEmulator, startEmulator } from '../../../src/emulator/index.js'
import type { Sha256Hex } from '../../../src/base/digest.js'
import { createReleasePolicy } from '../../../src/policy/index.js'
import { groupTemplate, policyOf, sdkGroup, type TestGroup, withPolicy } from './support/containers.js'
import {
  type Clients,
  clientsFor,
  eventually,
  failureOf,
  freePort,
  prepare,
  quickPoll,
  quickTiming,
  temporaryDirectory
} from './support/emulator.js'

const releaseUser = '08bbd89e-9f13-488c-ac41-acfcb10c90ab'
const cryptoOfficer = '14b46e9e-c2b7-41b4-b07b-48a6ebf60603'

describe('a key release through the whole emulator', () => {
  let directory: string
  let emulator: RunningEmulator
  let clients: Clients
  let attestUri: string
  let vaultUri: string
  let vaultId: string
  let identityId: string
  let principalId: string
  let now = new Date()

  beforeAll(async () => {
    directory = await temporaryDirectory()
    const sidecarBundle = join(directory, 'sidecar.cjs')
    await build({
      entryPoints: [join(import.meta.dirname, '../../../src/emulator/sidecar/main.ts')],
      outfile: sidecarBundle,
      bundle: true,
      platform: 'node',
      target: 'node20',
      format: 'cjs',
      logLevel: 'error'
    })
    emulator = await startEmulator({
      directory,
      port: 0,
      sidecarBundle,
      timing: quickTiming,
      rbacDelaySeconds: 60,
      clock: () => now
    })
    clients = await clientsFor(emulator.environment)
    await prepare(clients)
    const { tenantId } = emulator.environment
    attestUri =
      (await clients.attestation.attestationProviders.create('rg', 'maa', { location: 'westeurope', properties: {} }))
        .attestUri ?? ''
    const vault = await clients.vaults.vaults.createOrUpdate(
      'rg',
      'kv1',
      {
        location: 'westeurope',
        properties: {
          tenantId,
          sku: { family: 'A', name: 'premium' },
          accessPolicies: [],
          enableRbacAuthorization: true
        }
      },
      quickPoll
    )
    vaultUri = vault.properties.vaultUri ?? ''
    vaultId = vault.id ?? ''
    const identity = await clients.identities.userAssignedIdentities.createOrUpdate('rg', 'id1', {
      location: 'westeurope'
    })
    identityId = identity.id ?? ''
    principalId = identity.principalId ?? ''
  })
  afterAll(async () => {
    await emulator.close()
    await rm(directory, { recursive: true, force: true })
  })

  const assign = (role: string, principal: string) =>
    clients.authorization.roleAssignments.create(vaultId, randomUUID(), {
      roleDefinitionId: `/subscriptions/${emulator.environment.subscriptionId}/providers/Microsoft.Authorization/roleDefinitions/${role}`,
      principalId: principal,
      principalType: 'ServicePrincipal'
    })
  const sidecarGroup = (port: number, platformIdentityRules = true): TestGroup => ({
    containers: [
      {
        name: 'skr',
        image: emulator.environment.sidecarImage,
        command: ['/skr.sh'],
        environment: { Port: String(port) },
        port
      }
    ],
    identityIds: [identityId],
    policy: { platformIdentityRules }
  })
  const run = async (name: string, group: TestGroup) => {
    const policy = await policyOf(emulator.environment.imageLayout, group)
    const body = sdkGroup(withPolicy(groupTemplate(group), policy.base64))
    await clients.containers.containerGroups.beginCreateOrUpdateAndWait('rg', name, body, quickPoll)
    return policy.hostData
  }
  const createKey = async (name: string, hostData: Sha256Hex) =>
    clients.keys(vaultUri).createKey(name, 'RSA-HSM', {
      keySize: 2048,
      exportable: true,
      keyOps: ['wrapKey', 'unwrapKey', 'encrypt', 'decrypt'],
      releasePolicy: {
        encodedPolicy: Buffer.from(JSON.stringify(createReleasePolicy({ authority: attestUri, hostData: [hostData] })))
      }
    })
  const release = async (port: number, kid: string) => {
    const body = JSON.stringify({ maa_endpoint: new URL(attestUri).host, akv_endpoint: new URL(vaultUri).host, kid })
    return eventually(async () => {
      try {
        const answer = await fetch(`http://127.0.0.1:${port}/key/release`, { method: 'POST', body })
        return { status: answer.status, text: await answer.text() }
      } catch {
        return false
      }
    })
  }

  it('counts new role assignments only after the propagation delay', async () => {
    await assign(cryptoOfficer, emulator.environment.operatorObjectId)
    await assign(releaseUser, principalId)
    expect(await failureOf(clients.keys(vaultUri).getKey('none'))).toMatchObject({ statusCode: 403 })
    now = new Date(now.getTime() + 61_000)
    expect(await failureOf(clients.keys(vaultUri).getKey('none'))).toMatchObject({ statusCode: 404 })
  })

  it('gives the key to the measured policy, and to no other', async () => {
    const port = await freePort()
    const hostData = await run('measured', sidecarGroup(port))
    const { key } = await createKey('default', hostData)
    const released = await release(port, 'default')
    expect(released).toMatchObject({ status: 200 })
    const jwk = JSON.parse((JSON.parse(released.text) as { key: string }).key)
    expect(createPrivateKey({ key: jwk, format: 'jwk' }).asymmetricKeyDetails?.modulusLength).toBe(2048)
    expect(Buffer.from(jwk.n, 'base64url').equals(Buffer.from(key?.n ?? []))).toBe(true)
    await clients.containers.containerGroups.beginDeleteAndWait('rg', 'measured', quickPoll)

    const other = await run('other', {
      ...sidecarGroup(port),
      policy: { platformIdentityRules: true, frame: '0.10.0' }
    })
    expect(other).not.toBe(hostData)
    const refused = await release(port, 'default')
    expect(refused.status).toBe(403)
    expect(refused.text).toContain('does not meet key release policy requirements')
    await clients.containers.containerGroups.beginDeleteAndWait('rg', 'other', quickPoll)
  })

  it('has no token for a container whose policy drops the identity endpoints', async () => {
    const port = await freePort()
    const hostData = await run('dropped', sidecarGroup(port, false))
    await createKey('unreachable', hostData)
    const { containers } = await clients.containers.containerGroups.get('rg', 'dropped')
    const dropped = containers[0]?.instanceView?.events?.find(({ name }) => name === 'EnvironmentVariablesDropped')
    expect(dropped?.message).toContain('IMDS_ENDPOINT')
    await clients.containers.containerGroups.beginDeleteAndWait('rg', 'dropped', quickPoll)
  })
})
