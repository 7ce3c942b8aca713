import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals'
import type { ProxyStatus } from '../../src/client/proxy/status.js'
import { proxyCommand } from '../../src/commands/proxy.js'
import { Cleanup, serve, until } from '../unit/router/harness.js'
import { type AttestedRouter, startAttestedRouter, startWire } from './attested.js'
import { runVerb, type VerbRun } from './run-verb.js'
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

const run = (argv: readonly string[], means: Partial<Parameters<typeof runVerb>[3]> = {}): VerbRun =>
  runVerb(ofTest, proxyCommand, argv, { fetch: attested.fetch, ...means })

const router = (): string[] => ['--url', attested.router.url, '--trust', trustFile]

async function started(argv: readonly string[], means?: Parameters<typeof run>[1]): Promise<VerbRun & { url: string }> {
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

  it('asks for evidence once for its start and the first call together', async () => {
    const wire = await startWire(ofTest, attested.router.url)
    const running = await started(['--url', wire.origin, '--trust', trustFile])
    const models = await fetch(`${running.url}/v1/models`, { headers: { authorization: 'Bearer sk-own' } })
    expect(models.status).toBe(200)
    await models.text()
    expect(wire.sent().match(/POST \/\.well-known\/confrouter HTTP/g)).toHaveLength(1)
    await fetch(`${running.url}/verify`, { method: 'POST' })
    expect(wire.sent().match(/POST \/\.well-known\/confrouter HTTP/g)).toHaveLength(2)
  })

  it.each([
    ['without a scheme', (url: string) => url.replace('http://', ''), 2],
    ['with the path of the API', (url: string) => `${url}/v1`, 5]
  ])('proposes the URL that was meant for one %s', async (_, given, exitCode) => {
    const { url } = attested.router
    const running = run(['--url', given(url), '--trust', trustFile, '--port', '0'])
    expect(await running.exitCode).toBe(exitCode)
    expect(running.stderr()).toContain(`confrouter proxy --url ${url} …   (did you mean this URL?)`)
  })

  it("proposes --local for a router on loopback whose roots are not AMD's", async () => {
    const strict = join(folder, 'strict.json')
    await writeFile(strict, JSON.stringify({ ...attested.trust, roots: 'amd' }))
    const running = run(['--url', attested.router.url, '--trust', strict, '--port', '0'])
    expect(await running.exitCode).toBe(6)
    expect(running.stderr()).toContain('confrouter proxy --local')
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
      error: { code: 'proxy.rejected', fault: 'evidence', why: 'guest.debug (expected forbidden, found allowed)' }
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

  it('compares the keys beside the evidence again with every renewal, and names one that differs by now', async () => {
    let isOther = false
    const means: typeof fetch = (input, init) =>
      isOther && input instanceof URL && input.pathname === '/v1/crypto/jwk'
        ? Promise.resolve(Response.json({ kty: 'RSA', n: 'AQAB', e: 'AQAB' }))
        : attested.fetch(input, init)
    const running = await started(router(), { fetch: means })
    isOther = true
    await fetch(`${running.url}/verify`, { method: 'POST' })
    expect(running.stderr()).toContain('nothing is sent to it: /v1/crypto/jwk has another key')
    const answer = await fetch(`${running.url}/v1/models`)
    expect(answer.status).toBe(503)
    const { error } = (await answer.json()) as { error: { code: string; message: string } }
    expect(error.code).toBe('attestation_failed')
    expect(error.message).toMatch(/nothing was sent: \/v1\/crypto\/jwk has another key \(expected \S+, found \S+\)$/)
    const status = (await (await fetch(`${running.url}/status.json`)).json()) as ProxyStatus
    expect(status).toMatchObject({ state: 'rejected', keyEndpoints: [{ outcome: 'mismatch' }, { outcome: 'match' }] })
    isOther = false
    await fetch(`${running.url}/verify`, { method: 'POST' })
    const headers = { authorization: 'Bearer sk-own' }
    expect((await fetch(`${running.url}/v1/models`, { headers })).status).toBe(200)
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
