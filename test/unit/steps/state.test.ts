import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { openState, stateOwner } from '../../../src/steps/state.js'

let directory: string
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'state-'))
})
afterEach(() => rm(directory, { recursive: true, force: true }))

describe('openState', () => {
  it('gives back what was written, in the order of the calls', async () => {
    const state = await openState(directory, 'a', 'local')
    await Promise.all(
      Array.from({ length: 30 }, (_, i) =>
        state.update((before) => ({ ...before, created: [...before.created, `id-${i}`] }))
      )
    )
    const again = await openState(directory, 'a', 'local')
    expect(again.get().created).toEqual(Array.from({ length: 30 }, (_, i) => `id-${i}`))
    expect(await readdir(directory)).toEqual(['state.json'])
  })

  it('refuses the state of another deployment or cloud', async () => {
    const state = await openState(directory, 'a', 'local')
    await state.update((before) => ({ ...before, created: ['id'] }))
    await expect(openState(directory, 'b', 'local')).rejects.toMatchObject({
      code: 'state.other-deployment',
      exitCode: 3,
      next: [expect.stringContaining(`CONFROUTER_STATE_DIR=${directory}-b `)]
    })
    await expect(openState(directory, 'a', 'azure')).rejects.toMatchObject({
      code: 'state.other-deployment',
      next: [
        expect.stringContaining(`CONFROUTER_STATE_DIR=${directory}-azure `),
        expect.stringContaining('confrouter status --local '),
        expect.stringContaining('confrouter down --local ')
      ]
    })
    expect(await stateOwner(directory)).toMatchObject({ name: 'a', cloud: 'local' })
  })

  it.each([
    ['something created', { created: ['id'] }],
    ['a deployment', { deployed: { hostData: 'aa' } }],
    ['sealed keys', { secrets: { bundle: 'b', marks: {} } }],
    ['an address', { endpoint: 'http://127.0.0.1:1' }]
  ])('takes a state with %s for one in use', async (_name, more) => {
    const state = await openState(directory, 'a', 'local')
    await state.update((before) => ({ ...before, ...more }))
    expect(await stateOwner(directory)).toMatchObject({ name: 'a' })
    await expect(openState(directory, 'a', 'azure')).rejects.toMatchObject({ code: 'state.other-deployment' })
  })

  it('starts anew where nothing is left of another deployment, and takes over none of its pins', async () => {
    const state = await openState(directory, 'a', 'local')
    await state.update((before) => ({ ...before, sidecar: { reference: 'skr:1', pinned: 'skr@sha256:00' } }))
    expect(await stateOwner(directory)).toBeUndefined()
    const other = await openState(directory, 'a', 'azure')
    expect(other.get()).toEqual({ version: 1, name: 'a', cloud: 'azure', created: [] })
    expect((await openState(directory, 'a', 'local')).get().sidecar?.pinned).toBe('skr@sha256:00')
  })

  it.each(['', '{', 'null', '{"version":2,"created":[]}', '[]'])('refuses a damaged file: %j', async (text) => {
    await writeFile(join(directory, 'state.json'), text)
    await expect(openState(directory, 'a', 'local')).rejects.toMatchObject({ code: 'state.damaged', exitCode: 4 })
  })
})
