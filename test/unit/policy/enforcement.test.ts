import { describe, expect, it } from '@jest/globals'
import { sha256Hex } from '../../../src/base/digest.js'
import type { JsonObject } from '../../../src/base/json.js'
import {
  type CcePolicy,
  type ContainerDecision,
  type ContainerRequest,
  createEnforcer,
  generatePolicies,
  parseCcePolicy,
  type PolicyOptions
} from '../../../src/policy/index.js'
import { goldenCases, vector } from './vectors.js'

type Enforced = Extract<CcePolicy, { kind: 'enforced' }>

const image = 'example.org/app:1'
const layers = [sha256Hex('base layer'), sha256Hex('top layer')]
const path = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

describe('an enforcer of a real policy', () => {
  for (const { name } of goldenCases.filter((golden) => golden.name !== 'sidecar-only')) {
    it(`starts every container of ${name} as the guest does`, () => {
      const policy = enforced(vector('cases', name, 'policy.rego'))
      const enforcer = createEnforcer(policy)
      policy.containers.forEach((container, index) => {
        for (const layer of container.layers) expect(enforcer.mountDevice(layer)).toEqual({ allowed: true })
        const env = container.envRules.filter(({ strategy }) => strategy === 'string').map(({ pattern }) => pattern)
        const decision = enforcer.createContainer({
          layers: container.layers,
          command: container.command ?? [],
          env: [...env, 'HOSTNAME=host', 'Fabric_X=1'],
          workingDir: container.workingDir,
          user: {
            user: { id: container.user.user.pattern, name: container.user.user.pattern },
            groups: container.user.groups.map(({ pattern }) => ({ id: pattern, name: pattern })),
            umask: '0022'
          },
          privileged: container.allowElevated,
          noNewPrivileges: container.noNewPrivileges,
          capabilities: container.capabilities,
          mounts: container.mounts.map((mount) => ({ ...mount, source: mount.source.replace('.+', 'x') }))
        })
        expect(decision).toMatchObject({ allowed: true, containerIndex: index })
      })
    })
  }
})

describe('mountDevice', () => {
  it('refuses a layer that the policy does not list, in the guest’s words', () => {
    const enforcer = createEnforcer(policyOf({}))
    expect(enforcer.mountDevice(sha256Hex('changed layer'))).toEqual({
      allowed: false,
      errors: ['deviceHash not found']
    })
  })

  it('accepts everything behind an open door', () => {
    const enforcer = createEnforcer(parseCcePolicy(vector('open-door.rego')))
    expect(enforcer.mountDevice(sha256Hex('any'))).toEqual({ allowed: true })
    expect(enforcer.createContainer(request({ command: ['evil'], env: ['A=1'] }))).toMatchObject({
      allowed: true,
      env: ['A=1'],
      containerIndex: -1
    })
  })
})

