import { spawnSync } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { takeLock } from '../../../src/steps/lock.js'

const now = new Date('2026-11-22T12:00:00Z')
let directory: string
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'lock-'))
})
afterEach(() => rm(directory, { recursive: true, force: true }))

const owner = (pid: number, host = hostname()) =>
  JSON.stringify({ pid, host, command: 'up', startedAt: '2026-11-22T11:59:00.000Z' })

describe('takeLock', () => {
  it('names owner, host and age while another run holds it', async () => {
    await takeLock(directory, 'up', now, () => undefined)
    await expect(takeLock(directory, 'down', new Date(now.getTime() + 90_000), () => undefined)).rejects.toMatchObject({
      code: 'state.locked',
      exitCode: 4,
      problem: expect.stringMatching(new RegExp(`process ${process.pid} on ${hostname()}, for 90 s`))
    })
  })

  it('can be taken again once it was given back, and leaves no file', async () => {
    const release = await takeLock(directory, 'up', now, () => undefined)
    await release()
    await (
      await takeLock(directory, 'up', now, () => undefined)
    )()
    expect(await readdir(directory)).toEqual([])
  })

  it('takes over the lock of a process that is gone, and says so', async () => {
    const { pid } = spawnSync(process.execPath, ['-e', '0'])
    await writeFile(join(directory, 'lock'), owner(pid))
    const said: string[] = []
    const release = await takeLock(directory, 'up', now, (message) => said.push(message))
    expect(said.join()).toMatch(`process ${pid}`)
    expect(JSON.parse(await readFile(join(directory, 'lock'), 'utf8'))).toMatchObject({ pid: process.pid })
    await release()
  })

  it('takes over a lock whose process id was given to another process since', async () => {
    await writeFile(
      join(directory, 'lock'),
      JSON.stringify({ ...JSON.parse(owner(process.pid)), began: 'another boot 1' })
    )
    const said: string[] = []
    await takeLock(directory, 'up', now, (message) => said.push(message))
    expect(said).toHaveLength(1)
  })

  it.each(['', '{', '{}', 'null'])('takes over a lock that cannot be read: %j', async (text) => {
    await writeFile(join(directory, 'lock'), text)
    const said: string[] = []
    await takeLock(directory, 'up', now, (message) => said.push(message))
    expect(said.join()).toMatch(/cannot be read/)
  })

  it('gives back only its own lock', async () => {
    const release = await takeLock(directory, 'up', now, () => undefined)
    await writeFile(join(directory, 'lock'), owner(1))
    await release()
    expect(await readFile(join(directory, 'lock'), 'utf8')).toBe(owner(1))
  })

  it('never judges a lock from another host dead', async () => {
    const { pid } = spawnSync(process.execPath, ['-e', '0'])
    await writeFile(join(directory, 'lock'), owner(pid, 'elsewhere'))
    await expect(takeLock(directory, 'up', now, () => undefined)).rejects.toMatchObject({ code: 'state.locked' })
  })

  it('gives a lock to exactly one of many that ask at once', async () => {
    const outcomes = await Promise.allSettled(
      Array.from({ length: 20 }, () => takeLock(directory, 'up', now, () => undefined))
    )
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  })
})
