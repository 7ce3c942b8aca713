import { rm } from 'node:fs/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { createVault, getVault } from '../../../src/azure/key-vault.js'
import { patiently } from '../../../src/azure/patience.js'
import { createResourceGroup, getResourceGroup } from '../../../src/azure/resource-group.js'
import { registerProvider } from '../../../src/azure/resource-providers.js'
import { createRoleAssignment } from '../../../src/azure/roles.js'
import { type AzureSession, openAzure } from '../../../src/azure/session.js'
import { createKey, getDeletedKey, getKey, type VaultAccess } from '../../../src/azure/vault-key.js'
import { localEnvironment } from '../../../src/composition/local-cloud.js'
import type { RequestFault, RunningEmulator } from '../../../src/emulator/index.js'
import { startTestEmulator, temporaryDirectory } from '../emulator/support/emulator.js'

const location = 'westeurope'
const forbidden = (innererror?: object) => ({
  status: 403,
  body: { error: { code: 'Forbidden', message: 'no', ...(innererror === undefined ? {} : { innererror }) } }
})
const later = { 'retry-after': '1' }
const slow = { status: 429, headers: later, body: { error: { code: 'TooManyRequests', message: 'slow down' } } }

const requests: readonly RequestFault[] = [
  { method: 'GET', path: '/keys/late', times: 2, answer: forbidden({ code: 'ForbiddenByRbac' }) },
  { method: 'GET', path: '/keys/refused', times: 0, answer: forbidden() },
  { method: 'GET', path: '/keys/walled', times: 0, answer: forbidden({ code: 'ForbiddenByFirewall' }) },
  { method: 'GET', path: '**/resourcegroups/throttled', answer: slow },
  { method: 'GET', path: '**/resourcegroups/always-throttled', times: 0, answer: { ...slow, headers: {} } },
  {
    method: 'GET',
    path: '**/resourcegroups/flaky',
    times: 2,
    answer: { status: 503, body: { error: { code: 'ServiceUnavailable', message: 'not now' } } }
  },
  {
    method: 'PUT',
    path: '**/roleAssignments/*',
    times: 2,
    answer: { status: 400, body: { error: { code: 'PrincipalNotFound', message: 'not yet' } } }
  },
  {
    method: 'GET',
    path: '**/providers/Microsoft.Attestation',
    times: 2,
    answer: { status: 200, body: { namespace: 'Microsoft.Attestation', registrationState: 'Registering' } }
  }
]

let directory: string
let emulator: RunningEmulator
let azure: AzureSession
let vaultUri: string
const waits: string[] = []

beforeAll(async () => {
  directory = await temporaryDirectory()
  emulator = await startTestEmulator(directory, { faults: { requests } })
  const environment = await localEnvironment(emulator.environment)
  const { signal } = new AbortController()
  azure = openAzure(environment, emulator.environment.subscriptionId, signal, (reason) => void waits.push(reason))
  await registerProvider(azure, 'Microsoft.KeyVault')
  await createResourceGroup(azure, 'rg', location)
  const { tenantId } = emulator.environment
  const vault = { resourceGroup: 'rg', name: 'waits', location, tenantId, retentionDays: 7 }
  await createVault(azure, { ...vault, purgeProtection: false, recover: false })
  vaultUri = (await getVault(azure, 'rg', 'waits'))!.vaultUri
  const scope = (await getVault(azure, 'rg', 'waits'))!.id
  // Two answers of PrincipalNotFound come first.
  const { objectId } = await azure.caller()
  await createRoleAssignment(
    azure,
    { scope, principalId: objectId, principalType: 'ServicePrincipal', role: 'Key Vault Administrator' },
    '00000000-0000-0000-0000-0000000000aa'
  )
}, 60_000)
afterAll(async () => {
  await emulator.close()
  await rm(directory, { recursive: true, force: true })
})

const access = (session: AzureSession = azure): VaultAccess => ({
  azure: session,
  vaultUri,
  onWait: (reason) => void waits.push(reason)
})

describe('a new identity that the directory does not show yet', () => {
  it('is waited for, with the time that is left', () => {
    expect(waits).toContainEqual(
      expect.stringMatching(/^waiting for the directory to show the new identity, 1\d\d s left$/)
    )
  })
})

