import { once } from 'node:events'
import { connect } from 'node:net'
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals'
import { sealEhbp } from '../../src/seal/ehbp-client.js'
import { Cleanup, type RunningRouter, until } from '../unit/router/harness.js'
import { local, routerFor, untilQuiet } from './setup.js'
import * as faults from './upstreams/faults.js'
import { startOpenai } from './upstreams/openai.js'
import type { Upstream } from './upstreams/upstream.js'

/** What a proxy speaks to the servers behind it that was not told otherwise, nginx among them. */

const cleanup = new Cleanup()
afterAll(() => cleanup.run())

let upstream: Upstream
let router: RunningRouter

beforeAll(async () => {
  upstream = await startOpenai(cleanup)
  router = await routerFor(cleanup, { openai: local(upstream) })
})

afterEach(() => untilQuiet(router, upstream))

const headers = { 'content-type': 'application/json', authorization: 'Bearer sk-own' }
const chat = (stream: boolean): Buffer =>
  Buffer.from(JSON.stringify({ model: 'm', stream, messages: [{ role: 'user', content: 'hi' }] }))

/** Sends one request; what comes is told piece by piece. */
function send(body: Uint8Array, more: Readonly<Record<string, string>> = {}) {
  const socket = connect(Number(new URL(router.url).port), '127.0.0.1')
  const all = { host: 'router', ...headers, 'content-length': String(body.length), ...more }
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.write(`POST /v1/chat/completions HTTP/1.0\r\n${lines.join('')}\r\n`)
  socket.write(body)
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  let error: NodeJS.ErrnoException | undefined
  socket.on('error', (thrown) => (error = thrown))
  const closed = once(socket, 'close').catch(() => undefined)
  return { bytes: () => Buffer.concat(chunks), closed, error: () => error?.code }
}

const bodyOf = (bytes: Buffer): Buffer => bytes.subarray(bytes.indexOf('\r\n\r\n') + 4)

describe('a caller of HTTP/1.0', () => {
  it('is answered up to the end of the connection', async () => {
    const call = send(chat(true))
    await call.closed
    expect(call.error()).toBeUndefined()
    expect(bodyOf(call.bytes()).toString()).toMatch(/data: \[DONE\]\n\n$/)
  })

  it('sees a reset and no end when the provider breaks off', async () => {
    let begin: (value: unknown) => void = () => undefined
    upstream.faults.push(faults.resetInStream(new Promise((resolve) => (begin = resolve))))
    const call = send(chat(true))
    await until(() => call.bytes().includes(' two'))
    begin(undefined)
    await call.closed
    expect(call.error()).toBe('ECONNRESET')
  })

  it.each([
    ['EHBP', undefined],
    ['its extension', { timeMs: Date.now(), cover: Object.keys(headers) }]
  ])('is answered sealed, by %s', async (_, extension) => {
    const recipient = router.context.state.active?.keys.hpke.publicKey ?? new Uint8Array()
    const sealed = await sealEhbp({
      recipient,
      method: 'POST',
      path: '/v1/chat/completions',
      headers,
      body: chat(false),
      extension
    })
    const call = send(sealed.body as Uint8Array, sealed.headers)
    await call.closed
    const [head = ''] = call.bytes().toString('latin1').split('\r\n\r\n')
    const [line, ...lines] = head.split('\r\n')
    expect(line).toBe('HTTP/1.1 200 OK')
    const answer = new Headers(lines.map((text) => text.split(/: (.*)/).slice(0, 2) as [string, string]))
    expect(answer.get('trailer')).toBeNull()
    const body = new Response(new Uint8Array(bodyOf(call.bytes()))).body
    const opened = sealed.openResponse({ status: 200, headers: answer, body })
    expect(await new Response(opened.body).json()).toMatchObject({ object: 'chat.completion' })
  })
})
