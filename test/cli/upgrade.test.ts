import { readFile, writeFile } from 'node:fs/promises'
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { getContainerGroup } from '../../src/azure/container-group.js'
import { deployTemplate } from '../../src/azure/deployment.js'
import { getKey, updateReleasePolicy } from '../../src/azure/vault-key.js'
import { pinsOf } from '../../src/steps/release-key.js'
import { azureOf } from './azure.js'
import { startCaller, startProxyCaller } from './steady-caller.js'
import { type Document, openWorkspace, outcome, shapeOf, type Workspace } from './workspace.js'

const configuration = (more: string) => `cloud: local
router: { limits: { callsPerMinute: 100000, evidencePerMinute: 1000 } }
providers:
  loopback: { baseUrl: LOOPBACK, auth: none, allowPrivate: true, default: true }
  openai: { apiKey: { file: key.txt } }
access: { rateLimitPerMinute: 1000000 }
upgrade: { strategy: blue-green, drainSeconds: 1 }
${more}
`

/** One deployment through upgrades, failures and the way back. */
let workspace: Workspace
let first: Document
let loopback: string
beforeAll(async () => {
  workspace = await openWorkspace()
  await workspace.run('emulator', 'start', '--port', workspace.environment['CONFROUTER_EMULATOR_PORT']!)
  loopback = (await azureOf(workspace)).emulator.loopbackProvider
  await workspace.write('key.txt', 'sk-first-key-of-the-test')
  await configure('')
  first = (await workspace.json('up')).document
}, 60_000)
afterAll(() => workspace.end(), 60_000)

const configure = (more: string) =>
  workspace.write('confrouter.yaml', configuration(more).replace('LOOPBACK', loopback))
const state = async () => JSON.parse(await workspace.read('.confrouter/state.json')) as Document
const published = async (name: string) =>
  JSON.parse(await workspace.read(`.confrouter/policy/${name}.json`)) as Document
const callers = async () => {
  const { emulator } = await azureOf(workspace)
  const ca = await readFile(emulator.caFile, 'utf8')
  const caller = startCaller(workspace.directory, ca, { loops: 3, pauseMs: 10 })
  await new Promise((resolve) => setTimeout(resolve, 500))
  return async () => {
    await new Promise((resolve) => setTimeout(resolve, 500))
    return caller.stop()
  }
}
const groupOf = async (name: string) => getContainerGroup((await azureOf(workspace)).azure, 'confrouter', name)
/** The body that the SDK would send for a template, kept from being sent. */
const submittedFor = async (bytes: string): Promise<string> => {
  const { azure } = await azureOf(workspace)
  const bodies: string[] = []
  const client = await azure.resources()
  client.pipeline.addPolicy({
    name: 'capture',
    sendRequest(request, next) {
      if (request.method !== 'PUT') return next(request)
      bodies.push(typeof request.body === 'string' ? request.body : '')
      throw new Error('not to be deployed')
    }
  })
  const wanted = {
    resourceGroup: 'confrouter',
    name: 'captured',
    template: JSON.parse(bytes) as Record<string, unknown>,
    parameters: { name: 'captured', sealedSecrets: 'x' }
  }
  const noResume = { token: undefined, save: () => Promise.resolve() }
  await expect(deployTemplate(azure, wanted, noResume)).rejects.toThrow()
  return bodies.join()
}
const keyInVault = async () => {
  const { azure } = await azureOf(workspace)
  const vault = { azure, vaultUri: first['vaultUri'] as string, onWait: () => undefined }
  return { vault, key: (await getKey(vault, 'default'))! }
}
const pins = async () => pinsOf((await keyInVault()).key.releasePolicy!)
/** What `confrouter key` did of a version that asked nobody, or somebody else at work in the vault. */
const releaseOnlyTo = async (hostData: string) => {
  const { vault, key } = await keyInVault()
  const { anyOf, ...rest } = JSON.parse(key.releasePolicy!) as { anyOf: object[] }
  const kept = anyOf.filter((rule) => JSON.stringify(rule).includes(hostData))
  await updateReleasePolicy(vault, key, JSON.stringify({ ...rest, anyOf: kept }))
}

