import { spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { expect } from '@jest/globals'
import { getKey } from '../../src/azure/vault-key.js'
import { azureOf } from './azure.js'
import { outcome, type Workspace } from './workspace.js'

/**
 * `kill -9` at moments that are spread evenly over all that come once in every run: before a request, after an
 * answer, after a write of the state; of what is asked again and again while something goes on, the first. Whatever was begun, the same command run again completes it (docs/upgrade.md has the list).
 */
export const points = Array.from({ length: 15 }, (_, index) => index + 1)
const cli = join(import.meta.dirname, '../../bin/confrouter.js')

/** The command with `die-at.mjs` in its process, told by `more` when to die. */
export async function run(workspace: Workspace, more: Readonly<Record<string, string>>, ...args: readonly string[]) {
  const preload = pathToFileURL(join(import.meta.dirname, 'die-at.mjs')).href
  const child = spawn(process.execPath, ['--import', preload, cli, ...args], {
    cwd: workspace.directory,
    env: { ...workspace.environment, ...more },
    stdio: ['ignore', 'pipe', 'pipe']
  })
  return outcome(child)
}

/** Every moment of a whole run, in order. */
export async function moments(workspace: Workspace, ...args: readonly string[]): Promise<readonly string[]> {
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
export async function killAt(
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

export async function keyOf(workspace: Workspace, vaultUri: string) {
  const { azure } = await azureOf(workspace)
  return (await getKey({ azure, vaultUri, onWait: () => undefined }, 'default'))!
}
