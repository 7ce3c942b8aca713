import { createHash, randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals'
import { type Answer, Cleanup, type RunningRouter, until } from '../unit/router/harness.js'
import { hasProgram, runProgram } from './run-program.js'
import { local, routerFor, untilQuiet } from './setup.js'
import * as faults from './upstreams/faults.js'
import { startOpenai } from './upstreams/openai.js'
import type { Upstream } from './upstreams/upstream.js'

/** Where there is no curl, its tests are shown as skipped, with this name. */
const installed = hasProgram('curl', '--version')
const suite = installed ? describe : describe.skip

const cleanup = new Cleanup()
afterAll(() => cleanup.run())

let upstream: Upstream
let router: RunningRouter
let folder: string

suite('curl (skipped where it is not installed)', () => {
  beforeAll(async () => {
    upstream = await startOpenai(cleanup, { keys: ['sk-own'] })
    router = await routerFor(cleanup, { openai: local(upstream) })
    folder = await mkdtemp(join(tmpdir(), 'confrouter-curl-'))
    cleanup.add(() => rm(folder, { recursive: true }))
  })

  afterEach(async () => {
    await untilQuiet(router, upstream)
    upstream.calls.length = 0
  })

  const start = (...parameters: readonly string[]) =>
    runProgram('curl', ['-sS', '--max-time', '20', '-H', 'Authorization: Bearer sk-own', ...parameters])
  const curl = (...parameters: readonly string[]) => start(...parameters).ended
  const json = (body: object): string[] => ['-H', 'Content-Type: application/json', '-d', JSON.stringify(body)]
  const chat = { model: 'gpt-4o-mini', messages: [{ role: 'user', content: 'hi' }] }
  const answerIn = (text: string): Answer => JSON.parse(text).choices[0].message.content

  it('shows a stream as it comes', async () => {
    let begin: (value: unknown) => void = () => undefined
    upstream.faults.push(faults.errorEvent(new Promise((resolve) => (begin = resolve))))
    const running = start('-N', ...json({ ...chat, stream: true }), `${router.url}/v1/chat/completions`)
    await until(() => running.stdout().includes(' two'))
    expect(running.stdout()).not.toContain('gone')
    begin(undefined)
    const { code, stdout } = await running.ended
    expect({ code, events: stdout.match(/^data: /gm)?.length }).toEqual({ code: 0, events: 3 })
  })

  it('ends with an error of its own when a stream broke off', async () => {
    let begin: (value: unknown) => void = () => undefined
    upstream.faults.push(faults.resetInStream(new Promise((resolve) => (begin = resolve))))
    const running = start('-N', ...json({ ...chat, stream: true }), `${router.url}/v1/chat/completions`)
    await until(() => running.stdout().includes(' two'))
    begin(undefined)
    const { code } = await running.ended
    // 18 is a partial answer, 56 a failure in receiving: which one depends on how the end is seen.
    expect([18, 56]).toContain(code)
  })

  it('leaves a stream in the middle, and the provider is told', async () => {
    const before = upstream.brokenOff()
    upstream.faults.push(faults.stall)
    const running = start('-N', ...json({ ...chat, stream: true }), `${router.url}/v1/chat/completions`)
    await until(() => running.stdout().includes(' two'))
    running.stop()
    await until(() => upstream.brokenOff() === before + 1)
  })

  it('uploads a form that it asks about first, by HTTP/1.1', async () => {
    const sound = randomBytes(3_000_000)
    const file = join(folder, 'speech "ö".wav')
    await writeFile(file, sound)
    const { code, stdout, stderr } = await curl(
      '-v',
      '-H',
      'Expect: 100-continue',
      '-F',
      `file=@"${file.replaceAll('"', '\\"')}";type=audio/wav`,
      '-F',
      'model=openai:whisper-1',
      `${router.url}/v1/audio/transcriptions`
    )
    expect({ code, stdout }).toMatchObject({ code: 0 })
    expect(stderr).toMatch(/^< HTTP\/1\.1 100 Continue/m)
    const { text, names } = JSON.parse(stdout)
    expect(text).toBe(`whisper-1 ${createHash('sha256').update(sound).digest('hex')}`)
    expect(names).toEqual(['file', 'model'])
    expect(upstream.calls[0]?.headers).not.toHaveProperty('expect')
  })

  it('uploads a file of no known length, chunked', async () => {
    const { code, stdout } = await runProgram(
      'curl',
      [
        ...['-sS', '-T', '-', '-X', 'POST', '-H', 'Authorization: Bearer sk-own', '-H', 'Expect:'],
        ...['-H', 'Content-Type: application/json', `${router.url}/v1/chat/completions`]
      ],
      JSON.stringify(chat)
    ).ended
    expect({ code, answer: answerIn(stdout) }).toEqual({ code: 0, answer: 'You said: hi' })
  })

  it.each<[string, readonly string[], boolean]>([
    ['HTTP/1.0', ['--http1.0'], true],
    ['HTTP/1.1 and Connection: close', ['--http1.1', '-H', 'Connection: close'], true],
    ['HTTP/1.1', ['--http1.1'], false]
  ])('asks with %s', async (_, how, closes) => {
    const { code, stdout, stderr } = await curl(...how, '-v', ...json(chat), `${router.url}/v1/chat/completions`)
    expect({ code, answer: answerIn(stdout) }).toEqual({ code: 0, answer: 'You said: hi' })
    expect(/^< connection: close/im.test(stderr)).toBe(closes)
    const streamed = await curl(...how, '-N', ...json({ ...chat, stream: true }), `${router.url}/v1/chat/completions`)
    expect({ code: streamed.code, end: streamed.stdout.endsWith('data: [DONE]\n\n') }).toEqual({ code: 0, end: true })
  })

  it('takes what is compressed if it asked for that', async () => {
    const { stdout, stderr } = await curl('--compressed', '-v', ...json(chat), `${router.url}/v1/chat/completions`)
    expect(stderr).toMatch(/^< content-encoding: gzip/im)
    expect(answerIn(stdout)).toBe('You said: hi')
    const plain = await curl('-v', ...json(chat), `${router.url}/v1/chat/completions`)
    expect(plain.stderr).not.toMatch(/^< content-encoding/im)
  })

  it('gets the head alone of what an account holds', async () => {
    const { code, stdout } = await curl('-I', `${router.url}/v1/files/file-1/content`)
    // The provider of this test knows no HEAD, and says so without a body.
    expect({ code, status: stdout.slice(0, 12) }).toEqual({ code: 0, status: 'HTTP/1.1 404' })
  })
})
