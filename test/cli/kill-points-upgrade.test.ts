import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { getContainerGroup } from '../../src/azure/container-group.js'
import { pinsOf } from '../../src/steps/release-key.js'
import { azureOf } from './azure.js'
import { keyOf, killAt, moments, points } from './kill-points.js'
import { type Document, openWorkspace, type Workspace } from './workspace.js'

const table: string[] = []
afterAll(() => {
  process.stderr.write(`${table.join('\n')}\n`)
})

describe('an upgrade, killed', () => {
  let workspace: Workspace
  let first: Document
  let all: readonly string[]
  let turn = 0
  beforeAll(async () => {
    workspace = await openWorkspace()
    first = (await workspace.json('up', '--local', '--no-smoke')).document
    // The first group has no host data in its name, all later ones have: from here on every upgrade has the same moments.
    await next()
    await workspace.json('up', '--no-smoke')
    await next()
    all = await moments(workspace, 'up', '--no-smoke')
  }, 90_000)
  afterAll(() => workspace.end(), 60_000)

  /** Another configuration, so that there is something to upgrade to. */
  const next = () => {
    turn++
    const limits = `limits: { callsPerMinute: ${10_000 + turn} }`
    return workspace.write(
      'confrouter.yaml',
      `cloud: local\nupgrade: { strategy: blue-green, drainSeconds: 0 }\nrouter: { ${limits} }\n`
    )
  }

  it.each(points)(
    'at point %i of 15 is completed by the same command, with the same key and nothing left over',
    async (point) => {
      await next()
      const where = await killAt(workspace, all, point, 'up', '--no-smoke')
      const between = JSON.parse(await workspace.read('.confrouter/state.json')) as Document
      const { code, document } = await workspace.json('up', '--no-smoke')
      expect([where, code, document['error']]).toEqual([where, 0, undefined])
      const state = JSON.parse(await workspace.read('.confrouter/state.json')) as Document
      expect([state['upgrade'], state['active'].hostData]).toEqual([undefined, document['hostData']])
      const key = await keyOf(workspace, first['vaultUri'] as string)
      expect([key.id, pinsOf(key.releasePolicy!)]).toEqual([first['keyId'], [document['hostData']]])
      const { azure } = await azureOf(workspace)
      expect(await getContainerGroup(azure, 'confrouter', state['previous'].group as string)).toBeUndefined()
      expect((await fetch(`${document['endpoint']}/readyz`)).status).toBe(200)
      const trust = JSON.parse(await workspace.read('.confrouter/policy/trust.json')) as Document
      expect(trust['hostData']).toEqual([document['hostData']])
      table.push(`| upgrade ${point}, phase ${between['upgrade']?.phase ?? '(none)'} | ${where} | completed |`)
    },
    90_000
  )
})