describe('waiting', () => {
  beforeEach(() => {
    waits.length = 0
  })

  it('for a role that has not reached the vault shows a countdown, and then goes on', async () => {
    await expect(getKey(access(), 'late')).resolves.toBeUndefined()
    expect(waits).toEqual(
      Array.from({ length: 2 }, () =>
        expect.stringMatching(/^waiting for the role assignment to reach the vault, (600|599) s left$/)
      )
    )
  })

  it.each([
    ['refused', 'keyvault.refused'],
    ['walled', 'keyvault.firewall']
  ])('is not done for the 403 "%s", which no time mends', async (name, code) => {
    await expect(getKey(access(), name)).rejects.toMatchObject({ code })
    expect(waits).toEqual([])
  })

  it('for a role ends when its time is over', async () => {
    const session = { ...azure, environment: { ...azure.environment, roleWaitSeconds: 0.2 } }
    const keys = () => Promise.resolve({ getKey: () => Promise.reject(rbac()) } as never)
    await expect(getKey(access({ ...session, keys }), 'never')).rejects.toMatchObject({ code: 'keyvault.forbidden' })
    expect(waits.length).toBeGreaterThan(0)
  })

  it('for the name of a new vault goes on when it resolves', async () => {
    let asked = 0
    const unresolved = () => Object.assign(new Error('getaddrinfo'), { code: 'ENOTFOUND' })
    const keys = () =>
      Promise.resolve({
        getKey: () => Promise.reject(++asked < 3 ? unresolved() : refusal(404, { code: 'KeyNotFound' }))
      } as never)
    await expect(getKey(access({ ...azure, keys }), 'k')).resolves.toBeUndefined()
    expect(asked).toBe(3)
    expect(waits[0]).toBe("waiting for the vault's DNS name, 120 s left")
  })

  it('is ended by an interruption at once', async () => {
    const controller = new AbortController()
    const session = { ...azure, signal: controller.signal }
    const keys = () => Promise.resolve({ getKey: () => Promise.reject(rbac()) } as never)
    const waiting = getKey(access({ ...session, keys }), 'k')
    setTimeout(() => controller.abort(), 30)
    await expect(waiting).rejects.toMatchObject({ name: 'AbortError' })
  })

  it('as long as Azure says is done when it throttles, and told', async () => {
    const started = performance.now()
    await expect(getResourceGroup(azure, 'throttled')).resolves.toBeUndefined()
    expect(performance.now() - started).toBeGreaterThan(950)
    expect(waits).toEqual(['throttled by Azure (status 429), trying again in 1 s'])
  })

  it('has an end when Azure throttles for ever', async () => {
    await expect(getResourceGroup(azure, 'always-throttled')).rejects.toMatchObject({
      code: 'azure.throttled',
      exitCode: 5
    })
  }, 30_000)

  it('is done when a service is not there for a moment', async () => {
    await expect(getResourceGroup(azure, 'flaky')).resolves.toBeUndefined()
    expect(waits).toEqual(['Azure is busy (status 503)', 'Azure is busy (status 503)'])
  }, 30_000)

  it('for the registration of a provider is told', async () => {
    await registerProvider(azure, 'Microsoft.Attestation')
    expect(waits[0]).toMatch(/^waiting for Azure to register Microsoft\.Attestation, (600|599) s left$/)
  })
})

describe('a soft-deleted key', () => {
  const wanted = { size: 2048, releasePolicy: releasePolicy() }

  async function deletedKey(name: string): Promise<string> {
    const { id } = await createKey(access(), name, wanted)
    const client = await azure.keys(vaultUri)
    await (await client.beginDeleteKey(name, { intervalInMs: 5 })).pollUntilDone()
    return id
  }

  it('is seen with the date until which it owns its name', async () => {
    await deletedKey('seen')
    const found = await getDeletedKey(access(), 'seen')
    expect(found).toMatchObject({ name: 'seen', purgeProtection: false })
    expect(found?.scheduledPurgeDate?.getTime()).toBeGreaterThan(Date.now())
    await expect(getDeletedKey(access(), 'none')).resolves.toBeUndefined()
  })

  it('is recovered as the same key', async () => {
    const before = await deletedKey('recovered')
    expect((await createKey(access(), 'recovered', wanted)).id).toBe(before)
  })

  it('is purged if that is what was chosen, and another key made', async () => {
    const before = await deletedKey('purged')
    const after = await createKey(access(), 'purged', { ...wanted, softDeleted: 'purge' })
    expect(after.id).not.toBe(before)
    expect(after.id.startsWith(before.slice(0, -32))).toBe(true)
  })
})

describe('patiently', () => {
  const pace = { environment: { pollIntervalMs: 1 }, signal: new AbortController().signal } as unknown as AzureSession

  it('gives each reason a time of its own', async () => {
    const failures = ['a', 'a', 'b', 'b']
    const call = async () => {
      const failure = failures.shift()
      if (failure !== undefined) throw new Error(failure)
      return 'done'
    }
    const told: string[] = []
    const result = await patiently(
      pace,
      (reason) => void told.push(reason.split(',')[0]!),
      call,
      (error) => ({ reason: (error as Error).message, seconds: 5 })
    )
    expect([result, [...new Set(told)]]).toEqual(['done', ['a', 'b']])
  })

  it('throws at once what no time mends', async () => {
    let calls = 0
    const call = () => {
      calls++
      return Promise.reject(new Error('final'))
    }
    await expect(
      patiently(
        pace,
        () => undefined,
        call,
        () => undefined
      )
    ).rejects.toThrow('final')
    expect(calls).toBe(1)
  })
})

function rbac(): Error {
  return refusal(403, { code: 'Forbidden', innerError: { code: 'ForbiddenByRbac' } })
}

function refusal(statusCode: number, error: object): Error {
  return Object.assign(new Error('refused'), { statusCode, details: { error } })
}

function releasePolicy(): string {
  return JSON.stringify({
    version: '1.0.0',
    anyOf: [
      {
        authority: 'https://sharedweu.weu.attest.azure.net',
        allOf: [{ claim: 'x-ms-attestation-type', equals: 'sevsnpvm' }]
      }
    ]
  })
}
