import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals'
import { CommanderError } from 'commander'
import type { App, Execute } from '../../src/commands/app.js'
import { proxyCommand } from '../../src/commands/proxy.js'
import { createTerminal } from '../../src/terminal/index.js'
import { routerTransport } from '../../src/composition/router-transport.js'
import { Cleanup, serve, until } from '../unit/router/harness.js'
import { type AttestedRouter, startAttestedRouter } from './attested.js'
import { local } from './setup.js'
import { startOpenai } from './upstreams/openai.js'

const cleanup = new Cleanup()
const ofTest = new Cleanup()
afterAll(() => cleanup.run())

let attested: AttestedRouter
let folder: string
let trustFile: string

beforeAll(async () => {
  const upstream = await startOpenai(cleanup, { keys: ['sk-own'] })
  attested = await startAttestedRouter(cleanup, { openai: local(upstream) }, { ENCRYPTION: 'required' })
  folder = await mkdtemp(join(tmpdir(), 'confrouter-proxy-'))
  cleanup.add(() => rm(folder, { recursive: true }))
  trustFile = join(folder, 'trust.json')
  await writeFile(trustFile, JSON.stringify(attested.trust))
})

afterEach(async () => {
  attested.breakEvidence({})
  await ofTest.run()
})

interface Run {
  readonly stdout: () => string
  readonly stderr: () => string
  readonly interrupt: () => void
  readonly exitCode: Promise<number>
}

/** Runs the verb as the program does, in this process. */
function run(
  argv: readonly string[],
  { fetch = attested.fetch, deployment }: Partial<Awaited<ReturnType<App['verification']>>> = {}
): Run {
  const texts = { stdout: '', stderr: '' }
  const stream = (name: keyof typeof texts): PassThrough =>
    new PassThrough().on('data', (piece: Buffer) => (texts[name] += piece.toString()))
  const [stdout, stderr] = [stream('stdout'), stream('stderr')]
  const interruption = new AbortController()
  let exitCode = 0
  const execute: Execute = (name, verb) => async (options) => {
    const { json = false, verbose = false } = options as { readonly json?: boolean; readonly verbose?: boolean }
    const terminal = createTerminal({
      stdin: new PassThrough(),
      stdout,
      stderr,
      environment: {},
      json,
      quiet: false,
      verbose,
      color: false,
      input: false
    })
    const verification = async () => ({ ...routerTransport(fetch), deployment })
    const app = { terminal, signal: interruption.signal, verification } as unknown as App
    await verb(app, options).catch((error: unknown) => (exitCode = terminal.failure(error, { command: name })))
  }
  const command = proxyCommand(execute)
    .exitOverride()
    .configureOutput({ writeErr: () => undefined })
  const ended = command.parseAsync([...argv], { from: 'user' }).then(
    () => exitCode,
    (error: unknown) => {
      if (error instanceof CommanderError) return 2
      throw error
    }
  )
  ofTest.add(async () => {
    interruption.abort()
    await ended
  })
  return {
    stdout: () => texts.stdout,
    stderr: () => texts.stderr,
    interrupt: () => interruption.abort(),
    exitCode: ended
  }
}

const router = (): string[] => ['--url', attested.router.url, '--trust', trustFile]

async function started(argv: readonly string[], means?: Parameters<typeof run>[1]): Promise<Run & { url: string }> {
  const running = run([...argv, '--port', '0', '--json'], means)
  await until(() => running.stdout() !== '' || running.stderr() !== '')
  return { ...running, url: JSON.parse(running.stdout()).url }
}

const isListening = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })

/** Free a moment ago. */
async function freePort(): Promise<number> {
  const short = new Cleanup()
  const { port } = new URL(await serve(short, () => undefined))
  await short.run()
  return Number(port)
}

