import { createHash } from 'node:crypto'
import type http from 'node:http'
import { connect } from 'node:net'
import { afterAll, describe, expect, it } from '@jest/globals'
import { encodeBase64Url } from '../../../src/base/encoding.js'
import { sealEnvelopeRequest } from '../../../src/seal/envelope.js'
import { sealSecrets } from '../../../src/seal/secrets.js'
import { vectorKey } from '../seal/test-keys.js'
import { Cleanup, fakeSidecar, readAll, serve, until } from './harness.js'
import { bundleRouter, startProcess } from './router-process.js'

const cleanup = new Cleanup()
afterAll(() => cleanup.run())

/** In everything that must not be written anywhere: prompts, answers, keys, tokens, queries, names. */
const marker = 'MARKER-5e1f'

/** What the provider does, by the last part of the path that it is called with. */
const provider: http.RequestListener = (request, response) => {
  void readAll(request)
    .catch(() => Buffer.alloc(0))
    .then((body) => {
      const text = body.toString()
      if (text.includes('break-before')) request.socket.destroy()
      else if (text.includes('break-after')) {
        response.writeHead(200, { 'content-length': '999' }).write(`{"answer":"${marker}"`)
        setTimeout(() => response.destroy(), 10)
      } else if (text.includes('error')) {
        response.writeHead(500, { 'x-marker': marker }).end(`{"error":{"message":"${marker} ${text.length}"}}`)
      } else if (text.includes('bad-header')) {
        response.socket?.end(`HTTP/1.1 200 OK\r\nx-bad: \u0001${marker}\r\n\r\n`)
      } else if (text.includes('no-http')) response.socket?.end(`${marker}\r\n\r\n`)
      else response.end(`{"answer":"${marker}"}`)
    })
}

describe('the output of the router', () => {
  it('has nothing of what callers, providers and the sidecar send, whatever happens', async () => {
    const [sidecar, origin, key, bundle] = await Promise.all([
      fakeSidecar(cleanup),
      serve(cleanup, provider),
      vectorKey(),
      bundleRouter()
    ])
    const responseKey = await crypto.subtle.generateKey(
      { name: 'RSA-OAEP', modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: 'SHA-256' },
      false,
      ['encrypt', 'decrypt']
    )
    sidecar.failures['/key/release'] = ['25-release-akv-429']
    const secrets = { openai: `sk-${marker}` }
    const local = { baseUrl: origin, allowPrivate: true }
    const common = {
      SKR_URL: sidecar.url,
      CONFROUTER_PROVIDERS: JSON.stringify({
        openai: local,
        closed: { ...local, baseUrl: 'http://127.0.0.1:1' },
        fal: local
      }),
      CONFROUTER_SECRETS: await sealSecrets({ values: secrets, version: 1, recipient: key.publicJwk }),
      FAL_KEY: `fal-${marker}`,
      CONFROUTER_MAX_BODY_BYTES: '4096'
    }
    const token = `token-${marker}`
    const routers = await Promise.all([
      startProcess(cleanup, bundle, common),
      startProcess(cleanup, bundle, { ...common, ACCESS_TOKENS: createHash('sha256').update(token).digest('hex') })
    ])
    let answered = 0
    for (const router of routers) {
      const url = await router.url()
      await until(() => router.lines().some(({ stage, msg }) => stage === 'ready' || msg === 'ready'), 10_000)
      const send = async (path: string, init: RequestInit = {}) => {
        const answer = await fetch(`${url}${path}`, init).catch(() => undefined)
        await answer?.arrayBuffer().catch(() => undefined)
        answered++
      }
      const json = (body: string, headers: Record<string, string> = {}): RequestInit => ({
        method: 'POST',
        headers: { 'content-type': 'application/json', 'user-agent': marker, cookie: marker, ...headers },
        body
      })
      const prompts = ['ok', 'break-before', 'break-after', 'error', 'bad-header', 'no-http']
      for (const headers of [{}, { authorization: `Bearer ${token}` }, { authorization: `Basic ${marker}` }]) {
        for (const what of prompts) {
          const prompt = `${what} ${marker}`
          await send(`/v1/chat/completions?q=${marker}`, json(JSON.stringify({ model: 'm', prompt }), headers))
          await send(`/providers/fal/${marker}/x?q=${marker}`, json(prompt, headers))
          const request = { model: 'm', prompt }
          const sealed = await sealEnvelopeRequest({ request, recipient: key.publicJwk, responseKey })
          await send('/v1/chat/completions', json(JSON.stringify(sealed.body), headers))
          const broken = { ...sealed.body, encrypted_payload: Buffer.from(prompt).toString('base64') }
          await send('/v1/chat/completions', json(JSON.stringify(broken), headers))
        }
        for (const body of [
          `{"model":"${marker}:x"}`,
          `{"model":"${marker}/x","model":"${marker}"}`,
          `{"model":"closed:${marker}"}`,
          `{"model":{"${marker}":1}}`,
          `{"model":"${marker}`,
          `${marker}`,
          `{"encrypted_payload":"${marker}","encode_response_pub":"${marker}"}`,
          `{"encrypted_payload":"${marker}.${marker}.a.b.c","encode_response_pub":{"kty":"RSA","n":"${marker}"}}`,
          `{"model":"${marker.repeat(500)}"}`
        ]) {
          await send('/v1/chat/completions', json(body, headers))
          await send('/.well-known/confrouter', json(body, headers))
          await send('/attest/maa', json(body, headers))
        }
        await send('/v1/chat/completions', json(marker, { ...headers, 'content-type': marker }))
        await send('/v1/models', { headers })
        await send(`/${marker}?${marker}`)
        await send(`/providers/${marker}/x`, { headers })
        await send(`/providers/fal/%2e%2e/${marker}`, { headers })
        await send(`/healthz?${marker}`, { method: 'PATCH' })
        await send('/attest', json(JSON.stringify({ runtime_data: Buffer.from(marker).toString('base64') }), headers))
      }
      await malformed(url, `${marker} / HTTP/1.1\r\n${marker}\r\n\r\n`)
      await malformed(url, `GET /healthz HTTP/1.1\r\nhost: x\r\na: ${marker.repeat(3000)}\r\n\r\n`)
      await malformed(url, `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 99\r\n\r\n${marker}`)
      router.child.kill('SIGTERM')
      await router.exit
    }
    expect(answered).toBeGreaterThan(250)
    const privateParts = key.privateKey.export({ format: 'jwk' })
    for (const { output, lines } of routers) {
      const outcomes = new Set(lines().map(({ outcome }) => outcome))
      // The search below is worth something only if all of this has happened.
      for (const outcome of ['ok', 'upstream_failed', 'invalid_json', 'bad_encrypted_payload', 'not_found']) {
        expect(outcomes).toContain(outcome)
      }
      for (const secret of [
        marker,
        Buffer.from(marker).toString('base64').slice(0, 12),
        encodeBase64Url(Buffer.from(marker))
      ]) {
        expect(output()).not.toContain(secret)
      }
      for (const part of [privateParts.d, privateParts.p, privateParts.q]) expect(output()).not.toContain(part)
      expect(output()).not.toMatch(/eyJ[A-Za-z0-9_-]{10}|127\.0\.0\.1:\d+ \(|unexpected error/)
    }
  })
})

async function malformed(url: string, text: string): Promise<void> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  socket.on('error', () => undefined)
  socket.resume()
  socket.end(text)
  await new Promise((resolve) => socket.once('close', resolve))
}
