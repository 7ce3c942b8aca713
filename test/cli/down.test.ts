import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { type Document, openWorkspace, type Workspace } from './workspace.js'

const stateFile = '.confrouter/state.json'
let workspace: Workspace
let state: Document

beforeAll(async () => {
  workspace = await openWorkspace()
  expect((await workspace.run('up', '--local', '--no-smoke')).code).toBe(0)
  state = JSON.parse(await workspace.read(stateFile)) as Document
}, 60_000)
afterAll(() => workspace.end(), 60_000)

const writeState = (created: readonly string[]) => workspace.write(stateFile, JSON.stringify({ ...state, created }))

describe('down', () => {
  it('deletes nothing when the state names what lies outside of the deployment', async () => {
    const own = state['created'] as readonly string[]
    const [subscription] = /^\/subscriptions\/[^/]+/.exec(own[0] ?? '') ?? []
    for (const foreign of [
      `${subscription}/resourceGroups/prod`,
      `${subscription}/resourceGroups/confrouter-other/providers/Microsoft.KeyVault/vaults/kv`,
      '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/confrouter'
    ]) {
      await writeState([...own, foreign])
      const { code, document } = await workspace.json('down', '--local')
      expect([code, document['error'].code]).toEqual([4, 'state.foreign'])
      expect(document['error'].message).toContain(foreign)
    }
    await writeState(own)
    expect((await workspace.json('status', '--local')).document['upToDate']).toBe(true)
  }, 60_000)

  it('says what is there and not recorded, and leaves it running', async () => {
    await writeState([])
    const { code, stdout, stderr } = await workspace.run('down', '--local')
    expect([code, stdout.trim()]).toEqual([0, 'nothing to delete'])
    expect(stderr).toContain('resource group "confrouter" is there')
    expect((await workspace.json('emulator', 'status')).document['running']).toBe(true)
  }, 60_000)

  it('deletes what is recorded', async () => {
    await writeState(state['created'] as readonly string[])
    const { code, document } = await workspace.json('down', '--local')
    expect([code, document['changed'], document['kept']]).toEqual([0, true, []])
  }, 60_000)
})
