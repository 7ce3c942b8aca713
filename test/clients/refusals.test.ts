import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { sha256Hex } from '../../src/base/digest.js'
import { decodeHex } from '../../src/base/encoding.js'
import { createFetch, type CreateFetchOptions } from '../../src/client/create-fetch.js'
import { AttestationError } from '../../src/client/errors.js'
import { verifyRouter } from '../../src/client/verify-router.js'
import { proxyCommand } from '../../src/commands/proxy.js'
import { verifyCommand } from '../../src/commands/verify.js'
import { encodeKeyConfiguration } from '../../src/seal/ehbp.js'
import { Cleanup, readAll, type RunningRouter, until } from '../unit/router/harness.js'
import { startWire, type Wire } from './attested.js'
import { type EmulatedGroup, oldTcb, startGroup } from './emulated.js'
import { runVerb } from './run-verb.js'
import { local } from './setup.js'
import { startOpenai } from './upstreams/openai.js'
import type { Upstream } from './upstreams/upstream.js'

/**
 * Router, emulator and client in one run: a router whose key the emulated vault has released for reports of the
 * emulated chip, behind somebody in between who sees every byte and may answer in the router's place.
 */
const cleanup = new Cleanup()
const ofTest = new Cleanup()
afterAll(() => cleanup.run())

let upstream: Upstream
let group: EmulatedGroup
let router: RunningRouter
/** Of the same group and policy, with another key. */
let other: RunningRouter
let between: Between
let wire: Wire

beforeAll(async () => {
  upstream = await startOpenai(cleanup, { keys: [key] })
  group = await startGroup(cleanup)
  router = await group.startRouter('one', { openai: local(upstream) })
  other = await group.startRouter('two', { openai: local(upstream) })
}, 60_000)

beforeEach(async () => {
  between = await startBetween(ofTest, () => router.url)
  wire = await startWire(ofTest, between.origin)
})

afterEach(async () => {
  group.changeReports({})
  group.slowServiceBy(0)
  upstream.calls.length = 0
  await ofTest.run()
})

const marked = 'marked-prompt-77ab'
const key = 'sk-secret-of-caller'
const evidencePath = '/.well-known/confrouter'
const question = {
  method: 'POST',
  headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
  body: JSON.stringify({ model: 'gpt-4o-mini', messages: [{ role: 'user', content: marked }] })
}

interface Between {
  readonly origin: string
  /** Where it sends what it does not answer itself; the router, unless a test says otherwise. */
  readonly send: Map<string, () => string>
  /** What it makes of an answer, by path. */
  readonly alter: Map<string, (answer: Buffer) => Answered | Promise<Answered>>
}

type Answered = Buffer | { readonly status: number; readonly type: string; readonly body: Buffer }

