import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { getContainerGroup } from '../../src/azure/container-group.js'
import { getKey } from '../../src/azure/vault-key.js'
import { parseTrustPolicy, verifyRouter } from '../../src/client/index.js'
import { trustedFetch } from '../../src/composition/trusted-fetch.js'
import { pinsOf } from '../../src/steps/release-key.js'
import { azureOf } from './azure.js'
import { startCaller } from './steady-caller.js'
import { type Document, openWorkspace, shapeOf, type Workspace } from './workspace.js'

const configuration = (regions: string, more = '') => `cloud: local
containerGroup: { replicas: 2, regions: [${regions}], dnsLabel: my-router }
router: { limits: { callsPerMinute: 100000, evidencePerMinute: 1000 } }
providers: { loopback: { baseUrl: LOOPBACK, auth: none, allowPrivate: true, default: true } }
access: { rateLimitPerMinute: 1000000 }
upgrade: { strategy: blue-green, drainSeconds: 1 }
${more}
`

/** The second group with a name without host data that is made: the one of the last test. */
const faults = {
  requests: [
    {
      method: 'PUT',
      path: '**/containerGroups/confrouter-2',
      from: 2,
      answer: {
        status: 409,
        body: {
          error: {
            code: 'ContainerGroupQuotaReached',
            message:
              "Resource type 'Microsoft.ContainerInstance/containerGroups' container group quota 'StandardCores' exceeded in region 'eastus'. Limit: '100', Usage: '100' Requested: '3'."
          }
        }
      }
    }
  ]
}

/** One deployment in two regions: reordered, upgraded, made smaller, and brought back from upgrades that failed. */
let workspace: Workspace
let first: Document
let loopback: string
beforeAll(async () => {
  workspace = await openWorkspace()
  await workspace.write('faults.json', JSON.stringify(faults))
  const port = workspace.environment['CONFROUTER_EMULATOR_PORT']!
  await workspace.run('emulator', 'start', '--port', port, '--faults', 'faults.json')
  loopback = (await azureOf(workspace)).emulator.loopbackProvider
  await configure('eastus, westeurope')
  first = (await workspace.json('up')).document
}, 120_000)
afterAll(() => workspace.end(), 60_000)

const configure = (regions: string, more = '') =>
  workspace.write('confrouter.yaml', configuration(regions, more).replace('LOOPBACK', loopback))
const published = async () => {
  const { addresses } = JSON.parse(await workspace.read('.confrouter/policy/addresses.json')) as Document
  return addresses as Document[]
}
const endpointsOf = (document: Document) => document['endpoints'] as Document[]
const placesOf = (document: Document) =>
  endpointsOf(document).map(({ group, region }) => `${group as string}@${region as string}`)
const find = async (name: string) => getContainerGroup((await azureOf(workspace)).azure, 'confrouter', name)
/** When the processes of each group were started: another time is another group, or one that was interrupted. */
const startsOf = async (names: readonly string[]) => {
  const client = await (await azureOf(workspace)).azure.containers()
  const groups = await Promise.all(names.map((name) => client.containerGroups.get('confrouter', name)))
  return groups.map(({ containers }) => containers[0]?.instanceView?.currentState?.startTime?.toISOString())
}
const names = (document: Document) => endpointsOf(document).map(({ group }) => group as string)
const pins = async () => {
  const { azure } = await azureOf(workspace)
  const vault = { azure, vaultUri: first['vaultUri'] as string, onWait: () => undefined }
  return pinsOf((await getKey(vault, 'default'))!.releasePolicy!)
}
const evidenceOf = async (url: string) => {
  const { emulator } = await azureOf(workspace)
  const trust = parseTrustPolicy(await workspace.read('.confrouter/policy/trust.json'))
  const fetch = trustedFetch(await readFile(emulator.caFile, 'utf8'))
  const verdict = await verifyRouter({ url, trust, fetch, now: () => new Date() })
  if (verdict.verdict !== 'trusted') throw new Error(`${url}: ${JSON.stringify(verdict.checks)}`)
  return [verdict.evidence.hostData, verdict.evidence.rsaThumbprint].join()
}