describe('an upgrade beside the old group', () => {
  let second: Document
  let byProxy: Awaited<ReturnType<Awaited<ReturnType<typeof startProxyCaller>>['stop']>>

  it('loses no call of callers who pin what is published, and keeps the key', async () => {
    await configure('encryption: required')
    // A program that reads the lists itself, and beside it one that leaves that to the proxy.
    const proxied = await startProxyCaller(workspace, { loops: 3, pauseMs: 20 })
    const stop = await callers()
    const { code, document } = await workspace.json('up')
    const tally = await stop()
    byProxy = await proxied.stop()
    second = document
    expect([code, document['error']]).toEqual([0, undefined])
    expect(tally.lost).toEqual([])
    expect(tally.answered).toBe(tally.sent)
    expect(tally.sent).toBeGreaterThan(100)
    // Both sides answered: the address has moved under the callers.
    expect(Object.keys(tally.byAddress).sort()).toEqual([first['endpoint'], second['endpoint']].sort())
    expect([second['keyId'], second['hostData'] === first['hostData']]).toEqual([first['keyId'], false])
    process.stderr.write(
      `upgrade: ${tally.sent} sent, ${tally.answered} answered, ${tally.lost.length} lost ${JSON.stringify(tally.byAddress)}\n`
    )
  }, 120_000)

  it('loses no call of programs behind one proxy, which goes along by itself', () => {
    expect(byProxy.lost).toEqual([])
    expect(byProxy.answered).toBe(byProxy.sent)
    expect(byProxy.sent).toBeGreaterThan(100)
    expect([byProxy.code, byProxy.router]).toEqual([0, second['endpoint']])
    expect(byProxy.told).toContain(`calls go to ${second['endpoint']} from now on, and not to ${first['endpoint']}`)
    expect(byProxy.told).not.toMatch(/checked and is wrong|could not be checked/)
    process.stderr.write(
      `upgrade, by proxy: ${byProxy.sent} sent, ${byProxy.answered} answered, ${byProxy.lost.length} lost\n`
    )
  })

  it('says what it did, phase by phase', async () => {
    expect(await shapeOf('up', second)).toEqual([true, null])
    expect(second['upgrade']).toMatchObject({
      strategy: 'blue-green',
      from: first['hostData'],
      to: second['hostData']
    })
    expect(second['upgrade'].phases.map(({ id }: { id: string }) => id)).toEqual([
      'widen',
      'deploy',
      'verify',
      'cold-start',
      'move',
      'drain',
      'stop',
      'narrow',
      'remove'
    ])
    const changed = second['steps'].filter(({ action }: { action: string }) => action !== 'none')
    expect(changed.map(({ id, action }: { id: string; action: string }) => `${id} ${action}`)).toEqual([
      'policy update',
      'key update',
      'deploy replace'
    ])
  })

  it('leaves one group, one measurement in the key, one in the trust of callers, and no window', async () => {
    const { active, previous, created, upgrade } = await state()
    expect([active.hostData, previous.hostData, upgrade]).toEqual([second['hostData'], first['hostData'], undefined])
    expect(await groupOf(previous.group)).toBeUndefined()
    expect((created as string[]).filter((id) => id.includes('containerGroups')).length).toBe(1)
    expect(await pins()).toEqual([second['hostData']])
    expect((await published('trust'))['hostData']).toEqual([second['hostData']])
    expect((await published('addresses'))['addresses']).toEqual([
      { endpoint: second['endpoint'], hostData: second['hostData'], region: 'eastus' }
    ])
    const status = await workspace.json('status', '--trust')
    expect([status.code, status.document['upToDate']]).toEqual([0, true])
    expect((await workspace.json('up')).document['changed']).toBe(false)
  }, 60_000)

  it('records the hash of exactly the template that was submitted', async () => {
    const { active } = await state()
    const bytes = await workspace.read(`.confrouter/generations/${active.templateSha256}.json`)
    expect(createHash('sha256').update(bytes).digest('hex')).toBe(active.templateSha256)
    const policy = JSON.parse(bytes).resources[0].properties.confidentialComputeProperties.ccePolicy
    expect(createHash('sha256').update(Buffer.from(policy, 'base64')).digest('hex')).toBe(active.hostData)
    expect(policy).toBe((await groupOf(active.group))!.ccePolicy)
    expect(await submittedFor(bytes)).toContain(`"template":${bytes}`)
  }, 30_000)
})

