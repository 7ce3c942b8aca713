import { spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { getContainerGroup } from '../../src/azure/container-group.js'
import { getKey } from '../../src/azure/vault-key.js'
import { pinsOf } from '../../src/steps/release-key.js'
import { azureOf } from './azure.js'
import { type Document, openWorkspace, outcome, type Workspace } from './workspace.js'

/**
 * `kill -9` at moments that are spread evenly over all that come once in every run: before a request, after an
 * answer, after a write of the state; of what is asked again and again while something goes on, the first. Whatever was begun, the same command run again completes it (docs/upgrade.md has the list).
 */
const points = Array.from({ length: 15 }, (_, index) => index + 1)
const cli = join(import.meta.dirname, '../../bin/confrouter.js')
const table: string[] = []

async function run(workspace: Workspace, more: Readonly<Record<string, string>>, ...args: readonly string[]) {
  const preload = pathToFileURL(join(import.meta.dirname, 'die-at.mjs')).href
  const child = spawn(process.execPath, ['--import', preload, cli, ...args], {
    cwd: workspace.directory,
    env: { ...workspace.environment, ...more },
    stdio: ['ignore', 'pipe', 'pipe']
  })
  return outcome(child)
}

/** Every moment of a whole run, in order. */
async function moments(workspace: Workspace, ...args: readonly string[]): Promise<readonly string[]> {
  const file = join(workspace.directory, 'moments.log')
  const { code, stderr } = await run(workspace, { DIE_LOG: file }, ...args)
  expect([code, code === 0 ? '' : stderr]).toEqual([0, ''])
  const counts = new Map<string, number>()
  const labels = (await readFile(file, 'utf8')).trim().split('\n')
  return labels.flatMap((label) => {
    const count = (counts.get(label) ?? 0) + 1
    counts.set(label, count)
    return count > 1 && isPolled.test(label) ? [] : [`${count} ${label}`]
  })
}

const isPolled = /\/operation$|\/readyz|\/healthz|GET ContainerInstance\/containerGroups|\/emulator\/health/

/** Kills at a part of the whole, and says where that was. */
async function killAt(
  workspace: Workspace,
  all: readonly string[],
  point: number,
  ...args: readonly string[]
): Promise<string> {
  const at = all[Math.floor((all.length * (point - 0.5)) / points.length)] ?? ''
  const file = join(workspace.directory, `moments-${point}.log`)
  const { code } = await run(workspace, { DIE_AT: at, DIE_LOG: file }, ...args)
  // Null: ended by the signal. A run that did not come there was not killed, and proves nothing.
  expect([at, code]).toEqual([at, null])
  return at.replace(/^\d+ /, '')
}

async function keyOf(workspace: Workspace, vaultUri: string) {
  const { azure } = await azureOf(workspace)
  return (await getKey({ azure, vaultUri, onWait: () => undefined }, 'default'))!
}

afterAll(() => {
  process.stderr.write(`${table.join('\n')}\n`)
})

describe('up, killed', () => {
  let workspace: Workspace
  let all: readonly string[]
  beforeAll(async () => {
    const whole = await openWorkspace()
    all = await moments(whole, 'up', '--local', '--no-smoke')
    await whole.end()
  }, 60_000)
  beforeEach(async () => {
    workspace = await openWorkspace()
  })
  afterEach(() => workspace.end(), 60_000)

  it.each(points)(
    'at point %i of 15 is completed by the same command',
    async (point) => {
      const where = await killAt(workspace, all, point, 'up', '--local', '--no-smoke')
      const { code, document } = await workspace.json('up', '--local', '--no-smoke')
      expect([where, code, document['error']]).toEqual([where, 0, undefined])
      expect(pinsOf((await keyOf(workspace, document['vaultUri'] as string)).releasePolicy!)).toEqual([
        document['hostData']
      ])
      table.push(`| up ${point} | ${where} | completed, ${changedIn(document)} |`)
    },
    90_000
  )
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

function changedIn(document: Document): string {
  const steps = (document['steps'] as { id: string; action: string }[]).filter(({ action }) => action !== 'none')
  return steps.length === 0 ? 'nothing was left to do' : `did ${steps.map(({ id }) => id).join(', ')}`
}
