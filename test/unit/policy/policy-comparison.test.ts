import { describe, expect, it } from '@jest/globals'
import type { Json, JsonObject } from '../../../src/base/json.js'
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
    ['"signals":[]', '"signals":[1]', 'signal 1'],
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

  type Container = Record<string, Json>
  type Change = (containers: Container[]) => void
  const changed = (change: Change, rego = made.rego) => {
    const line = /containers := (\[.*\])\n/.exec(rego)?.[1] ?? ''
    const containers = JSON.parse(line) as Container[]
    change(containers)
    return rego.replace(line, () => JSON.stringify(containers))
  }
  const say = (before: string, after: string) =>
    comparePolicies(parseCcePolicy(before), parseCcePolicy(after)).findings.map(describeFinding)
  const first = (containers: Container[]): Container => containers[0] ?? {}
  const withRules =
    (rules: readonly (readonly [string, string])[]): Change =>
    (containers) => {
      first(containers)['env_rules'] = rules.map(([pattern, strategy]) => ({ pattern, strategy, required: false }))
    }

  describe('of imports of fragments', () => {
    const feed = { feed: 'registry.example/f', issuer: 'did:x509:i' }
    const importing = (...imports: readonly (readonly [string, ...string[]])[]) => {
      const list = imports.map(([minimum_svn, ...includes]) => ({ ...feed, includes, minimum_svn }))
      return made.rego.replace(/fragments := \[[^]*?\n\]/, () => `fragments := ${JSON.stringify(list)}`)
    }

    it('takes the minimum of each item that is included by itself', () => {
      const old = importing(['10', 'containers'], ['1', 'fragments'])
      const wide = importing(['1', 'containers'], ['1', 'fragments'])
      expect(say(old, wide)).toEqual([
        'policy: newly allowed: containers of fragment registry.example/f of issuer did:x509:i from version 1, not only from 10'
      ])
      expect(say(wide, old)[0]).toContain('no longer allowed: containers of fragment')
      // The same, written as one import.
      expect(say(wide, importing(['1', 'containers', 'fragments']))).toEqual([])
    })

    it.each([
      ['2.0.0', '1.10.0', 'newly allowed'],
      ['1.10.0', '1.9.0', 'newly allowed'],
      ['99999999999999999999', '99999999999999999998', 'newly allowed'],
      ['4.5', '0.1', 'may be newly allowed'],
      ['4', '1.0.0', 'may be newly allowed'],
      ['x', '1', 'may be newly allowed']
    ])('says of a minimum that was %s and is %s: %s', (before, after, words) => {
      const found = say(importing([before, 'containers']), importing([after, 'containers']))
      expect(found.filter((text) => text.startsWith(`policy: ${words}`))).toHaveLength(1)
    })

    it('finds nothing in a minimum that is raised, nor in one that another import has already', () => {
      expect(say(importing(['1', 'containers']), importing(['9', 'containers'])).join()).not.toContain('newly')
      const old = importing(['1', 'containers'], ['9', 'containers'])
      expect(say(old, importing(['1', 'containers'], ['5', 'containers']))).toEqual([])
    })
  })

  it.each([
    ['allow_stdio_access', false],
    ['env_rules', [{ pattern: 'X=1', required: false, strategy: 'string' }]]
  ])('says that a container may start once its twin with other %s is gone', (member, value) => {
    const two = changed((containers) => containers.unshift({ ...first(containers), name: 'twin', [member]: value }))
    expect(say(two, made.rego)).toContain(
      `${router}: may be newly allowed (not decided): to start where two containers fitted, which the guest refuses`
    )
    expect(say(made.rego, two)).toContain(
      `${router}: may be no longer allowed (not decided): to start where two containers fitted, which the guest refuses`
    )
  })

  it('takes an identical second container for nothing new, and one without a command for none', () => {
    const second = (more: JsonObject) => changed((containers) => containers.push({ ...first(containers), ...more }))
    expect(say(made.rego, second({ name: 'second' }))).toEqual([])
    expect(say(made.rego, second({ name: 'second', command: null, layers: ['b'.repeat(64)] }))).toEqual([])
    expect(say(made.rego, second({ name: 'second', command: ['/x'] }))).toHaveLength(1)
    // One that never started and now does is as good as new.
    const never = changed((containers) => (first(containers)['command'] = null))
    expect(say(never, made.rego)).toEqual([expect.stringContaining(`${router}: newly allowed: the container`)])
  })

  it.each([9, 15, 'SIGRTMIN+3'])('takes signal %s for nothing that a policy could allow', (signal) => {
    const withSignals = (signals: readonly (number | string)[]) =>
      changed((containers) => (first(containers)['signals'] = signals))
    expect(say(withSignals([]), withSignals([signal]))).toEqual([])
  })

  it('compares a text with a pattern whose name may lack its equals sign', () => {
    const old = changed(withRules([['AB=1', 'string']]))
    expect(say(old, changed(withRules([['A=*B=1', 're2']]))).join()).not.toContain('no longer allowed')
  })

  it('ends soon on many rules of one name, and says of each what it found', () => {
    const rules = (value: string, strategy: string) =>
      changed(withRules(Array.from({ length: 2_000 }, (_, index) => [`A=${value}${index}`, strategy] as const)))
    const begin = performance.now()
    expect(say(rules('a', 'string'), rules('b', 'string'))).toHaveLength(4_000)
    expect(performance.now() - begin).toBeLessThan(5_000)
  })

  it('has one budget for all patterns, and decides nothing beyond it', () => {
    const hard = (end: string) =>
      changed(withRules(Array.from({ length: 30 }, (_, index) => [`A${index}=(a|b)*a(a|b){60}${end}`, 're2'] as const)))
    const begin = performance.now()
    const found = say(hard(''), hard('.*'))
    expect(performance.now() - begin).toBeLessThan(30_000)
    expect(found.filter((text) => text.includes('(not decided)')).length).toBeGreaterThan(0)
  }, 60_000)

  it('shows what of a policy would move the cursor as an escape, on one line', () => {
    const hostile = '\u001b[2K\u001b[1A\r\n\u202e\u2028\u009b'
    const found = say(
      made.rego,
      changed((containers) => {
        const container = first(containers)
        container['name'] = `router-container${hostile}`
        container['working_dir'] = `/${hostile}`
        container['command'] = ['/x', hostile]
        container['env_rules'] = [
          { pattern: `X${hostile}=${hostile}`, required: false, strategy: 'string' },
          { pattern: `Y=${hostile}.+`.replaceAll('[', '\\['), required: false, strategy: 're2' }
        ]
        container['mounts'] = [{ destination: hostile, options: [hostile], source: hostile, type: hostile }]
        container['exec_processes'] = [{ command: [hostile], signals: [] }]
        container['capabilities'] = { ambient: [hostile], bounding: [], effective: [], inheritable: [], permitted: [] }
        container['seccomp_profile_sha256'] = hostile
        container['user'] = {
          user_idname: { pattern: hostile, strategy: 'name' },
          group_idnames: [],
          umask: hostile
        }
      })
    )
    expect(found.length).toBeGreaterThan(8)
    for (const text of found) expect(text).toMatch(/^[\x20-\x7e]*$/)
    expect(found.join()).toContain('working directory "/\\u001b[2K\\u001b[1A\\r\\n\\u202e\\u2028\\u009b"')
  })

  it('tells which points one open door opens and another does not', () => {
    const door = (...points: readonly string[]) =>
      parseCcePolicy(
        ['package policy', 'api_version := "0.10.0"', ...points.map((name) => `${name} := {"allowed": true}`)].join(
          '\n'
        )
      )
    const least = ['mount_device', 'mount_overlay', 'create_container']
    const { findings } = comparePolicies(door(...least), door(...least, 'exec_external'))
    expect(findings.map(describeFinding)).toEqual([
      'policy: newly allowed: exec_external: the policy leaves this point open'
    ])
    expect(comparePolicies(door(...least, 'exec_external'), door(...least)).findings[0]?.change).toBe('forbidden')
    expect(comparePolicies(door(...least), door(...[...least].reverse())).findings).toEqual([])
  })
})
