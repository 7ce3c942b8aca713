import { describe, expect, it } from '@jest/globals'
import { sha256Hex } from '../../../src/base/digest.js'
import type { Json, JsonObject } from '../../../src/base/json.js'
import { UserError } from '../../../src/base/user-error.js'
import {
  existingPolicies,
  describeExistingPolicies,
  generatePolicies,
  type GroupPolicy,
  type ImageFacts,
  injectPolicies,
  parseCcePolicy,
  type PolicyOptions,
  wildcardQuestions
} from '../../../src/policy/index.js'
import { images, templateOf } from './vectors.js'

const image = 'example.org/app:1'
const layers = [sha256Hex('base layer'), sha256Hex('top layer')]
const facts = (config: ImageFacts['config']): ImageFacts => ({ config, layers })

interface Made {
  readonly properties?: JsonObject
  readonly config?: ImageFacts['config']
  readonly group?: JsonObject
  readonly groupProperties?: JsonObject
  readonly template?: JsonObject
  readonly parameters?: JsonObject
  readonly options?: PolicyOptions
}

describe('environment rules', () => {
  const env = (...environmentVariables: readonly Json[]): Made => ({ properties: { environmentVariables } })

  it('lists the template first, then the image, then the platform', () => {
    const patterns = container({
      ...env({ name: 'B', value: '2' }, { name: 'A', value: '' }),
      config: { Cmd: ['x'], Env: ['A=image', 'PATH=/bin', 'E=a=b'] }
    })['env_rules'].map((rule: JsonObject) => rule['pattern'])
    expect(patterns.slice(0, 5)).toEqual(['B=2', 'A=', 'PATH=/bin', 'E=a=b', 'TERM=xterm'])
  })

  it('adds the identity endpoints last and only when asked for', () => {
    const options = { platformIdentityRules: true }
    const rules = container({ ...env({ name: 'IMDS_ENDPOINT', value: 'mine' }), options })['env_rules']
    expect(rules.slice(-2)).toEqual([
      { pattern: 'APP_IDENTITY_ENDPOINT=.+', required: false, strategy: 're2' },
      { pattern: 'IDENTITY_ENDPOINT=.+', required: false, strategy: 're2' }
    ])
    expect(JSON.stringify(container({}))).not.toContain('IDENTITY_ENDPOINT')
  })

  it('evaluates whole expressions and writes numbers and booleans as text', () => {
    const template = {
      parameters: { n: { type: 'int', defaultValue: 7 }, b: { type: 'bool', defaultValue: true } },
      variables: { v: "[format('{0}!', parameters('n'))]" }
    }
    const made = env(
      { name: 'N', value: "[parameters('n')]" },
      { name: 'B', value: "[parameters('b')]" },
      { name: 'V', value: "[variables('v')]" },
      { name: 'C', value: "[concat('a', parameters('n'))]" },
      { name: 'L', value: '[[x]' }
    )
    const patterns = container({ ...made, template })['env_rules'].map((rule: JsonObject) => rule['pattern'])
    expect(patterns.slice(0, 5)).toEqual(['N=7', 'B=True', 'V=7!', 'C=a7', 'L=[x]'])
  })

  it('replaces the first of several embedded references, with a warning', () => {
    const template = {
      parameters: { a: { type: 'string', defaultValue: '$&1' }, b: { type: 'string', defaultValue: '2' } }
    }
    const made = env({ name: 'M', value: "x [parameters('a')] [parameters('b')] [parameters('a')]" })
    const [policy] = make({ ...made, template })
    expect(policy?.rego).toContain('"pattern":"M=x$&1 [parameters(\'b\')]$&1"')
    expect(policy?.warnings.join()).toContain('literally')
  })

  it('prefers a value to a secure value and keeps an empty text', () => {
    const made = env(
      { name: 'A', value: 'v', secureValue: 's' },
      { name: 'B', secureValue: 's' },
      { Name: 'C', VALUE: 'c' }
    )
    const patterns = container(made)['env_rules'].map((rule: JsonObject) => rule['pattern'])
    expect(patterns.slice(0, 3)).toEqual(['A=v', 'B=s', 'C=c'])
  })

  it('warns of a secure value in the policy, whose bytes stay as they are', () => {
    const [policy] = make(env({ name: 'B', secureValue: 'hunter2' }, { name: 'A', value: 'v' }))
    expect(policy?.rego).toContain('"pattern":"B=hunter2"')
    expect(policy?.warnings).toEqual([expect.stringMatching(/secureValue of B stands in the policy in clear text/)])
    expect(policy?.warnings.join()).not.toContain('hunter2')
  })

  it('does not make a pattern of a name that is none', () => {
    const template = { parameters: { key: { type: 'securestring' } } }
    const options = { wildcardParameters: 'approve' } as const
    for (const name of ['.*', 'A|B', '1A', 'A-B', 'É', ' A']) {
      const made = { ...env({ name, value: "[parameters('key')]" }), template, options }
      expect(() => make(made)).toThrow(`${JSON.stringify(name)} cannot be allowed with any value`)
    }
  })

  it('takes no quadratic time for white space and half references', () => {
    const value = `${' '.repeat(300_000)}x${"[parameters('".repeat(20_000)}`
    const started = performance.now()
    expect(make(env({ name: 'A', value }))).toHaveLength(1)
    expect(performance.now() - started).toBeLessThan(2_000)
  })

  const declared = { parameters: { key: { type: 'securestring' }, other: { type: 'string' } } }
  const open = env(
    { name: 'KEY', secureValue: "[parameters('key')]" },
    { name: 'OTHER', value: "[parameters('other')]" }
  )

  it('refuses parameters without a value, all in one message, unless a decision covers them', () => {
    expect(() => make({ ...open, template: declared })).toThrow(
      'no value for KEY of container "app" (parameter "key"), OTHER of container "app" (parameter "other")'
    )
    const options = { wildcardParameters: ['key'], omittedParameters: ['other'] }
    const rules = container({ ...open, template: declared, options })['env_rules']
    expect(rules[0]).toEqual({ pattern: 'KEY=.*', required: false, strategy: 're2' })
    expect(rules[1]).toEqual({ pattern: 'TERM=xterm', required: false, strategy: 'string' })
  })

  it('lists the questions that a person would be asked', () => {
    expect(wildcardQuestions(inputOf({ ...open, template: declared }))).toEqual([
      { container: 'app', variable: 'KEY', parameter: 'key' },
      { container: 'app', variable: 'OTHER', parameter: 'other' }
    ])
  })

  it('takes the parameter file before the default, and an empty text in it for no value', () => {
    const template = { parameters: { key: { type: 'string', defaultValue: 'default' } } }
    const made = env({ name: 'KEY', value: "[parameters('key')]" })
    const file = (value: Json): JsonObject => ({ parameters: { key: { value } } })
    expect(container({ ...made, template, parameters: file('given') })['env_rules'][0].pattern).toBe('KEY=given')
    expect(container({ ...made, template })['env_rules'][0].pattern).toBe('KEY=default')
    expect(() => make({ ...made, template, parameters: file('') })).toThrow('no value for KEY')
  })

  const faults: readonly (readonly [string, Made, string])[] = [
    ['a variable without name', env({ value: 'x' }), 'has no name'],
    ['a variable without value', env({ name: 'A' }), 'A has no value'],
    ['a null value', env({ name: 'A', value: null }), 'A has no value'],
    ['a number as value', env({ name: 'A', value: 5 }), 'must have a text'],
    ['an undeclared parameter', env({ name: 'A', value: "[parameters('x')]" }), 'parameter "x" is not declared'],
    ['an undeclared variable', env({ name: 'A', value: "[variables('x')]" }), "The template variable 'x' is not found"],
    ['an unknown function', env({ name: 'A', value: "[uniqueString('x')]" }), 'uniqueString'],
    ['an unknown place', env({ name: 'A', value: '[resourceGroup().name]' }), 'where the template is deployed'],
    ['variables that are no list', { properties: { environmentVariables: {} } }, 'must be a list'],
    ['an image variable without "="', { config: { Cmd: ['x'], Env: ['PATH'] } }, 'has no "="'],
    [
      'an object as value',
      { ...env({ name: 'A', value: "[variables('o')]" }), template: { variables: { o: {} } } },
      'must be a text, a number'
    ]
  ]
  for (const [what, made, message] of faults) {
    it(`refuses ${what}`, () => {
      expect(() => make(made)).toThrow(message)
    })
  }

  it('uses the place of deployment where it is given', () => {
    const context = { subscriptionId: 's', tenantId: 't', resourceGroup: { name: 'rg', location: 'weu' } }
    const [policy] = generatePolicies({ ...inputOf(env({ name: 'A', value: '[resourceGroup().location]' })), context })
    expect(policy?.rego).toContain('"A=weu"')
  })
})