describe('createContainer', () => {
  it('refuses layers that were not mounted, are in another order or are not all of them', () => {
    const unmounted = createEnforcer(policyOf({})).createContainer(request({}))
    expect(errorsOf(unmounted)).toEqual(['no matching containers for overlay'])
    expect(errorsOf(create({}, { layers: [...layers].reverse() }))).toEqual(['no matching containers for overlay'])
    expect(errorsOf(create({}, { layers: layers.slice(0, 1) }))).toEqual(['no matching containers for overlay'])
  })

  it('starts a container of one name once', () => {
    const enforcer = mounted(policyOf({}))
    expect(enforcer.createContainer(request({ name: 'app' })).allowed).toBe(true)
    expect(errorsOf(enforcer.createContainer(request({ name: 'app' })))).toEqual(['container already started'])
    expect(enforcer.createContainer(request({ name: 'app2' })).allowed).toBe(true)
  })

  const refusals: readonly (readonly [string, JsonObject, Partial<ContainerRequest>, readonly string[]])[] = [
    ['another command', {}, { command: ['run', '-x'] }, ['invalid command']],
    ['a longer command', {}, { command: ['run', ''] }, ['invalid command']],
    ['another working directory', {}, { workingDir: '/tmp' }, ['invalid working directory']],
    ['a privileged container', {}, { privileged: true }, ['privileged escalation not allowed']],
    [
      'privileges that the policy takes away',
      { securityContext: { allowPrivilegeEscalation: false } },
      { noNewPrivileges: false },
      ['invalid noNewPrivileges']
    ],
    ['another user', { securityContext: { runAsUser: 7 } }, {}, ['invalid user']],
    [
      'another group',
      { securityContext: { runAsGroup: 7 } },
      {
        user: {
          user: { id: '1', name: 'a' },
          groups: [
            { id: '7', name: 'x' },
            { id: '8', name: 'y' }
          ],
          umask: '0022'
        }
      },
      ['invalid user']
    ],
    ['another umask', {}, { user: { user: { id: '0', name: 'root' }, groups: [], umask: '0000' } }, ['invalid user']],
    ['a seccomp profile', {}, { seccomp: sha256Hex('profile') }, ['invalid seccomp']],
    [
      'a mount to another place',
      {},
      { mounts: [resolver({ destination: '/etc/passwd' })] },
      ['invalid mount list: /etc/passwd']
    ],
    [
      'a mount from another place',
      {},
      { mounts: [resolver({ source: 'sandbox:///tmp/x' })] },
      ['invalid mount list: /etc/resolv.conf']
    ],
    [
      'a mount from the host',
      {},
      { mounts: [resolver({ source: '/tmp/atlas/resolvconf/x' })] },
      ['invalid mount list: /etc/resolv.conf']
    ],
    [
      'a mount of another type',
      {},
      { mounts: [resolver({ type: 'tmpfs' })] },
      ['invalid mount list: /etc/resolv.conf']
    ],
    [
      'a mount with other options',
      {},
      { mounts: [resolver({ options: ['rbind', 'rw'] })] },
      ['invalid mount list: /etc/resolv.conf']
    ],
    [
      'fewer capabilities than the policy has',
      {},
      { capabilities: { ambient: [], bounding: [], effective: [], inheritable: [], permitted: [] } },
      ["capabilities don't match"]
    ],
    [
      'several faults at once, variables that would be dropped included',
      {},
      { command: ['sh'], workingDir: '/x', env: ['A=1', 'TERM=xterm', 'B=2'] },
      ['invalid command', 'invalid env list: A,B', 'invalid working directory']
    ]
  ]
  for (const [what, properties, change, errors] of refusals) {
    it(`refuses ${what}`, () => {
      expect(create(properties, change)).toEqual({ allowed: false, errors })
    })
  }

  it('accepts the mount that the policy lists', () => {
    expect(create({}, { mounts: [resolver({})] }).allowed).toBe(true)
  })

  it('refuses a container whose command is null, whatever is asked', () => {
    const policy = policyOf({}, { Cmd: undefined as never })
    expect(errorsOf(mounted(policy).createContainer(request({ command: [] })))).toEqual(['invalid command'])
  })

  it('grants the capabilities that the policy lists and drops others', () => {
    const all = ['CAP_CHOWN', 'CAP_SYS_ADMIN']
    const decision = create({ securityContext: { capabilities: { drop: ['CAP_KILL'] } } }, {})
    expect(decision.allowed && decision.capabilities.effective).not.toContain('CAP_KILL')
    const onlyChown = policyWith((text) =>
      text.replace(/"(bounding|effective|permitted)":\[[^\]]*\]/g, '"$1":["CAP_CHOWN"]')
    )
    const asked = { ambient: all, bounding: all, effective: all, inheritable: all, permitted: all }
    const granted = mounted(onlyChown).createContainer(request({ capabilities: asked }))
    expect(granted.allowed && granted.capabilities).toEqual({
      ambient: [],
      bounding: ['CAP_CHOWN'],
      effective: ['CAP_CHOWN'],
      inheritable: [],
      permitted: ['CAP_CHOWN']
    })
  })

  it('refuses more capabilities than listed where dropping is off', () => {
    const policy = policyWith((text) =>
      text.replace('allow_capability_dropping := true', 'allow_capability_dropping := false')
    )
    const more = ['CAP_SYS_ADMIN']
    const asked = { ambient: [], bounding: more, effective: more, inheritable: [], permitted: more }
    expect(errorsOf(mounted(policy).createContainer(request({ capabilities: asked })))).toEqual([
      "capabilities don't match"
    ])
    expect(mounted(policy).createContainer(request({})).allowed).toBe(true)
  })

  it('starts a privileged container with all capabilities where the policy allows it', () => {
    expect(create({ securityContext: { privileged: true } }, { privileged: true }).allowed).toBe(true)
  })

  it('says whether the streams are connected', () => {
    const [policy] = [policyOf({}, {}, { disableStdio: true })]
    const closed = mounted(policy).createContainer(request({}))
    expect(closed.allowed && closed.allowStdioAccess).toBe(false)
    const open = create({}, {})
    expect(open.allowed && open.allowStdioAccess).toBe(true)
  })
})

