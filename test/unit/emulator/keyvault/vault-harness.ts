import { createHash, generateKeyPairSync } from 'node:crypto'
import type { Access, Principal } from '../../../../src/emulator/access.js'
import {
  createHardware,
  type ReportRequest,
  type SimulatedHardware
} from '../../../../src/emulator/hardware/simulated-hardware.js'
import type { Handler } from '../../../../src/emulator/http.js'
import { attestationHandler } from '../../../../src/emulator/services/attestation/handler.js'
import { keyVaultHandler, type KeyVaultOptions } from '../../../../src/emulator/services/keyvault/handler.js'
import type { Vault } from '../../../../src/emulator/services/keyvault/vault.js'
import type { Store } from '../../../../src/emulator/store.js'
import { attestBody, evidenceOf, hostData } from '../attestation/evidence.js'
import { memoryStore } from '../hardware/memory-store.js'
import { call } from '../hardware/requests.js'

const tenantId = '11111111-1111-1111-1111-111111111111'
const officer: Principal = { objectId: 'officer', tenantId, clientId: 'cli' }
const releaser: Principal = { objectId: 'releaser', tenantId, clientId: 'identity' }
export const authority = 'https://127.0.0.1:4443'

export const vault: Vault = {
  name: 'kv1',
  resourceId: '/subscriptions/s/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/kv1',
  tenantId,
  sku: 'premium',
  retentionDays: 90,
  purgeProtection: false,
  vaultUri: 'https://127.0.0.1:5443/'
}

/** The bearer token is the object id; the officer may do all but release, the releaser nothing else. */
export function testAccess(): Access & { asked: string[] } {
  const asked: string[] = []
  return {
    asked,
    authenticate: async (authorization, audience) => {
      if (audience !== 'https://vault.azure.net') return undefined
      const stranger: Principal = { objectId: 'stranger', tenantId: 'other', clientId: 'x' }
      return [officer, releaser, stranger].find(({ objectId }) => authorization === `Bearer ${objectId}`)
    },
    isAllowed: (principal, need, scope) => {
      const action = 'dataAction' in need ? need.dataAction : ''
      asked.push(`${action} ${scope}`)
      if (!scope.startsWith(vault.resourceId)) return false
      const isRelease = action === 'Microsoft.KeyVault/vaults/keys/release/action'
      return principal.objectId === 'releaser' ? isRelease : !isRelease
    }
  }
}

export interface Environment {
  readonly store: Store
  readonly hardware: SimulatedHardware
  readonly attestation: Handler
  readonly keyVault: Handler
  readonly access: ReturnType<typeof testAccess>
  /** The clock of vault and provider. */
  now: Date
}

export async function startEnvironment(
  change: Partial<KeyVaultOptions> & { vault?: Vault } = {}
): Promise<Environment> {
  const store = memoryStore()
  const hardware = await createHardware({ store })
  const access = testAccess()
  const time = { now: new Date() }
  const clock = (): Date => time.now
  const attestation = await attestationHandler({ store, name: 'att1', issuer: authority, roots: hardware.trust, clock })
  const fetchJson = async (url: string): Promise<unknown> => {
    if (!url.startsWith(`${authority}/`)) throw new TypeError(`nothing at ${url}`)
    return (await call(attestation, url.slice(authority.length))).body
  }
  const keyVault = keyVaultHandler({
    store,
    access,
    vault,
    fetchJson,
    clock,
    authorityHost: 'https://login.test',
    ...change
  })
  return Object.assign(time, { store, hardware, attestation, keyVault, access })
}

export const asOfficer = { headers: { authorization: 'Bearer officer' } }
export const asReleaser = { headers: { authorization: 'Bearer releaser' } }

export const v = '?api-version=7.4'

export function policyFor(claims: Record<string, string> = {}, at = authority): object {
  const wanted = {
    'x-ms-sevsnpvm-hostdata': hostData.toString('hex'),
    'x-ms-compliance-status': 'azure-compliant-uvm',
    'x-ms-sevsnpvm-is-debuggable': 'false',
    'x-ms-sevsnpvm-vmpl': '0',
    ...claims
  }
  const allOf = Object.entries(wanted).map(([claim, equals]) => ({ claim, equals }))
  return { version: '1.0.0', anyOf: [{ authority: at, allOf }] }
}

export function encodePolicy(policy: object): string {
  return Buffer.from(JSON.stringify(policy, null, 2)).toString('base64url')
}

export function exportableKey(policy: object = policyFor(), change: object = {}): object {
  return {
    kty: 'RSA-HSM',
    key_size: 2048,
    key_ops: ['wrapKey', 'unwrapKey'],
    attributes: { exportable: true },
    release_policy: { data: encodePolicy(policy) },
    ...change
  }
}

export const wrapping = generateKeyPairSync('rsa', { modulusLength: 2048 })

export function runtimeWith(key: object = {}): string {
  const { n, e } = wrapping.publicKey.export({ format: 'jwk' })
  return JSON.stringify({ keys: [{ e, key_ops: ['encrypt'], kid: 'wrapping', kty: 'RSA', n, ...key }] })
}

/** A token of the environment's provider for a group whose runtime data names the wrapping key. */
export async function tokenFor(
  environment: Environment,
  options: Partial<ReportRequest> = {},
  runtime = runtimeWith()
): Promise<string> {
  const reportData = Buffer.concat([createHash('sha256').update(runtime).digest(), Buffer.alloc(32)])
  const evidence = {
    ...evidenceOf(environment.hardware, { reportData, ...options }),
    runtimeData: Buffer.from(runtime)
  }
  const body = attestBody(evidence)
  return (await call(environment.attestation, '/attest/SevSnpVm?api-version=2020-10-01', { body })).body.token
}