describe('command, user, signals and working directory', () => {
  const configs: readonly (readonly [ImageFacts['config'], Json])[] = [
    [{ Entrypoint: ['/e'], Cmd: ['c'] }, ['/e', 'c']],
    [{ Entrypoint: ['/e'] }, ['/e']],
    [{ Cmd: ['c'] }, ['c']],
    [{ Entrypoint: null, Cmd: null }, null],
    [{}, null]
  ]
  for (const [config, command] of configs) {
    it(`takes ${JSON.stringify(command)} from ${JSON.stringify(config)}`, () => {
      expect(container({ config })['command']).toEqual(command)
    })
  }

  it('lets the template replace entry point and arguments', () => {
    expect(
      container({ properties: { command: ['x'] }, config: { Entrypoint: ['/e'], Cmd: ['c'] } })['command']
    ).toEqual(['x'])
  })

  it('warns of a container that no guest would start, or refuses it on request', () => {
    expect(make({ config: {} })[0]?.warnings.join()).toContain('the guest will not start it')
    expect(() => make({ config: {}, options: { refuseNullCommand: true } })).toThrow('gives a command')
  })

  const users: readonly (readonly [string, Json, Json])[] = [
    ['1000', { pattern: '1000', strategy: 'id' }, { pattern: '', strategy: 'any' }],
    ['node', { pattern: 'node', strategy: 'name' }, { pattern: '', strategy: 'any' }],
    ['0:0', { pattern: '0', strategy: 'id' }, { pattern: '0', strategy: 'id' }],
    ['node:7', { pattern: 'node', strategy: 'name' }, { pattern: '7', strategy: 'id' }],
    ['7:a:b', { pattern: '7', strategy: 'id' }, { pattern: 'a:b', strategy: 'name' }],
    ['', { pattern: '', strategy: 'any' }, { pattern: '', strategy: 'any' }]
  ]
  for (const [user, expected, group] of users) {
    it(`reads the image user ${JSON.stringify(user)}`, () => {
      expect(container({ config: { Cmd: ['x'], User: user } })['user']).toEqual({
        group_idnames: [group],
        umask: '0022',
        user_idname: expected
      })
    })
  }

  it('ignores the image user where the template sets user or group', () => {
    const made = { properties: { securityContext: { runAsGroup: 5 } }, config: { Cmd: ['x'], User: 'node' } }
    expect(container(made)['user']).toEqual({
      group_idnames: [{ pattern: '5', strategy: 'id' }],
      umask: '0022',
      user_idname: { pattern: '', strategy: 'any' }
    })
  })

  const signals: readonly (readonly [string, Json])[] = [
    ['SIGTERM', [15]],
    ['sigunused', [31]],
    ['9', ['9']],
    ['SIGRTMIN+3', ['SIGRTMIN+3']],
    ['', []]
  ]
  for (const [signal, expected] of signals) {
    it(`writes the stop signal ${JSON.stringify(signal)} as ${JSON.stringify(expected)}`, () => {
      expect(container({ config: { Cmd: ['x'], StopSignal: signal } })['signals']).toEqual(expected)
    })
  }

  it('takes "/" for an empty working directory', () => {
    expect(container({ config: { Cmd: ['x'], WorkingDir: '' } })['working_dir']).toBe('/')
  })
})

