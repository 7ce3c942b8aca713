import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from '@jest/globals'
import { deniedRules, denialError } from '../../../src/steps/denial.js'

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
})
