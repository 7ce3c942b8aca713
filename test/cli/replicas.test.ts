import { execFileSync } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { createFetch, parseTrustPolicy, verifyRouter } from '../../src/client/index.js'
import { getContainerGroup } from '../../src/azure/container-group.js'
import { trustedFetch } from '../../src/composition/trusted-fetch.js'
import { azureOf } from './azure.js'
import { type Logged, type Nginx, startNginx, withoutNginx } from './nginx.js'
import { startCaller } from './steady-caller.js'
import { type Document, openWorkspace, shapeOf, type Workspace } from './workspace.js'

const configuration = (replicas: number, more = '') => `cloud: local
containerGroup: { replicas: ${replicas} }
router: { limits: { callsPerMinute: 100000, evidencePerMinute: 1000 } }
providers: { loopback: { baseUrl: LOOPBACK, auth: none, allowPrivate: true, default: true } }
access: { rateLimitPerMinute: 1000000 }
upgrade: { strategy: blue-green, drainSeconds: 1 }
${more}
`

/** One deployment of several groups: behind a load balancer, made smaller, upgraded. */
let workspace: Workspace
let first: Document
let loopback: string
beforeAll(async () => {
  workspace = await openWorkspace()
  await workspace.run('emulator', 'start', '--port', workspace.environment['CONFROUTER_EMULATOR_PORT']!)
  loopback = (await azureOf(workspace)).emulator.loopbackProvider
  await configure(4)
  first = (await workspace.json('up')).document
}, 120_000)
afterAll(() => workspace.end(), 60_000)

const configure = (replicas: number, more = '') =>
  workspace.write('confrouter.yaml', configuration(replicas, more).replace('LOOPBACK', loopback))
const published = async (name: string) =>
  JSON.parse(await workspace.read(`.confrouter/policy/${name}.json`)) as Document
const listed = async () => ((await published('addresses'))['addresses'] as Document[]).map(({ endpoint }) => endpoint)
const endpointsOf = (document: Document) =>
  (document['endpoints'] as Document[]).map(({ endpoint }) => endpoint as string)
const groupOf = async (name: string) => getContainerGroup((await azureOf(workspace)).azure, 'confrouter', name)
const caller = async () => {
  const { emulator } = await azureOf(workspace)
  const trust = parseTrustPolicy(await workspace.read('.confrouter/policy/trust.json'))
  return { trust, fetch: trustedFetch(await readFile(emulator.caFile, 'utf8')) }
}
const keysOf = async (url: string) => {
  const verdict = await verifyRouter({ url, ...(await caller()), now: () => new Date() })
  if (verdict.verdict !== 'trusted') throw new Error(`${url}: ${JSON.stringify(verdict.checks)}`)
  const { rsaThumbprint, hpke, ed25519 } = verdict.evidence
  return [rsaThumbprint, Buffer.from(hpke).toString('hex'), Buffer.from(ed25519).toString('hex')]
}
/** Ends the router of one group as the kernel does when memory runs out. */
const killRouter = (group: string) => {
  const place = `${workspace.directory}/.confrouter/emulator/groups/confrouter.${group}/router/`
  const pids = execFileSync('ps', ['-eo', 'pid=,args='], { encoding: 'utf8' })
    .split('\n')
    .filter((line) => line.includes(place))
    .map((line) => Number(line.trim().split(' ')[0]))
  for (const pid of pids) process.kill(pid, 'SIGKILL')
  return pids.length
}

