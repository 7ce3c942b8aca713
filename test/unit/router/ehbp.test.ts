import { createHash, randomBytes } from 'node:crypto'
import { request as httpRequest, type RequestListener, type ServerResponse } from 'node:http'
import { afterEach, describe, expect, it } from '@jest/globals'
import { createTransport, KeyConfigMismatchError, type Transport } from 'ehbp'
import { Cleanup, fakeSidecar, oneProvider, readAll, serve, startRouter, until } from './harness.js'

const cleanup = new Cleanup()
afterEach(() => cleanup.run())

type Options = Parameters<typeof startRouter>[2]

async function routerTo(listener: RequestListener, environment = {}, options: Options = {}) {
  const [sidecar, origin] = await Promise.all([fakeSidecar(cleanup), serve(cleanup, listener)])
  const router = await startRouter(
    cleanup,
    { SKR_URL: sidecar.url, CONFROUTER_PROVIDERS: oneProvider(origin, { auth: 'none' }), ...environment },
    options
  )
  return { ...router, sidecar, transport: await createTransport(router.url) }
}

const post = (transport: Transport, url: string, body: string, headers: Record<string, string> = {}) =>
  transport.post(url, body, { headers: { 'content-type': 'application/json', ...headers } })

const echo: RequestListener = (request, response) => {
  void readAll(request).then((body) => {
    response.writeHead(200, { 'content-type': 'application/json', 'openai-organization': 'secret-org' })
    response.end(JSON.stringify({ echo: JSON.parse(body.toString()), headers: request.headers }))
  })
}

