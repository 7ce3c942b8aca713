import { describe, expect, it } from '@jest/globals'
import { sha256Hex } from '../../../src/base/digest.js'
import type { RunResults } from '../../../src/steps/graph.js'
import { closingOf, pendingUpgrade } from '../../../src/steps/settle-upgrade.js'
import type { Generation, UpgradeState } from '../../../src/steps/state.js'
import { releasePolicyFor } from '../../../src/steps/upgrade-window.js'
import { secretsRun } from './secrets-harness.js'

const policyText = 'old policy'
const [old, wanted] = [sha256Hex(policyText), sha256Hex('new')]
const authority = 'https://maa.example'
const own = releasePolicyFor({ hostData: old, authority })!
const theirs = releasePolicyFor({ hostData: wanted, authority })!
const both = JSON.stringify({
  version: '1.0.0',
  anyOf: [own, theirs].flatMap((text) => (JSON.parse(text) as { anyOf: object[] }).anyOf)
})
/** As an earlier version of this program wrote it. */
const weaker = own.replace(/,\{"claim":"x-ms-sevsnpvm-vmpl","equals":"0"\}/, '')

const active = { base: 'g', group: 'g', hostData: old, authority, deployedAt: 'then' } as unknown as Generation
const upgrade: UpgradeState = {
  strategy: 'blue-green',
  direction: 'upgrade',
  from: { group: 'g', hostData: old },
  to: { group: 'g-new', hostData: wanted },
  phase: 'verify',
  openedAt: 'now'
}

interface Situation {
  readonly releasePolicy?: string
  readonly release?: UpgradeState['release']
  readonly active?: Generation
  readonly group?: object
}

function close({ releasePolicy, release, ...given }: Situation) {
  const { group } = given
  const base = secretsRun({
    config: { key: { name: 'k' }, keyVault: { name: 'v' } },
    state: given.active === undefined ? {} : { active: given.active },
    ...(group === undefined ? {} : { group })
  })
  const absent = Object.assign(new Error('absent'), { statusCode: 404, code: 'KeyNotFound' })
  const encodedPolicy = new TextEncoder().encode(releasePolicy)
  const key = {
    id: 'https://v/keys/k/1',
    name: 'k',
    key: { kty: 'RSA-HSM', n: new Uint8Array([1]), e: new Uint8Array([1]) },
    properties: { releasePolicy: { encodedPolicy } }
  }
  const getKey = () => (releasePolicy === undefined ? Promise.reject(absent) : Promise.resolve(key))
  const azure = { ...base.azure, keys: () => Promise.resolve({ getKey }) } as unknown as typeof base.azure
  const results = { get: () => ({ vaultUri: 'https://v' }) } as unknown as RunResults
  const open = release === undefined ? upgrade : { ...upgrade, release }
  return closingOf({ ...base, azure }, results, open, () => undefined)
}

describe('closing the window of an upgrade on the old group', () => {
  it('asks nobody where it only takes away', async () => {
    expect(await close({ releasePolicy: both, active })).toEqual({ policy: own, approve: [] })
  })

  it('takes away a foreign rule with the right host data, too', async () => {
    const { anyOf } = JSON.parse(both) as { anyOf: { allOf: object[] }[] }
    const evil = { authority: 'https://evil.example', allOf: anyOf[0]!.allOf }
    const opened = JSON.stringify({ version: '1.0.0', anyOf: [...anyOf, evil] })
    expect(await close({ releasePolicy: opened, active })).toEqual({ policy: own, approve: [] })
  })

  it('is a change of trust where the key accepts the new measurement alone', async () => {
    const { policy, approve } = await close({ releasePolicy: theirs, active })
    expect([policy, approve]).toEqual([own, [{ what: 'host data', from: wanted, to: old }]])
  })

  it('keeps a policy of an earlier version, which lets in nobody', async () => {
    const release = { before: weaker, widened: both, approved: theirs }
    expect(weaker).not.toBe(own)
    expect(await close({ releasePolicy: weaker, release, active })).toEqual({ policy: weaker, approve: [] })
  })

  it('takes it from the group that runs where nothing is recorded', async () => {
    const router = {
      name: 'router',
      environmentVariables: [{ name: 'MAA_ENDPOINT', value: 'maa.example' }]
    }
    const ccePolicy = Buffer.from(policyText).toString('base64')
    const group = { confidentialComputeProperties: { ccePolicy }, containers: [router] }
    expect(await close({ releasePolicy: both, group })).toEqual({ policy: own, approve: [] })
  })

  it('fails, with the window as it is, where nobody knows it, and where the key is gone', async () => {
    await expect(close({ releasePolicy: theirs })).rejects.toMatchObject({ code: 'rollback.no-policy' })
    await expect(close({ active })).rejects.toMatchObject({ code: 'upgrade.no-key' })
  })
})

describe('how far an unfinished upgrade has come', () => {
  const built = { ...active, group: 'g-new', hostData: wanted, deployedAt: 'later' }
  const pending = async (open: Partial<UpgradeState>, serving: Generation, hasGroup: boolean) => {
    const ccePolicy = Buffer.from(policyText).toString('base64')
    const group = { confidentialComputeProperties: { ccePolicy }, containers: [] }
    const state = { active: serving, upgrade: { ...upgrade, ...open } }
    return (await pendingUpgrade(secretsRun({ state, ...(hasGroup ? { group } : {}) })))?.state
  }

  it('is open while the old group is there and callers go to it', async () => {
    expect(await pending({}, active, true)).toBe('open')
    expect(await pending({ phase: 'move', built }, active, true)).toBe('open')
  })

  it('is moved once the new one is recorded as what serves', async () => {
    expect(await pending({ phase: 'move', built }, built, true)).toBe('moved')
    expect(await pending({ phase: 'drain', built }, built, true)).toBe('moved')
  })

  it('is between where the old group is gone, also beside a new one, and where the way back begins with it', async () => {
    expect(await pending({}, active, false)).toBe('between')
    const back = { strategy: 'replace', direction: 'rollback', to: { group: 'g', hostData: old } } as const
    expect(await pending({ ...back, phase: 'deploy' }, active, false)).toBe('between')
  })
})
