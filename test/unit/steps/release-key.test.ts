import { describe, expect, it } from '@jest/globals'
import { parseSha256Hex } from '../../../src/base/digest.js'
import { createReleasePolicy, encodeReleasePolicy } from '../../../src/policy/index.js'
import { changesBetween, keyStep, pinsOf } from '../../../src/steps/release-key.js'
import type { Results } from '../../../src/steps/run.js'
import { secretsRun } from './secrets-harness.js'

const hash = (byte: string) => parseSha256Hex(byte.repeat(32), 'host data')
const policy = (byte: string, authority = 'https://a.attest.example') =>
  encodeReleasePolicy(createReleasePolicy({ authority, hostData: [hash(byte)] }))

describe('changesBetween', () => {
  it('finds nothing between two spellings of one policy', () => {
    const spaced = JSON.stringify(JSON.parse(policy('ab')), null, 2)
    expect(changesBetween(spaced, policy('ab'))).toEqual([])
  })

  it('names old and new host data', () => {
    expect(changesBetween(policy('ab'), policy('cd'))).toEqual([
      { what: 'host data', from: hash('ab'), to: hash('cd') }
    ])
  })

  it('names a change of whose tokens are believed, though the host data is the same', () => {
    expect(changesBetween(policy('ab', 'https://b.attest.example'), policy('ab'))).toEqual([
      { what: 'attestation authority', from: 'https://b.attest.example', to: 'https://a.attest.example' }
    ])
  })

  it('names a change of the other conditions, such as a policy made before debug was refused', () => {
    const old = JSON.parse(policy('ab')) as { anyOf: { allOf: { claim: string }[] }[] }
    old.anyOf[0]!.allOf = old.anyOf[0]!.allOf.filter(({ claim }) => !claim.endsWith('debuggable'))
    expect(changesBetween(JSON.stringify(old), policy('ab'))).toMatchObject([{ what: 'conditions of release' }])
  })

  it('does not show a policy that cannot be read as one that accepts nobody', () => {
    const [hostData] = changesBetween('{"version":"0.2","anyOf":[]}', policy('ab'))
    expect(hostData).toMatchObject({ what: 'host data', from: '(a policy that cannot be read)' })
    expect(pinsOf('not JSON')).toEqual(['(a policy that cannot be read)'])
  })

  it('says that an unbound key was bound to nothing', () => {
    expect(changesBetween(undefined, policy('ab'))).toMatchObject([{ from: '(none)' }, { from: '(none)' }])
  })
})

describe('a key that is not in the vault', () => {
  const absent = () => Promise.reject(Object.assign(new Error('absent'), { statusCode: 404, code: 'KeyNotFound' }))
  const made = new Error('a key is made')
  /** What happens when the step is applied; `made` if a key is created. */
  async function apply(given: {
    readonly keyId?: string
    readonly softDeleted?: 'recover' | 'purge'
    readonly isDeleted?: boolean
  }): Promise<unknown> {
    const base = secretsRun({ config: { key: { name: 'k', size: 2048 }, keyVault: { name: 'v' } } })
    const client = {
      getKey: absent,
      getDeletedKey: given.isDeleted === true ? () => Promise.resolve({ properties: {} }) : absent,
      createKey: () => Promise.reject(made)
    }
    const run = {
      ...base,
      azure: { ...base.azure, keys: () => Promise.resolve(client) } as unknown as typeof base.azure,
      softDeleted: () => given.softDeleted ?? ('recover' as const)
    }
    if (given.keyId !== undefined) await run.state.update((state) => ({ ...state, keyId: given.keyId! }))
    const outputs = { vault: { vaultUri: 'https://v' }, policy: { releasePolicy: policy('ab'), hostData: hash('ab') } }
    const results = { get: (id: keyof typeof outputs) => outputs[id] } as unknown as Results
    const finding = await keyStep.observe(run, results, () => undefined)
    if (finding.action === 'none') return undefined
    return finding.apply(() => undefined).catch((error: unknown) => error)
  }

  it('is made where none was in use', async () => {
    expect(await apply({})).toBe(made)
  })

  it('is not made again where one was: it would be another key, without a question', async () => {
    expect(await apply({ keyId: 'https://v/keys/k/1' })).toMatchObject({
      code: 'key.vanished',
      why: expect.stringContaining('https://v/keys/k/1')
    })
  })

  it.each([
    ['of another vault', { keyId: 'https://w/keys/k/1' }],
    ['of another name', { keyId: 'https://v/keys/other/1' }],
    ['that is soft-deleted, and so comes back', { keyId: 'https://v/keys/k/1', isDeleted: true }],
    ['that was to be purged', { keyId: 'https://v/keys/k/1', softDeleted: 'purge' as const }]
  ])('is no question of the one %s', async (_name, given) => {
    expect(await apply(given)).toBe(made)
  })
})