describe('four replicas', () => {
  it('are four groups under one policy, and all of them are told to callers', async () => {
    expect(first['error']).toBeUndefined()
    expect(await shapeOf('up', first)).toEqual([true, null])
    const names = (first['endpoints'] as Document[]).map(({ group }) => group)
    expect(names).toEqual(['confrouter', 'confrouter-2', 'confrouter-3', 'confrouter-4'])
    expect(new Set(endpointsOf(first)).size).toBe(4)
    expect(await listed()).toEqual(endpointsOf(first))
    const policies = await Promise.all(names.map(async (name) => (await groupOf(name as string))?.ccePolicy))
    expect(new Set(policies).size).toBe(1)
    expect(policies[0]).toBeDefined()
  }, 60_000)

  it('show evidence that holds under the one trust policy, with the same keys', async () => {
    const keys = await Promise.all(endpointsOf(first).map(keysOf))
    expect(new Set(keys.map((each) => each.join())).size).toBe(1)
  }, 30_000)

  it('change nothing the second time, and status looks at each', async () => {
    expect((await workspace.json('up')).document['changed']).toBe(false)
    const { code, document } = await workspace.json('status', '--trust')
    expect([code, document['upToDate']]).toEqual([0, true])
    expect(await shapeOf('status', document)).toEqual([true, null])
    const links = (document['chain'] as Document[]).filter(({ id }) => id === 'replica')
    expect(links.map(({ state, link }) => [state, /"(.*)"/.exec(link as string)?.[1]])).toEqual([
      ['ok', 'confrouter-2'],
      ['ok', 'confrouter-3'],
      ['ok', 'confrouter-4']
    ])
  }, 60_000)
})

const missing = withoutNginx()
const behindNginx = missing === undefined ? describe : describe.skip
behindNginx(`a load balancer in front${missing === undefined ? '' : ` (skipped: ${missing})`}`, () => {
  let nginx: Nginx
  beforeAll(async () => {
    nginx = await startNginx(workspace.directory, endpointsOf(first))
  }, 30_000)
  afterAll(() => nginx.stop())

  const load = async (loops: number, work: () => Promise<void>) => {
    const client = createFetch({ url: nginx.url, ...(await caller()) })
    const tally = { sent: 0, answered: 0, failed: [] as string[] }
    let running = true
    const call = async () => {
      const text = `call ${tally.sent++}`
      try {
        const response = await client(`${nginx.url}/v1/chat/completions`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ model: 'loopback:echo', messages: [{ role: 'user', content: text }] })
        })
        const answer = (await response.json()) as { choices?: { message: { content: string } }[] }
        if (answer.choices?.[0]?.message.content !== text) throw new Error(String(response.status))
        tally.answered++
      } catch (error) {
        tally.failed.push(error instanceof Error ? error.message : String(error))
      }
    }
    await call()
    const all = Array.from({ length: loops }, async () => {
      while (running) await call()
    })
    await work()
    running = false
    await Promise.all(all)
    return tally
  }
  const pause = (milliseconds: number) => new Promise<void>((resolve) => setTimeout(resolve, milliseconds))
  const calls = (log: readonly Logged[]) => log.filter(({ path }) => path === '/v1/chat/completions')

  it('may send the sealed calls of a client that has verified once to any of them', async () => {
    const tally = await load(8, () => pause(1500))
    const log = await nginx.log()
    expect([tally.failed, tally.answered]).toEqual([[], tally.sent])
    expect(tally.sent).toBeGreaterThan(50)
    expect(log.filter(({ path }) => path === '/.well-known/confrouter').length).toBe(1)
    const answering = new Set(
      calls(log).flatMap(({ attempts }) => attempts.map(({ upstream }) => `http://${upstream}`))
    )
    expect([...answering].sort()).toEqual(endpointsOf(first).sort())
  }, 60_000)

  it('loses no call that was not sent upstream yet when a replica is killed, and sends none twice', async () => {
    // A line is written after the answer has ended.
    await pause(200)
    const before = (await nginx.log()).length
    let killed = 0
    const tally = await load(16, async () => {
      await pause(1000)
      killed = killRouter('confrouter-3')
      await pause(2500)
    })
    await pause(200)
    const log = calls((await nginx.log()).slice(before))
    const failed = log.filter(({ status }) => status !== 200)
    const wasSent = ({ attempts }: Logged) => attempts.some(({ bytesSent }) => bytesSent > 0)
    const moved = log.filter(({ attempts }) => attempts.length > 1)
    process.stderr.write(
      `killed: ${tally.sent} sent, ${tally.answered} answered, ${failed.length} failed after they were sent upstream, ` +
        `${failed.filter((each) => !wasSent(each)).length} lost before, ${moved.length} moved to another replica\n`
    )
    expect(killed).toBeGreaterThan(0)
    // Every call of the client is one line of the log: it sent each of them once.
    expect(log.length).toBe(tally.sent)
    expect(failed.length).toBe(tally.failed.length)
    // What is lost was sent, and there is no more of it than there were calls at the moment.
    expect(failed.filter((each) => !wasSent(each))).toEqual([])
    expect(failed.length).toBeLessThanOrEqual(16)
    expect(tally.answered).toBe(tally.sent - failed.length)
    // Some did find the address dead, and were answered elsewhere.
    expect(moved.filter(({ status }) => status === 200).length).toBeGreaterThan(0)
    expect(log.filter(({ attempts }) => attempts.filter(({ bytesSent }) => bytesSent > 0).length > 1)).toEqual([])
  }, 60_000)

  it('has the killed replica back with the same key', async () => {
    const [one, , third] = endpointsOf(first)
    await expect(until(async () => (await fetch(`${third}/readyz`)).status === 200)).resolves.toBe(true)
    expect(await keysOf(third!)).toEqual(await keysOf(one!))
  }, 60_000)
})