describe('two regions with two groups each', () => {
  it('are four groups, and all of them are told to callers with their regions', async () => {
    expect(first['error']).toBeUndefined()
    expect(await shapeOf('up', first)).toEqual([true, null])
    expect(placesOf(first)).toEqual([
      'confrouter@eastus',
      'confrouter-2@eastus',
      'confrouter-westeurope@westeurope',
      'confrouter-westeurope-2@westeurope'
    ])
    const addresses = await published()
    expect(addresses.map(({ endpoint }) => endpoint)).toEqual(endpointsOf(first).map(({ endpoint }) => endpoint))
    expect(addresses.map(({ region }) => region)).toEqual(['eastus', 'eastus', 'westeurope', 'westeurope'])
    expect(new Set(addresses.map(({ hostData }) => hostData))).toEqual(new Set([first['hostData']]))
    const groups = await Promise.all(names(first).map(find))
    expect(groups.map((group) => [group?.location, group?.dnsLabel])).toEqual([
      ['eastus', 'my-router'],
      ['eastus', undefined],
      ['westeurope', 'my-router'],
      ['westeurope', undefined]
    ])
  }, 60_000)

  it('show evidence for the same host data and with the same key', async () => {
    const shown = await Promise.all((await published()).map(({ endpoint }) => evidenceOf(endpoint as string)))
    expect(new Set(shown).size).toBe(1)
    expect(shown[0]).toContain(first['hostData'])
  }, 30_000)

  it('are as wanted: nothing changes, plan is empty, and status looks at each', async () => {
    expect((await workspace.json('plan', '--exit-code')).code).toBe(0)
    expect((await workspace.json('up')).document['changed']).toBe(false)
    const { code, document } = await workspace.json('status')
    const links = (document['chain'] as Document[]).filter(({ id }) => id === 'replica')
    expect([code, links.map(({ state }) => state)]).toEqual([0, ['ok', 'ok', 'ok']])
  }, 60_000)
})

describe('what stands in front of them', () => {
  it('is written from the addresses, with no cloud asked, and with the same bytes each time', async () => {
    const { code, document } = await workspace.json('balancer', 'traffic-manager', '--out', 'tm.json')
    expect([code, document['error']]).toEqual([0, undefined])
    expect(await shapeOf('balancer', document)).toEqual([true, null])
    const text = await workspace.read('tm.json')
    expect(JSON.parse(text)).toEqual(document['template'])
    const { properties } = JSON.parse(text).resources[0] as Document
    expect(properties.trafficRoutingMethod).toBe('Performance')
    const addresses = await published()
    const hosts = addresses.map(({ endpoint }) => new URL(endpoint as string).hostname)
    expect(properties.endpoints.map(({ properties: { target } }: Document) => target as string)).toEqual(hosts)
    expect((await workspace.run('balancer', 'traffic-manager')).stdout).toBe(text)

    const door = await workspace.json('balancer', 'front-door')
    expect(await shapeOf('balancer', door.document)).toEqual([true, null])
    expect(door.document['origins'].map(({ region }: Document) => region as string)).toEqual(
      addresses.map(({ region }) => region as string)
    )
    expect(door.document['warnings'].join()).toContain('nobody but this machine reaches')
  }, 30_000)

  it('is not written without a deployment, and not with a method that it does not have', async () => {
    const nowhere = await workspace.json('balancer', 'front-door', '--state-dir', 'nowhere')
    expect([nowhere.code, nowhere.document['error'].code]).toEqual([3, 'balancer.no-addresses'])
    const routed = await workspace.json('balancer', 'front-door', '--routing', 'priority')
    expect([routed.code, routed.document['error'].code]).toEqual([2, 'usage.invalid'])
  }, 30_000)
})

describe('another order of the regions', () => {
  it('is another order of the addresses: no group is made or started again', async () => {
    const before = await startsOf(names(first))
    await configure('westeurope, eastus')
    const { document: plan } = await workspace.json('plan')
    expect((plan['changes'] as Document[]).map(({ resource, properties }) => [resource, properties])).toEqual([
      ['deploy', [{ property: 'addresses', from: null, to: 'confrouter-westeurope first' }]]
    ])
    const { code, document } = await workspace.json('up')
    expect([code, document['error']]).toEqual([0, undefined])
    expect(placesOf(document)).toEqual([
      'confrouter-westeurope@westeurope',
      'confrouter-westeurope-2@westeurope',
      'confrouter@eastus',
      'confrouter-2@eastus'
    ])
    expect((await published()).map(({ region }) => region)).toEqual(['westeurope', 'westeurope', 'eastus', 'eastus'])
    expect(await startsOf(names(first))).toEqual(before)
    expect((await workspace.json('up')).document['changed']).toBe(false)
  }, 90_000)
})