describe('a client of the npm package ehbp', () => {
  it('finds the key, and its request and answer are sealed', async () => {
    const router = await routerTo(echo, { ENCRYPTION: 'required' })
    const answer = await post(router.transport, `${router.url}/v1/chat/completions`, '{"model":"test:m","n":1}', {
      'openai-beta': 'x',
      cookie: 'a=b'
    })
    expect(answer.status).toBe(200)
    expect(answer.headers.get('content-type')).toBe('application/json')
    expect(answer.headers.get('openai-organization')).toBeNull()
    const { echo: seen, headers } = await answer.json()
    expect(seen).toEqual({ model: 'm', n: 1 })
    // What stood in the open beside the sealed body is not passed on.
    expect(headers).not.toHaveProperty('openai-beta')
    expect(headers).toMatchObject({ 'accept-encoding': 'identity', 'content-type': 'application/json' })
    await until(() => router.requestLines().some(({ sealed, outcome }) => sealed === 'ehbp' && outcome === 'ok'))
  })

  it('gets every event of a stream as it comes', async () => {
    let upstream: ServerResponse | undefined
    const router = await routerTo((_, response) => {
      upstream = response.writeHead(200, { 'content-type': 'text/event-stream' })
      upstream.write('data: 1\n\n')
    })
    const answer = await post(router.transport, `${router.url}/v1/chat/completions`, '{"model":"m","stream":true}')
    const reader = answer.body?.getReader()
    for (const event of ['data: 1\n\n', 'data: 2\n\n', 'data: [DONE]\n\n']) {
      expect(Buffer.from((await reader?.read())?.value ?? []).toString()).toBe(event)
      if (event === 'data: 1\n\n') upstream?.write('data: 2\n\n')
      if (event === 'data: 2\n\n') upstream?.end('data: [DONE]\n\n')
    }
    expect((await reader?.read())?.done).toBe(true)
  })

  it('sends and gets megabytes, on the paths of models and of providers', async () => {
    const router = await routerTo((request, response) => void request.pipe(response))
    const large = JSON.stringify({ model: 'm', input: randomBytes(6 * 1024 ** 2).toString('base64') })
    for (const path of ['/v1/embeddings', '/providers/test/anything']) {
      const answer = await post(router.transport, `${router.url}${path}`, large)
      expect(
        createHash('sha256')
          .update(Buffer.from(await answer.arrayBuffer()))
          .digest('hex')
      ).toBe(createHash('sha256').update(large).digest('hex'))
    }
  })

  it('is told 422 when its key is stale, and goes on with the new one', async () => {
    const router = await routerTo(echo, { KEY_REFRESH_SECONDS: '1' })
    const { generateKeyPairSync } = await import('node:crypto')
    router.sidecar.key = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
    await until(() => router.logText().includes('key replaced'))
    for (const path of ['/v1/chat/completions', '/providers/test/x']) {
      await expect(post(router.transport, `${router.url}${path}`, '{"model":"m"}')).rejects.toThrow(
        KeyConfigMismatchError
      )
    }
    const again = await createTransport(router.url)
    expect((await post(again, `${router.url}/v1/chat/completions`, '{"model":"m"}')).status).toBe(200)
    await until(() => router.requestLines().some(({ outcome }) => outcome === 'stale_key'))
  })

  it('gets errors of the provider and of the router sealed', async () => {
    const router = await routerTo((_, response) => response.writeHead(429).end('{"error":{"message":"slow"}}'), {
      CONFROUTER_RETRIES: '0'
    })
    const url = `${router.url}/v1/chat/completions`
    const refused = await post(router.transport, url, '{"model":"m"}')
    expect({ status: refused.status, json: await refused.json() }).toEqual({
      status: 429,
      json: { error: { message: 'slow' } }
    })
    const unknown = await post(router.transport, url, '{"model":"nosuch-4711:m"}')
    expect(unknown.status).toBe(404)
    expect(unknown.headers.get('ehbp-response-nonce')).toMatch(/^[0-9a-f]{64}$/)
    expect(await unknown.json()).toMatchObject({ error: { code: 'unknown_provider' } })
  })

  it('is refused in the open when nothing of its request opens', async () => {
    const router = await routerTo(echo)
    const url = `${router.url}/v1/chat/completions`
    const send = async (headers: Record<string, string>, body: Uint8Array<ArrayBuffer>, to = url) => {
      const answer = await fetch(to, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body
      })
      return { status: answer.status, code: (await answer.json()).error.code, headers: answer.headers }
    }
    const key = { 'ehbp-encapsulated-key': 'ab'.repeat(32) }
    const frame = new Uint8Array([0, 0, 0, 17, ...randomBytes(17)])
    const stale = await send(key, frame)
    expect(stale).toMatchObject({ status: 422, code: 'stale_key' })
    expect(stale.headers.get('content-type')).toBe('application/problem+json')
    expect(stale.headers.get('confrouter-seal-error')).toBe('key-config')
    for (const to of [url, `${router.url}/providers/test/x`]) {
      for (const [headers, body] of [
        [{ 'ehbp-encapsulated-key': 'AB'.repeat(32) }, frame],
        [{ 'ehbp-encapsulated-key': 'ab' }, frame],
        [{ 'ehbp-encapsulated-key': '00'.repeat(32) }, frame],
        [{ 'confrouter-seal': 'v=1' }, frame],
        [key, frame.subarray(0, 8)],
        [key, new Uint8Array()],
        [key, new Uint8Array([255, 255, 255, 255, 1])],
        [key, new Uint8Array([0, 0, 0, 3, 1, 2, 3])]
      ] as const) {
        expect(await send(headers, body, to)).toMatchObject({ status: 400, code: 'bad_sealed_request' })
      }
    }
  })

  it('cannot have a query, which somebody in between could have added', async () => {
    const router = await routerTo(echo)
    for (const path of ['/v1/chat/completions?store=true', '/providers/test/x?fal_webhook=https://a.example']) {
      await expect(post(router.transport, `${router.url}${path}`, '{"model":"m"}')).rejects.toThrow()
    }
    await until(() => router.requestLines().filter(({ outcome }) => outcome === 'invalid_request').length === 2)
  })

  it('that leaves before its first frame is whole is noticed', async () => {
    const router = await routerTo(echo)
    for (const path of ['/v1/chat/completions', '/providers/test/x']) {
      const request = httpRequest(`${router.url}${path}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'ehbp-encapsulated-key': 'ab'.repeat(32) }
      })
      request.on('error', () => undefined)
      request.write(new Uint8Array([0, 0, 1, 0, 1, 2, 3]))
      await until(() => router.context.calls.inside === 1)
      request.destroy()
      await until(() =>
        router
          .requestLines()
          .some(({ route, outcome }) => outcome === 'caller_gone' && path.startsWith(String(route).replace('*', '')))
      )
    }
    expect(router.context.calls.inside).toBe(0)
  })

  it('does not pass for sealed by a header alone', async () => {
    const router = await routerTo(echo, { ENCRYPTION: 'required' })
    for (const path of ['/v1/models', '/v1/models/x', '/providers/test/x', '/v1/files']) {
      const answer = await fetch(`${router.url}${path}`, { headers: { 'ehbp-encapsulated-key': 'ab'.repeat(32) } })
      expect({ path, status: answer.status }).toEqual({ path, status: 400 })
      expect((await fetch(`${router.url}${path}`)).status).toBe(403)
    }
  })
})
