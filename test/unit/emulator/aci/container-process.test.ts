import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { ContainerLog } from '../../../../src/emulator/services/aci/container-log.js'
import { startProcess } from '../../../../src/emulator/services/aci/container-process.js'
import { identifyProcess } from '../../../../src/emulator/process-identity.js'

describe('the process of a container', () => {
  let directory: string
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'container-process-'))
  })
  afterEach(() => rm(directory, { recursive: true, force: true }))

  const recordFile = () => join(directory, 'process.json')
  const start = (script: string, log?: ContainerLog) =>
    startProcess({
      command: { file: process.execPath, args: ['-e', script], cwd: directory, lentNode: false },
      env: {},
      log,
      recordFile: recordFile()
    })

  it('is recorded while it runs, and not after', async () => {
    const started = await start('setInterval(() => {}, 1000)')
    expect(JSON.parse(await readFile(recordFile(), 'utf8'))).toEqual(identifyProcess(started.pid))
    await started.stop(2000)
    await expect(readFile(recordFile())).rejects.toMatchObject({ code: 'ENOENT' })
  })

  it('leaves no record when the system cannot execute it', async () => {
    const command = { file: join(directory, 'none'), args: [], cwd: directory, lentNode: false }
    await expect(startProcess({ command, env: {}, log: undefined, recordFile: recordFile() })).rejects.toMatchObject({
      code: 'ENOENT'
    })
    await expect(readFile(recordFile())).rejects.toMatchObject({ code: 'ENOENT' })
  })

  it('has ended although a process that left its group keeps the output open', async () => {
    const log = new ContainerLog(join(directory, 'log'), () => new Date())
    const script = `
      const { spawn } = require('node:child_process')
      const child = spawn(process.execPath, ['-e', 'setTimeout(() => {}, 8000)'], { detached: true, stdio: 'inherit' })
      child.unref()
      console.log(child.pid)
      setTimeout(() => process.exit(3), 100)`
    const startedAt = performance.now()
    const { exited } = await start(script, log)
    expect(await exited).toBe(3)
    expect(performance.now() - startedAt).toBeLessThan(5000)
    const pid = Number(await log.read({ tail: 1, timestamps: false }))
    expect(identifyProcess(pid)).toBeDefined()
    process.kill(pid, 'SIGKILL')
  })
})
