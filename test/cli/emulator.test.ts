import { stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { openWorkspace, type Workspace } from './workspace.js'

describe('confrouter emulator', () => {
  let workspace: Workspace
  let endpoint: string
  beforeAll(async () => {
    workspace = await openWorkspace()
    endpoint = (await workspace.json('up', '--local')).document['endpoint'] as string
  }, 60_000)
  afterAll(() => workspace.end(), 60_000)

  const pid = async () =>
    (JSON.parse(await workspace.read('.confrouter/emulator/emulator.json')) as { pid: number }).pid
  const routerAnswers = async () => (await fetch(`${endpoint}/healthz`).catch(() => undefined))?.ok ?? false

  it('refuses options that the running one does not have, and takes those that it has', async () => {
    const port = workspace.environment['CONFROUTER_EMULATOR_PORT'] ?? ''
    for (const options of [
      ['--port', String(Number(port) - 1)],
      ['--rbac-delay', '5']
    ]) {
      const { code, document } = await workspace.json('emulator', 'start', ...options)
      expect([code, document['error'].code]).toEqual([2, 'emulator.other-options'])
    }
    const same = await workspace.json('emulator', 'start', '--port', port, '--rbac-delay', '0')
    expect([same.code, same.document['pid']]).toEqual([0, await pid()])
  }, 30_000)

  it('keeps a log of requests, without a secret in it', async () => {
    const log = await workspace.read('.confrouter/emulator/emulator.log')
    const { clientSecret } = JSON.parse(await workspace.read('.confrouter/emulator/emulator.json')) as {
      clientSecret: string
    }
    expect(log).toMatch(/^\d{4}-\d\d-\d\dT\S+Z POST \/keys\/\S+\/release 200 \d+ ms$/m)
    expect(log).toContain('/instances/…/snp-report')
    expect(log).not.toContain(clientSecret)
    expect(log).not.toMatch(/eyJ|[?&]\w+=/)
  })

  it('stops quickly, with the router that it ran, and comes back with all it had', async () => {
    expect(await routerAnswers()).toBe(true)
    const startedAt = performance.now()
    const { code, document } = await workspace.json('emulator', 'stop')
    expect([code, document['running']]).toEqual([0, false])
    expect(performance.now() - startedAt).toBeLessThan(5000)
    expect(await routerAnswers()).toBe(false)
    expect((await workspace.json('up', '--local')).document).toMatchObject({ ok: true, endpoint })
  }, 60_000)

  it('ends the router of an emulator that was killed', async () => {
    process.kill(await pid(), 'SIGKILL')
    expect(await routerAnswers()).toBe(true)
    expect((await workspace.json('emulator', 'stop')).code).toBe(0)
    expect(await routerAnswers()).toBe(false)
  }, 30_000)

  it('begins a new log file when the one before is long', async () => {
    const log = join(workspace.directory, '.confrouter/emulator/emulator.log')
    await writeFile(log, 'x'.repeat(1024 * 1024 + 1))
    expect((await workspace.json('emulator', 'start')).code).toBe(0)
    expect((await stat(log)).size).toBeLessThan(100_000)
    expect((await stat(`${log}.1`)).size).toBe(1024 * 1024 + 1)
  }, 30_000)

  it('deletes everything on a reset', async () => {
    const { code, document } = await workspace.json('emulator', 'reset')
    expect([code, document['running']]).toEqual([0, false])
    for (const left of ['emulator', 'state.json']) {
      await expect(stat(join(workspace.directory, '.confrouter', left))).rejects.toMatchObject({ code: 'ENOENT' })
    }
  }, 30_000)
})
