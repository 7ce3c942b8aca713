import { once } from 'node:events'
import http, { type ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it } from '@jest/globals'
import { drain } from '../../../src/router/shutdown.js'
import { Cleanup, fakeSidecar, oneProvider, serve, startRouter, until } from './harness.js'

const cleanup = new Cleanup()
afterEach(() => cleanup.run())

/** Sends bytes and gives all that comes back until the connection ends. */
async function raw(url: string, text: string): Promise<string> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  socket.write(text)
  let answer = ''
  socket.on('data', (chunk) => (answer += chunk.toString()))
  socket.on('error', () => undefined)
  await new Promise((resolve) => socket.once('close', resolve))
  return answer
}

async function routerWithStream() {
  const upstreams: ServerResponse[] = []
  const [sidecar, origin] = await Promise.all([
    fakeSidecar(cleanup),
    serve(cleanup, (_, response) => {
      upstreams.push(response)
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n')
    })
  ])
  const router = await startRouter(cleanup, {
    SKR_URL: sidecar.url,
    CONFROUTER_PROVIDERS: oneProvider(origin, { auth: 'none' })
  })
  return { ...router, upstreams }
}

async function openStream(url: string, agent?: http.Agent): Promise<http.IncomingMessage> {
  const request = http.request(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    ...(agent === undefined ? {} : { agent })
  })
  request.on('error', () => undefined)
  request.end('{"model":"m"}')
  const [answer] = (await once(request, 'response')) as [http.IncomingMessage]
  answer.on('error', () => undefined)
  return answer
}

describe('the server', () => {
  it.each([
    ['two lengths', 'POST /healthz HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n', 400],
    [
      'a length and chunks',
      'POST /healthz HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
      400
    ],
    ['no host', 'GET /healthz HTTP/1.1\r\nconnection: close\r\n\r\n', 400],
    ['no HTTP', 'hello\r\n\r\n', 400],
    ['a header over 16 KB', `GET /healthz HTTP/1.1\r\nhost: x\r\na: ${'x'.repeat(20_000)}\r\n\r\n`, 431],
    ['GET with a body', 'GET /healthz HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\nx', 400],
    ['GET with chunks', 'GET /healthz HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n', 400],
    ['a whole URL as its path', 'GET http://evil/healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n', 404]
  ])('refuses a request with %s', async (_, text, status) => {
    const sidecar = await fakeSidecar(cleanup)
    const router = await startRouter(cleanup, { SKR_URL: sidecar.url })
    expect(await raw(router.url, text)).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
    expect((await fetch(`${router.url}/healthz`)).status).toBe(200)
  })
})

describe('a failure while a failure is told', () => {
  it('is logged and ends that answer alone', async () => {
    const sidecar = await fakeSidecar(cleanup)
    const router = await startRouter(cleanup, { SKR_URL: sidecar.url })
    router.server.prependListener('request', (request, response: ServerResponse) => {
      if (request.url !== '/broken') return
      response.writeHead = () => {
        throw new Error('nothing can be written')
      }
    })
    await expect(fetch(`${router.url}/broken`)).rejects.toThrow()
    expect((await fetch(`${router.url}/healthz`)).status).toBe(200)
    expect(router.logText()).toContain('unexpected error')
    expect(router.logText()).not.toContain('nothing can be written')
    await until(() => router.requestLines().some(({ outcome }) => outcome === 'internal_error'))
  })
})

describe('probes', () => {
  it.each(['/healthz', '/readyz'])('may ask %s with HEAD', async (path) => {
    const sidecar = await fakeSidecar(cleanup)
    const router = await startRouter(cleanup, { SKR_URL: sidecar.url })
    const answer = await fetch(`${router.url}${path}`, { method: 'HEAD' })
    expect({ status: answer.status, text: await answer.text() }).toEqual({ status: 200, text: '' })
  })
})

