import { beforeAll, describe, expect, it } from '@jest/globals'
import { canonicalJson } from '../../../../src/base/json.js'
import type { Handler } from '../../../../src/emulator/http.js'
import { keyVaultHandler } from '../../../../src/emulator/services/keyvault/handler.js'
import { removeVaultKeys } from '../../../../src/emulator/services/keyvault/key-record.js'
import type { Vault } from '../../../../src/emulator/services/keyvault/vault.js'
import { memoryStore } from '../hardware/memory-store.js'
import { call, type Loose, refusal } from '../hardware/requests.js'
import { asOfficer, asReleaser, encodePolicy, exportableKey, policyFor, testAccess, v, vault } from './vault-harness.js'

const store = memoryStore()
const access = testAccess()
let now = new Date('2026-11-22T10:00:00Z')

function handlerOf(change: Partial<Vault> = {}, deletionDelayMs = 0): Handler {
  return keyVaultHandler({
    store,
    access,
    vault: { ...vault, ...change },
    fetchJson: () => Promise.reject(new Error('not reachable')),
    clock: () => now,
    authorityHost: 'https://login.test',
    deletionDelayMs
  })
}

const keyVault = handlerOf()
const post = (body: object): { headers: Record<string, string>; body: object } => ({ ...asOfficer, body })
const ec = { kty: 'EC-HSM' }

describe('the key vault asks who calls', () => {
  it.each([undefined, 'Bearer nobody'])(
    'and challenges with one WWW-Authenticate header: %s',
    async (authorization) => {
      const headers = authorization === undefined ? {} : { authorization }
      const error = await refusal(keyVault, `/keys/k1${v}`, { headers })
      expect([error.status, error.code]).toEqual([401, 'Unauthorized'])
      expect(error.message).toBe('AKV10000: Request is missing a Bearer or PoP token.')
      expect(error.details.headers?.['www-authenticate']).toBe(
        `Bearer authorization="https://login.test/${vault.tenantId}", resource="https://vault.azure.net"`
      )
    }
  )

  it('and refuses callers of another tenant', async () => {
    const error = await refusal(keyVault, `/keys/k1${v}`, { headers: { authorization: 'Bearer stranger' } })
    expect([error.status, error.message]).toEqual([401, expect.stringContaining('AKV10032')])
  })

  it('and says ForbiddenByRbac, the action and the resource to a caller without the role', async () => {
    const error = await refusal(keyVault, `/keys/k1/create${v}`, { ...asReleaser, body: ec })
    expect([error.status, error.code, error.details.innerCode]).toEqual([403, 'Forbidden', 'ForbiddenByRbac'])
    expect(error.message).toMatch(/Caller: appid=identity;oid=releaser;iss=https:\/\/sts.windows.net\/1111/)
    expect(error.message).toContain("Action: 'Microsoft.KeyVault/vaults/keys/create/action'")
    expect(error.message).toContain(`Resource: '${vault.resourceId.toLowerCase()}/keys/k1'`)
    expect(error.message).toContain('Assignment: (not found)')
  })

  it.each([
    ['GET', '/keys', 'read', ''],
    ['GET', '/keys/absent', 'read', '/keys/absent'],
    ['POST', '/keys/absent/create', 'create/action', '/keys/absent'],
    ['PATCH', '/keys/absent', 'update/action', '/keys/absent'],
    ['DELETE', '/keys/absent', 'delete', '/keys/absent'],
    ['POST', '/keys/absent/release', 'release/action', '/keys/absent'],
    ['GET', '/deletedkeys/absent', 'read', '/keys/absent'],
    ['POST', '/deletedkeys/absent/recover', 'recover/action', '/keys/absent'],
    ['DELETE', '/deletedkeys/absent', 'purge/action', '/keys/absent']
  ])('with the data action of the operation: %s %s', async (method, path, action, scope) => {
    access.asked.length = 0
    await call(keyVault, path + v, { method, ...asOfficer, body: method === 'GET' ? undefined : {} }).catch(
      () => undefined
    )
    expect(access.asked).toEqual([`Microsoft.KeyVault/vaults/keys/${action} ${vault.resourceId}${scope}`])
  })

  it('and for an api-version', async () => {
    expect((await refusal(keyVault, '/keys/k1', asOfficer)).code).toBe('BadParameter')
    for (const version of ['9', '7.7', '7.6-preview', '2025-07-02', '2099-01-01']) {
      const error = await refusal(keyVault, `/keys/k1?api-version=${version}`, asOfficer)
      expect([error.code, error.message]).toEqual(['BadParameter', expect.stringContaining('2025-07-01')])
    }
  })

  it('and names an operation that it lacks', async () => {
    const error = await refusal(keyVault, `/keys/k1${v}`, { method: 'PUT', ...asOfficer, body: {} })
    expect([error.status, error.message]).toEqual([501, 'not implemented: PUT /keys/k1'])
  })
})

