import { describe, expect, it } from '@jest/globals'
import { deployStep, moreThanSecrets, requireFreeNames } from '../../../src/steps/deploy-group.js'
import { rotateSecrets } from '../../../src/steps/secrets.js'
import { deployReplica } from '../../../src/steps/replicas.js'
import type { Results } from '../../../src/steps/run.js'
import { sha256Hex } from '../../../src/base/digest.js'
import { makeBundle, planSecrets } from '../../../src/steps/sealed-secrets.js'
import type { State } from '../../../src/steps/state.js'
import { secretsKeysOfTests, secretsRun } from './secrets-harness.js'

const rego = 'package policy'
const container = (name: string, environmentVariables: object[] = []) => ({
  name,
  image: 'x',
  resources: { requests: { cpu: 1, memoryInGB: 1 } },
  environmentVariables: [{ name: 'CONFROUTER_DEPLOYMENT', value: 'g' }, ...environmentVariables]
})

const keys = await secretsKeysOfTests()
/** The state after a deployment, and what it deployed. */
const before = secretsRun()
const bundle = await makeBundle(before, keys, await planSecrets(before, keys, undefined), () => undefined)

/** A group as Azure shows it, all as wanted; each case changes one thing. */
const group = {
  name: 'g',
  location: 'East US',
  provisioningState: 'Succeeded',
  instanceView: { state: 'Running', events: [] },
  restartPolicy: 'Always',
  ipAddress: { ip: '192.0.2.1', ports: [{ port: 8080 }] } as Record<string, unknown>,
  confidentialComputeProperties: { ccePolicy: Buffer.from(rego).toString('base64') },
  identity: { userAssignedIdentities: { '/id': {} } },
  containers: [container('router', [{ name: 'CONFROUTER_SECRETS', value: bundle.text }]), container('skr')]
}

interface Changed {
  readonly state?: Partial<State>
  readonly keys?: Record<string, string>
  readonly router?: object
  /** Beside the first group. */
  readonly others?: Record<string, object>
  readonly replicas?: number
  readonly onDelete?: (name: string) => void
}

const observe = (view: object, changed: Changed = {}) => {
  const { run, results } = situation(view, changed)
  return deployStep.observe(run, results, () => undefined)
}

function situation(view: object, changed: Changed) {
  const outputs = {
    policy: { hostData: sha256Hex(rego), template: {} },
    key: keys.key,
    vault: { vaultUri: keys.vaultUri },
    'signing-key': keys.signer,
    identity: { id: '/id' }
  }
  const results = { get: (id: keyof typeof outputs) => outputs[id] } as unknown as Results
  const deployed = { hostData: outputs.policy.hostData }
  const run = secretsRun({
    group: view,
    values: changed.keys ?? { openai: 'k' },
    state: { ...before.state.get(), deployed, ...changed.state },
    config: {
      router: changed.router ?? {},
      containerGroup: {
        ...{ name: 'g', cpu: 1, memoryGb: 1, port: 8080, regions: ['eastus'] },
        replicas: changed.replicas ?? 1
      }
    },
    others: changed.others ?? {},
    ...(changed.onDelete === undefined ? {} : { onDelete: changed.onDelete })
  })
  return { run, results }
}

const idOf = (name: string) =>
  `/subscriptions/s/resourceGroups/r/providers/Microsoft.ContainerInstance/containerGroups/${name}`