describe('pages of other origins', () => {
  it('may call what a client in a browser needs', async () => {
    const sidecar = await fakeSidecar(cleanup)
    const router = await startRouter(cleanup, { SKR_URL: sidecar.url })
    for (const path of ['/.well-known/confrouter', '/v1/crypto/jwk', '/v1/chat/completions', '/providers/fal/x']) {
      const asked = await fetch(`${router.url}${path}`, {
        method: 'OPTIONS',
        headers: {
          'access-control-request-method': 'POST',
          'access-control-request-headers': 'authorization,x-stainless-os'
        }
      })
      expect(asked.status).toBe(204)
      expect(asked.headers.get('access-control-allow-origin')).toBe('*')
      expect(asked.headers.get('access-control-allow-methods')).toMatch(/GET|POST/)
      expect(asked.headers.get('access-control-allow-headers')).toBe('authorization,x-stainless-os')
      const answer = await fetch(`${router.url}${path}`, { method: 'POST', body: '{}' })
      expect(answer.headers.get('access-control-allow-origin')).toBe(path === '/v1/crypto/jwk' ? null : '*')
    }
    expect((await fetch(`${router.url}/v1/crypto/jwk`)).headers.get('access-control-allow-origin')).toBe('*')
  })

  it('may not ask about the state of the router', async () => {
    const sidecar = await fakeSidecar(cleanup)
    const router = await startRouter(cleanup, { SKR_URL: sidecar.url })
    expect((await fetch(`${router.url}/readyz`)).headers.get('access-control-allow-origin')).toBeNull()
    expect((await fetch(`${router.url}/readyz`, { method: 'OPTIONS' })).status).toBe(405)
  })
})

describe('drain', () => {
  it('lets a stream finish, refuses new calls, and resolves when all is closed', async () => {
    const router = await routerWithStream()
    const agent = new http.Agent({ keepAlive: true })
    cleanup.add(async () => agent.destroy())
    const answer = await openStream(router.url, agent)
    let text = ''
    answer.on('data', (chunk: Buffer) => (text += chunk.toString()))
    const drained = drain(router.servers, router.context, 5000)
    await expect(fetch(`${router.url}/healthz`)).rejects.toThrow()
    await sleep(100)
    router.upstreams[0]?.end('data: [DONE]\n\n')
    await once(answer, 'end')
    expect(await drained).toBe(true)
    expect(text).toBe('data: 1\n\ndata: [DONE]\n\n')
  })

  it('breaks off what has not finished in time', async () => {
    const router = await routerWithStream()
    const answer = await openStream(router.url)
    answer.resume()
    const gone = new Promise((resolve) => answer.once('close', resolve))
    expect(await drain(router.servers, router.context, 100)).toBe(false)
    await gone
    expect(answer.complete).toBe(false)
  })

  it('answers a call on a connection that is still open with 503 and closes it', async () => {
    const router = await routerWithStream()
    const { hostname, port } = new URL(router.url)
    const socket = connect(Number(port), hostname)
    let text = ''
    socket.on('data', (chunk) => (text += chunk.toString()))
    const request = 'POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n'
    socket.write(`${request}content-length: 2\r\n\r\n{}`)
    await until(() => text.includes('data: 1'))
    const drained = drain(router.servers, router.context, 2000)
    socket.write(`${request}content-length: 2\r\n\r\n{}`)
    await sleep(150)
    router.upstreams[0]?.end('data: [DONE]\n\n')
    await until(() => text.includes('"stopping"'))
    expect(text).toMatch(/\[DONE\][^]*HTTP\/1\.1 503 /)
    expect(text.toLowerCase()).toContain('connection: close')
    expect(await drained).toBe(true)
  })

  it.each([
    ['nothing', ''],
    ['half a header', 'GET /healthz HTTP/1.1\r\nho'],
    ['a request, and half a header behind it', 'GET /healthz HTTP/1.1\r\nhost: x\r\n\r\nGET /h']
  ])('does not wait for a connection that has sent %s', async (_, text) => {
    const router = await routerWithStream()
    const { hostname, port } = new URL(router.url)
    const socket = connect(Number(port), hostname)
    socket.on('error', () => undefined).resume()
    socket.write(text)
    await sleep(100)
    const startedAt = performance.now()
    expect(await drain(router.servers, router.context, 5000)).toBe(true)
    expect(performance.now() - startedAt).toBeLessThan(1000)
  })

  it('counts the calls of a connection: one that has ended does not end the others', async () => {
    const router = await routerWithStream()
    const { hostname, port } = new URL(router.url)
    const socket = connect(Number(port), hostname)
    let text = ''
    socket.on('error', () => undefined).on('data', (chunk) => (text += chunk.toString()))
    const call = 'POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n'
    socket.write(`${call}content-length: 2\r\n\r\n{}`.repeat(2))
    await until(() => router.upstreams.length === 2)
    const drained = drain(router.servers, router.context, 5000)
    router.upstreams[0]?.end('data: first\n\n')
    await sleep(200)
    router.upstreams[1]?.end('data: second\n\n')
    await until(() => text.includes('data: second'))
    expect(await drained).toBe(true)
  })
})
