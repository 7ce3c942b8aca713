import { describe, expect, it } from '@jest/globals'
import type { JsonObject } from '../../../src/base/json.js'
import {
  type CcePolicy,
  generatePolicies,
  parseCcePolicy,
  podsOfManifest,
  type SimulatedContainer,
  simulateTemplate
} from '../../../src/policy/index.js'
import { goldenCases, images, templateOf } from './vectors.js'

const image = 'localhost/tiny:1'
const group = (properties: JsonObject, more: JsonObject = {}): JsonObject => ({
  parameters: { open: { type: 'string' } },
  resources: [
    {
      type: 'Microsoft.ContainerInstance/containerGroups',
      name: 'g',
      ...more,
      properties: { containers: [{ name: 'app', properties: { image, command: ['/app'], ...properties } }] }
    }
  ]
})
const policyOf = (template: JsonObject, change: (rego: string) => string = (rego) => rego): CcePolicy => {
  const [policy] = generatePolicies({ template, images, options: { wildcardParameters: 'approve' } })
  return parseCcePolicy(change(policy?.rego ?? ''))
}
const simulate = (template: JsonObject, policy: CcePolicy): SimulatedContainer => {
  const [first] = simulateTemplate({ template, images, policies: [policy] })[0]?.containers ?? []
  if (first === undefined) throw new Error('the template has no container')
  return first
}
const original = group({})

