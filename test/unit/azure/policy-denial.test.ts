import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from '@jest/globals'
import { deniedRules, denialError, denialIn } from '../../../src/azure/policy-denial.js'

const golden = JSON.parse(
  readFileSync(join(import.meta.dirname, '../../vectors/azure/error-cg-policy-denied-mount.json'), 'utf8')
) as { response: { body: { error: { details: { details: { message: string }[] }[] } } } }
const realMessage = golden.response.body.error.details[0]!.details[0]!.message

const decision = { decision: 'deny', reason: { errors: ['invalid env list: APP_IDENTITY_ENDPOINT'] } }
const base64 = Buffer.from(JSON.stringify(decision)).toString('base64')

describe('deniedRules', () => {
  it('finds the rule in the long message of a real denial', () => {
    expect(deniedRules(realMessage)).toEqual(['deviceHash not found'])
  })

  it('finds the rule between base64 markers', () => {
    expect(deniedRules(`x denied by policy: policyDecision<${base64}>policyDecision: unknown`)).toEqual(
      decision.reason.errors
    )
  })

  it('finds the rule between markers with a space on both sides, as the guest writes them', () => {
    expect(deniedRules(`denied by policy: policyDecision< ${base64} >policyDecision: unknown`)).toEqual(
      decision.reason.errors
    )
  })

  it.each([0, 1, 2, 3])('finds the rule in base64 that lost its last %i characters and the marker', (lost) => {
    const whole = Buffer.from(JSON.stringify({ ...decision, input: { envList: ['x'.repeat(40)] } })).toString('base64')
    expect(deniedRules(`denied by policy: policyDecision< ${whole.slice(0, whole.length - 20 - lost)}`)).toEqual(
      decision.reason.errors
    )
  })

  it('finds the rule of a decision whose input was left out to save room', () => {
    const shortened = { reason: decision.reason, truncated: ['input', 'reason.error_objects'] }
    expect(deniedRules(`denied by policy: ${JSON.stringify(shortened)}`)).toEqual(decision.reason.errors)
  })

  it('passes over an empty pair of markers to the decision behind it', () => {
    const text = `denied by policy: policyDecision< >policyDecision: unknown;x denied by policy: ${JSON.stringify(decision)};y`
    expect(deniedRules(text)).toEqual(decision.reason.errors)
  })

  it('finds the rule when the base64 is cut short after it', () => {
    expect(deniedRules(`denied by policy: policyDecision<${base64.slice(0, -3)}`)).toEqual(decision.reason.errors)
  })

  it('finds the rule when the JSON is cut short after it', () => {
    const text = `denied by policy: ${JSON.stringify({ reason: { errors: ['invalid command'] }, input: {} })}`
    expect(deniedRules(text.slice(0, text.indexOf('"input"')))).toEqual(['invalid command'])
  })

  it('says that a policy denied even when the rule cannot be read', () => {
    expect(deniedRules('denied by policy: policyDecision< >policyDecision')).toEqual([])
  })

  it('takes no other message for a denial', () => {
    expect(deniedRules('Failed to pull image "x": unauthorized')).toBeUndefined()
  })
})

describe('denialError', () => {
  it('says in one sentence which container and which rule, and why', () => {
    const error = denialError('confrouter', { container: 'router', rules: ['deviceHash not found'] })
    expect(error.problem).toBe('container "router" was not started: the CCE policy denied it (deviceHash not found)')
    expect(error.why).toMatch(/image layer/)
    expect(error.exitCode).toBe(5)
  })

  it.each([
    ['deviceHash not found', 'confrouter build', /image layer/],
    ['invalid env list: IMDS_ENDPOINT', 'confrouter policy --engine native', /too old/],
    ['invalid env list: MY_VARIABLE', 'confrouter policy', /environment variable/],
    ['invalid command', 'confrouter policy', /command/],
    ['invalid mount list', 'confrouter policy', /mount/],
    ['invalid working directory', 'confrouter build', /working directory/],
    ['privileged escalation not allowed', 'confrouter policy', /rights/],
    ['a rule of tomorrow', 'confrouter policy', /does not allow/]
  ])('says of "%s" what it means and what mends it', (rule, fix, meaning) => {
    const error = denialError('confrouter', { container: 'router', rules: [rule] })
    expect(error.problem).toContain(`(${rule})`)
    expect(error.next[0]).toBe(fix)
    expect(error.why).toMatch(meaning)
  })

  it('names the group when no container is known', () => {
    expect(denialError('cr', { container: undefined, rules: [] }).problem).toBe(
      'container group "cr" was not started: the CCE policy denied it'
    )
  })
})

describe('denialIn', () => {
  it('takes the container out of the message', () => {
    expect(denialIn(realMessage)).toEqual({ container: 'test-sum', rules: ['deviceHash not found'] })
  })
})
