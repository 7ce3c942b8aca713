import { PassThrough } from 'node:stream'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { main } from '../../src/cli.js'
import { getKey, updateReleasePolicy } from '../../src/azure/vault-key.js'
import { azureOf } from './azure.js'
import { openWorkspace, type Document, type Workspace } from './workspace.js'

/**
 * The questions of a cloud where a change costs something, asked on loopback: the real command in
 * this process, with captured streams and nobody at a terminal.
 */
let workspace: Workspace
let first: Document
beforeAll(async () => {
  workspace = await openWorkspace()
  first = (await workspace.json('up', '--local')).document
}, 60_000)
afterAll(() => workspace.end(), 60_000)

const ask = (...args: readonly string[]) => askWith({}, ...args)

async function askWith(more: Readonly<Record<string, string>>, ...args: readonly string[]) {
  const streams = { stdin: new PassThrough(), stdout: new PassThrough(), stderr: new PassThrough() }
  const code = await main({
    argv: [...args, '--local', '--json', '--state-dir', `${workspace.directory}/.confrouter`],
    ...(streams as unknown as Pick<Parameters<typeof main>[0], 'stdin' | 'stdout' | 'stderr'>),
    environment: { ...workspace.environment, ...more },
    signal: new AbortController().signal,
    asksOnLoopback: true
  })
  return {
    code,
    document: JSON.parse(String(streams.stdout.read())) as Document,
    stderr: String(streams.stderr.read() ?? '')
  }
}

/** The same with somebody at the terminal, who answers yes to every question, after `before` has happened. */
async function answerYes(before: () => Promise<void>, ...args: readonly string[]) {
  const terminal = () => Object.assign(new PassThrough(), { isTTY: true, columns: 100 })
  const streams = { stdin: terminal(), stdout: new PassThrough(), stderr: terminal() }
  let screen = ''
  let questions = 0
  streams.stderr.setEncoding('utf8').on('data', (text: string) => {
    screen += text
    if (screen.split('[y/N] ').length - 1 === questions) return
    questions++
    void before().then(() => streams.stdin.write('y\n'))
  })
  const code = await main({
    argv: [...args, '--local', '--json', '--state-dir', `${workspace.directory}/.confrouter`],
    ...(streams as unknown as Pick<Parameters<typeof main>[0], 'stdin' | 'stdout' | 'stderr'>),
    environment: { ...workspace.environment, TERM: 'dumb' },
    signal: new AbortController().signal,
    asksOnLoopback: true
  })
  return { code, document: JSON.parse(String(streams.stdout.read())) as Document, screen, questions }
}

async function bindTo(change: (policy: string) => string): Promise<void> {
  const { azure } = await azureOf(workspace)
  const vault = { azure, vaultUri: first['vaultUri'] as string, onWait: () => undefined }
  const key = (await getKey(vault, 'default'))!
  await updateReleasePolicy(vault, key, change(key.releasePolicy!))
}

const foreign = 'cd'.repeat(32)

describe('with nothing to change', () => {
  it('nothing is asked', async () => {
    const { code, document } = await ask('up')
    expect([code, document['changed']]).toEqual([0, false])
  }, 30_000)
})

describe('a change of the plan', () => {
  it('needs an answer, and without a terminal names the flag that gives it', async () => {
    await bindTo((policy) => policy.replaceAll(first['hostData'] as string, foreign))
    const { code, document } = await ask('up')
    expect([code, document['error'].code]).toEqual([7, 'input.needed'])
    expect(document['error'].next.join()).toContain('--yes')
  }, 30_000)

  it('is answered for the plan that was shown, and not for one that moved before the answer', async () => {
    const moved = () => bindTo((policy) => policy.replaceAll(foreign, 'ef'.repeat(32)))
    const { code, document, screen, questions } = await answerYes(moved, 'up')
    expect([code, document['error'].code, questions]).toEqual([7, 'plan.moved', 1])
    expect(document['differences'].join()).toContain('ef'.repeat(32))
    expect(screen).toMatch(/Make these changes\? \[y\/N\] /)
    expect(screen).toContain('nothing was changed')
  }, 30_000)
})

