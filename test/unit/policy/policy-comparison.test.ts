import { describe, expect, it } from '@jest/globals'
import {
  comparePolicies,
  describeFinding,
  generatePolicies,
  type GroupPolicy,
  parseCcePolicy
} from '../../../src/policy/index.js'
import { images, templateOf, vector } from './vectors.js'

const [made] = generatePolicies({ template: templateOf('default'), images }) as readonly [GroupPolicy]

/** What is said of a policy in which `before` has become `after`, and of the way back. */
function sentences(
  before: string,
  after: string
): { readonly there: readonly string[]; readonly back: readonly string[] } {
  const changed = made.rego.replaceAll(before, after)
  expect(changed).not.toBe(made.rego)
  const say = (from: string, to: string) =>
    comparePolicies(parseCcePolicy(from), parseCcePolicy(to)).findings.map(describeFinding)
  return { there: say(made.rego, changed), back: say(changed, made.rego) }
}

const router = 'container router-container'
const envOf = (pattern: string, strategy: string) =>
  `{"pattern":"${pattern}","required":false,"strategy":"${strategy}"}`

describe('comparePolicies', () => {
  it('finds nothing between a policy and itself', () => {
    const policy = parseCcePolicy(made.rego)
    expect(comparePolicies(policy, policy)).toMatchObject({ isEqual: true, findings: [] })
  })

  it('says that a pattern in place of a text is wider, and of the way back that it is narrower', () => {
    const rule = /\{"pattern":"PORT=[^"]*","required":false,"strategy":"string"\}/.exec(made.rego)?.[0]
    if (rule === undefined) throw new Error('the case has no PORT')
    const { there, back } = sentences(rule, envOf('PORT=.*', 're2'))
    expect(there).toEqual([`${router}: newly allowed: environment variable PORT may have any value`])
    expect(back).toEqual([`${router}: no longer allowed: environment variable PORT may have any value`])
  })

  it('takes no pattern for wider that allows the same, and gives an example of what one allows beyond', () => {
    const old = envOf('HOSTNAME=.+', 're2')
    expect(sentences(old, envOf('HOSTNAME=..*', 're2')).there).toEqual([])
    expect(sentences(old, envOf('HOSTNAME=[a-z]+', 're2')).back[0]).toContain(
      'newly allowed: environment variable HOSTNAME may have any value but an empty one'
    )
    expect(sentences(envOf('HOSTNAME=.+', 're2'), envOf('HOSTNAME=(.+|)x?', 're2')).there[0]).toMatch(
      /newly allowed: environment variable HOSTNAME may match .*, for example "HOSTNAME=x?"$/
    )
  })

  it('claims nothing of patterns that it cannot decide', () => {
    const [one, other] = ['X=(a|b)*a(a|b){14}', 'X=(a|b)*a(a|b){13}(a|c|b)']
    const withRule = (pattern: string) =>
      parseCcePolicy(made.rego.replace('"env_rules":[', `"env_rules":[${envOf(pattern, 're2')},`))
    const { findings } = comparePolicies(withRule(other), withRule(one))
    expect(findings.map(({ change }) => change)).toContain('maybe-allowed')
    expect(findings.map(describeFinding).join()).toContain('may be newly allowed (not decided)')
  })

  it.each([
    ['"allow_elevated":false', '"allow_elevated":true', 'to run privileged'],
    ['"no_new_privileges":false', '"no_new_privileges":true', undefined],
    ['"allow_stdio_access":true', '"allow_stdio_access":false', undefined],
    ['"exec_processes":[]', '"exec_processes":[{"command":["/bin/sh"],"signals":[]}]', 'exec /bin/sh'],
    ['"user_idname":{"pattern":"","strategy":"any"}', '"user_idname":{"pattern":"1000","strategy":"id"}', undefined],
    ['allow_dump_stacks := false', 'allow_dump_stacks := true', 'dumps stacks'],
    ['allow_runtime_logging := false', 'allow_runtime_logging := true', 'allow_runtime_logging'],
    ['allow_environment_variable_dropping := true', 'allow_environment_variable_dropping := false', undefined],
    ['"minimum_svn": "4"', '"minimum_svn": "2"', 'from version 2, not only from 4'],
    ['"ambient":[]', '"ambient":["CAP_SYS_ADMIN"]', 'capability CAP_SYS_ADMIN (ambient)'],
    ['"options":["rbind","rshared","rw"]', '"options":["rbind","rshared","ro"]', '/etc/resolv.conf'],
    ['"working_dir":"/"', '"working_dir":"/other"', 'working directory /other'],
    ['"signals":[]', '"signals":[9]', 'signal 9'],
    ['"umask":"0022"', '"umask":"0000"', 'umask 0000']
  ])('tells %s from %s', (before, after, allowed) => {
    const { there, back } = sentences(before, after)
    expect(there.length).toBeGreaterThan(0)
    const isAllowed = (text: string) => text.includes(': newly allowed:')
    if (allowed === undefined) expect(there.filter(isAllowed)).toEqual([])
    else expect(there.filter(isAllowed).join('\n')).toContain(allowed)
    // What one direction allows is what the other forbids.
    const turned = (text: string) =>
      isAllowed(text)
        ? text.replace('newly allowed', 'no longer allowed')
        : text.replace('no longer allowed', 'newly allowed')
    expect(back.map(turned).sort()).toEqual([...there].sort())
  })

  it('says what a fragment of another issuer is, and of which feed', () => {
    const { there } = sentences('"issuer": "did:x509', '"issuer": "did:other')
    expect(there[0]).toMatch(
      /^policy: newly allowed: fragment mcr\.microsoft\.com\/aci\/aci-cc-infra-fragment of issuer did:other/
    )
    expect(there[1]).toMatch(/^policy: no longer allowed: fragment .* of issuer did:x509/)
  })

  it('names containers that are there in one policy only', () => {
    const containers = /containers := (\[.*\])\n/.exec(made.rego)?.[1] ?? ''
    const fewer = JSON.stringify(
      (JSON.parse(containers) as { name: string }[]).filter(({ name }) => name !== 'router-container')
    )
    const { there, back } = sentences(containers, fewer)
    expect(there).toEqual([
      expect.stringMatching(/^container router-container: no longer allowed: the container, image /)
    ])
    expect(back).toEqual([expect.stringMatching(/^container router-container: newly allowed: the container, image /)])
  })

  it('calls texts that allow the same neither equal nor different in what they allow', () => {
    const policy = parseCcePolicy(made.rego)
    const other = parseCcePolicy(made.rego.replace('"name":"router-container"', '"name":"renamed"'))
    expect(comparePolicies(policy, other)).toMatchObject({ isEqual: false, findings: [] })
  })

  it('says of a policy that enforces nothing that it allows everything', () => {
    const open = parseCcePolicy(vector('open-door.rego'))
    const policy = parseCcePolicy(made.rego)
    expect(comparePolicies(policy, open).findings.map(describeFinding)).toEqual([
      'policy: newly allowed: everything: the policy enforces nothing'
    ])
    expect(comparePolicies(open, policy).findings.map(({ change }) => change)).toEqual(['forbidden'])
    expect(comparePolicies(open, open).findings).toEqual([])
  })
})