describe('environment of createContainer', () => {
  const given = ['TERM=xterm', 'SECRET=x', 'HOSTNAME=h', 'Fabric_Y=1', 'IMDS_ENDPOINT=http://x', 'HOSTNAME=']

  it('drops what no rule allows and keeps the order', () => {
    const decision = create({}, { env: given })
    expect(decision.allowed && decision.env).toEqual(['TERM=xterm', 'HOSTNAME=h', 'Fabric_Y=1'])
  })

  it('keeps the identity endpoints under our own rules', () => {
    const policy = policyOf({}, {}, { platformIdentityRules: true })
    const decision = mounted(policy).createContainer(request({ env: given }))
    expect(decision.allowed && decision.env).toContain('IMDS_ENDPOINT=http://x')
  })

  it('refuses what no rule allows where dropping is off, in the guest’s words', () => {
    const policy = policyWith((text) =>
      text.replace('allow_environment_variable_dropping := true', 'allow_environment_variable_dropping := false')
    )
    expect(mounted(policy).createContainer(request({ env: ['TERM=xterm', 'APP_IDENTITY_ENDPOINT=x'] }))).toEqual({
      allowed: false,
      errors: ['invalid env list: APP_IDENTITY_ENDPOINT']
    })
    expect(mounted(policy).createContainer(request({ env: ['TERM=xterm'] })).allowed).toBe(true)
  })

  it('compares whole texts and anchored patterns', () => {
    const decision = create({}, { env: ['TERM=xterm ', 'XHOSTNAME=a', 'TERM=xterm', 'fabric_a=b'] })
    expect(decision.allowed && decision.env).toEqual(['TERM=xterm', 'fabric_a=b'])
  })

  it('demands required variables', () => {
    const policy = enforced(vector('cases', 'default', 'policy.rego'))
    const enforcer = createEnforcer(policy)
    const pause = policy.containers.at(-1)!
    enforcer.mountDevice(pause.layers[0]!)
    const start = (env: readonly string[]) =>
      enforcer.createContainer({ layers: pause.layers, command: ['/pause'], env, workingDir: '/' })
    expect(errorsOf(start(['TERM=xterm']))).toEqual(['missing required environment variable'])
    expect(start([path, 'TERM=xterm']).allowed).toBe(true)
  })

  it('takes the container that keeps the most variables', () => {
    const policy = twoContainers(['A=1'], ['A=1', 'B=2'])
    const decision = mounted(policy).createContainer(request({ env: ['A=1', 'B=2', 'C=3'] }))
    expect(decision).toMatchObject({ allowed: true, env: ['A=1', 'B=2'], containerIndex: 1 })
  })

  it('refuses where two containers keep as many but different ones', () => {
    const policy = twoContainers(['A=1'], ['B=2'])
    const decision = mounted(policy).createContainer(request({ env: ['A=1', 'B=2'] }))
    expect(errorsOf(decision)).toEqual(['containers only distinguishable by env_list'])
    expect(mounted(policy).createContainer(request({ env: ['B=2'] }))).toMatchObject({ containerIndex: 1 })
  })

  it('refuses where containers differ in stdio access alone', () => {
    const policy = twoContainers([], [], (text) =>
      text.replace('"allow_stdio_access":true', '"allow_stdio_access":false')
    )
    expect(errorsOf(mounted(policy).createContainer(request({ env: [] })))).toEqual([
      'containers only distinguishable by allow_stdio_access'
    ])
  })

  it('refuses where containers differ in capabilities alone and the share is equally large', () => {
    const policy = twoContainers([], [], (text) =>
      text.replace('"bounding":["CAP_AUDIT_WRITE",', '"bounding":["CAP_SYS_ADMIN",')
    )
    const asked = {
      ambient: [],
      bounding: ['CAP_AUDIT_WRITE', 'CAP_SYS_ADMIN'],
      effective: [],
      inheritable: [],
      permitted: []
    }
    expect(errorsOf(mounted(policy).createContainer(request({ env: [], capabilities: asked })))).toEqual([
      'containers only distinguishable by capabilties'
    ])
  })
})

