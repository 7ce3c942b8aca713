import { describe, expect, it } from '@jest/globals'
import { sha256Hex } from '../../../src/base/digest.js'
import { groupForRollback, requireTakesSecrets, wentBackFrom } from '../../../src/steps/rollback.js'
import type { Results } from '../../../src/steps/run.js'
import type { Generation } from '../../../src/steps/state.js'
import { groupNameBeside } from '../../../src/steps/generation.js'
import { secretsKeysOfTests, secretsRun } from './secrets-harness.js'

const { signer } = await secretsKeysOfTests()
const hostData = sha256Hex('policy')

/** Goes back to a deployment whose router measured these variables. */
function goBack(variables: Readonly<Record<string, string>>): void {
  const environmentVariables = Object.entries(variables).map(([name, value]) => ({ name, value }))
  const containers = [{ name: 'router', properties: { environmentVariables } }]
  const template = { resources: [{ properties: { containers } }] }
  const results = { get: () => signer } as unknown as Results
  requireTakesSecrets(secretsRun(), results, { template, hostData })
}

const measured = { CONFROUTER_SECRETS_SIGNER: signer.thumbprint, CONFROUTER_DEPLOYMENT: 'g' }

describe('going back to a router that measures whose provider keys it takes', () => {
  it('is possible where signer and deployment are those of now', () => {
    expect(() => goBack(measured)).not.toThrow()
  })

  it.each([
    ['another signer', { ...measured, CONFROUTER_SECRETS_SIGNER: 'other' }, 'from signer other, now it is'],
    ['no signer', { CONFROUTER_DEPLOYMENT: 'g' }, 'from signer (none)'],
    ['another name', { ...measured, CONFROUTER_DEPLOYMENT: 'h' }, 'for deployment "h", now it is "g"']
  ])('is refused for one with %s, before anything is changed', (_name, variables, why) => {
    expect(() => goBack(variables)).toThrow(
      expect.objectContaining({ code: 'rollback.secrets-refused', why: expect.stringContaining(why) })
    )
  })
})

describe('what the groups are called that are made beside those that serve', () => {
  const other = 'ab'.repeat(32)

  it('ends with the host data, and never is the name of those that serve', () => {
    expect(groupNameBeside('g', 'g', other)).toBe('g-abababab')
    expect(groupNameBeside('g-abababab', 'g', other)).toBe('g')
  })

  const active = (group: string, stem?: string) => ({ base: 'g', group, ...(stem === undefined ? {} : { stem }) })
  it.each([
    ['what they were called then', active('g-12345678'), active('g'), 'g'],
    ['the host data where that name serves', active('g'), active('g'), 'g-abababab'],
    ['the base name where host data and name serve', active('g-abababab'), active('g-abababab'), 'g'],
    [
      'the same for all, whichever region was the first one',
      active('g-westeurope', 'g'),
      active('g-1-westeurope', 'g-1'),
      'g-1'
    ]
  ])('is for a way back %s', (_name, serving, then, expected) => {
    const run = secretsRun({ state: { active: serving as unknown as Generation } })
    const target = { ...then, hostData: other } as unknown as Generation
    expect(groupForRollback(run, target, 'blue-green')).toBe(expected)
    expect(groupForRollback(run, target, 'replace')).toBe(serving.stem ?? serving.group)
  })
})

describe('whether somebody went back from what is wanted', () => {
  const change = (what: 'upgrade' | 'rollback', from: string, to: string) => ({ at: 'now', what, from, to })
  const from = (hostData: string, ...history: ReturnType<typeof change>[]) =>
    wentBackFrom(secretsRun({ state: { history } }), hostData)

  it('is known from the history', () => {
    expect(from('b', change('upgrade', 'a', 'b'), change('rollback', 'b', 'a'))).toMatchObject({ from: 'b', to: 'a' })
  })

  it('is past once it went forward again', () => {
    expect(from('b', change('rollback', 'b', 'a'), change('upgrade', 'a', 'b'))).toBeUndefined()
  })

  it('says nothing of others', () => {
    expect(from('c', change('rollback', 'b', 'a'))).toBeUndefined()
    expect(from('a', change('rollback', 'b', 'a'))).toBeUndefined()
    expect(from('b')).toBeUndefined()
  })
})