async function startBetween(cleanup: Cleanup, usual: () => string): Promise<Between> {
  const send: Between['send'] = new Map()
  const alter: Between['alter'] = new Map()
  const server = createServer((request, response) => {
    void (async () => {
      const path = request.url ?? ''
      const body = await readAll(request)
      const { host: _, connection: __, 'content-length': ___, 'transfer-encoding': ____, ...headers } = request.headers
      const answer = await fetch(`${(send.get(path) ?? usual)()}${path}`, {
        method: request.method ?? '',
        headers: headers as Record<string, string>,
        ...(body.length === 0 ? {} : { body: new Uint8Array(body) })
      })
      const original = Buffer.from(await answer.arrayBuffer())
      const altered = (await alter.get(path)?.(original)) ?? original
      const kept = [...answer.headers].filter(
        ([name]) => !/^(?:content-length|transfer-encoding|connection)$/.test(name)
      )
      if (Buffer.isBuffer(altered)) response.writeHead(answer.status, Object.fromEntries(kept)).end(altered)
      else response.writeHead(altered.status, { 'content-type': altered.type }).end(altered.body)
    })()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  cleanup.add(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  return { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, send, alter }
}

function call(options: Partial<CreateFetchOptions> = {}): Promise<Response> {
  const sealed = createFetch({ url: wire.origin, trust: group.trust, fetch: group.fetch, ...options })
  return sealed(`${wire.origin}/v1/chat/completions`, question)
}

/** The claims by which a call was refused; fails if it was not, or if a byte of it went out. */
async function refusedBy(options: Partial<CreateFetchOptions> = {}): Promise<readonly string[]> {
  const error: unknown = await call(options).then(
    () => undefined,
    (reason: unknown) => reason
  )
  if (!(error instanceof AttestationError)) throw new Error(`not refused, but ${String(error)}`)
  expectNothingSent()
  return [...error.checks.map(({ claim }) => claim), ...error.keyEndpoints.map(({ path }) => path)]
}

/** Whoever is in between was asked for what everybody may see, and got nothing else: no content, no key, no sealed call. */
function expectNothingSent(): void {
  const asked = wire.sent().match(/(?:GET|POST|DELETE) \S+(?= HTTP)/g) ?? []
  const forEverybody = [`POST ${evidencePath}`, 'GET /v1/crypto/jwk', 'GET /.well-known/hpke-keys']
  expect(asked.filter((line) => !forEverybody.includes(line))).toEqual([])
  expect(wire.sent()).not.toMatch(/authorization|ehbp-encapsulated-key|chat\/completions/i)
  expectNoPlaintext()
  expect(upstream.calls).toEqual([])
}

function expectNoPlaintext(): void {
  const seen = wire.sent() + wire.received()
  for (const secret of [marked, key, 'gpt-4o-mini', 'You said']) expect(seen).not.toContain(secret)
}

/** Changes the evidence that is passed on. */
function alterEvidence(change: (document: EvidenceJson) => unknown): void {
  between.alter.set(evidencePath, (answer) => Buffer.from(JSON.stringify(change(JSON.parse(answer.toString())))))
}

interface EvidenceJson {
  readonly runtimeData: string
  readonly snp: { readonly report: string }
}

const reportOf = ({ snp }: EvidenceJson): Buffer => Buffer.from(snp.report, 'base64')

describe('a router that the emulator has started', () => {
  it('is called, and whoever is in between reads neither prompt nor key nor answer', async () => {
    const answer = await call({ compareKeyEndpoints: true })
    expect(await answer.json()).toMatchObject({ choices: [{ message: { content: `You said: ${marked}` } }] })
    expect(upstream.calls).toHaveLength(1)
    expectNoPlaintext()
  })
})

describe('refused before a byte of the request is sent', () => {
  it('a key that was put in the place of the one in the report', async () => {
    alterEvidence((document) => {
      const data = JSON.parse(Buffer.from(document.runtimeData, 'base64').toString())
      data.confrouter.hpke = Buffer.alloc(32, 9).toString('base64url')
      return { ...document, runtimeData: Buffer.from(JSON.stringify(data)).toString('base64') }
    })
    expect(await refusedBy()).toEqual(['reportData', 'maa.reportData', 'maa.runtime'])
  })

  it('evidence whose token is older than the trust policy accepts', async () => {
    group.slowServiceBy(3600_000)
    expect(await refusedBy()).toEqual(['maa.time'])
  })

  it('a stale report: genuine, of this router, and made for an earlier nonce', async () => {
    const early = await fetch(`${router.url}${evidencePath}`, {
      method: 'POST',
      body: '{"nonce":"AAAAAAAAAAAAAAAAAAAAAA"}'
    })
    const stale = await early.text()
    expect(early.status).toBe(200)
    between.alter.set(evidencePath, () => Buffer.from(stale))
    expect(await refusedBy()).toEqual(['nonce'])
  })

  it('evidence without a nonce, as the router gives it to whoever only looks', async () => {
    const cached = await (await fetch(`${router.url}${evidencePath}`)).text()
    between.alter.set(evidencePath, () => Buffer.from(cached))
    expect(await refusedBy()).toEqual(['nonce'])
  })

  it('a nonce that was written into the evidence of somebody else', async () => {
    alterEvidence((document) => {
      const data = JSON.parse(Buffer.from(document.runtimeData, 'base64').toString())
      data.confrouter.nonce = Buffer.alloc(32, 3).toString('base64url')
      return { ...document, runtimeData: Buffer.from(JSON.stringify(data)).toString('base64') }
    })
    expect(await refusedBy()).toEqual(['reportData', 'nonce', 'maa.reportData', 'maa.runtime'])
  })

  it('a guest that measures as another utility VM, though the same chip has signed it', async () => {
    alterEvidence((document) => {
      const original = reportOf(document)
      const report = group.hardware.report({
        reportData: original.subarray(80, 144),
        hostData: original.subarray(192, 224),
        reportId: original.subarray(320, 352),
        measurement: Buffer.alloc(48, 0x77)
      })
      return { ...document, snp: { ...document.snp, report: Buffer.from(report).toString('base64') } }
    })
    expect(await refusedBy()).toEqual(['uvm.measurement', 'maa.measurement'])
  })

  it('a guest that its host may debug', async () => {
    group.changeReports({ debug: true })
    expect(await refusedBy()).toEqual(['guest.debug', 'maa.debug'])
  })

  it('a chip whose firmware was rolled back', async () => {
    const old = await startGroup(ofTest, { platformTcb: oldTcb })
    const rolledBack = await old.startRouter('old', { openai: local(upstream) })
    between.send.set(evidencePath, () => rolledBack.url)
    expect(await refusedBy({ trust: old.trust, fetch: old.fetch })).toEqual(['tcb.minimum', 'maa.compliance'])
  }, 30_000)

  it('a guest that runs another policy', async () => {
    group.changeReports({ hostData: decodeHex(sha256Hex('package other\n'), 'host data') })
    expect(await refusedBy()).toEqual(['hostData', 'ccePolicy.digest'])
  })

  it('evidence that another router gave for a nonce of its caller, replayed', async () => {
    const nonce = Buffer.alloc(32, 5).toString('base64url')
    const answer = await fetch(`${other.url}${evidencePath}`, { method: 'POST', body: JSON.stringify({ nonce }) })
    const replayed = await answer.text()
    between.alter.set(evidencePath, () => Buffer.from(replayed))
    expect(await refusedBy()).toEqual(['nonce'])
  })

  it('fresh evidence of another router under the same policy, where the key endpoints are this one’s', async () => {
    between.send.set(evidencePath, () => other.url)
    expect(await refusedBy({ compareKeyEndpoints: true })).toEqual(['/v1/crypto/jwk', '/.well-known/hpke-keys'])
  })

  it.each(['/v1/crypto/jwk', '/.well-known/hpke-keys'] as const)(
    'another key at %s than in the evidence',
    async (path) => {
      between.alter.set(path, () => otherKey(path))
      expect(await refusedBy({ compareKeyEndpoints: true })).toEqual([path])
    }
  )
})

describe('evidence that is passed on from another router of the same policy, word for word and fresh', () => {
  it('lets nobody in between read what is sealed to it, and gives no answer', async () => {
    between.send.set(evidencePath, () => other.url)
    const answer = await call()
    expect(await answer.json()).toMatchObject({ error: { code: 'refused_in_the_open' } })
    expectNoPlaintext()
    expect(upstream.calls).toEqual([])
  })
})

describe('an answer that was cut', () => {
  it('is not taken for a whole one', async () => {
    between.alter.set('/v1/chat/completions', (answer) => {
      let end = 0
      for (let frame = 0; frame < 2; frame++) end += 4 + answer.readUInt32BE(end)
      if (end >= answer.length) throw new Error('there is nothing to cut')
      return answer.subarray(0, end)
    })
    const streamed = { ...question, body: question.body.replace('{', '{"stream":true,') }
    const sealed = createFetch({ url: wire.origin, trust: group.trust, fetch: group.fetch })
    const answer = await sealed(`${wire.origin}/v1/chat/completions`, streamed)
    await expect(answer.text()).rejects.toMatchObject({ code: 'truncated_answer' })
    expectNoPlaintext()
  })
})

describe('the commands, where a key endpoint differs from the evidence', () => {
  let trust: string[]
  beforeAll(async () => {
    const folder = await mkdtemp(join(tmpdir(), 'confrouter-refusals-'))
    cleanup.add(() => rm(folder, { recursive: true }))
    const file = join(folder, 'trust.json')
    await writeFile(file, JSON.stringify(group.trust))
    trust = ['--trust', file]
  })

  const verify = (...argv: readonly string[]) =>
    runVerb(ofTest, verifyCommand, [wire.origin, ...trust, ...argv], { fetch: group.fetch })
  const proxy = (...argv: readonly string[]) =>
    runVerb(ofTest, proxyCommand, ['--url', wire.origin, ...trust, '--port', '0', ...argv], { fetch: group.fetch })

  it('say that they agree where they do', async () => {
    const running = verify()
    expect(await running.exitCode).toBe(0)
    expect(running.stdout()).toMatch(
      / \/v1\/crypto\/jwk {2}the same key\n.* \/\.well-known\/hpke-keys {2}the same key\n/
    )
    expect(running.stdout()).toContain('the same evidence against another host data was rejected')
    expect(running.stderr()).toBe('')
    expectNothingSent()
  })

  it.each(['/v1/crypto/jwk', '/.well-known/hpke-keys'] as const)(
    'verify rejects it with exit code 6: %s',
    async (path) => {
      between.alter.set(path, () => otherKey(path))
      const running = verify()
      expect(await running.exitCode).toBe(6)
      expect(running.stdout()).toContain(`REJECTED: ${wire.origin}`)
      expect(running.stdout()).toContain('key endpoint differs from the evidence')
      expect(running.stdout()).not.toContain('the same evidence against another host data was rejected')
      expect(running.stderr()).toContain(`the key endpoint differs from the evidence: ${path}  [verify.rejected]`)
      const asJson = verify('--json')
      expect(await asJson.exitCode).toBe(6)
      const document = JSON.parse(asJson.stdout())
      expect(document).toMatchObject({ ok: false, verdict: 'rejected', keys: null, hostData: null })
      expect(document.keyEndpoints.find((check: { path: string }) => check.path === path)).toEqual({
        path,
        outcome: 'mismatch',
        expected: expect.any(String),
        actual: expect.any(String)
      })
      expectNothingSent()
    }
  )

  it('the proxy rejects it before anything listens', async () => {
    between.alter.set('/v1/crypto/jwk', () => otherKey('/v1/crypto/jwk'))
    const running = proxy('--json')
    expect(await running.exitCode).toBe(6)
    expect(JSON.parse(running.stdout())).toMatchObject({
      verdict: 'rejected',
      error: { code: 'proxy.rejected', message: 'the key endpoint differs from the evidence: /v1/crypto/jwk' }
    })
    expectNothingSent()
  })

  it.each([
    ['is not served', { status: 404, type: 'application/json', body: Buffer.from('{}') }, 'it answers with status 404'],
    ['is a page', { status: 200, type: 'text/html', body: Buffer.from('<html>') }, 'it is no JWK']
  ])('warn, and trust the router all the same, if one %s', async (_, answer, reason) => {
    between.alter.set('/v1/crypto/jwk', () => answer)
    const running = verify('--json')
    expect(await running.exitCode).toBe(0)
    expect(running.stderr()).toContain('warning: the key at /v1/crypto/jwk was not compared with the evidence')
    expect(running.stderr()).toContain(reason)
    expect(JSON.parse(running.stdout())).toMatchObject({
      verdict: 'trusted',
      keyEndpoints: [{ outcome: 'unchecked' }, { outcome: 'match' }]
    })
    const serving = proxy()
    await until(() => serving.stdout() !== '')
    expect(serving.stderr()).toContain('warning: the key at /v1/crypto/jwk was not compared')
  })
})

describe('verifyRouter', () => {
  const options = () => ({ url: wire.origin, trust: group.trust, fetch: group.fetch, now: () => new Date() })

  it('asks for nothing but the evidence unless it is told to compare', async () => {
    between.alter.set('/v1/crypto/jwk', () => otherKey('/v1/crypto/jwk'))
    const verdict = await verifyRouter(options())
    expect(verdict.verdict).toBe('trusted')
    expect(verdict).not.toHaveProperty('keyEndpoints')
    expect(wire.sent().match(/(?:GET|POST) \S+(?= HTTP)/g)).toEqual([`POST ${evidencePath}`])
  })

  it('rejects for the sake of a key endpoint alone, and gives no keys then', async () => {
    between.alter.set('/v1/crypto/jwk', () => otherKey('/v1/crypto/jwk'))
    const verdict = await verifyRouter({ ...options(), compareKeyEndpoints: true })
    expect(verdict.verdict).toBe('rejected')
    expect(verdict.checks.every(({ outcome }) => outcome === 'match')).toBe(true)
    expect(verdict).not.toHaveProperty('evidence')
    expect(verdict.keyEndpoints?.map(({ outcome }) => outcome)).toEqual(['mismatch', 'match'])
  })

  it('does not take the key for another because of its name alone, but says that the name is another one', async () => {
    between.alter.set('/v1/crypto/jwk', (answer) =>
      Buffer.from(JSON.stringify({ ...JSON.parse(answer.toString()), kid: 'default' }))
    )
    const { keyEndpoints } = await verifyRouter({ ...options(), compareKeyEndpoints: true })
    expect(keyEndpoints?.[0]).toMatchObject({ outcome: 'mismatch', actual: 'a "kid" of another key' })
  })
})

/** What somebody in between would offer: a key of his own, in the right form. */
async function otherKey(path: '/v1/crypto/jwk' | '/.well-known/hpke-keys'): Promise<Buffer | Answered> {
  if (path === '/.well-known/hpke-keys') return Buffer.from(encodeKeyConfiguration(new Uint8Array(32).fill(9)))
  return Buffer.from(await (await fetch(`${other.url}${path}`)).arrayBuffer())
}