const until = async (isSo: () => Promise<boolean>): Promise<boolean> => {
  for (let attempt = 0; attempt < 300; attempt++) {
    if (await isSo().catch(() => false)) return true
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  return false
}

describe('another number of replicas', () => {
  it('is shown by the plan before one goes', async () => {
    await configure(3)
    const { code, document } = await workspace.json('plan', '--exit-code')
    const change = (document['changes'] as Document[]).find(({ resource }) => resource === 'deploy')
    expect([code, change?.['action'], change?.['properties']]).toEqual([
      10,
      'replace',
      [{ property: 'replica.confrouter-4', from: 'Running', to: null }]
    ])
    expect(document['trustChanges']).toEqual([])
  }, 60_000)

  it('takes one off the list, deletes it and leaves the others', async () => {
    const { code, document } = await workspace.json('up')
    expect([code, document['error']]).toEqual([0, undefined])
    expect(endpointsOf(document)).toEqual(endpointsOf(first).slice(0, 3))
    expect(await listed()).toEqual(endpointsOf(first).slice(0, 3))
    expect(await groupOf('confrouter-4')).toBeUndefined()
    expect((await workspace.json('up')).document['changed']).toBe(false)
  }, 90_000)

  it('puts back a replica that somebody deleted', async () => {
    const { azure } = await azureOf(workspace)
    const client = await azure.containers()
    await client.containerGroups.beginDeleteAndWait('confrouter', 'confrouter-2', { updateIntervalInMs: 50 })
    expect((await workspace.json('status')).code).toBe(10)
    const { code, document } = await workspace.json('up')
    expect([code, endpointsOf(document).length]).toEqual([0, 3])
    expect(await keysOf(endpointsOf(document)[1]!)).toEqual(await keysOf(endpointsOf(document)[0]!))
  }, 90_000)
})

describe('an upgrade of replicas', () => {
  it('replaces all of them and loses no call of callers who pin what is published', async () => {
    await configure(3, 'encryption: required')
    const { emulator } = await azureOf(workspace)
    const steady = startCaller(workspace.directory, await readFile(emulator.caFile, 'utf8'), { loops: 3, pauseMs: 10 })
    const { code, document } = await workspace.json('up')
    const tally = await steady.stop()
    expect([code, document['error']]).toEqual([0, undefined])
    expect([tally.lost, tally.answered]).toEqual([[], tally.sent])
    expect(document['hostData']).not.toBe(first['hostData'])
    const name = `confrouter-${(document['hostData'] as string).slice(0, 8)}`
    expect((document['endpoints'] as Document[]).map(({ group }) => group)).toEqual([name, `${name}-2`, `${name}-3`])
    expect(await listed()).toEqual(endpointsOf(document))
    expect(await Promise.all(['confrouter', 'confrouter-2', 'confrouter-3'].map(groupOf))).toEqual([
      undefined,
      undefined,
      undefined
    ])
    expect((await workspace.json('up')).document['changed']).toBe(false)
  }, 180_000)

  it('is taken back by rollback, for all of them', async () => {
    const { code, document } = await workspace.json('rollback', '--reason', 'test')
    expect([code, document['error'], document['to']]).toEqual([0, undefined, first['hostData']])
    expect((await listed()).length).toBe(3)
    const keys = await Promise.all((await listed()).map((each) => keysOf(each as string)))
    expect(new Set(keys.map((each) => each.join())).size).toBe(1)
  }, 180_000)
})
