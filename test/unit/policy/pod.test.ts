import { describe, expect, it } from '@jest/globals'
import type { Json, JsonObject } from '../../../src/base/json.js'
import { generatePolicies, podsOfManifest, withPolicyAnnotation } from '../../../src/policy/index.js'
import { images } from './vectors.js'

const image = 'localhost/tiny:1'
const pod = (container: JsonObject, spec: JsonObject = {}, more: JsonObject = {}): JsonObject => ({
  kind: 'Pod',
  metadata: { name: 'p', ...more },
  spec: { containers: [{ name: 'c', image, args: ['serve'], ...container }], ...spec }
})

function regoOf(documents: readonly Json[], wildcardParameters: readonly string[] = []): string {
  const [first] = podsOfManifest(documents)
  const template = first?.template ?? {}
  const [policy] = generatePolicies({ template, images, form: 'virtual-node', options: { wildcardParameters } })
  return policy?.rego ?? ''
}

describe('podsOfManifest', () => {
  it.each([
    ['Deployment', (spec: JsonObject) => ({ template: { spec } })],
    ['StatefulSet', (spec: JsonObject) => ({ template: { spec } })],
    ['DaemonSet', (spec: JsonObject) => ({ template: { spec } })],
    ['ReplicaSet', (spec: JsonObject) => ({ template: { spec } })],
    ['Job', (spec: JsonObject) => ({ template: { spec } })],
    ['CronJob', (spec: JsonObject) => ({ jobTemplate: { spec: { template: { spec } } } })]
  ])('finds the pod of a %s, and gives it the policy where it is made', (kind, place) => {
    const { spec } = pod({})
    const resource = { kind, metadata: { name: 'r' }, spec: place(spec as JsonObject) }
    expect(regoOf([resource])).toBe(regoOf([pod({})]))
    expect(podsOfManifest([withPolicyAnnotation(resource, 'cG9s')])[0]?.existingPolicy).toBe('cG9s')
  })

  it('leaves out what makes no pods, and says when nothing does', () => {
    const service = { kind: 'Service', metadata: { name: 's' } }
    expect(podsOfManifest([service, pod({})]).map(({ index, name }) => [index, name])).toEqual([[1, 'p']])
    expect(() => podsOfManifest([service])).toThrow('no pod')
  })

  it('takes no text for an expression of ARM', () => {
    expect(regoOf([pod({ env: [{ name: 'A', value: "[parameters('x')]" }] })])).toContain(`"A=[parameters('x')]"`)
  })

  it('takes values of config maps and secrets from the manifest', () => {
    const env = [
      { name: 'A', valueFrom: { configMapKeyRef: { name: 'm', key: 'a' } } },
      { name: 'B', valueFrom: { secretKeyRef: { name: 's', key: 'b' } } }
    ]
    const map = { kind: 'ConfigMap', metadata: { name: 'm' }, data: { a: 'one' } }
    const secret = { kind: 'Secret', metadata: { name: 's' }, data: { b: 'dHdv' } }
    const rego = regoOf([map, secret, pod({ env })])
    expect(rego).toContain('"A=one"')
    expect(rego).toContain('"B=two"')
  })

  it('asks about a value that is elsewhere', () => {
    const documents = [pod({ env: [{ name: 'B', valueFrom: { secretKeyRef: { name: 's', key: 'b' } } }] })]
    expect(() => regoOf(documents)).toThrow('B of container "c" (parameter "Secret "s", key "b"")')
    expect(regoOf(documents, ['Secret "s", key "b"'])).toContain('{"pattern":"B=.*","required":false,"strategy":"re2"}')
  })

  it('makes volumes of some kinds read-only, whatever the mount says', () => {
    const volumes = [
      { name: 'a', secret: {} },
      { name: 'b', emptyDir: {} }
    ]
    const volumeMounts = [
      { name: 'a', mountPath: '/a', readOnly: false },
      { name: 'b', mountPath: '/b' }
    ]
    const rego = regoOf([pod({ volumeMounts }, { volumes })])
    expect(rego).toContain('{"destination":"/a","options":["rbind","rshared","ro"]')
    expect(rego).toContain('{"destination":"/b","options":["rbind","rshared","rw"]')
  })

  it('lists what probes and hooks start, in the order of confcom', () => {
    const exec = (command: string) => ({ exec: { command: [command] } })
    const rego = regoOf([
      pod({
        readinessProbe: exec('/ready'),
        livenessProbe: exec('/live'),
        startupProbe: exec('/start'),
        lifecycle: { preStop: exec('/stop'), postStart: exec('/begin') }
      })
    ])
    expect([...rego.matchAll(/"command":\["(\/\w+)"\],"signals"/g)].map(([, command]) => command)).toEqual([
      '/live',
      '/ready',
      '/start',
      '/begin',
      '/stop'
    ])
  })

  it.each([
    [pod({ securityContext: { privileged: true } }), 'privileged'],
    [pod({}, { securityContext: { seccompProfile: { type: 'RuntimeDefault' } } }), 'seccompProfile'],
    [pod({ securityContext: { capabilities: { drop: ['ALL'] } } }), 'capabilities'],
    [pod({ envFrom: [{ secretRef: { name: 's' } }] }), 'envFrom'],
    [pod({ env: [{ name: 'A', valueFrom: { resourceFieldRef: {} } }] }), 'not supported'],
    [pod({ env: [{ name: 'A', value: 1 }] }), 'must be a text'],
    [pod({ volumeMounts: [{ name: 'x', mountPath: '/x' }] }), 'no volume "x"'],
    [pod({}, {}, { labels: { 'azure.workload.identity/use': 'true' } }), 'azure.workload.identity/use']
  ])('refuses what it would have to guess: %#', (document, text) => {
    expect(() => regoOf([document])).toThrow(text)
  })

  it('puts values in place of references, as Kubernetes does', () => {
    const rego = regoOf([
      pod({
        command: ['/x', '--port=$(PORT)', '$$(PORT)', 'a$$b$c'],
        args: ['$(URL)'],
        env: [
          { name: 'PORT', value: '8080' },
          { name: 'URL', value: 'http://h:$(PORT)/' }
        ]
      })
    ])
    expect(rego).toContain('"command":["/x","--port=8080","$(PORT)","a$b$c","http://h:8080/"]')
    expect(rego).toContain('"pattern":"URL=http://h:8080/"')
  })

  it.each([
    [{ command: ['/x', '$(NONE)'] }, 'container "c".command[1] refers to $(NONE)'],
    [{ args: ['$(A_SERVICE_HOST)'] }, 'container "c".args[0] refers to $(A_SERVICE_HOST)'],
    [
      {
        env: [
          { name: 'A', value: '$(B)' },
          { name: 'B', value: '1' }
        ]
      },
      'container "c".env: A refers to $(B)'
    ],
    [
      { args: ['$(IP)'], env: [{ name: 'IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } }] },
      'container "c".args[0] refers to $(IP)'
    ]
  ])('refuses a reference to what is not known: %#', (container, text) => {
    expect(() => regoOf([pod(container as JsonObject)])).toThrow(text)
  })

  it.each([
    [{ fsGroup: 0 }, 'fsGroup'],
    [{ supplementalGroups: [7] }, 'supplementalGroups']
  ])('refuses groups of a pod that the guest would be asked for: %j', (securityContext, name) => {
    expect(() => regoOf([pod({}, { securityContext })])).toThrow(`securityContext.${name} is not supported`)
  })

  it.each([
    [{ kind: 'List', items: [pod({})] }, 'list of resources'],
    [{ kind: 'PodList', items: [pod({})] }, 'list of resources'],
    [{ kind: 'ReplicationController', metadata: { name: 'r' }, spec: { template: pod({}) } }, 'has containers'],
    [{ kind: 'Rollout', spec: { template: pod({}) } }, 'has containers'],
    [{ kind: 'PodTemplate', template: pod({}) }, 'has containers']
  ])('refuses a document whose pods would be left out: %#', (document, text) => {
    expect(() => podsOfManifest([pod({}), document as Json])).toThrow(text)
  })
})
