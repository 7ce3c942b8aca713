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
  const startable = goldenCases.filter(({ name }) => !/exclude-default|zero-sidecar|sidecar-only/.test(name))
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