describe('security context', () => {
  const secured = (securityContext: JsonObject): Made => ({ properties: { securityContext } })

  it('hashes a seccomp profile in its normal form, with all digits of its numbers', () => {
    const profile = {
      syscalls: [{ action: 'A', names: ['read'], args: [{ op: 'EQ', value: 0, index: 1, x: 2 }], comment: 'c' }],
      defaultAction: 'D',
      other: 1
    }
    const text = JSON.stringify(profile).replace('"value":0', '"value":18446744073709551615')
    const normal =
      '{"defaultAction":"D","syscalls":[{"names":["read"],"action":"A","args":[{"index":1,"value":18446744073709551615,"op":"EQ"}]}]}'
    expect(container(secured({ seccompProfile: base64(text) }))['seccomp_profile_sha256']).toBe(sha256Hex(normal))
    expect(container(secured({ seccompProfile: base64('{}') }))['seccomp_profile_sha256']).toBe(
      sha256Hex('{"defaultAction":""}')
    )
    expect(container(secured({}))['seccomp_profile_sha256']).toBe('')
  })

  it('reads switches given as text', () => {
    const made = container(secured({ privileged: 'True', allowPrivilegeEscalation: 'false' }))
    expect([made['allow_elevated'], made['no_new_privileges']]).toEqual([true, true])
  })

  const faults: readonly (readonly [JsonObject, string])[] = [
    [{ privileged: 1 }, 'privileged must be true or false'],
    [{ runAsUser: '5' }, 'runAsUser must be an integer'],
    [{ runAsUser: -1 }, 'runAsUser must be an integer'],
    [{ runAsGroup: true }, 'runAsGroup must be an integer'],
    [{ capabilities: [] }, 'capabilities must be an object'],
    [{ capabilities: { add: 'CAP_KILL' } }, 'add must be a list'],
    [{ capabilities: { drop: [1] } }, 'drop[0] must be a text'],
    [{ seccompProfile: '%' }, 'base64 of a JSON profile'],
    [{ seccompProfile: base64('[]') }, 'must be an object'],
    [{ seccompProfile: base64('{"syscalls":{}}') }, 'syscalls must be a list'],
    [{ seccompProfile: {} }, 'base64 of a JSON profile']
  ]
  for (const [context, message] of faults) {
    it(`refuses ${JSON.stringify(context)}`, () => {
      expect(() => make(secured(context))).toThrow(message)
    })
  }
})

