import { describe, expect, it } from '@jest/globals'
import { deployStep } from '../../../src/steps/deploy-group.js'
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
  environmentVariables
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

async function observe(
  view: object,
  changed: { state?: Partial<State>; keys?: Record<string, string>; router?: object } = {}
) {
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
    config: { router: changed.router ?? {} }
  })
  return deployStep.observe(run, results, () => undefined)
}

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
