import { describe, expect, it } from '@jest/globals'
import { statusText } from '../../../src/commands/status.js'
import { recordedLink } from '../../../src/steps/digest-chain.js'
import type { State } from '../../../src/steps/state.js'

const [old, fresh, foreign] = ['aa', 'bb', 'cc'].map((pair) => pair.repeat(32)) as [string, string, string]
const upgrade: NonNullable<State['upgrade']> = {
  strategy: 'replace',
  direction: 'upgrade',
  from: { group: 'router', hostData: old },
  to: { group: 'router', hostData: fresh },
  phase: 'verify',
  openedAt: '2026-01-02T03:04:05.000Z',
  failure: 'the router does not answer'
}
const look = {
  list: [
    {
      id: 'deploy',
      title: 'container group',
      action: 'replace',
      reason: 'its CCE policy is another one',
      properties: []
    }
  ],
  chain: [],
  trust: []
} as const

describe('status in words', () => {
  it('begins with an open upgrade, why it stopped, and both ways out of it', () => {
    const text = statusText({ upgrade }, look, { inOrder: false, flag: ' --local' })
    const lines = text.split('\n')
    expect(lines[0]).toBe('an upgrade is open since 2026-01-02T03:04:05.000Z, next phase: verify')
    expect(text).toContain('the last attempt ended: the router does not answer')
    expect(text).toContain('next: confrouter up --local ')
    expect(text).toContain('next: confrouter rollback --local --reason TEXT')
    expect(lines.findIndex((line) => line.startsWith('differs'))).toBeGreaterThan(5)
  })

  it('calls a rollback what it is, and has nothing of a failure where there was none', () => {
    const { failure: _none, ...rest } = upgrade
    const text = statusText({ upgrade: { ...rest, direction: 'rollback' } }, look, { inOrder: false, flag: '' })
    expect(text).toMatch(/^a rollback is open/)
    expect(text).not.toContain('last attempt')
  })

  it('has no word of an upgrade where none is open', () => {
    expect(statusText({}, look, { inOrder: false, flag: '' })).toMatch(/^differs +container group/)
  })
})

describe('what was recorded against what runs', () => {
  const active = { hostData: old } as NonNullable<State['active']>

  it('knows the group of its own open upgrade', () => {
    expect(recordedLink({ active, upgrade }, fresh)).toMatchObject({
      outcome: 'mismatch',
      says: 'the open upgrade has deployed it and is not finished, next phase: verify'
    })
  })

  it.each([
    ['without an upgrade', { active }, fresh],
    ['while one to something else is open', { active, upgrade }, foreign]
  ])('tells of a stranger %s', (_name, state, hostData) => {
    expect(recordedLink(state, hostData)).toMatchObject({
      outcome: 'mismatch',
      says: 'somebody deployed another policy than the one that was recorded here'
    })
  })

  it('matches what runs as recorded, and checks nothing where nothing is', () => {
    expect(recordedLink({ active, upgrade }, old).outcome).toBe('match')
    expect(recordedLink({ deployed: { hostData: old } }, old).outcome).toBe('match')
    expect(recordedLink({}, old).outcome).toBe('unchecked')
  })
})
