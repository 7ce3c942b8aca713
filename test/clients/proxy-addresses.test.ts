import type { ServerResponse } from 'node:http'
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { ProxyStatus } from '../../src/client/proxy/status.js'
import { proxyCommand } from '../../src/commands/proxy.js'
import { publishedFile, publishedUrl } from '../../src/commands/published.js'
import { Cleanup, serve, until } from '../unit/router/harness.js'
import { shapeOf } from '../cli/workspace.js'
import { type AttestedRouter, startAttestedRouter, startWire, type Wire } from './attested.js'
import { runVerb, type VerbRun } from './run-verb.js'
import { local } from './setup.js'
import { startOpenai } from './upstreams/openai.js'

const cleanup = new Cleanup()
const ofTest = new Cleanup()
afterAll(() => cleanup.run())

let attested: AttestedRouter
/** Of another measurement, and on hardware of its own. */
let foreign: AttestedRouter
let folder: string
let trustFile: string
let addressesFile: string
let first: Wire & { readonly die: () => Promise<void> }
let second: Wire

beforeAll(async () => {
  const upstream = await startOpenai(cleanup, { keys: ['sk-own'] })
  attested = await startAttestedRouter(cleanup, { openai: local(upstream) }, { ENCRYPTION: 'required' })
  foreign = await startAttestedRouter(cleanup, { openai: local(upstream) }, { ENCRYPTION: 'required' })
  folder = await mkdtemp(join(tmpdir(), 'confrouter-addresses-'))
  cleanup.add(() => rm(folder, { recursive: true }))
})

beforeEach(async () => {
  const own = new Cleanup()
  first = { ...(await startWire(own, attested.router.url)), die: () => own.run() }
  ofTest.add(first.die)
  second = await startWire(ofTest, attested.router.url)
  trustFile = await publish('trust.json', JSON.stringify(attested.trust))
  addressesFile = await publish('addresses.json', listOf(first.origin, second.origin))
})
afterEach(() => ofTest.run())

const listOf = (...endpoints: readonly string[]): string =>
  JSON.stringify({ version: 1, addresses: endpoints.map((endpoint) => ({ endpoint, hostData: 'ab'.repeat(32) })) })

/** As the operator's command does, by rename. */
async function publish(name: string, text: string): Promise<string> {
  const file = join(folder, name)
  await writeFile(`${file}.new`, text)
  await rename(`${file}.new`, file)
  return file
}

const run = (argv: readonly string[], means: Partial<Parameters<typeof runVerb>[3]> = {}): VerbRun =>
  runVerb(ofTest, proxyCommand, argv, { fetch: attested.fetch, ...means })

async function started(argv: readonly string[], means?: Parameters<typeof run>[1]) {
  const running = run([...argv, '--port', '0', '--json'], means)
  await until(() => running.stdout() !== '')
  const document = JSON.parse(running.stdout())
  const headers = { authorization: 'Bearer sk-own' }
  const models = async (): Promise<number> => {
    const answer = await fetch(`${document.url}/v1/models`, { headers })
    await answer.text()
    return answer.status
  }
  const status = async () => (await (await fetch(`${document.url}/status.json`)).json()) as ProxyStatus
  return { ...running, document, models, status, url: document.url as string }
}

/** Until the file is looked at again. */
const aMoment = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 300))
const calls = (wire: Wire): number => wire.sent().match(/POST \/v1\/models HTTP/g)?.length ?? 0
const lists = (): string[] => ['--addresses', addressesFile, '--trust', trustFile]