describe('deployStep.observe', () => {
  it('has nothing to do for a group that is as wanted', async () => {
    expect(await observe(group)).toMatchObject({ action: 'none', output: { endpoint: 'http://192.0.2.1:8080' } })
  })

  it.each([
    ['a group that is still pending', { instanceView: { state: 'Pending' } }],
    ['a group without an address yet', { ipAddress: { ports: [{ port: 8080 }] } }]
  ])('goes on with %s instead of calling it done', async (_name, change) => {
    expect(await observe({ ...group, ...change })).toMatchObject({
      action: 'update',
      reason: 'its deployment is not finished'
    })
  })

  it('goes on with a deployment that a killed run left behind', async () => {
    const left = { deployment: { inputs: 'x', token: 't' } }
    expect(await observe(group, { state: left })).toMatchObject({ action: 'update' })
  })

  it.each([
    ['another policy', { confidentialComputeProperties: { ccePolicy: 'AAAA' } }, 'its CCE policy is another one'],
    ['another port', { ipAddress: { ip: '192.0.2.1', ports: [{ port: 1 }] } }, 'its port differs'],
    ['another identity', { identity: { userAssignedIdentities: { '/other': {} } } }, 'its identity differs'],
    ['another restart policy', { restartPolicy: 'Never' }, 'its restart policy differs'],
    [
      'another size',
      {
        containers: [container('router'), { ...container('skr'), resources: { requests: { cpu: 2, memoryInGB: 1 } } }]
      },
      'size differs'
    ],
    ['a failure', { provisioningState: 'Failed' }, 'it failed']
  ])('replaces a group with %s', async (_name, change, reason) => {
    expect(await observe({ ...group, ...change })).toMatchObject({
      action: 'replace',
      reason: expect.stringContaining(reason)
    })
  })

  it('updates in place for another provider key or DNS label', async () => {
    expect(await observe(group, { keys: { openai: 'other' } })).toMatchObject({
      action: 'update',
      reason: 'its provider keys differ'
    })
    const labelled = { ...group, ipAddress: { ...group.ipAddress, dnsNameLabel: 'x' } }
    expect(await observe(labelled)).toMatchObject({ action: 'update', reason: 'its DNS label differs' })
  })

  describe('of a group with TLS', () => {
    const secret = { name: 'CONFROUTER_SECRETS', value: bundle.text }
    const withTls = (...ports: number[]) => ({
      ...group,
      ipAddress: { ip: '192.0.2.1', ports: ports.map((port) => ({ port })) },
      containers: [container('router', [secret, { name: 'CONFROUTER_TLS_PORT', value: '8443' }]), container('skr')]
    })
    const tls = { port: 8443, only: false }

    it('knows both endpoints, in whatever order Azure lists the ports', async () => {
      const wanted = { endpoint: 'http://192.0.2.1:8080', tlsEndpoint: 'https://192.0.2.1:8443' }
      for (const view of [withTls(8080, 8443), withTls(8443, 8080)]) {
        expect(await observe(view, { router: { tls } })).toMatchObject({ action: 'none', output: wanted })
      }
    })

    it('has one endpoint where the plain port is not published', async () => {
      const finding = await observe(withTls(8443), { router: { tls: { ...tls, only: true } } })
      const endpoint = 'https://192.0.2.1:8443'
      expect(finding).toMatchObject({ action: 'none', output: { endpoint, tlsEndpoint: endpoint } })
    })

    it.each([
      ['no TLS yet', group, { tls }],
      ['TLS that is no longer wanted', withTls(8080, 8443), {}],
      ['a plain port that is no longer to be published', withTls(8080, 8443), { tls: { ...tls, only: true } }],
      ['a plain port that is to be published', withTls(8443), { tls }]
    ])('replaces one with %s', async (_name, view, router) => {
      expect(await observe(view, { router })).toMatchObject({
        action: 'replace',
        reason: expect.stringContaining('its port differs')
      })
    })

    it('tells of what exists by what it is, not by what is wanted', async () => {
      expect(await observe(withTls(8080, 8443))).toMatchObject({ existing: { tlsEndpoint: 'https://192.0.2.1:8443' } })
      const finding = await observe(group, { router: { tls } })
      expect(finding).toMatchObject({ existing: { endpoint: 'http://192.0.2.1:8080' } })
      expect(finding).not.toHaveProperty('existing.tlsEndpoint')
    })
  })
})

