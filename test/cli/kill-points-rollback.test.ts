import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { getKey, updateReleasePolicy } from '../../src/azure/vault-key.js'
import { pinsOf } from '../../src/steps/release-key.js'
import { azureOf } from './azure.js'
import { run } from './kill-points.js'
import { type Document, openWorkspace, type Workspace } from './workspace.js'

const table: string[] = []
afterAll(() => {
  process.stderr.write(`${table.join('\n')}\n`)
})

describe('a rollback, killed', () => {
  let workspace: Workspace
  const hostData: string[] = []
  beforeAll(async () => {
    workspace = await openWorkspace()
    for (const calls of [10_000, 10_001]) {
      await workspace.write(
        'confrouter.yaml',
        `cloud: local\nupgrade: { strategy: blue-green, drainSeconds: 0 }\nrouter: { limits: { callsPerMinute: ${calls} } }\n`
      )
      hostData.push((await workspace.json('up', '--no-smoke')).document['hostData'] as string)
    }
  }, 90_000)
  afterAll(() => workspace.end(), 60_000)
  const back = ['rollback', '--reason', 'it is bad'] as const
  const state = async () => JSON.parse(await workspace.read('.confrouter/state.json')) as Document
  const vaultUri = async () => ((await state())['keyId'] as string).replace(/\/keys\/.*/, '')

  it('while it verifies is no upgrade, and is completed by the same command', async () => {
    const [good, bad] = hostData as [string, string]
    const { code } = await run(workspace, { DIE_AT: '1 before GET /readyz' }, ...back)
    expect([code, (await state())['upgrade'].phase]).toEqual([null, 'verify'])
    const up = await workspace.json('up', '--no-smoke')
    expect([up.code, up.document['error'].code]).toEqual([7, 'rollback.open'])
    const { code: again, document } = await workspace.json('rollback', '--reason', 'another')
    expect([again, document]).toMatchObject([0, { from: bad, to: good, resumed: true, releasedTo: [good] }])
    expect(document['reason']).toBe('it is bad')
    expect((await state())['active'].hostData).toBe(good)
    const { document: plan } = await workspace.json('plan')
    expect(plan['warnings']).toEqual([expect.stringContaining(`goes forward again to ${bad}`)])
    table.push('| rollback, phase verify | before GET /readyz | completed |')
  }, 90_000)

  it('while it lets callers go is completed too, and says whom somebody let in meanwhile', async () => {
    const [good, bad] = hostData as [string, string]
    expect((await workspace.json('up', '--no-smoke')).document['hostData']).toBe(bad)
    const stop = `1 before POST ContainerInstance/containerGroups/confrouter-…/stop`
    const { code } = await run(workspace, { DIE_AT: stop }, ...back)
    expect([code, (await state())['upgrade'].phase]).toEqual([null, 'stop'])
    const { azure } = await azureOf(workspace)
    const vault = { azure, vaultUri: await vaultUri(), onWait: () => undefined }
    const key = (await getKey(vault, 'default'))!
    const evil = `{"authority":"https://evil.example","allOf":[{"claim":"x-ms-sevsnpvm-hostdata","equals":"${good}"}]}`
    await updateReleasePolicy(vault, key, key.releasePolicy!.replace('"anyOf":[', `"anyOf":[${evil},`))
    const { code: again, document } = await workspace.json(...back)
    expect([again, document['error'].code]).toEqual([6, 'upgrade.key-opened'])
    expect(document['error'].why).toContain('https://evil.example')
    const { active, upgrade, history } = await state()
    expect([active.hostData, upgrade]).toEqual([good, undefined])
    expect(history.at(-1)).toMatchObject({ to: good, keyOpenedTo: [expect.stringContaining('evil.example')] })
    const { releasePolicy } = (await getKey(vault, 'default'))!
    expect([pinsOf(releasePolicy!), releasePolicy!.includes('evil')]).toEqual([[good], false])
    table.push('| rollback, phase stop | before POST ContainerInstance/containerGroups/confrouter-…/stop | completed |')
  }, 120_000)
})