function policyText(properties: JsonObject, config: JsonObject = {}, options: PolicyOptions = {}): string {
  const template = {
    resources: [
      {
        type: 'Microsoft.ContainerInstance/containerGroups',
        name: 'g',
        properties: { containers: [{ name: 'app', properties: { image, ...properties } }] }
      }
    ]
  }
  const images = new Map([[image, { config: { Cmd: ['run'], ...config }, layers }]])
  return generatePolicies({ template, images, options })[0]!.rego
}

function policyOf(properties: JsonObject, config: JsonObject = {}, options: PolicyOptions = {}): Enforced {
  return enforced(policyText(properties, config, options))
}

function policyWith(change: (text: string) => string): Enforced {
  const text = policyText({})
  expect(change(text)).not.toBe(text)
  return enforced(change(text))
}

/** Two containers of one image that differ in their variables; `change` then breaks a first occurrence. */
function twoContainers(first: readonly string[], second: readonly string[], change = (text: string) => text): Enforced {
  const variables = (entries: readonly string[]) =>
    entries.map((entry) => ({ name: entry.split('=')[0]!, value: entry.split('=')[1]! }))
  const container = (name: string, entries: readonly string[]) => ({
    name,
    properties: { image, environmentVariables: variables(entries) }
  })
  const template = {
    resources: [
      {
        type: 'Microsoft.ContainerInstance/containerGroups',
        name: 'g',
        properties: { containers: [container('one', first), container('two', second)] }
      }
    ]
  }
  const images = new Map([[image, { config: { Cmd: ['run'] }, layers }]])
  return enforced(change(generatePolicies({ template, images })[0]!.rego))
}

function enforced(text: string): Enforced {
  const policy = parseCcePolicy(text)
  if (policy.kind !== 'enforced') throw new Error('the policy is open')
  return policy
}

function mounted(policy: Enforced) {
  const enforcer = createEnforcer(policy)
  for (const layer of layers) enforcer.mountDevice(layer)
  return enforcer
}

function request(change: Partial<ContainerRequest>): ContainerRequest {
  return { layers, command: ['run'], env: ['TERM=xterm'], workingDir: '/', ...change }
}

function create(properties: JsonObject, change: Partial<ContainerRequest>): ContainerDecision {
  return mounted(policyOf(properties)).createContainer(request(change))
}

function resolver(change: Partial<NonNullable<ContainerRequest['mounts']>[number]>) {
  return {
    destination: '/etc/resolv.conf',
    source: 'sandbox:///tmp/atlas/resolvconf/abc',
    type: 'bind',
    options: ['rw', 'rbind', 'rshared'],
    ...change
  }
}

function errorsOf(decision: ContainerDecision): readonly string[] {
  return decision.allowed ? ['allowed'] : decision.errors
}