describe('confrouter proxy', () => {
  it('verifies, says so in one document, serves, and ends well when it is interrupted', async () => {
    const running = await started(router())
    expect(running.stdout()).toMatch(/^[^\n]+\n$/)
    expect(JSON.parse(running.stdout())).toEqual({
      schemaVersion: 1,
      ok: true,
      command: 'proxy',
      url: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/),
      baseUrl: `${running.url}/v1`,
      router: attested.router.url,
      verdict: 'trusted',
      simulated: true
    })
    const models = await fetch(`${running.url}/v1/models`, { headers: { authorization: 'Bearer sk-own' } })
    expect((await models.json()).data.length).toBeGreaterThan(0)
    running.interrupt()
    expect(await running.exitCode).toBe(0)
    expect(await isListening(Number(new URL(running.url).port))).toBe(false)
  })

  it('says to people where to call, and that a simulation protects nothing', async () => {
    const running = run([...router(), '--port', '0'])
    await until(() => running.stdout() !== '')
    expect(running.stdout()).toMatch(/base URL {2}http:\/\/127\.0\.0\.1:\d+\/v1\npage .*\nrouter .*, trusted/)
    expect(running.stdout()).toContain('simulated: no hardware protection')
  })

  it('rejects a router before anything listens', async () => {
    attested.breakEvidence({ report: (view) => view.u64(8, 0x3001fn | (1n << 19n)) })
    const port = await freePort()
    const running = run([...router(), '--port', String(port), '--json'])
    expect(await running.exitCode).toBe(6)
    expect(await isListening(port)).toBe(false)
    expect(JSON.parse(running.stdout())).toMatchObject({
      ok: false,
      command: 'proxy',
      verdict: 'rejected',
      error: { code: 'proxy.rejected', fault: 'evidence', why: 'guest.debug: expected forbidden, found allowed' }
    })
  })

  it('says that it could not check, which is another thing, before anything listens', async () => {
    const port = await freePort()
    const running = run([...router(), '--port', String(port), '--json'], { fetch: globalThis.fetch })
    expect(await running.exitCode).toBe(5)
    expect(await isListening(port)).toBe(false)
    expect(JSON.parse(running.stdout())).toMatchObject({ error: { code: 'proxy.not-checked', fault: 'cloud' } })
  })

  it('says while it runs that a router is rejected by now', async () => {
    const running = await started(router())
    attested.breakEvidence({ report: (view) => view.u64(8, 0x3001fn | (1n << 19n)) })
    await fetch(`${running.url}/verify`, { method: 'POST' })
    expect(running.stderr()).toContain('the router was rejected, and nothing is sent to it: guest.debug')
  })

  it('tells of each call where it is asked to, and never what was in it', async () => {
    const running = await started([...router(), '--verbose'])
    await fetch(`${running.url}/v1/chat/completions?secret=query`, {
      method: 'POST',
      headers: { authorization: 'Bearer sk-own', 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'gpt-4o-mini', messages: [{ role: 'user', content: 'marked-prompt' }] })
    }).then((answer) => answer.text())
    await until(() => running.stderr().includes('POST /v1/chat/completions 200 answered'))
    expect(running.stdout() + running.stderr()).not.toMatch(/marked-prompt|sk-own|secret|You said/)
  })

  it('says who has to act when the port is taken', async () => {
    const { port } = new URL(await serve(ofTest, () => undefined))
    const running = run([...router(), '--port', port])
    expect(await running.exitCode).toBe(4)
    expect(running.stderr()).toContain(`port ${port} on 127.0.0.1 is not free  [proxy.port-taken]`)
  })

  it('takes the router and the trust policy of the deployment where none is named', async () => {
    const deployment = { url: attested.router.url, trustFile, releaseFile: 'release.json' }
    const running = await started([], { deployment })
    expect(JSON.parse(running.stdout())).toMatchObject({ ok: true, router: attested.router.url })
  })

  it('does not take what was deployed here for the word on another router', async () => {
    const deployment = { url: 'http://127.0.0.1:9', trustFile, releaseFile: 'release.json' }
    const running = run(['--url', attested.router.url], { deployment })
    expect(await running.exitCode).toBe(2)
    expect(running.stderr()).toContain('[proxy.no-trust]')
  })

  it.each([
    ['no router', () => [], 2, 'proxy.no-router'],
    ['no trust policy', () => ['--url', attested.router.url], 2, 'proxy.no-trust'],
    [
      'a file that is not there',
      () => ['--url', attested.router.url, '--trust', join(folder, 'none')],
      2,
      'usage.file'
    ],
    ['a trust policy that is none', () => ['--url', attested.router.url, '--trust', import.meta.filename], 3, 'trust.'],
    ['a URL that no router has', () => ['--url', 'ftp://router', '--trust', trustFile], 2, 'usage.invalid']
  ])('refuses %s', async (_, argv, exitCode, code) => {
    const running = run(argv())
    expect(await running.exitCode).toBe(exitCode)
    expect(running.stderr()).toContain(`[${code}`)
  })

  it.each(['-1', '65536', 'http', '1.5', ''])('refuses the port %j', async (port) => {
    expect(await run([...router(), '--port', port]).exitCode).toBe(2)
  })

  it('can be interrupted while it verifies', async () => {
    const running = run(router(), { fetch: () => new Promise(() => undefined) })
    running.interrupt()
    expect(await running.exitCode).toBe(130)
  })
})