describe('rollback', () => {
  it('wants a reason', async () => {
    const { code, document } = await workspace.json('rollback')
    expect([code, document['error'].code]).toEqual([7, 'input.needed'])
    expect(document['error'].next.join()).toContain('--reason')
  }, 30_000)

  it('refuses a kept template whose bytes are not those of the pin', async () => {
    const { previous } = await state()
    const file = join(workspace.directory, `.confrouter/generations/${previous.templateSha256}.json`)
    const bytes = await readFile(file, 'utf8')
    await writeFile(file, bytes.replace('"Always"', '"Never"'))
    const { code, document } = await workspace.json('rollback', '--reason', 'test')
    expect([code, document['error'].code]).toEqual([4, 'generation.damaged'])
    expect(document['error'].why).toContain(previous.templateSha256)
    await writeFile(file, bytes)
  }, 30_000)

  it('goes back without losing a call, names the secrets that changed since and seals the current ones', async () => {
    await workspace.write('key.txt', 'sk-second-key-of-the-test')
    const stop = await callers()
    const { code, document } = await workspace.json('rollback', '--reason', 'answers are cut short')
    const tally = await stop()
    expect([code, document['error']]).toEqual([0, undefined])
    expect(tally.lost).toEqual([])
    expect(document).toMatchObject({
      to: first['hostData'],
      reason: 'answers are cut short',
      closedWindow: false,
      secretsChanged: [{ provider: 'openai', change: 'changed' }]
    })
    expect(await shapeOf('rollback', document)).toEqual([true, null])
    expect(JSON.stringify(document)).not.toContain('sk-')
    const { active, history } = await state()
    expect(active.hostData).toBe(first['hostData'])
    expect(history.at(-1)).toMatchObject({ what: 'rollback', to: first['hostData'], reason: 'answers are cut short' })
    expect(await pins()).toEqual([first['hostData']])
    process.stderr.write(`rollback: ${tally.sent} sent, ${tally.answered} answered, ${tally.lost.length} lost\n`)
  }, 120_000)
})

describe('an upgrade whose new group cannot be verified', () => {
  it('leaves the old one serving and the window open, and says both', async () => {
    await configure('smoke: { model: "loopback:no-such-model" }\nencryption: required')
    const stop = await callers()
    const { code, document } = await workspace.json('up')
    const tally = await stop()
    expect([code, document['error'].code]).toEqual([5, 'upgrade.not-verified'])
    expect(document['error'].why).toContain('the upgrade window stays open')
    expect(document['error'].next).toEqual(
      expect.arrayContaining([expect.stringMatching(/rollback/), expect.stringMatching(/status --trust/)])
    )
    expect([tally.lost, Object.keys(tally.byAddress).length]).toEqual([[], 1])
    expect((await pins()).length).toBe(2)
    const status = await workspace.json('status', '--trust')
    expect(status.code).toBe(10)
    expect(await shapeOf('status', status.document)).toEqual([true, null])
    expect(status.document['upgrade']).toMatchObject({ phase: 'verify', failure: expect.any(String) })
    expect(status.document['trust'][1]).toMatchObject({ answer: 'no', next: expect.arrayContaining(['confrouter up']) })
  }, 120_000)

  it('keeps confrouter key from binding the key by itself', async () => {
    const { code, document } = await workspace.json('key')
    expect([code, document['error'].code]).toEqual([4, 'key.in-use'])
    expect((await pins()).length).toBe(2)
  }, 30_000)

  it('is taken back by rollback, which lets in the old group again if the key does not accept it any more', async () => {
    const { upgrade } = await state()
    await releaseOnlyTo(upgrade.to.hostData)
    expect(await pins()).toEqual([upgrade.to.hostData])
    const { code, document } = await workspace.json('rollback', '--reason', 'no such model')
    expect([code, document['closedWindow'], document['releasedTo']]).toEqual([0, true, [first['hostData']]])
    expect(await groupOf(upgrade.to.group)).toBeUndefined()
    expect(await pins()).toEqual([first['hostData']])
    expect((await published('trust'))['hostData']).toEqual([first['hostData']])
    expect((await state())['upgrade']).toBeUndefined()
  }, 60_000)
})

