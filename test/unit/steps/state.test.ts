import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { openState } from '../../../src/steps/state.js'

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
    await state.update((before) => before)
    await expect(openState(directory, 'b', 'local')).rejects.toMatchObject({
      code: 'state.other-deployment',
      exitCode: 3
    })
    await expect(openState(directory, 'a', 'azure')).rejects.toMatchObject({ code: 'state.other-deployment' })
  })

  it.each(['', '{', 'null', '{"version":2,"created":[]}', '[]'])('refuses a damaged file: %j', async (text) => {
    await writeFile(join(directory, 'state.json'), text)
    await expect(openState(directory, 'a', 'local')).rejects.toMatchObject({ code: 'state.damaged', exitCode: 4 })
  })
})