describe('creating a key', () => {
  it('makes an RSA-HSM key in the form of a real vault, exponent with leading zeros', async () => {
    const { status, body } = await call(keyVault, `/keys/rsa/create${v}`, post(exportableKey()))
    expect(status).toBe(200)
    expect(body.key).toEqual({
      kid: expect.stringMatching(/^https:\/\/127\.0\.0\.1:5443\/keys\/rsa\/[0-9a-f]{32}$/),
      kty: 'RSA-HSM',
      key_ops: ['wrapKey', 'unwrapKey'],
      n: expect.any(String),
      e: 'AAEAAQ'
    })
    expect(Buffer.from(body.key.n, 'base64url')).toHaveLength(256)
    expect(body.attributes).toEqual({
      enabled: true,
      created: 1795341600,
      updated: 1795341600,
      exportable: true,
      recoveryLevel: 'Recoverable+Purgeable',
      recoverableDays: 90
    })
  })

  it('gives the policy back re-serialised, with equal meaning', async () => {
    const { body } = await call(keyVault, `/keys/policy/create${v}`, post(exportableKey()))
    const text = Buffer.from(body.release_policy.data, 'base64url').toString()
    expect(text).toBe(canonicalJson(policyFor()))
    expect(body.release_policy).toMatchObject({ contentType: 'application/json; charset=utf-8', immutable: false })
  })

  it("takes the standard base64 of Microsoft's scripts for the policy", async () => {
    const data = Buffer.from(JSON.stringify(policyFor())).toString('base64')
    const answer = await call(keyVault, `/keys/std/create${v}`, post(exportableKey({}, { release_policy: { data } })))
    expect(answer.status).toBe(200)
  })

  it.each([2048, 3072])('honours key_size %i', async (size) => {
    const { body } = await call(keyVault, `/keys/size/create${v}`, post({ kty: 'RSA', key_size: size }))
    expect(Buffer.from(body.key.n, 'base64url')).toHaveLength(size / 8)
    expect(body.key.e).toBe('AQAB')
  })

  it.each(['P-256', 'P-384', 'P-521', 'P-256K'])('makes EC keys on %s', async (crv) => {
    const { body } = await call(keyVault, `/keys/curve/create${v}`, post({ kty: 'EC', crv }))
    expect(body.key).toMatchObject({ kty: 'EC', crv, key_ops: ['sign', 'verify'] })
  })

  it('makes a new version each time, and the last one is the latest', async () => {
    const first = await call(keyVault, `/keys/twice/create${v}`, post(ec))
    const second = await call(keyVault, `/keys/TWICE/create${v}`, post(ec))
    const version = first.body.key.kid.split('/').at(-1)
    expect(second.body.key.kid).toMatch(/\/keys\/twice\//)
    expect((await call(keyVault, `/keys/twice/${v}`, asOfficer)).body).toEqual(second.body)
    expect((await call(keyVault, `/keys/twice/${version}${v}`, asOfficer)).body).toEqual(first.body)
    const { body } = await call(keyVault, `/keys/twice/versions${v}`, asOfficer)
    expect(body.value.map((item: Loose) => item.kid)).toEqual([first.body.key.kid, second.body.key.kid])
  })

  it('keeps no private key in any answer', async () => {
    const { body } = await call(keyVault, `/keys/rsa${v}`, asOfficer)
    expect(Object.keys(body.key).sort()).toEqual(['e', 'key_ops', 'kid', 'kty', 'n'])
    expect(JSON.stringify(body)).not.toContain('privateKey')
  })

  it.each([
    ['exportable without policy', '', { kty: 'RSA-HSM', attributes: { exportable: true } }, 'AKV.SKR.1004'],
    ['a policy that is not JSON', '', exportableKey({}, { release_policy: { data: 'aGVsbG8' } }), 'AKV.SKR.1004'],
    ['a policy outside the grammar', '', exportableKey({ version: '1.0.0', anyOf: [] }), 'AKV.SKR.1004'],
    ['policy on a key that is not exportable', '', exportableKey(policyFor(), { attributes: {} }), 'AKV.SKR.1005'],
    ['an exportable software key', '', exportableKey(policyFor(), { kty: 'RSA' }), 'AKV.SKR.1006'],
    ['an unknown size', '', { kty: 'RSA', key_size: 1024 }, 'key_size'],
    ['an unknown curve', '', { kty: 'EC', crv: 'P-1' }, 'crv'],
    ['a symmetric key', '', { kty: 'oct-HSM' }, 'kty'],
    ['an unknown operation', '', { ...ec, key_ops: ['fly'] }, 'key_ops'],
    ['attributes of the wrong type', '', { ...ec, attributes: { enabled: 'yes' } }, 'enabled']
  ])('refuses %s', async (_case, _none, body, message) => {
    const error = await refusal(keyVault, `/keys/bad/create${v}`, post(body))
    expect([error.status, error.code]).toEqual([400, 'BadParameter'])
    expect(error.message).toContain(message)
    expect((await refusal(keyVault, `/keys/bad${v}`, asOfficer)).code).toBe('KeyNotFound')
  })

  it('refuses exportable keys on a standard vault and before api-version 7.3', async () => {
    const standard = await refusal(handlerOf({ sku: 'standard' }), `/keys/k/create${v}`, post(exportableKey()))
    const old = await refusal(keyVault, '/keys/k/create?api-version=7.2', post(exportableKey()))
    for (const error of [standard, old]) {
      expect(error.message).toBe(
        "AKV.SKR.1001: The exportable attribute is only supported with premium vaults and API version >= '7.3-preview'."
      )
    }
  })

  it('refuses HSM keys on a standard vault without an inner code, so that nobody retries it as RBAC', async () => {
    const error = await refusal(handlerOf({ sku: 'standard' }), `/keys/k/create${v}`, post(ec))
    expect([error.status, error.code, error.details.innerCode]).toEqual([403, 'Forbidden', undefined])
    expect(error.message).toBe('Hardware key operation not allowed on standard vault')
  })
})

describe('changing a key', () => {
  const patch = (body: object): object => ({ method: 'PATCH', ...asOfficer, body })
  const other = policyFor({ 'x-ms-sevsnpvm-hostdata': 'ab'.repeat(32) })

  it('replaces a policy that is not immutable, without a new version', async () => {
    const made = await call(keyVault, `/keys/p1/create${v}`, post(exportableKey()))
    const { body } = await call(keyVault, `/keys/p1/${v}`, patch({ release_policy: { data: encodePolicy(other) } }))
    expect(body.key.kid).toBe(made.body.key.kid)
    expect(JSON.parse(Buffer.from(body.release_policy.data, 'base64url').toString())).toEqual(other)
  })

  it('refuses a policy on the path of a version, as a real vault does', async () => {
    const made = await call(keyVault, `/keys/p2/create${v}`, post(exportableKey()))
    const version = made.body.key.kid.split('/').at(-1)
    const body = { release_policy: { data: encodePolicy(other) } }
    const error = await refusal(keyVault, `/keys/p2/${version}${v}`, patch(body))
    expect(error.message).toMatch(/^AKV\.SKR\.1016/)
  })

  it('never changes an immutable policy, and cannot thaw it', async () => {
    const data = encodePolicy(policyFor())
    await call(
      keyVault,
      `/keys/p3/create${v}`,
      post(exportableKey(undefined, { release_policy: { data, immutable: true } }))
    )
    for (const change of [
      { data: encodePolicy(other), immutable: true },
      { data, immutable: false }
    ]) {
      const error = await refusal(keyVault, `/keys/p3${v}`, patch({ release_policy: change }))
      expect(error.message).toBe('AKV.SKR.1020: Immutable Key Release Policy cannot be modified.')
    }
    const same = await call(keyVault, `/keys/p3${v}`, patch({ release_policy: { data, immutable: true } }))
    expect(same.body.release_policy.immutable).toBe(true)
  })

  it('changes enabled, tags and operations and keeps the rest', async () => {
    const made = await call(keyVault, `/keys/p4/create${v}`, post(exportableKey()))
    now = new Date(now.getTime() + 5000)
    const version = made.body.key.kid.split('/').at(-1)
    const { body } = await call(
      keyVault,
      `/keys/p4/${version}${v}`,
      patch({ attributes: { enabled: false }, tags: { a: 'b' }, key_ops: ['wrapKey'] })
    )
    expect(body).toEqual({
      ...made.body,
      key: { ...made.body.key, key_ops: ['wrapKey'] },
      attributes: { ...made.body.attributes, enabled: false, updated: made.body.attributes.updated + 5 },
      tags: { a: 'b' }
    })
  })

  it('refuses to change exportable, or to give a plain key a policy', async () => {
    await call(keyVault, `/keys/p5/create${v}`, post(ec))
    const exportable = await refusal(keyVault, `/keys/p5${v}`, patch({ attributes: { exportable: true } }))
    expect(exportable.message).toMatch(/^AKV\.SKR\.1003/)
    const policy = await refusal(keyVault, `/keys/p5${v}`, patch({ release_policy: { data: encodePolicy(other) } }))
    expect(policy.message).toMatch(/^AKV\.SKR\.1005/)
  })
})

describe('deleting a key', () => {
  const erase = { method: 'DELETE', ...asOfficer }

  it('blocks its name until it is recovered, and recovers it with all versions', async () => {
    const made = await call(keyVault, `/keys/d1/create${v}`, post(exportableKey()))
    const { body } = await call(keyVault, `/keys/d1${v}`, erase)
    expect(body).toMatchObject({ recoveryId: 'https://127.0.0.1:5443/deletedkeys/d1', key: made.body.key })
    expect(body.scheduledPurgeDate - body.deletedDate).toBe(90 * 86_400)
    expect((await refusal(keyVault, `/keys/d1${v}`, asOfficer)).code).toBe('KeyNotFound')
    const conflict = await refusal(keyVault, `/keys/d1/create${v}`, post(ec))
    expect([conflict.status, conflict.code, conflict.details.innerCode]).toEqual([
      409,
      'Conflict',
      'ObjectIsDeletedButRecoverable'
    ])
    expect((await call(keyVault, `/deletedkeys/d1${v}`, asOfficer)).body).toEqual(body)
    const recovered = await call(keyVault, `/deletedkeys/d1/recover${v}`, { method: 'POST', ...asOfficer })
    expect(recovered.body).toEqual(made.body)
    expect((await call(keyVault, `/keys/d1${v}`, asOfficer)).body).toEqual(made.body)
    expect((await refusal(keyVault, `/deletedkeys/d1${v}`, asOfficer)).status).toBe(404)
  })

  it('takes its time when it is told to, and says so', async () => {
    const slow = handlerOf({}, 3000)
    await call(slow, `/keys/d2/create${v}`, post(ec))
    await call(slow, `/keys/d2${v}`, erase)
    expect((await refusal(slow, `/deletedkeys/d2${v}`, asOfficer)).status).toBe(404)
    expect((await refusal(slow, `/keys/d2/create${v}`, post(ec))).details.innerCode).toBe('ObjectIsBeingDeleted')
    now = new Date(now.getTime() + 3000)
    expect((await call(slow, `/deletedkeys/d2${v}`, asOfficer)).status).toBe(200)
  })

  it('is for good with purge, which purge protection forbids', async () => {
    await call(keyVault, `/keys/d3/create${v}`, post(ec))
    await call(keyVault, `/keys/d3${v}`, erase)
    const error = await refusal(handlerOf({ purgeProtection: true }), `/deletedkeys/d3${v}`, erase)
    expect([error.status, error.code]).toEqual([403, 'Forbidden'])
    expect((await call(keyVault, `/deletedkeys/d3${v}`, erase)).status).toBe(204)
    expect((await call(keyVault, `/keys/d3/create${v}`, post(ec))).status).toBe(200)
  })

  it.each([
    [90, false, 'Recoverable+Purgeable'],
    [90, true, 'Recoverable'],
    [7, false, 'CustomizedRecoverable+Purgeable'],
    [7, true, 'CustomizedRecoverable']
  ])('has recovery level for %i days, purge protection %s: %s', async (retentionDays, purgeProtection, level) => {
    const { body } = await call(handlerOf({ retentionDays, purgeProtection }), `/keys/rl/create${v}`, post(ec))
    expect(body.attributes).toMatchObject({ recoveryLevel: level, recoverableDays: retentionDays })
  })
})

describe('listing keys', () => {
  it('shows live keys and deleted keys apart, and no keys of another vault', async () => {
    const list = handlerOf({ name: 'kv-list' })
    for (const name of ['a', 'b', 'c']) await call(list, `/keys/${name}/create${v}`, post(ec))
    await call(list, `/keys/b${v}`, { method: 'DELETE', ...asOfficer })
    const names = async (path: string): Promise<string[]> =>
      (await call(list, path + v, asOfficer)).body.value.map((item: Loose) => item.kid.split('/').at(-1))
    expect(await names('/keys')).toEqual(['a', 'c'])
    expect(await names('/deletedkeys')).toEqual(['b'])
    await removeVaultKeys(store, 'KV-LIST')
    expect([await names('/keys'), await names('/deletedkeys')]).toEqual([[], []])
    expect((await call(keyVault, `/keys/rsa${v}`, asOfficer)).status).toBe(200)
  })
})

describe('the store', () => {
  beforeAll(() => call(keyVault, `/keys/kept/create${v}`, post(ec)))

  it('keeps keys for a vault that is opened again', async () => {
    const before = await call(keyVault, `/keys/kept${v}`, asOfficer)
    expect((await call(handlerOf(), `/keys/KEPT${v}`, asOfficer)).body).toEqual(before.body)
  })
})
