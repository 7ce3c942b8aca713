import { describe, expect, it } from '@jest/globals'
import { UserError } from '../../../src/base/user-error.js'
import { openDoorHostData, parseCcePolicy } from '../../../src/policy/index.js'
import { damaged, generator } from './random.js'
import { goldenCases, vector } from './vectors.js'

const policyText = vector('cases', 'default', 'policy.2x.rego')

describe('parseCcePolicy', () => {
  for (const { name, hostData, hostData2x } of goldenCases.filter((golden) => golden.name !== 'sidecar-only')) {
    it(`reads the policies of ${name}`, () => {
      for (const [infix, hash] of [
        ['', hostData],
        ['.2x', hostData2x]
      ] as const) {
        const policy = parseCcePolicy(vector('cases', name, `policy${infix}.rego`))
        expect(policy).toMatchObject({ kind: 'enforced', hostData: hash })
      }
    })
  }

  it('reads containers, fragments and switches', () => {
    const policy = parseCcePolicy(policyText)
    if (policy.kind !== 'enforced') throw new Error('not enforced')
    expect(policy.frame.apiVersion).toBe('0.11.0')
    expect(policy.fragments.map(({ minimum_svn }) => minimum_svn)).toEqual(['4'])
    expect(policy.switches.allow_environment_variable_dropping).toBe(true)
    expect(policy.containers.map(({ name }) => name)).toEqual([
      'router-container',
      'skr-sidecar-container',
      'pause-container'
    ])
  })

  it('takes one newline at the end', () => {
    expect(parseCcePolicy(`${policyText}\n`).kind).toBe('enforced')
    expect(() => parseCcePolicy(`${policyText}\n\n`)).toThrow('unexpected text after the policy')
  })

  it('recognises the policies that allow everything', () => {
    for (const file of ['open-door.rego', 'open-door-snp-milan.rego']) {
      const policy = parseCcePolicy(vector(file))
      expect(policy.kind).toBe('open-door')
      expect(openDoorHostData.has(policy.hostData)).toBe(true)
    }
    const unknown = vector('open-door.rego').replace('api_svn', 'api_version')
    expect(parseCcePolicy(unknown).kind).toBe('open-door')
  })

  it('does not take a policy with one open rule for an open door', () => {
    const open = policyText.replace('mount_device := data.framework.mount_device', 'mount_device := {"allowed": true}')
    expect(() => parseCcePolicy(open)).toThrow('expected "mount_device := data.framework.mount_device"')
  })

  const openDoor = vector('open-door.rego')
  const notOpen: readonly (readonly [string, string])[] = [
    ['one open rule alone', 'package policy\nget_properties := {"allowed": true}'],
    ['no API version', openDoor.replace(/api_svn.*\n/, '')],
    ['two API versions', openDoor.replace(/(api_svn.*\n)/, '$1$1')],
    ['no mount_device', openDoor.replace(/^mount_device.*\n/m, '')],
    ['no mount_overlay', openDoor.replace(/^mount_overlay.*\n/m, '')],
    ['no create_container', openDoor.replace(/^create_container.*\n/m, '')],
    ['a rule twice', openDoor.replace(/^(mount_device.*\n)/m, '$1$1')],
    ['a rule of no known name', `${openDoor}\nmount_devices := {"allowed": true}\n`],
    ['a rule that refuses', openDoor.replace('dump_stacks := {"allowed": true}', 'dump_stacks := {"allowed": false}')]
  ]
  for (const [what, text] of notOpen) {
    it(`does not take a policy with ${what} for an open door`, () => {
      expect(text).not.toBe(openDoor)
      expect(() => parseCcePolicy(text)).toThrow(UserError)
    })
  }

  const faults: readonly (readonly [string, (text: string) => string, string])[] = [
    ['an empty text', () => '', 'line 1: expected "package policy"'],
    ['the body of a fragment', () => vector('cases', 'sidecar-only', 'policy.rego'), 'expected "package policy"'],
    ['another package', (text) => text.replace('package policy', 'package policy2'), 'line 1'],
    ['an added rule', (text) => text.replace('reason :=', 'create_container := true\n\nreason :='), 'expected "reason'],
    ['an added import', (text) => text.replace('\n\napi', '\nimport input.x\n\napi'), 'line 5'],
    ['a comment', (text) => text.replace('\nfragments', '\n# x\nfragments'), 'expected "fragments := "'],
    ['an unknown API version', (text) => text.replace('"0.11.0"', '"9.0.0"'), 'api_version 9.0.0'],
    ['the rules of another frame', (text) => text.replace('"0.11.0"', '"0.10.0"'), 'expected "'],
    ['a missing rule', (text) => text.replace('scratch_mount := data.framework.scratch_mount\n', ''), 'scratch_mount'],
    [
      'a switch that is no boolean',
      (text) => text.replace('dump_stacks := false', 'dump_stacks := input.x'),
      'true or false'
    ],
    [
      'JSON with an expression',
      (text) => text.replace('"allow_elevated":false', '"allow_elevated":input.x'),
      'expected a value'
    ],
    [
      'a repeated member',
      (text) => text.replace('"allow_elevated":false', '"allow_elevated":true,"allow_elevated":false'),
      'appears twice'
    ],
    ['an unknown member', (text) => text.replace('"allow_elevated"', '"x":1,"allow_elevated"'), 'unknown member "x"'],
    ['a missing member', (text) => text.replace('"allow_elevated":false,', ''), 'has no "allow_elevated"'],
    ['a number for a boolean', (text) => text.replace('"allow_elevated":false', '"allow_elevated":0'), 'true or false'],
    [
      'a command that is a text',
      (text) => text.replace('"command":["/pause"]', '"command":"/pause"'),
      'must be a list'
    ],
    ['a layer in capitals', (text) => text.replace('"16b514', '"16B514'), 'is not a SHA-256'],
    ['an unknown strategy', (text) => text.replace('"strategy":"re2"', '"strategy":"glob"'), '"string" or "re2"'],
    ['an unknown user strategy', (text) => text.replace('"strategy":"any"', '"strategy":"all"'), '"any", "id", "name"'],
    ['a pattern outside the subset', (text) => text.replace('HOSTNAME=.+', 'HOSTNAME=(?=x).+'), 'only (?i)'],
    ['a mount pattern outside the subset', (text) => text.replace('resolvconf/.+', 'resolvconf/(.+'), 'missing ")"'],
    ['a signal that is a list', (text) => text.replace('"signals":[15]', '"signals":[[15]]'), 'must be a text'],
    [
      'containers that are no list',
      (text) => text.replace(/containers := \[.*\]/, 'containers := {}'),
      'must be a list'
    ],
    ['too long a text', () => 'x'.repeat(1_048_577), 'longer than']
  ]
  for (const [what, change, message] of faults) {
    it(`refuses ${what}`, () => {
      const text = change(policyText)
      expect(text).not.toBe(policyText)
      expect(() => parseCcePolicy(text)).toThrow(message)
    })
  }

  it('answers damaged policies with a policy or a UserError, and nothing else', () => {
    const random = generator(13)
    for (let round = 0; round < 1_000; round++) {
      try {
        parseCcePolicy(damaged(policyText, random))
      } catch (error) {
        expect(error).toBeInstanceOf(UserError)
      }
    }
  })

  it.each(['\\ud800', '\\udc00', '\\udc00\\ud800'])('refuses half of a surrogate pair: %s', (half) => {
    const text = policyText.replace('"working_dir":"', `"working_dir":"${half}`)
    expect(() => parseCcePolicy(text)).toThrow('half of a surrogate pair')
  })

  it('reads a whole surrogate pair', () => {
    const text = policyText.replace('"working_dir":"', '"working_dir":"\\ud83d\\ude00')
    expect(parseCcePolicy(text).kind).toBe('enforced')
  })

  it('refuses patterns that are small one by one and too large together', () => {
    const rules = (count: number) =>
      Array.from({ length: count }, (_, index) =>
        JSON.stringify({ pattern: `A=.{990}${index}`, required: false, strategy: 're2' })
      ).join()
    const withRules = (count: number) => policyText.replace('"env_rules":[', `"env_rules":[${rules(count)},`)
    expect(parseCcePolicy(withRules(50)).kind).toBe('enforced')
    expect(() => parseCcePolicy(withRules(300))).toThrow('too large together')
  })
})