describe('a group of a wanted name', () => {
  const foreign = {
    ...group,
    tags: { owner: 'somebody-else' },
    containers: [{ name: 'web', image: 'x', resources: { requests: { cpu: 1, memoryInGB: 1 } } }]
  }
  const withoutVariable = {
    ...group,
    containers: group.containers.map((each) => ({
      ...each,
      environmentVariables: each.environmentVariables.slice(1)
    }))
  }
  const taken = (name: string) => ({ code: 'aci.name-taken', problem: expect.stringContaining(`"${name}"`) })

  it.each([
    ['the first one', foreign, {}, 'g'],
    ['one beside it', group, { replicas: 2, others: { 'g-2': foreign } }, 'g-2'],
    ['a router of another deployment', group, { replicas: 2, others: { 'g-2': withoutVariable } }, 'g-2']
  ])('that is somebody else’s is neither changed nor deleted: %s', async (_name, view, changed, name) => {
    await expect(observe(view, changed)).rejects.toMatchObject(taken(name))
    const { run } = situation(view, changed)
    await expect(requireFreeNames(run)).rejects.toMatchObject(taken(name))
  })

  it('that somebody made after the look is not deleted for a replica either', async () => {
    const deleted: string[] = []
    const { run, results } = situation(group, { others: { 'g-2': foreign }, onDelete: (name) => deleted.push(name) })
    const place = { name: 'g-2', location: 'eastus', label: undefined }
    const naming = { stem: 'g', home: 'eastus' }
    const target = { place, naming, template: {}, hostData: sha256Hex('other'), bundle }
    await expect(deployReplica(run, results, target, () => undefined)).rejects.toMatchObject(taken('g-2'))
    expect(deleted).toEqual([])
  })

  it('is ours where it is recorded as made here, though its router was told no name', async () => {
    const view = { ...withoutVariable, provisioningState: 'Failed' }
    expect(await observe(view, { state: { created: [idOf('G')] } })).toMatchObject({ action: 'replace' })
  })
})

describe('a deletion', () => {
  it('of a group beside the first one is a replacement in the plan', async () => {
    const other = { ...group, confidentialComputeProperties: { ccePolicy: 'AAAA' } }
    expect(await observe(group, { replicas: 2, others: { 'g-2': other } })).toMatchObject({
      action: 'replace',
      properties: [{ property: 'replica.g-2', forces: 'replace' }]
    })
  })

  it('of one that is not wanted any more is a replacement too', async () => {
    expect(await observe(group, { state: { created: [idOf('g-2')] } })).toMatchObject({
      action: 'replace',
      reason: 'removing "g-2"',
      properties: [{ property: 'replica.g-2', to: null }]
    })
  })
})

describe('moreThanSecrets', () => {
  const more = (view: object, changed: Changed = {}) => {
    const { run, results } = situation(view, changed)
    return moreThanSecrets(run, results)
  }
  const keys = { openai: 'other' }

  it('finds nothing where the provider keys differ and all else is as wanted', async () => {
    expect(await more(group, { keys })).toBeUndefined()
    expect(await more(group, { keys, replicas: 2, others: { 'g-2': group } })).toBeUndefined()
  })

  it.each([
    ['another label', { ...group, ipAddress: { ...group.ipAddress, dnsNameLabel: 'x' } }, {}, 'its DNS label differs'],
    ['one group more', group, { replicas: 2 }, 'creating "g-2"'],
    ['one group fewer', group, { state: { created: [idOf('g-2')] } }, 'removing "g-2"'],
    [
      'another policy',
      { ...group, confidentialComputeProperties: { ccePolicy: 'AAAA' } },
      {},
      'its CCE policy is another'
    ]
  ])('names what else would be done: %s', async (_name, view, changed, reason) => {
    expect(await more(view, { keys, ...changed })).toContain(reason)
  })
})

describe('rotateSecrets', () => {
  const rotate = async (changed: Changed, view: object = group) => {
    const { run, results } = situation(view, changed)
    const bundleBefore = run.state.get().secrets?.bundle
    const version = await rotateSecrets(run, results, [], () => undefined).catch((error: unknown) => error)
    return { version, isSealedAnew: run.state.get().secrets?.bundle !== bundleBefore }
  }
  const upgrade = { direction: 'upgrade', phase: 'verify' } as NonNullable<State['upgrade']>

  it('seals anew where a deployment would change nothing else', async () => {
    expect(await rotate({})).toEqual({ version: expect.any(Number), isSealedAnew: true })
  })

  it.each<[string, Changed, string]>([
    ['another number of groups', { replicas: 2 }, 'creating "g-2"'],
    ['an upgrade that is open', { state: { upgrade } }, 'an upgrade is open, next phase: verify']
  ])('refuses to do anything with %s', async (_name, changed, reason) => {
    const refused = { code: 'secrets.more-than-secrets', problem: expect.stringContaining(reason) }
    expect(await rotate(changed)).toMatchObject({ version: refused, isSealedAnew: false })
  })
})