describe('mounts', () => {
  const volumes = [
    { name: 'files', azureFile: { shareName: 's', readOnly: true } },
    { name: 'scratch', emptyDir: {} },
    { name: 'odd', nfs: {} }
  ]
  const mounted = (...volumeMounts: readonly Json[]): Made => ({
    properties: { volumeMounts },
    groupProperties: { volumes }
  })

  it('lists volumes in order, then the config map, then the resolver file', () => {
    const made = mounted({ name: 'scratch', mountPath: '/s', readOnly: true }, { name: 'files', mountPath: '/f' })
    const mounts = container({ ...made, properties: { ...made.properties, configMap: { keyValuePairs: {} } } })[
      'mounts'
    ]
    expect(
      mounts.map((mount: JsonObject) => [mount['destination'], mount['source'], (mount['options'] as Json[])[2]])
    ).toEqual([
      ['/s', 'sandbox:///tmp/atlas/emptydir/.+', 'ro'],
      ['/f', 'sandbox:///tmp/atlas/azureFileVolume/.+', 'rw'],
      ['/mnt/configmap', 'sandbox:///tmp/atlas/emptydir/.+', 'rw'],
      ['/etc/resolv.conf', 'sandbox:///tmp/atlas/resolvconf/.+', 'rw']
    ])
  })

  const faults: readonly (readonly [Json, string])[] = [
    [{ name: 'none', mountPath: '/x' }, 'has no volume "none"'],
    [{ name: 'odd', mountPath: '/x' }, 'is none of azureFile'],
    [{ name: 'files' }, 'has no mountPath'],
    [{ mountPath: '/x' }, 'has no name'],
    [{ name: 'files', mountPath: '/x', readOnly: 'yes' }, 'readOnly must be true or false']
  ]
  for (const [mount, message] of faults) {
    it(`refuses ${JSON.stringify(mount)}`, () => {
      expect(() => make(mounted(mount))).toThrow(message)
    })
  }
})