describe('an upgrade of all regions', () => {
  let second: Document

  it('loses no call, gives the first region the short names, and moves both labels', async () => {
    await configure('westeurope, eastus', 'encryption: required')
    const { emulator } = await azureOf(workspace)
    const steady = startCaller(workspace.directory, await readFile(emulator.caFile, 'utf8'), { loops: 2, pauseMs: 50 })
    const { code, document } = await workspace.json('up')
    const tally = await steady.stop()
    second = document
    expect([code, document['error']]).toEqual([0, undefined])
    expect([tally.lost, tally.answered]).toEqual([[], tally.sent])
    process.stderr.write(`upgrade of two regions: ${tally.sent} sent, ${tally.answered} answered\n`)
    const name = `confrouter-${(document['hostData'] as string).slice(0, 8)}`
    expect(placesOf(document)).toEqual([
      `${name}@westeurope`,
      `${name}-2@westeurope`,
      `${name}-eastus@eastus`,
      `${name}-eastus-2@eastus`
    ])
    expect(await Promise.all(names(first).map(find))).toEqual([undefined, undefined, undefined, undefined])
    const labels = (await Promise.all(names(document).map(find))).map((group) => group?.dnsLabel)
    expect(labels).toEqual(['my-router', undefined, 'my-router', undefined])
    expect(await pins()).toEqual([document['hostData']])
    expect((await workspace.json('up')).document['changed']).toBe(false)
  }, 180_000)

  it('leaves a region, also the first one, when it is not configured any more', async () => {
    const stay = names(second).slice(2)
    const before = await startsOf(stay)
    await configure('eastus', 'encryption: required')
    const { code, document } = await workspace.json('up')
    expect([code, document['error']]).toEqual([0, undefined])
    expect(names(document)).toEqual(stay)
    expect((await published()).map(({ region }) => region)).toEqual(['eastus', 'eastus'])
    expect(await startsOf(stay)).toEqual(before)
    expect(await Promise.all(names(second).slice(0, 2).map(find))).toEqual([undefined, undefined])
    expect((await workspace.json('up')).document['changed']).toBe(false)
  }, 90_000)
})

describe('a region that there is not', () => {
  it('is a problem of the configuration, before anything is made', async () => {
    await configure('eastus, westeurop', 'encryption: required')
    const { code, document } = await workspace.json('up')
    expect([code, document['error'].code]).toEqual([3, 'config.region'])
    expect(document['error'].message).toBe('containerGroup.regions has "westeurop", did you mean westeurope?')
    expect((await published()).length).toBe(2)
  }, 30_000)
})

describe('several groups and an upgrade that replaces', () => {
  let third: Document

  it('deletes all of the old ones first, and deploys and verifies all of the new ones', async () => {
    const old = (await workspace.json('status')).document['recorded'].group as string
    await configure('eastus')
    const { code, document } = await workspace.json('up', '--strategy', 'replace')
    third = document
    expect([code, document['error'], document['upgrade']?.strategy]).toEqual([0, undefined, 'replace'])
    expect(document['hostData']).toBe(first['hostData'])
    const stem = old.replace(/-eastus$/, '')
    expect(placesOf(document)).toEqual([`${stem}@eastus`, `${stem}-2@eastus`])
    expect(await find(old)).toBeUndefined()
    const shown = await Promise.all((await published()).map(({ endpoint }) => evidenceOf(endpoint as string)))
    expect([shown.length, new Set(shown).size]).toEqual([2, 1])
    expect(await pins()).toEqual([first['hostData']])
  }, 120_000)

  it('goes back with all of them when the new ones cannot be verified', async () => {
    await configure('eastus', 'encryption: required\nsmoke: { model: "loopback:no-such-model" }')
    const failed = await workspace.json('up', '--strategy', 'replace')
    expect([failed.code, failed.document['error'].code]).toEqual([5, 'upgrade.not-verified'])
    const { code, document } = await workspace.json('rollback', '--reason', 'no such model')
    expect([code, document['error'], document['to']]).toEqual([0, undefined, third['hostData']])
    const addresses = await published()
    expect(addresses.map(({ hostData }) => hostData)).toEqual([third['hostData'], third['hostData']])
    const shown = await Promise.all(addresses.map(({ endpoint }) => evidenceOf(endpoint as string)))
    expect(new Set(shown).size).toBe(1)
    expect(await pins()).toEqual([third['hostData']])
  }, 120_000)
})

describe('an upgrade of which one group cannot be made', () => {
  it('leaves the old ones serving, and is taken back with what it has made', async () => {
    const before = await published()
    await configure('eastus', 'encryption: required')
    const failed = await workspace.json('up')
    expect([failed.code, failed.document['error'].code]).toEqual([5, 'aci.quota'])
    expect((await published()).map(({ endpoint }) => endpoint)).toEqual(before.map(({ endpoint }) => endpoint))
    const { upgrade } = JSON.parse(await workspace.read('.confrouter/state.json')) as Document
    // The groups that serve have the end of these host data in their names since they replaced others in place.
    expect(upgrade.to.group).toBe('confrouter')
    expect([upgrade.phase, (await find('confrouter'))?.state]).toEqual(['deploy', 'Running'])
    expect(new Set(await Promise.all(before.map(({ endpoint }) => evidenceOf(endpoint as string)))).size).toBe(1)
    const { code, document } = await workspace.json('rollback', '--reason', 'no quota')
    expect([code, document['closedWindow']]).toEqual([0, true])
    expect([(await find('confrouter'))?.name, (await find('confrouter-2'))?.name]).toEqual([undefined, undefined])
    expect(await published()).toEqual(before)
    expect(await pins()).toEqual([third()])
    await configure('eastus')
    // The failed attempt wrote the files of its policy; nothing else is to be done.
    const again = (await workspace.json('up')).document['steps'] as Document[]
    expect(again.filter(({ action }) => action !== 'none').map(({ id }) => id)).toEqual(['policy'])
  }, 120_000)

  const third = () => first['hostData'] as string
})
