import { PassThrough } from 'node:stream'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { deleteVault, getDeletedVault } from '../../src/azure/key-vault.js'
import { main } from '../../src/cli.js'
import { azureOf } from './azure.js'
import { type Document, openWorkspace, outcome, type Workspace } from './workspace.js'

let workspace: Workspace
beforeEach(async () => {
  workspace = await openWorkspace()
})
afterEach(() => workspace.end(), 60_000)

async function withFaults(plan: object): Promise<void> {
  await workspace.write('faults.json', JSON.stringify(plan))
  const port = workspace.environment['CONFROUTER_EMULATOR_PORT']!
  const { code, stderr } = await workspace.run('emulator', 'start', '--faults', 'faults.json', '--port', port)
  if (code !== 0) throw new Error(stderr)
}

const requestsIn = (log: string, pattern: RegExp): number => log.split('\n').filter((line) => pattern.test(line)).length

describe('an interruption in the middle of a long operation', () => {
  it('leaves it going, and the same command resumes it from its token and sends nothing twice', async () => {
    const running = { status: 200, body: { status: 'Running' } }
    const polls = { method: 'GET', path: '**/deployments/*/operationStatuses/*' }
    await withFaults({ requests: [{ ...polls, times: 400, answer: running }] })
    const child = workspace.start('up', '--local', '--json')
    const ended = outcome(child)
    const state = async (): Promise<Document> =>
      JSON.parse(await workspace.read('.confrouter/state.json').catch(() => '{}')) as Document
    for (const deadline = Date.now() + 60_000; (await state())['deployment'] === undefined;) {
      if (Date.now() > deadline) throw new Error('no deployment has begun')
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    child.kill('SIGINT')
    const { code, stdout } = await ended
    const error = JSON.parse(stdout).error
    expect([code, error.code]).toEqual([130, 'interrupted'])
    expect(error.why).toContain('Azure goes on with deployment "confrouter-confrouter"')
    expect(error.next.join()).toContain('az deployment group show -g confrouter -n confrouter-confrouter')
    expect((await state())['deployment'].token).toMatch(/\w/)

    const again = await workspace.json('up', '--local')
    expect([again.code, again.document['error']]).toEqual([0, undefined])
    expect((await state())['deployment']).toBeUndefined()
    const log = await workspace.read('.confrouter/emulator/emulator.log')
    expect(requestsIn(log, / PUT \S*\/deployments\/[^/ ]+ 20/)).toBe(1)
  }, 120_000)
})

describe('a deployment that fails', () => {
  it('for quota says so by its own code, with exit 5 and what to do', async () => {
    const message = "Resource type 'x' container group quota 'StandardCores' exceeded in region 'eastus'."
    const answer = { status: 409, body: { error: { code: 'ContainerGroupQuotaReached', message } } }
    await withFaults({ requests: [{ method: 'PUT', path: '**/containerGroups/*', times: 0, answer }] })
    const { code, document } = await workspace.json('up', '--local')
    expect([code, document['error'].code, document['error'].why]).toEqual([5, 'aci.quota', message])
    expect(document['error'].next[0]).toMatch(/^az container list-usage/)
    expect(document['error'].requestId).toMatch(/^[0-9a-f-]{36}$/)
  }, 90_000)
})

describe('throttling and a service that is not there', () => {
  it('are waited for visibly, and up completes', async () => {
    const busy = { status: 503, body: { error: { code: 'ServiceUnavailable', message: 'not now' } } }
    const slow = {
      status: 429,
      headers: { 'retry-after': '1' },
      body: { error: { code: 'Throttled', message: 'slow' } }
    }
    await withFaults({
      requests: [
        { method: 'PUT', path: '**/vaults/*', answer: slow },
        { method: 'POST', path: '/keys/*/create', answer: busy },
        { method: 'GET', path: '**/userAssignedIdentities/*', hangUp: true }
      ]
    })
    const { code, stderr } = await workspace.run('up', '--local')
    expect(code).toBe(0)
    expect(stderr).toContain('key vault: throttled by Azure (status 429), trying again in 1 s')
    expect(stderr).toContain('key: Azure is busy (status 503)')
  }, 120_000)
})

describe('a fault plan', () => {
  it('that is wrong is refused with all that is wrong', async () => {
    await workspace.write('faults.json', '{"requests":[{"method":"GET"}],"kill":{}}')
    const { code, document } = await workspace.json('emulator', 'start', '--faults', 'faults.json')
    expect([code, document['error'].code]).toEqual([3, 'emulator.faults'])
    expect(document['error'].message).toMatch(/requests\[0\]\.path.*kill\.write/)
  }, 60_000)

  it('is not taken by an emulator that runs with another', async () => {
    await withFaults({ requests: [] })
    await workspace.write('other.json', '{"requests":[{"method":"GET","path":"/x","hangUp":true}]}')
    const { code, document } = await workspace.json('emulator', 'start', '--faults', 'other.json')
    expect([code, document['error'].code]).toEqual([2, 'emulator.other-options'])
    expect(document['error'].message).toContain('no fault plan')
  }, 60_000)
})

describe('a deleted vault that owns its name', () => {
  const keepsNothing = 'cloud: local\nkeyVault: { purgeProtection: false, retentionDays: 7 }\n'

  /** Somebody at a terminal, who types `answer`. */
  async function upWith(answer: string | undefined, ...flags: string[]) {
    const stdin = Object.assign(new PassThrough(), { isTTY: answer !== undefined })
    const stderr = Object.assign(new PassThrough(), { isTTY: answer !== undefined, columns: 200 })
    const stdout = new PassThrough()
    let shown = ''
    let answered = false
    stderr.on('data', (text: Buffer) => {
      shown += text.toString()
      if (answer !== undefined && !answered && shown.includes('Type recover')) {
        answered = true
        stdin.write(`${answer}\n`)
      }
    })
    const code = await main({
      argv: [
        'provision',
        '--json',
        '--config',
        join(workspace.directory, 'confrouter.yaml'),
        '--state-dir',
        join(workspace.directory, '.confrouter'),
        ...flags
      ],
      ...({ stdin, stdout, stderr } as unknown as Pick<Parameters<typeof main>[0], 'stdin' | 'stdout' | 'stderr'>),
      environment: { ...workspace.environment, TERM: 'dumb' },
      signal: new AbortController().signal,
      asksOnLoopback: true
    })
    return { code, shown, document: JSON.parse(String(stdout.read())) as Document }
  }

  async function deleted() {
    await workspace.write('confrouter.yaml', keepsNothing)
    const first = await workspace.json('provision')
    const vault = first.document['vaultUri'] as string
    const { azure } = await azureOf(workspace)
    const name = await vaultName()
    await deleteVault(azure, 'confrouter', name)
    return { vault, name }
  }

  async function vaultName(): Promise<string> {
    const { created } = JSON.parse(await workspace.read('.confrouter/state.json')) as { created: string[] }
    return created
      .find((id) => /\/vaults\/[^/]+$/.test(id))!
      .split('/')
      .at(-1)!
  }

  it('is asked about, with the date; nobody there to answer is told the flag', async () => {
    const { name } = await deleted()
    const nobody = await upWith(undefined)
    expect([nobody.code, nobody.document['error'].code]).toEqual([7, 'input.needed'])
    expect(nobody.document['error'].message).toContain(`key vault "${name}" was deleted and owns its name until 20`)
    expect(nobody.document['error'].next[0]).toContain('--soft-deleted recover')

    const other = await upWith('name')
    expect([other.code, other.document['error'].code]).toEqual([7, 'user.declined'])
    expect(other.document['error'].next.join()).toContain('keyVault.name')
    const typo = await upWith('purg')
    expect([typo.code, typo.document['error'].message]).toEqual([
      7,
      expect.stringContaining('"purg" is none of the answers')
    ])
  }, 120_000)

  it('is recovered with --yes, and purged with --soft-deleted purge, and then it is another one', async () => {
    const { vault } = await deleted()
    const recovered = await upWith(undefined, '--yes')
    expect([recovered.code, recovered.document['vaultUri']]).toEqual([0, vault])
    const { azure } = await azureOf(workspace)
    const name = await vaultName()
    await deleteVault(azure, 'confrouter', name)
    const purged = await upWith(undefined, '--yes', '--soft-deleted', 'purge')
    expect([purged.code, purged.document['error']]).toEqual([0, undefined])
    expect(purged.shown).toContain('which cannot be undone, and creating it anew')
    expect(await getDeletedVault(azure, name, 'eastus')).toBeUndefined()
  }, 120_000)

  it('with purge protection cannot be purged, whatever is asked for', async () => {
    await workspace.write('confrouter.yaml', 'cloud: local\n')
    await workspace.json('provision')
    const { azure } = await azureOf(workspace)
    await deleteVault(azure, 'confrouter', await vaultName())
    const { code, document } = await workspace.json('provision', '--soft-deleted', 'purge')
    expect([code, document['error'].code]).toEqual([3, 'keyvault.purge-protected'])
  }, 120_000)
})