describe('groups, fragments and options', () => {
  it('gives one policy for each group, init containers after containers', () => {
    const group = (name: string): JsonObject => ({
      type: 'Microsoft.ContainerInstance/containerGroupProfiles',
      name,
      properties: {
        initContainers: [{ name: 'init', properties: { image } }],
        containers: [{ name: 'app', properties: { image } }]
      }
    })
    const template = { resources: [group('one'), { type: 'Microsoft.Web/sites' }, group("[concat('t', 'wo')]")] }
    const policies = generatePolicies({ template, images: new Map([[image, facts({ Cmd: ['x'] })]]) })
    expect(policies.map(({ groupName }) => groupName)).toEqual(['one', 'two'])
    const parsed = parseCcePolicy(policies[0]!.rego)
    expect(parsed.kind === 'enforced' && parsed.containers.map(({ name }) => name)).toEqual([
      'app',
      'init',
      'pause-container'
    ])
  })

  it('names a group as it is written where its name cannot be evaluated', () => {
    expect(make({ group: { name: '[uniqueString(resourceGroup().id)]' } })[0]?.groupName).toBe(
      '[uniqueString(resourceGroup().id)]'
    )
  })

  it('leaves out the id, and the name that repeats it', () => {
    expect(container({ options: { omitId: true } })).toMatchObject({ name: 'app' })
    expect(container({ options: { omitId: true } })['id']).toBeUndefined()
    const resource = (name: string): JsonObject => ({
      resources: [
        {
          type: 'Microsoft.ContainerInstance/containerGroups',
          name: 'g',
          properties: { containers: [{ name, properties: { image } }] }
        }
      ]
    })
    const [policy] = generatePolicies({
      template: resource(image),
      images: new Map([[image, facts({ Cmd: ['x'] })]]),
      options: { omitId: true }
    })
    expect(policy?.rego).not.toContain(image)
  })

  it('lets tags without the zero-sidecar key override the option, as confcom does', () => {
    const excluded = (tags: JsonObject) =>
      make({ group: { tags }, options: { excludeDefaultFragments: true } })[0]!.rego.includes('fragments := []')
    expect([excluded({}), excluded({ a: 'b' }), excluded({ 'annotate-ZERO-sidecar': 'TRUE' })]).toEqual([
      true,
      false,
      true
    ])
  })

  it('warns of debug mode', () => {
    expect(make({ options: { debugMode: true } })[0]?.warnings).toEqual([expect.stringMatching(/^debug mode: /)])
    expect(make({})[0]?.warnings).toEqual([])
  })

  it('warns of an infrastructure SVN below the default', () => {
    expect(make({ options: { infrastructureSvn: '3' } })[0]?.warnings.join()).toContain('below 4')
    expect(make({ options: { infrastructureSvn: '4' } })[0]?.warnings).toEqual([])
  })

  it('leaves out containers without layers, with a warning', () => {
    const [policy] = generatePolicies({
      ...inputOf({}),
      images: new Map([[image, { config: { Cmd: ['x'] }, layers: [] }]])
    })
    expect(policy?.warnings.join()).toContain('has no layers')
    expect(policy?.rego).not.toContain(image)
  })

  it('writes the full text for a platform image that comes second, without anything of its configuration', () => {
    const sidecar = 'mcr.microsoft.com/aci/atlas-netstats:1'
    const template = {
      resources: [
        {
          type: 'Microsoft.ContainerInstance/containerGroups',
          name: 'g',
          properties: {
            containers: [
              { name: 'app', properties: { image } },
              { name: 'stats', properties: { image: sidecar } }
            ]
          }
        }
      ]
    }
    const known = new Map([
      [image, facts({ Cmd: ['x'] })],
      [sidecar, facts({ Cmd: ['y'], Env: ['A=1'], User: '5', StopSignal: 'SIGINT' })]
    ])
    const parsed = parseCcePolicy(generatePolicies({ template, images: known })[0]!.rego)
    expect(parsed.kind === 'enforced' && parsed.containers[1]).toMatchObject({
      command: [],
      envRules: [],
      mounts: [],
      signals: []
    })
  })

  const fragment = { feed: 'f', includes: ['containers'], issuer: 'did:x', minimum_svn: '1' }
  const faults: readonly (readonly [string, Made, string])[] = [
    ['an SVN that is no number', { options: { infrastructureSvn: '1.0' } }, 'is not a number'],
    [
      'an SVN with a tag that excludes the fragment',
      { group: { tags: { 'Annotate-zero-sidecar': 'true' } }, options: { infrastructureSvn: '5' } },
      'needs the default fragment'
    ],
    ['a fragment without feed', { options: { fragments: [{ ...fragment, feed: '' }] } }, '"feed"'],
    ['a fragment without issuer', { options: { fragments: [{ ...fragment, issuer: '' }] } }, '"issuer"'],
    [
      'a fragment with an SVN that is no number',
      { options: { fragments: [{ ...fragment, minimum_svn: '1.0.0' }] } },
      '"minimum_svn"'
    ],
    [
      'a fragment with an SVN of another type',
      { options: { fragments: [{ ...fragment, minimum_svn: 1 as never }] } },
      '"minimum_svn"'
    ],
    [
      'a fragment whose includes are no list',
      { options: { fragments: [{ ...fragment, includes: 'containers' as never }] } },
      '"includes"'
    ],
    [
      'standalone fragments',
      { groupProperties: { confidentialComputeProperties: { standaloneFragments: ['x'] } } },
      'standaloneFragments'
    ],
    ['a group without containers', { groupProperties: { containers: [] } }, 'has no containers'],
    [
      'a probe without command',
      { properties: { livenessProbe: { exec: { command: [], x: 1 } } } },
      'livenessProbe.exec has no command'
    ],
    ['a command that is no list', { properties: { command: 'sh' } }, 'command must be a list'],
    ['a parameter file without parameters', { parameters: { key: { value: 'x' } } }, 'no "parameters" object'],
    ['an image that was not read', { properties: { image: 'other:1' } }, 'image other:1 was not read'],
    ['an image with an unknown expression', { properties: { image: "[reference('x').image]" } }, 'reference']
  ]
  for (const [what, made, message] of faults) {
    it(`refuses ${what}`, () => {
      const failing = (): unknown => make(made)
      expect(failing).toThrow(message)
      expect(failing).toThrow(UserError)
    })
  }
})