describe('simulateTemplate', () => {
  // A policy without the infrastructure fragment starts nothing on ACI, and one that is a fragment is no policy.
  const startable = goldenCases.filter(
    ({ name }) => !/exclude-default|zero-sidecar|sidecar-only|infrastructure-svn/.test(name)
  )
  it.each(startable.map(({ name }) => name))('starts every container of %s under its own policy', (name) => {
    const golden = goldenCases.find((each) => each.name === name)
    const template = templateOf(name)
    const made = generatePolicies({ template, images, options: { ...golden?.options, pretty: false } })
    const groups = simulateTemplate({ template, images, policies: made.map(({ rego }) => parseCcePolicy(rego)) })
    const denied = groups.flatMap(({ containers }) => containers).filter(({ starts }) => !starts)
    // Without a command none starts, which is what the guest does too.
    expect(denied.filter(({ denial }) => !denial?.errors.includes('invalid command'))).toEqual([])
  })

  it.each([
    ['invalid command', group({ command: ['/other'] }), 'The policy allows the command ["/app"]'],
    ['privileged escalation not allowed', group({ securityContext: { privileged: true } }), 'leave privileged out']
  ])('says %s, in the words of ACI, and what to do', (error, template, fix) => {
    const { starts, denial } = simulate(template, policyOf(original))
    expect(starts).toBe(false)
    expect(denial).toMatchObject({ container: 'app', rule: 'create_container' })
    expect(denial?.errors).toContain(error)
    expect(denial?.fix).toContain(fix)
    const encoded = /policyDecision< (\S+) >policyDecision/.exec(denial?.message ?? '')?.[1] ?? ''
    expect(JSON.parse(Buffer.from(encoded, 'base64').toString())).toMatchObject({
      decision: 'deny',
      input: { rule: 'create_container' },
      reason: { errors: denial?.errors }
    })
  })

  it('names a mount that the policy does not have', () => {
    const template = group({ volumeMounts: [{ name: 'v', mountPath: '/data' }] })
    const [resource] = template['resources'] as { properties: JsonObject }[]
    const withVolume = {
      ...template,
      resources: [{ ...resource, properties: { ...resource?.properties, volumes: [{ name: 'v', emptyDir: {} }] } }]
    }
    expect(simulate(withVolume, policyOf(original)).denial).toMatchObject({
      errors: ['invalid mount list: /data'],
      fix: expect.stringContaining('no such mount at /data')
    })
    expect(simulate(withVolume, policyOf(withVolume)).starts).toBe(true)
  })

  it('says which layer of which image the policy does not list', () => {
    const other = policyOf(original, (rego) => rego.replace(/"layers":\["[0-9a-f]{64}/, `"layers":["${'0'.repeat(64)}`))
    expect(simulate(original, other).denial).toMatchObject({
      rule: 'mount_device',
      errors: ['deviceHash not found'],
      fix: expect.stringContaining(`Layer 0 of ${image}`)
    })
  })

  it('denies everything under a policy without what the platform needs', () => {
    const { denial } = simulate(
      original,
      policyOf(original, (rego) => rego.replace('"/pause"', '"/other"'))
    )
    expect(denial).toMatchObject({ container: 'pause-container', fix: expect.stringContaining('pause-container') })
  })

  it('tells variables that are dropped, and never shows a value', () => {
    const template = group({ environmentVariables: [{ name: 'NEW', value: 'very-secret' }] })
    const simulated = simulate(template, policyOf(original))
    expect(simulated).toMatchObject({ starts: true, droppedVariables: ['NEW'] })
    expect(JSON.stringify(simulated)).not.toContain('very-secret')
  })

  it('tells that the identity endpoints are dropped where the policy has no rules for them', () => {
    const template = group({}, { identity: { type: 'UserAssigned' } })
    const dropped = simulate(template, policyOf(template)).droppedVariables
    expect(dropped).toEqual(['APP_IDENTITY_ENDPOINT', 'IDENTITY_ENDPOINT', 'IMDS_ENDPOINT'])
  })

  it('tries a stand-in for what only the deployment knows, and says so', () => {
    const template = group({ environmentVariables: [{ name: 'OPEN', value: "[parameters('open')]" }] })
    expect(simulate(template, policyOf(template))).toMatchObject({
      starts: true,
      standIns: ['OPEN'],
      droppedVariables: []
    })
  })
})

describe('simulateTemplate under imports of fragments', () => {
  const under = (change: (imports: string) => string, more: JsonObject = {}) => {
    const template = group({}, more)
    return simulate(
      template,
      policyOf(template, (rego) => rego.replace(/fragments := \[[^]*?\n\]/, change))
    )
  }
  const other = { feed: 'registry.example/f', includes: ['containers'], issuer: 'did:x509:other', minimum_svn: '1' }

  it.each([
    ['of another issuer', (text: string) => text.replace('did:x509', 'did:other')],
    ['that includes no containers', (text: string) => text.replace('"containers",', '')],
    ['from a version that is no number', (text: string) => text.replace('"4"', '"four"')]
  ])('denies all where the import of the platform is one %s', (_, change) => {
    expect(under(change)).toMatchObject({ starts: false, denial: { container: 'infrastructure-container' } })
  })

  it('decides nothing where the platform would need a later version than is known', () => {
    const { starts, denial, undecided } = under((text) => text.replace('"4"', '"5"'))
    expect([starts, denial]).toEqual([false, undefined])
    expect(undecided).toContain('version 5 or later')
    expect(under((text) => text.replace('"4"', '"3"')).starts).toBe(true)
  })

  it('decides nothing against a container that may come from a fragment', () => {
    const withOther = (rego: string) => rego.replace('fragments := [', `fragments := [${JSON.stringify(other)},`)
    const template = group({ command: ['/other'] })
    const { denial, undecided } = simulate(template, policyOf(original, withOther))
    expect(denial).toBeUndefined()
    expect(undecided).toContain(other.feed)
    expect(simulate(template, policyOf(original)).denial?.errors).toContain('invalid command')
  })

  it('asks for no containers of the platform where the group is tagged to have none', () => {
    expect(under(() => 'fragments := []').denial?.container).toBe('infrastructure-container')
    expect(under(() => 'fragments := []', { tags: { 'Annotate-zero-sidecar': 'true' } }).starts).toBe(true)
  })
})

describe('simulateTemplate with what only the deployment knows', () => {
  const template = group({ environmentVariables: [{ name: 'OPEN', value: "[parameters('open')]" }] })
  const withRule = (pattern: string, required: boolean, dropping = true) =>
    policyOf(original, (rego) =>
      rego
        .replace('"env_rules":[', `"env_rules":[${JSON.stringify({ pattern, required, strategy: 're2' })},`)
        .replace('environment_variable_dropping := true', `environment_variable_dropping := ${dropping}`)
    )

  it.each([
    ['a required rule', withRule('OPEN=[0-9]+', true)],
    ['a rule without which nothing is dropped', withRule('OPEN=[0-9]+', false, false)]
  ])('decides nothing of %s for the value, and names the variable', (_, policy) => {
    const { starts, denial, undecided } = simulate(template, policy)
    expect([starts, denial]).toEqual([false, undefined])
    expect(undecided).toMatch(/value of (?:\w+, )*OPEN/)
  })

  it('denies what no rule is for, whatever the value', () => {
    expect(simulate(template, withRule('OTHER=[0-9]+', true)).denial?.errors).toContain(
      'missing required environment variable'
    )
    expect(simulate(template, withRule('OTHER=[0-9]+', false, false)).denial?.errors.join()).toContain('OPEN')
  })

  it('says that a variable may be dropped, where a rule for it asks for another value', () => {
    expect(simulate(template, withRule('OPEN=[0-9]+', false))).toMatchObject({
      starts: true,
      droppedVariables: [],
      maybeDropped: ['OPEN']
    })
    expect(simulate(template, policyOf(original))).toMatchObject({ droppedVariables: ['OPEN'], maybeDropped: [] })
  })

  it('decides nothing of a user that the image has by name and the policy by number', () => {
    const [known] = [...images].filter(([name]) => name === image).map(([, facts]) => facts)
    if (known === undefined) throw new Error('the vectors have the image')
    const named = new Map([[image, { ...known, config: { ...known.config, User: 'app' } }]])
    const policies = [policyOf(group({ securityContext: { runAsUser: 1000 } }))]
    const [tried] = simulateTemplate({ template: original, images: named, policies })[0]?.containers ?? []
    expect(tried?.denial).toBeUndefined()
    expect(tried?.undecided).toContain('who app')
  })
})

describe('simulateTemplate of a pod', () => {
  const pod = (container: JsonObject) => ({
    kind: 'Deployment',
    metadata: { name: 'd' },
    spec: { template: { spec: { containers: [{ name: 'app', image, ...container }] } } }
  })
  const denialOf = (container: JsonObject) => {
    const [made] = podsOfManifest([pod({ args: ['serve'] })])
    const [tried] = podsOfManifest([pod(container)])
    const form = 'virtual-node'
    const [policy] = generatePolicies({ template: made?.template ?? {}, images, form })
    const policies = [parseCcePolicy(policy?.rego ?? '')]
    return simulateTemplate({ template: tried?.template ?? {}, images, form, policies })[0]?.containers[0]?.denial
  }

  it('starts it under its own policy, with the mounts of a virtual node', () => {
    expect(denialOf({ args: ['serve'] })).toBeUndefined()
  })

  it('denies another command', () => {
    expect(denialOf({ args: ['other'] })?.errors).toEqual(['invalid command'])
  })
})
