import { createServer } from 'node:net'
import { readdir } from 'node:fs/promises'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { openWorkspace, outcome, type Workspace } from './workspace.js'

let workspace: Workspace
beforeEach(async () => {
  workspace = await openWorkspace()
})
afterEach(() => workspace.end(), 60_000)

describe('bad usage', () => {
  it('names a verb that was nearly meant', async () => {
    const { code, stderr, stdout } = await workspace.run('stauts')
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toContain('Did you mean status?')
  })

  it('names a flag that was nearly meant', async () => {
    const { code, stderr } = await workspace.run('up', '--jsn')
    expect(code).toBe(2)
    expect(stderr).toContain('Did you mean --json?')
  })

  it('refuses two clouds at once', async () => {
    const { code, document } = await workspace.json('up', '--local', '--cloud', 'azure')
    expect([code, document['error'].code]).toEqual([2, 'usage.conflict'])
  })

  it('shows help with an example and the exit codes for every verb', async () => {
    for (const verb of ['init', 'build', 'provision', 'policy', 'key', 'deploy', 'smoke', 'up', 'status', 'down']) {
      const { code, stdout } = await workspace.run(verb, '--help')
      expect([verb, code]).toEqual([verb, 0])
      expect(stdout).toMatch(/Example:\n {2}\$ confrouter/)
      expect(stdout).toContain('6 evidence rejected')
    }
  }, 30_000)
})

describe('a bad configuration', () => {
  it('lists all its problems with line, value and what is expected, and exits 3', async () => {
    await workspace.write(
      'confrouter.yaml',
      'cloud: local\ncontainerGroup: { port: 99999 }\nkeyVualt: { name: x }\nkey: { size: 1024 }\n'
    )
    const { code, document } = await workspace.json('up')
    expect(code).toBe(3)
    expect(document).toMatchObject({ ok: false, error: { code: 'config.invalid', fault: 'config' } })
    const problems = document['error'].problems as { line: number; path: string; suggestion?: string }[]
    expect(problems.map(({ line, path }) => `${line} ${path}`).sort()).toEqual([
      '2 containerGroup.port',
      '3 keyVualt',
      '4 key.size'
    ])
    expect(JSON.stringify(problems)).toContain('keyVault')
    expect(await readdir(workspace.directory)).toEqual(['confrouter.yaml'])
  })

  it('says where broken YAML breaks', async () => {
    await workspace.write('confrouter.yaml', 'cloud: local\n\tname: x\n')
    const { code, stderr } = await workspace.run('up')
    expect(code).toBe(3)
    expect(stderr).toMatch(/confrouter\.yaml:2/)
  })

  it('says which provider key is missing before anything is made', async () => {
    await workspace.write('confrouter.yaml', 'cloud: local\nproviders:\n  openai: { apiKey: { env: MY_KEY } }\n')
    const { code, document } = await workspace.json('up')
    expect([code, document['error'].code]).toEqual([3, 'provider.key-missing'])
    expect(document['error'].message).toContain('MY_KEY')
  }, 30_000)

  it('names a file that is not there', async () => {
    const { code, document } = await workspace.json('up', '--config', 'nowhere.yaml')
    expect([code, document['error'].code]).toEqual([3, 'config.unreadable'])
  })

  it('needs a subscription and a repository for a cloud that costs money', async () => {
    const { code, document } = await workspace.json('up', '--cloud', 'azure')
    expect([code, document['error'].code]).toEqual([3, 'config.invalid'])
    expect(JSON.stringify(document)).toContain('subscription')
  })
})

describe('this machine', () => {
  it('says which port of the group is taken and how to choose another', async () => {
    const port = Number(workspace.environment['CONFROUTER_CONTAINER_GROUP_PORT'])
    const server = createServer().listen(port, '127.0.0.1')
    try {
      const { code, document } = await workspace.json('up', '--local')
      expect([code, document['error'].code]).toEqual([4, 'port.taken'])
      expect(document['error'].why).toContain(String(port))
    } finally {
      server.close()
    }
    expect((await workspace.json('up', '--local')).code).toBe(0)
  }, 60_000)

  it('says that the emulator’s port is taken', async () => {
    const server = createServer().listen(Number(workspace.environment['CONFROUTER_EMULATOR_PORT']), '127.0.0.1')
    try {
      const { code, document } = await workspace.json('up', '--local')
      expect([code, document['error'].code]).toEqual([4, 'emulator.not-started'])
      expect(document['error'].why).toContain(workspace.environment['CONFROUTER_EMULATOR_PORT'])
    } finally {
      server.close()
    }
  }, 60_000)

  it('says that a builder is missing and what else there is', async () => {
    const isolated = await openWorkspace({ PATH: '/nowhere' })
    try {
      await isolated.write(
        'confrouter.yaml',
        `subscription: ${'0'.repeat(8)}-0000-0000-0000-${'0'.repeat(12)}\nimage: { builder: docker, repository: registry.example/team/router }\n`
      )
      const { code, document } = await isolated.json('build', '--yes')
      expect([code, document['error'].code]).toEqual([4, 'builder.missing'])
      expect(document['error'].next.length).toBeGreaterThan(0)
    } finally {
      await isolated.end()
    }
  }, 60_000)

  it('lets one run at a time use a state directory', async () => {
    const outcomes = await Promise.all([workspace.json('up', '--local'), workspace.json('up', '--local')])
    const codes = outcomes.map(({ code, document }) => (code === 0 ? 'done' : document['error'].code))
    expect(codes.sort()).toEqual(['done', 'state.locked'])
  }, 60_000)
})

describe('a result that nobody reads', () => {
  it('does not turn a failure into success', async () => {
    const child = workspace.start('up', '--json', '--cloud', 'azure')
    child.stdout?.destroy()
    expect((await outcome(child)).code).toBe(3)
  })
})

describe('usage errors with --json', () => {
  it('are one document of the published shape', async () => {
    const { code, document } = await workspace.json('up', '--bogus')
    expect([code, document['error'].code]).toEqual([2, 'usage.invalid'])
  })
})

describe('init', () => {
  it('writes a file that works on loopback too, and leaves its registry alone', async () => {
    const { stdout } = await workspace.run('init')
    expect(stdout).toMatch(/next: set subscription .*\nnext: put OPENAI_API_KEY .*`up --local`/)
    const { OPENAI_API_KEY: _key, ...environment } = workspace.environment
    expect(environment).not.toHaveProperty('OPENAI_API_KEY')
    await workspace.write('.env', 'OPENAI_API_KEY=sk-not-a-real-key\n')
    const { document } = await workspace.json('up', '--local', '--no-smoke')
    expect(document['image']).toMatch(/^confrouter\.local\/router@/)
    // The folder belongs to the deployment on this machine now: a file for Azure needs another one.
    const other = await workspace.json('init', '--config', 'other.yaml')
    expect(other.document['next'].join()).toContain('export CONFROUTER_STATE_DIR=.confrouter-azure')
  }, 60_000)

  it('writes a starter file once and never over another', async () => {
    expect((await workspace.run('init')).code).toBe(0)
    expect(await workspace.read('confrouter.yaml')).toMatch(/^# yaml-language-server/)
    const { code, document } = await workspace.json('init')
    expect([code, document['error'].code]).toEqual([2, 'init.exists'])
  })
})