describe('an upgrade by replacement', () => {
  it('deletes first and deploys then, with the same window', async () => {
    await configure('encryption: required')
    const { code, document } = await workspace.json('up', '--strategy', 'replace')
    expect([code, document['upgrade']?.strategy]).toEqual([0, 'replace'])
    expect(document['upgrade'].phases.map(({ id }: { id: string }) => id)).toEqual([
      'widen',
      'remove-old',
      'deploy',
      'verify',
      'move',
      'narrow'
    ])
    expect(await pins()).toEqual([document['hostData']])
    expect((await workspace.json('up')).document['changed']).toBe(false)
  }, 90_000)
})

describe('an unfinished upgrade', () => {
  const broken = 'smoke: { model: "loopback:no-such-model" }'

  it('to what is no longer wanted is taken back before the one that is', async () => {
    await configure(broken)
    expect((await workspace.json('up')).document['error'].code).toBe('upgrade.not-verified')
    const { upgrade } = await state()
    await workspace.write(
      'confrouter.yaml',
      configuration('').replace('LOOPBACK', loopback).replace('callsPerMinute: 100000', 'callsPerMinute: 100001')
    )
    const { code, document } = await workspace.json('up')
    expect([code, document['error']]).toEqual([0, undefined])
    expect(await groupOf(upgrade.to.group)).toBeUndefined()
    expect(await pins()).toEqual([document['hostData']])
    expect((await state())['history'].at(-2)).toMatchObject({ what: 'rollback', from: upgrade.to.hostData })
  }, 90_000)

  it('whose old group is gone goes back by deploying it again, tested as it was then', async () => {
    const before = (await state())['active'].hostData as string
    await configure(`${broken}\nencryption: required`)
    expect((await workspace.json('up', '--strategy', 'replace')).document['error'].code).toBe('upgrade.not-verified')
    const { code, document } = await workspace.json('rollback', '--reason', 'no such model')
    expect([code, document['to'], document['closedWindow']]).toEqual([0, before, false])
    expect(await pins()).toEqual([before])
  }, 90_000)
})

describe('a DNS label', () => {
  it('that was given up when the upgrade was interrupted is taken back by rollback', async () => {
    await configure('containerGroup: { dnsLabel: my-router }\nencryption: required')
    expect((await workspace.json('up', '--no-smoke')).code).toBe(0)
    const { active, endpoint } = await state()
    await configure('containerGroup: { dnsLabel: my-router }')
    const child = workspace.start('up', '--no-smoke')
    let said = ''
    let isAsked = false
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      said += text
      // The old one has it no more, and callers are sent to the old one by its address.
      if (isAsked || !/gives up the label[^]*callers have/.test(said)) return
      // A second one would end it at once.
      isAsked = true
      child.kill('SIGINT')
    })
    expect((await outcome(child)).code).toBe(130)
    expect((await groupOf(active.group))!.dnsLabel).toBeUndefined()
    const { code, document } = await workspace.json('rollback', '--reason', 'interrupted')
    expect([code, document['endpoint']]).toEqual([0, endpoint])
    expect((await groupOf(active.group))!.dnsLabel).toBe('my-router')
    expect((await published('addresses'))['addresses']).toEqual([
      { endpoint, hostData: active.hostData, region: 'eastus' }
    ])
    expect((await fetch(`${endpoint}/readyz`)).status).toBe(200)
  }, 120_000)

  it('moves at the end, one group after the other, and callers by the list of addresses lose nothing', async () => {
    await configure('containerGroup: { dnsLabel: my-router }')
    const before = (await state())['active'].group as string
    expect((await groupOf(before))!.dnsLabel).toBe('my-router')
    const stop = await callers()
    const { code, document } = await workspace.json('up')
    const tally = await stop()
    expect([code, document['error']]).toEqual([0, undefined])
    expect(tally.lost).toEqual([])
    const { active } = await state()
    expect(active.group).not.toBe(before)
    expect((await groupOf(active.group))!.dnsLabel).toBe('my-router')
    expect((await workspace.json('up')).document['changed']).toBe(false)
  }, 120_000)
})
