import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { spawnSync } from 'node:child_process'
import { openWorkspace, shapeOf, type Workspace } from './workspace.js'

let workspace: Workspace
beforeAll(async () => {
  workspace = await openWorkspace()
  expect((await workspace.run('up', '--local', '--no-smoke')).code).toBe(0)
}, 60_000)
afterAll(() => workspace.end(), 60_000)

describe('confrouter logs', () => {
  it('shows what both containers wrote and what the platform says of them', async () => {
    const { code, document } = await workspace.json('logs', '--local')
    expect(code).toBe(0)
    expect(document).toMatchObject({ ok: true, command: 'logs', group: 'confrouter', state: 'Running', denial: null })
    expect(await shapeOf('logs', document)).toEqual([true, null])
    const [router, sidecar] = document['containers']
    expect([router.name, sidecar.name]).toEqual(['router', 'skr'])
    expect(router.lines.join('\n')).toContain('"listening"')
    expect(router.events.map(({ name }: { name: string }) => name)).toContain('Started')
  })

  it('shows one container, and no more lines than were asked for', async () => {
    const { stdout, code } = await workspace.run('logs', 'router', '--local', '--tail', '1')
    expect(code).toBe(0)
    expect(stdout.split('\n').filter((line) => line.startsWith('{')).length).toBe(1)
    expect(stdout).not.toContain('skr:')
  })

  it('names the containers there are for one that there is not, and refuses a count that is none', async () => {
    const other = await workspace.json('logs', 'sidecar', '--local')
    expect([other.code, other.document['error'].why]).toEqual([2, 'it has router, skr'])
    expect((await workspace.run('logs', '--local', '--tail', 'all')).code).toBe(2)
  })

  it('says where there is nothing to show', async () => {
    const empty = await openWorkspace()
    try {
      expect((await empty.json('logs', '--local')).document['error'].code).toBe('emulator.not-running')
      await empty.run('emulator', 'start')
      expect((await empty.json('logs', '--local')).document['error'].code).toBe('logs.no-group')
    } finally {
      await empty.end()
    }
  }, 60_000)
})

describe('confrouter completion', () => {
  const complete = async (...words: readonly string[]): Promise<readonly string[]> => {
    const { stdout } = await workspace.run('completion', 'bash')
    const program = `${stdout}\nCOMP_WORDS=(confrouter "$@"); COMP_CWORD=$#; _confrouter; printf '%s\\n' "\${COMPREPLY[@]}"`
    const { stdout: found, status } = spawnSync('bash', ['-c', program, 'bash', ...words], { encoding: 'utf8' })
    expect(status).toBe(0)
    return found.split('\n').filter((word) => word !== '')
  }

  it('completes verbs, verbs below them and flags in bash', async () => {
    expect(await complete('emu')).toEqual(['emulator'])
    expect(await complete('emulator', 'st')).toEqual(['start', 'stop', 'status'])
    expect(await complete('up', '--accept-h')).toEqual(['--accept-host-data'])
    expect(await complete('logs', '--local', '--ta')).toEqual(['--tail'])
  }, 30_000)

  it.each(['zsh', 'fish'])('prints one for %s, which that shell reads if it is here', async (shell) => {
    const { stdout, code } = await workspace.run('completion', shell)
    expect(code).toBe(0)
    expect(stdout).toContain('emulator')
    const checked = spawnSync(shell, ['-n'], { input: stdout, encoding: 'utf8' })
    // ENOENT: the shell is not installed, so its syntax was not looked at.
    if (checked.error === undefined) expect([checked.status, checked.stderr]).toEqual([0, ''])
  })

  it('refuses a shell that it does not know', async () => {
    expect((await workspace.run('completion', 'tcsh')).code).toBe(2)
  })
})
