import { connect } from 'node:net'
import { afterEach, describe, expect, it } from '@jest/globals'
import { Cleanup, fakeSidecar, oneProvider, serve, startRouter } from './harness.js'

const cleanup = new Cleanup()
afterEach(() => cleanup.run())

async function router(environment = {}) {
  const [sidecar, origin] = await Promise.all([
    fakeSidecar(cleanup),
    serve(cleanup, (_, response) => void response.end('{}'))
  ])
  return startRouter(cleanup, {
    SKR_URL: sidecar.url,
    CONFROUTER_PROVIDERS: oneProvider(origin, { auth: 'Bearer' }),
    ...environment
  })
}

/** Sends a body without an end; gives what came back and how much was taken until the connection closed. */
function sendForEver(
  url: string,
  path: string,
  pauseMs = 0
): Promise<{ answer: string; megabytes: number; ms: number }> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  const chunk = Buffer.concat([Buffer.from('10000\r\n'), Buffer.alloc(65536, 0x20), Buffer.from('\r\n')])
  const startedAt = performance.now()
  let answer = ''
  socket.on('data', (data: Buffer) => (answer += data.toString()))
  socket.on('error', () => undefined)
  socket.write(
    `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n`
  )
  const more = (): void => {
    if (socket.destroyed) return
    const full = !socket.write(pauseMs > 0 ? '1\r\n \r\n' : chunk)
    if (pauseMs > 0) setTimeout(more, pauseMs)
    else if (full) socket.once('drain', more)
    else setImmediate(more)
  }
  more()
  return new Promise((resolve) =>
    socket.once('close', () =>
      resolve({ answer, megabytes: socket.bytesWritten / 1024 ** 2, ms: performance.now() - startedAt })
    )
  )
}

describe('a body behind a refusal', () => {
  it.each(['/nosuch', '/v1/chat/completions', '/healthz', '/providers/test/x', '/attest'])(
    'is read for a little while only: %s',
    async (path) => {
      const { url } = await router({ CONFROUTER_MAX_BODY_BYTES: '2048', ACCESS_TOKENS: 'ab'.repeat(32) })
      const { answer, megabytes } = await sendForEver(url, path)
      expect(answer).toMatch(/^HTTP\/1\.1 4\d\d /)
      // What is read between two looks, and what the sockets of this machine hold, comes on top of it.
      expect(megabytes).toBeLessThan(200)
    }
  )

  it('does not keep its connection by trickling', async () => {
    const { url } = await router()
    const { answer, ms } = await sendForEver(url, '/nosuch', 50)
    expect(answer).toMatch(/^HTTP\/1\.1 404 /)
    expect(ms).toBeLessThan(15_000)
  })

  it('does not cost a caller that sends a little too much its connection', async () => {
    const { url } = await router({ CONFROUTER_MAX_BODY_BYTES: '2048' })
    for (let i = 0; i < 3; i++) {
      const answer = await fetch(`${url}/v1/chat/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: 'Bearer sk-own' },
        body: JSON.stringify({ model: 'm', prompt: 'x'.repeat(200_000) })
      })
      expect(answer.status).toBe(413)
    }
  })
})