describe('a change of trust', () => {
  it('is not covered by --yes, and shows the flag with the value to approve', async () => {
    const { code, document } = await ask('up', '--yes')
    expect([code, document['error'].code]).toEqual([7, 'input.needed'])
    expect(document['error'].next.join()).toContain(`--accept-host-data ${first['hostData']}`)
  }, 30_000)

  it('is not covered by the approval of another host data', async () => {
    expect((await ask('up', '--yes', '--accept-host-data', 'ef'.repeat(32))).code).toBe(7)
  }, 30_000)

  it('refuses a value that is no host data', async () => {
    expect((await ask('up', '--yes', '--accept-host-data', 'yes')).code).toBe(2)
  }, 30_000)

  it('goes through with exactly the new host data', async () => {
    const { code, document } = await ask('up', '--yes', '--accept-host-data', first['hostData'] as string)
    expect(document['error']).toBeUndefined()
    expect([code, document['keyId']]).toEqual([0, first['keyId']])
  }, 60_000)

  it('of the attestation authority alone is shown and approved by its own flag', async () => {
    await bindTo((policy) => policy.replace(first['attestationEndpoint'] as string, 'https://attest.attacker.example'))
    const host = await ask('up', '--yes', '--accept-host-data', first['hostData'] as string)
    expect([host.code, host.document['error'].next.join()]).toEqual([
      7,
      expect.stringContaining(`--accept-authority ${first['attestationEndpoint']}`)
    ])
    expect((await ask('up', '--yes', '--accept-authority', first['attestationEndpoint'] as string)).code).toBe(0)
  }, 60_000)

  it('is refused by the step itself when a verb did not ask', async () => {
    await bindTo((policy) => policy.replaceAll(first['hostData'] as string, foreign))
    const { code } = await ask('key', '--yes')
    expect(code).toBe(7)
    await ask('key', '--yes', '--accept-host-data', first['hostData'] as string)
  }, 30_000)
})

describe('an upgrade', () => {
  const other = {
    CONFROUTER_UPGRADE_STRATEGY: 'blue-green',
    CONFROUTER_UPGRADE_DRAIN_SECONDS: '0',
    CONFROUTER_ACCESS_RATE_LIMIT_PER_MINUTE: '77'
  }

  it('asks for the new host data once, and lets nobody else in on the way there', async () => {
    const refused = await askWith(other, 'up', '--yes')
    expect([refused.code, refused.document['error'].code]).toEqual([7, 'input.needed'])
    const hostData = /--accept-host-data ([0-9a-f]{64})/.exec(refused.document['error'].next.join())![1]!
    const done = await askWith(other, 'up', '--yes', '--accept-host-data', hostData)
    expect(done.document['error']).toBeUndefined()
    expect([done.code, done.document['upgrade']]).toEqual([
      0,
      expect.objectContaining({ from: first['hostData'], to: hostData })
    ])
  }, 60_000)

  it('is taken back by rollback only with the old host data approved', async () => {
    const refused = await askWith(other, 'rollback', '--reason', 'test')
    expect([refused.code, refused.document['error'].code]).toEqual([7, 'input.needed'])
    expect(refused.document['error'].next.join()).toContain(`--accept-host-data ${first['hostData']}`)
    const flag = ['--accept-host-data', first['hostData'] as string]
    const done = await askWith(other, 'rollback', '--reason', 'test', ...flag)
    expect([done.code, done.document['to']]).toEqual([0, first['hostData']])
  }, 60_000)
})

describe('down', () => {
  it('wants the name of the deployment and takes no other', async () => {
    expect((await ask('down')).document['error'].code).toBe('input.needed')
    expect((await ask('down', '--confirm', 'wrong')).document['error'].code).toBe('user.declined')
    const { code, document } = await ask('down', '--confirm', 'confrouter')
    expect([code, document['changed']]).toEqual([0, true])
  }, 60_000)
})