describe('injectPolicies', () => {
  const policies = make({})

  it('keeps numbers as the file spells them and escapes what is not ASCII', () => {
    const text = `{"x":1.0,"é":"ü","resources":[{"type":"Microsoft.ContainerInstance/containerGroups","properties":{"sku":1e2}}]}`
    const out = injectPolicies(text, policies)
    expect(out).toContain('"x": 1.0,\n  "\\u00e9": "\\u00fc"')
    expect(out).toContain('"sku": 100.0,\n')
    expect(JSON.parse(out)['resources'][0]['properties']['confidentialComputeProperties']['ccePolicy']).toBe(
      policies[0]!.base64
    )
  })

  it('writes into a member that is spelled in another case, and replaces null', () => {
    const group = (properties: string): string =>
      `{"resources":[{"type":"Microsoft.ContainerInstance/containerGroups","properties":${properties}}]}`
    const base64 = policies[0]!.base64
    expect(
      JSON.parse(injectPolicies(group('{"ConfidentialComputeProperties":{"CCEPolicy":"x"}}'), policies))[
        'resources'
      ][0]['properties']
    ).toEqual({
      ConfidentialComputeProperties: { CCEPolicy: base64 }
    })
    expect(
      JSON.parse(injectPolicies(group('{"confidentialComputeProperties":null,"a":1}'), policies))['resources'][0][
        'properties'
      ]
    ).toEqual({
      confidentialComputeProperties: { ccePolicy: base64 },
      a: 1
    })
  })

  it('refuses a number of policies that differs from the number of groups', () => {
    expect(() => injectPolicies(templateOf('default'), [])).toThrow('1 container groups, and there are 0 policies')
  })

  it('refuses text that is no template', () => {
    expect(() => injectPolicies('{', policies)).toThrow('is not JSON')
    expect(() => injectPolicies('[]', policies)).toThrow('no list of resources')
    expect(() =>
      injectPolicies('{"resources":[{"type":"Microsoft.ContainerInstance/containerGroups"}]}', policies)
    ).toThrow('has no properties')
  })

  it('is read back by existingPolicies', () => {
    const [policy] = generatePolicies({ template: templateOf('default'), images })
    const written = JSON.parse(injectPolicies(templateOf('default'), [policy!])) as JsonObject
    expect(existingPolicies(written)).toEqual([{ groupName: 'inference-router', base64: policy!.base64 }])
    expect(describeExistingPolicies(existingPolicies(written))).toContain(policy!.rego)
  })

  it('refuses to show what is absent or no base64', () => {
    expect(() => describeExistingPolicies(existingPolicies(templateOf('default')))).toThrow('has no ccePolicy')
    expect(() => describeExistingPolicies(existingPolicies(templateOf('bad-base64-overwrite')))).toThrow(
      'is not base64'
    )
  })
})

function inputOf(made: Made): Parameters<typeof generatePolicies>[0] {
  const properties = { image, ...made.properties }
  const group = {
    type: 'Microsoft.ContainerInstance/containerGroups',
    name: 'g',
    properties: { containers: [{ name: 'app', properties }], ...made.groupProperties },
    ...made.group
  }
  return {
    template: { ...made.template, resources: [group] },
    images: new Map([[image, facts(made.config ?? { Cmd: ['run'] })]]),
    ...(made.parameters === undefined ? {} : { parameters: made.parameters }),
    options: made.options ?? {}
  }
}

function make(made: Made): readonly GroupPolicy[] {
  return generatePolicies(inputOf(made))
}

/** The first container of the policy's text. */
function container(made: Made) {
  const [policy] = make(made)
  const line = policy!.rego.split('\n').find((text) => text.startsWith('containers := '))!
  return JSON.parse(line.slice('containers := '.length))[0]
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64')
}
