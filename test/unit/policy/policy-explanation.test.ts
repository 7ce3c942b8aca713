import { describe, expect, it } from '@jest/globals'
import type { JsonObject } from '../../../src/base/json.js'
import { explainPolicy, parseCcePolicy } from '../../../src/policy/index.js'
import { vector } from './vectors.js'

const text = vector('cases', 'default', 'policy.2x.rego')
const explained = (members: JsonObject) => {
  const line = /containers := (\[.*\])\n/.exec(text)?.[1] ?? ''
  const [container] = JSON.parse(line) as JsonObject[]
  const rego = text.replace(line, () => JSON.stringify([{ ...container, ...members }]))
  const [first] = explainPolicy(parseCcePolicy(rego)).containers
  if (first === undefined) throw new Error('the policy has a container')
  return first
}
const ruleOf = (pattern: string, strategy = 're2') =>
  explained({ env_rules: [{ pattern, required: false, strategy }] }).environment[0]

describe('explainPolicy', () => {
  it.each([
    ['A=.*', 'A', 'any', '.*'],
    ['^A=[0-9]+', 'A', 'pattern', '[0-9]+'],
    ['A=(1|2)', 'A', 'pattern', '(1|2)']
  ])('splits %s at the name of its variable', (pattern, name, rule, value) => {
    expect(ruleOf(pattern)).toMatchObject({ name, rule, value })
  })

  it.each(['A=1|LD_PRELOAD=.*', '[^=]+=.*', 'A=*B=1', '(?i)a=.*', '.*', 'A[|]=1|B=.*'])(
    'shows %s whole, since it may be for other variables',
    (pattern) => {
      expect(ruleOf(pattern)).toMatchObject({ name: pattern, rule: 'pattern', value: pattern })
    }
  )

  it('takes signs of patterns in a text for themselves', () => {
    expect(ruleOf('A=1|B=.*', 'string')).toMatchObject({ name: 'A', rule: 'exactly', value: '1|B=.*' })
  })

  it('tells umask, types of mounts, signals of execs and what fragments include', () => {
    const { umask, mounts, execs } = explained({
      user: { user_idname: { pattern: '', strategy: 'any' }, group_idnames: [], umask: '0000' },
      mounts: [{ destination: '/m', options: ['rw'], source: 'plan9://', type: 'weird' }],
      exec_processes: [{ command: ['/sh'], signals: [1] }]
    })
    expect({ umask, type: mounts[0]?.type, execs }).toEqual({
      umask: '0000',
      type: 'weird',
      execs: [{ command: ['/sh'], signals: [1] }]
    })
    expect(explainPolicy(parseCcePolicy(text)).fragments[0]?.includes).toEqual(['containers', 'fragments'])
  })
})
