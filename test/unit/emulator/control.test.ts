import { type ChildProcess, spawn } from 'node:child_process'
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { resetEmulator, stopEmulator } from '../../../src/emulator/control.js'
import { findHolder, lockDirectory } from '../../../src/emulator/lock.js'
import { identifyProcess } from '../../../src/emulator/process-identity.js'
import { eventually, temporaryDirectory } from './support/emulator.js'

describe('stopping and resetting an emulator', () => {
  let directory: string
  let children: ChildProcess[]

  beforeEach(async () => {
    directory = join(await temporaryDirectory(), 'emulator')
    await mkdir(join(directory, 'state'), { recursive: true })
    await writeFile(join(directory, 'emulator.json'), '{}')
    children = []
  })
  afterEach(async () => {
    for (const child of children) child.kill('SIGKILL')
    await rm(join(directory, '..'), { recursive: true, force: true })
  })

  const run = (...command: readonly string[]): ChildProcess => {
    const [file = '', ...args] = command
    const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'ignore'], detached: true })
    children.push(child)
    return child
  }
  const identityOf = (pid: number | undefined) => eventually(async () => identifyProcess(pid ?? 0) ?? false)
  /** As an emulator writes it. */
  const holdLock = async (pid: number | undefined) =>
    writeFile(join(directory, 'lock'), JSON.stringify({ ...(await identityOf(pid)), token: 't' }))
  const stubborn = async (): Promise<ChildProcess> => {
    const child = run(
      process.execPath,
      '-e',
      "process.on('SIGTERM', () => {}); console.log(1); setInterval(() => {}, 1000)"
    )
    await new Promise((resolve) => child.stdout?.once('data', resolve))
    await holdLock(child.pid)
    return child
  }

  it('ends the process that holds the lock, whether it answers or not', async () => {
    const child = run('sleep', '60')
    await holdLock(child.pid)
    expect(await findHolder(directory)).toEqual(identifyProcess(child.pid ?? 0))
    await stopEmulator(directory)
    expect(identifyProcess(child.pid ?? 0)).toBeUndefined()
    expect(await readdir(directory)).toEqual(['state'])
  })

  it('does not wait for a zombie', async () => {
    // `sleep` never asks for the end of the process that it inherits from the shell.
    const parent = run('sh', '-c', 'sleep 60 & echo $!; exec sleep 60')
    const pid = await new Promise<number>((resolve) => parent.stdout?.once('data', (text) => resolve(Number(text))))
    await holdLock(pid)
    const startedAt = performance.now()
    await stopEmulator(directory)
    expect(performance.now() - startedAt).toBeLessThan(1000)
    expect(() => process.kill(pid, 0)).not.toThrow()
  })

  it.each([
    ['stop', stopEmulator],
    ['reset', resetEmulator]
  ])('%s says so when it does not end, and deletes nothing', async (_, end) => {
    const child = await stubborn()
    await expect(end(directory, 200)).rejects.toMatchObject({
      code: 'emulator.not-stopped',
      exitCode: 4,
      next: [`kill -9 ${child.pid}`]
    })
    expect((await readdir(directory)).sort()).toEqual(['emulator.json', 'lock', 'state'])
    expect(identifyProcess(child.pid ?? 0)).toBeDefined()
  })

  it.each([
    ['stop', stopEmulator],
    ['reset', resetEmulator]
  ])('%s ends the containers that an emulator left when it was killed', async (_, end) => {
    const container = run('sleep', '60')
    const folder = join(directory, 'groups', 'rg.router', 'app')
    await mkdir(folder, { recursive: true })
    await writeFile(join(folder, 'process.json'), JSON.stringify(await identityOf(container.pid)))
    await writeFile(join(directory, 'lock'), JSON.stringify({ pid: 2 ** 22 - 1, started: 'x', token: 't' }))
    await end(directory)
    expect(identifyProcess(container.pid ?? 0)).toBeUndefined()
  })

  it('leaves a process alone that got the number of a recorded one', async () => {
    const stranger = run('sleep', '60')
    const folder = join(directory, 'groups', 'rg.router', 'app')
    await mkdir(folder, { recursive: true })
    await writeFile(join(folder, 'process.json'), JSON.stringify({ pid: stranger.pid, started: 'long ago' }))
    await writeFile(join(directory, 'lock'), JSON.stringify({ pid: stranger.pid, started: 'long ago', token: 't' }))
    await stopEmulator(directory)
    expect(await identityOf(stranger.pid)).toBeDefined()
  })

  it('deletes all state on a reset, and what is deleted belongs to nobody meanwhile', async () => {
    await resetEmulator(directory)
    await expect(stat(directory)).rejects.toMatchObject({ code: 'ENOENT' })
  })

  it('does nothing where there is no emulator', async () => {
    const none = join(directory, 'none')
    await stopEmulator(none)
    await resetEmulator(none)
    await expect(stat(none)).rejects.toMatchObject({ code: 'ENOENT' })
  })

  it('never ends the process that it runs in', async () => {
    const lock = await lockDirectory(directory)
    await expect(stopEmulator(directory)).rejects.toMatchObject({ code: 'emulator.not-stopped' })
    expect(JSON.parse(await readFile(join(directory, 'lock'), 'utf8'))).toMatchObject({ pid: process.pid })
    await lock.release()
  })
})