describe('confrouter proxy with a list of addresses', () => {
  it('goes to the first, and to the next when nobody listens there any more', async () => {
    const { document, models, status, stderr } = await started(lists())
    expect(document).toMatchObject({ ok: true, router: first.origin, verdict: 'trusted' })
    expect(await shapeOf('proxy', document)).toEqual([true, null])
    expect([await models(), calls(first), calls(second)]).toEqual([200, 1, 0])
    await first.die()
    expect([await models(), calls(second)]).toEqual([200, 1])
    expect(stderr()).toContain(`${first.origin} could not be checked or reached, and calls go elsewhere`)
    expect(stderr()).toContain(`calls go to ${second.origin} from now on, and not to ${first.origin}`)
    expect(await status()).toMatchObject({
      router: second.origin,
      state: 'trusted',
      addresses: [{ address: first.origin }, { address: second.origin, state: 'trusted' }]
    })
  })

  it('takes several --url in their order', async () => {
    const { document, models } = await started(['--url', first.origin, '--url', second.origin, '--trust', trustFile])
    expect(document.router).toBe(first.origin)
    await first.die()
    expect([await models(), calls(second)]).toEqual([200, 1])
  })

  it('goes along when another list is published, with no restart', async () => {
    await publish('addresses.json', listOf(first.origin))
    const { models } = await started(lists())
    await models()
    await publish('addresses.json', listOf(second.origin))
    await aMoment()
    expect([await models(), await models()]).toEqual([200, 200])
    expect([calls(first), calls(second)]).toEqual([1, 2])
  })

  it('never sends a call to an address of another measurement, and says that it is wrong', async () => {
    const other = await startWire(ofTest, foreign.router.url)
    await publish('addresses.json', listOf(other.origin, second.origin))
    const { document, models, stderr } = await started(lists())
    expect([document.router, await models(), calls(second)]).toEqual([second.origin, 200, 1])
    expect(new Set(other.sent().match(/(?:GET|POST) \S+(?= HTTP)/g))).toEqual(new Set(['POST /.well-known/confrouter']))
    expect(stderr()).toContain(`${other.origin} was checked and is wrong, and nothing is sent to it`)
  })

  it('reads the trust policy again, and takes it at its word', async () => {
    const { models, url } = await started(lists())
    expect(await models()).toBe(200)
    await publish('trust.json', JSON.stringify({ ...attested.trust, hostData: ['ab'.repeat(32)] }))
    await aMoment()
    const answer = await fetch(`${url}/v1/models`)
    const { error } = (await answer.json()) as { error: { code: string; message: string } }
    expect([answer.status, error.code, answer.headers.get('x-should-retry')]).toEqual([
      503,
      'attestation_failed',
      'false'
    ])
    expect(error.message).toContain(`checked and wrong: ${first.origin} (`)
    expect(calls(first)).toBe(1)
    await publish('trust.json', JSON.stringify(attested.trust))
    await aMoment()
    expect(await models()).toBe(200)
  })

  it('says apart what is wrong and what could not be checked, and lets programs come back for the latter', async () => {
    const other = await startWire(ofTest, foreign.router.url)
    const { url, models } = await started(lists())
    await models()
    const dead = first.origin
    await first.die()
    await publish('addresses.json', listOf(dead, other.origin))
    await aMoment()
    const answer = await fetch(`${url}/v1/models`)
    const { error } = (await answer.json()) as { error: { code: string; message: string } }
    expect([answer.status, error.code, answer.headers.get('x-should-retry')]).toEqual([503, 'attestation_failed', null])
    expect(error.message).toMatch(/checked and wrong: http\S+ \(.*\)\. could not be checked or reached: http\S+ \(/)
    await publish('addresses.json', listOf(dead, dead.replace('127.0.0.1', '127.0.0.3')))
    await aMoment()
    const unreachable = (await (await fetch(`${url}/v1/models`)).json()) as typeof error & { error: typeof error }
    expect(unreachable.error.code).toBe('attestation_unavailable')
    expect(unreachable.error.message).not.toContain('wrong')
  })

  it('keeps what it has where a new file is broken, and says so once', async () => {
    const { models, stderr } = await started(lists())
    await publish('addresses.json', '{"version":1,"addr')
    await publish('trust.json', '{}')
    await aMoment()
    expect([await models(), await models()]).toEqual([200, 200])
    await aMoment()
    expect(await models()).toBe(200)
    expect(
      stderr().match(/the new list of addresses cannot be read, and the one of before stays in force: it is not JSON/g)
    ).toHaveLength(1)
    expect(stderr().match(/the new trust policy cannot be read, and the one of before stays in force/g)).toHaveLength(1)
    await rm(addressesFile)
    await aMoment()
    expect(await models()).toBe(200)
  })

  it('asks a URL for the list, and not before each call', async () => {
    const asked: string[] = []
    let list = listOf(first.origin)
    const server = await serve(ofTest, ({ url = '' }, response) => {
      asked.push(url)
      response.end(list)
    })
    const { models, document } = await started([
      '--addresses',
      `${server}/addresses.json?sig=secret`,
      '--trust',
      trustFile
    ])
    expect([document.router, await models(), asked.length]).toEqual([first.origin, 200, 1])
    list = listOf(second.origin)
    expect([await models(), asked.length]).toEqual([200, 1])
  })

  it('follows what was published for the deployment of the state directory', async () => {
    const deployment = { url: first.origin, trustFile, releaseFile: 'release.json', addressesFile }
    const { document, models } = await started([], { deployment })
    expect(document.router).toBe(first.origin)
    await publish('addresses.json', listOf(second.origin))
    await aMoment()
    expect([await models(), calls(second)]).toEqual([200, 1])
  })

  it('rejects where one address is wrong and none is right, before anything listens', async () => {
    const other = await startWire(ofTest, foreign.router.url)
    const dead = first.origin
    await first.die()
    await publish('addresses.json', listOf(dead, other.origin))
    const running = run([...lists(), '--port', '0', '--json'])
    expect(await running.exitCode).toBe(6)
    expect(JSON.parse(running.stdout())).toMatchObject({
      ok: false,
      error: { code: 'proxy.rejected', fault: 'evidence', message: expect.stringContaining('checked and wrong') }
    })
  })

  it('could not check where no address answers', async () => {
    await first.die()
    await publish('addresses.json', listOf(first.origin, first.origin.replace('127.0.0.1', '127.0.0.3')))
    const running = run([...lists(), '--port', '0'])
    expect(await running.exitCode).toBe(5)
    expect(running.stderr()).toContain('[proxy.not-checked]')
  })

  it.each<readonly [string, () => readonly string[], number, string]>([
    ['a URL and a list', () => [...lists(), '--url', first.origin], 2, 'usage.conflict'],
    ['a list without a trust policy', () => ['--addresses', addressesFile], 2, 'proxy.no-trust'],
    [
      'a trust policy from the network',
      () => ['--addresses', addressesFile, '--trust', 'https://router.example/trust.json'],
      2,
      'usage.invalid'
    ],
    [
      'a list in plain from another machine',
      () => ['--addresses', 'http://192.0.2.1/a.json', '--trust', trustFile],
      2,
      'usage.invalid'
    ],
    [
      'a list with credentials in its URL',
      () => ['--addresses', 'https://a:b@192.0.2.1/a.json', '--trust', trustFile],
      2,
      'usage.invalid'
    ],
    ['a list that is not there', () => ['--addresses', join(folder, 'none'), '--trust', trustFile], 2, 'usage.file'],
    ['a folder', () => ['--addresses', folder, '--trust', trustFile], 2, 'usage.file'],
    ['a list that is none', () => ['--addresses', trustFile, '--trust', trustFile], 3, 'addresses.invalid'],
    [
      'a list at a server that is not there',
      () => ['--addresses', 'http://127.0.0.1:1024/a', '--trust', trustFile],
      5,
      'addresses.not-read'
    ],
    [
      'several URLs of which one is none',
      () => ['--url', first.origin, '--url', 'router', '--trust', trustFile],
      2,
      'usage.invalid'
    ]
  ])('refuses %s', async (_, argv, exitCode, code) => {
    const deployment = { url: first.origin, trustFile, releaseFile: 'release.json', addressesFile }
    const running = run([...argv(), '--port', '0'], { deployment })
    expect(await running.exitCode).toBe(exitCode)
    expect(running.stderr()).toContain(`[${code}`)
  })
})

describe('what is published', () => {
  const upper = (text: string): string => {
    if (text === 'broken') throw new TypeError('it is broken')
    return text.toUpperCase()
  }

  it('at a URL is asked for again in the background after half a minute, and sooner where no address answers', async () => {
    let nowMs = 0
    let text = 'a'
    let asked = 0
    const server = await serve(ofTest, (_, response) => {
      asked++
      response.end(text)
    })
    const source = publishedUrl(new URL(server), upper, fetch, { nowMs: () => nowMs })
    expect(await source({ fresh: false })).toBe('A')
    text = 'b'
    nowMs = 29_000
    expect([await source({ fresh: false }), asked]).toEqual(['A', 1])
    nowMs = 31_000
    // Nobody waits for it.
    expect(await source({ fresh: false })).toBe('A')
    await until(() => asked === 2)
    await aMoment()
    expect(await source({ fresh: false })).toBe('B')
    text = 'c'
    expect([await source({ fresh: true }), asked]).toEqual(['B', 2])
    nowMs = 37_000
    expect([await source({ fresh: true }), asked]).toEqual(['C', 3])
    text = 'broken'
    nowMs = 43_000
    await expect(source({ fresh: true })).rejects.toThrow('it is broken')
  })

  it.each([
    ['a status', (response: ServerResponse) => void response.writeHead(404).end(), /status 404/],
    ['a redirect', (response: ServerResponse) => void response.writeHead(302, { location: '/' }).end(), /no answer/],
    ['an endless answer', (response: ServerResponse) => void response.end('x'.repeat(300_000)), /more than/]
  ])('at a URL is not taken from %s, and its query is not told', async (_, answer, problem) => {
    const server = await serve(ofTest, (_request, response) => answer(response))
    const source = publishedUrl(new URL(`${server}/?sig=secret`), upper, fetch)
    const error = await source({ fresh: false }).then(
      () => undefined,
      (reason: unknown) => reason as Error
    )
    expect(error?.message).toMatch(problem)
    expect(error?.message).not.toContain('secret')
  })

  it('in a file is read where it has changed, and not where it is too long', async () => {
    let nowMs = 0
    const file = await publish('text', 'a')
    const source = publishedFile(file, upper, { clock: { nowMs: () => nowMs } })
    expect(await source({ fresh: false })).toBe('A')
    await publish('text', 'b')
    expect(await source({ fresh: false })).toBe('A')
    expect(await source({ fresh: true })).toBe('B')
    await publish('text', 'x'.repeat(300_000))
    nowMs = 250
    await expect(source({ fresh: false })).rejects.toThrow('longer than')
    await writeFile(file, Buffer.from([0xff]))
    await expect(source({ fresh: true })).rejects.toThrow('not UTF-8')
  })

  it('comes through a pipe once, and stays', async () => {
    const source = publishedFile('/dev/null', upper, { initial: 'A' })
    expect(await source({ fresh: true })).toBe('A')
  })
})
