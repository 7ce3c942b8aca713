import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { pinsOf } from '../../src/steps/release-key.js'
import { keyOf, killAt, moments, points } from './kill-points.js'
import { type Document, openWorkspace, type Workspace } from './workspace.js'

const table: string[] = []
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

function changedIn(document: Document): string {
  const steps = (document['steps'] as { id: string; action: string }[]).filter(({ action }) => action !== 'none')
  return steps.length === 0 ? 'nothing was left to do' : `did ${steps.map(({ id }) => id).join(', ')}`
}
