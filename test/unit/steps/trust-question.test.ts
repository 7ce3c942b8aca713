import { describe, expect, it } from '@jest/globals'
import type { ContainerGroup } from '../../../src/azure/container-group.js'
import type { VaultKey } from '../../../src/azure/vault-key.js'
import { sha256Hex } from '../../../src/base/digest.js'
import { windowAnswer } from '../../../src/steps/trust-question.js'
import type { State } from '../../../src/steps/state.js'
import { releasePolicyFor } from '../../../src/steps/upgrade-window.js'
import { secretsRun } from './secrets-harness.js'

const [policy, hostData, other] = ['policy', sha256Hex('policy'), sha256Hex('other')] as const
const authority = 'https://maa.example'
const group = {
  ccePolicy: Buffer.from(policy).toString('base64'),
  containers: [{ name: 'router', environment: { MAA_ENDPOINT: 'maa.example' } }]
} as unknown as ContainerGroup
const own = releasePolicyFor({ hostData, authority })!
const rules = (text: string) =>
  (JSON.parse(text) as { anyOf: { authority: string; allOf: { claim: string }[] }[] }).anyOf
const released = (...anyOf: object[]) => JSON.stringify({ version: '1.0.0', anyOf })
const ask = (releasePolicy: string, state: Partial<State> = {}) =>
  windowAnswer(secretsRun({ state }), { group, key: { name: 'k', releasePolicy } as unknown as VaultKey })

describe('whether the key accepts the running measurement only', () => {
  it('is so for the policy of this program', () => {
    expect(ask(own)).toMatchObject({ answer: 'yes', inOrder: true })
  })

  const [rule] = rules(own)
  it.each([
    ['another measurement', rules(releasePolicyFor({ hostData: other, authority })!)[0]!, other],
    [
      'a foreign authority with the right host data',
      { authority: 'https://evil.example', allOf: rule!.allOf.filter(({ claim }) => claim.endsWith('hostdata')) },
      'evil.example'
    ],
    [
      'the right one with a condition less',
      { ...rule!, allOf: rule!.allOf.filter(({ claim }) => !claim.endsWith('compliance-status')) },
      'whatever its x-ms-compliance-status'
    ]
  ])('is not so beside %s', (_name, foreign, says) => {
    expect(ask(released(rule!, foreign))).toMatchObject({ answer: 'no', inOrder: false })
    expect(ask(released(rule!, foreign)).why).toContain(says)
  })

  it('says of an open window whom it does not explain, and what goes on with it', () => {
    const widened = released(rule!, rules(releasePolicyFor({ hostData: other, authority })!)[0]!)
    const upgrade = {
      strategy: 'blue-green',
      direction: 'rollback',
      from: { group: 'g', hostData },
      to: { group: 'h', hostData: other },
      phase: 'drain',
      openedAt: 'then',
      release: { widened, approved: own }
    } as const
    expect(ask(widened, { upgrade }).why).not.toContain('somebody else')
    expect(ask(widened, { upgrade }).next).toEqual([
      'confrouter rollback --reason TEXT',
      'confrouter rollback --abandon --reason TEXT'
    ])
    const evil = { authority: 'https://evil.example', allOf: [{ claim: 'x', equals: 'y' }] }
    const opened = ask(released(...rules(widened), evil), { upgrade })
    expect(opened.why).toContain('somebody else let it out to any host data, attested by https://evil.example')
  })
})
