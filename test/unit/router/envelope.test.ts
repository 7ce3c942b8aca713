import { constants, publicEncrypt, randomBytes } from 'node:crypto'
import type { IncomingHttpHeaders, RequestListener } from 'node:http'
import { afterEach, describe, expect, it } from '@jest/globals'
import { sealEnvelopeRequest } from '../../../src/seal/envelope.js'
import type { JsonObject } from '../../../src/base/json.js'
import { parseRsaPublicJwk } from '../../../src/seal/rsa-key.js'
import { sealSecrets } from '../../../src/seal/secrets.js'
import { vectorKey } from '../seal/test-keys.js'
import { type Answer, Cleanup, fakeSidecar, oneProvider, post, readAll, serve, startRouter, until } from './harness.js'

const cleanup = new Cleanup()
afterEach(() => cleanup.run())

async function routerTo(listener: RequestListener, environment = {}) {
  const [sidecar, origin] = await Promise.all([fakeSidecar(cleanup), serve(cleanup, listener)])
  const router = await startRouter(cleanup, {
    SKR_URL: sidecar.url,
    CONFROUTER_PROVIDERS: oneProvider(origin, { auth: 'none' }),
    ...environment
  })
  const recipient = parseRsaPublicJwk(await (await fetch(`${router.url}/v1/crypto/jwk`)).json(), 'jwk')
  const call = async (request: JsonObject): Promise<{ status: number; json: Answer; opened: Answer }> => {
    const sealed = await sealEnvelopeRequest({ request, recipient })
    const { status, json } = await post(`${router.url}/v1/chat/completions`, sealed.body)
    return { status, json, opened: await sealed.openResponse(json) }
  }
  return { ...router, recipient, call }
}

const echo: RequestListener = (request, response) => {
  void readAll(request).then((body) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ echo: JSON.parse(body.toString()), encoding: request.headers['accept-encoding'] }))
  })
}

describe('a request in an envelope', () => {
  it('reaches the provider open, and its answer comes back sealed', async () => {
    const router = await routerTo(echo, { ENCRYPTION: 'required' })
    const { status, json, opened } = await router.call({ model: 'test:m', messages: ['hello'] })
    expect(status).toBe(200)
    expect(opened).toEqual({ echo: { model: 'm', messages: ['hello'] }, encoding: 'identity' })
    expect(JSON.stringify(json)).not.toContain('hello')
    await until(() => router.requestLines().some(({ sealed }) => sealed === 'envelope'))
  })

  it('works in the form of existing clients', async () => {
    const router = await routerTo(echo)
    const { publicKey } = await vectorKey()
    const caller = await crypto.subtle.generateKey(
      { name: 'RSA-OAEP', modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: 'SHA-256' },
      true,
      ['encrypt', 'decrypt']
    )
    const der = Buffer.from(await crypto.subtle.exportKey('spki', caller.publicKey))
    const pem = `-----BEGIN PUBLIC KEY-----\n${der.toString('base64').replace(/.{64}/g, '$&\n')}\n-----END PUBLIC KEY-----\n`
    const payload = publicEncrypt(
      { key: publicKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' },
      Buffer.from('{"model":"m","messages":[]}')
    )
    const { status, json } = await post(`${router.url}/v1/chat/completions`, {
      encrypted_payload: payload.toString('base64'),
      encode_response_pub: pem
    })
    expect(status).toBe(200)
    // Opened with WebCrypto alone, as docs/wire-format.md describes it.
    const bytes = (name: string) => Buffer.from(json[name], 'base64url')
    const contentKey = await crypto.subtle.decrypt({ name: 'RSA-OAEP' }, caller.privateKey, bytes('ek'))
    const key = await crypto.subtle.importKey('raw', contentKey, 'AES-GCM', false, ['decrypt'])
    const plaintext = await crypto.subtle.decrypt(
      { name: 'AES-GCM', iv: bytes('iv') },
      key,
      Buffer.concat([bytes('ciphertext'), bytes('tag')])
    )
    expect(JSON.parse(Buffer.from(plaintext).toString())).toMatchObject({ echo: { model: 'm' } })
  })

  it("proves that it was opened by quoting a random model in a sealed error of the router's own", async () => {
    const router = await routerTo(echo)
    const marker = randomBytes(8).toString('hex')
    const { status, json, opened } = await router.call({ model: `nosuch-${marker}:x`, messages: [] })
    expect(status).toBe(404)
    expect(opened.error).toMatchObject({ code: 'unknown_provider', message: expect.stringContaining(marker) })
    expect(JSON.stringify(json)).not.toContain(marker)
  })

  it('cannot be a stream', async () => {
    const router = await routerTo(echo)
    const { status, opened } = await router.call({ model: 'm', stream: true })
    expect({ status, code: opened.error.code }).toEqual({ status: 400, code: 'stream_not_supported' })
    expect((await router.call({ model: 'm', stream: false })).status).toBe(200)
  })

  it('seals errors of the provider with their status', async () => {
    const router = await routerTo((_, response) => response.writeHead(429).end('{"error":{"message":"slow down"}}'))
    const { status, opened } = await router.call({ model: 'm' })
    expect({ status, opened }).toEqual({ status: 429, opened: { error: { message: 'slow down' } } })
  })

  it.each<[string, RequestListener, number, string]>([
    ['a page', (_, response) => response.writeHead(500).end('<html>'), 502, 'upstream_not_json'],
    ['nothing', (_, response) => response.end(), 502, 'upstream_not_json'],
    [
      'half an answer',
      (_, response) => {
        response.writeHead(200, { 'content-length': '100' }).write('{"a":')
        setTimeout(() => response.destroy(), 20)
      },
      502,
      'upstream_failed'
    ],
    [
      'more than can be sealed',
      (_, response) => response.end(`"${'x'.repeat(33 * 1024 ** 2)}"`),
      502,
      'answer_too_large'
    ]
  ])('becomes a sealed error when the provider answers with %s', async (_, listener, status, code) => {
    const router = await routerTo(listener)
    const answer = await router.call({ model: 'm' })
    expect({ status: answer.status, code: answer.opened.error.code }).toEqual({ status, code })
    await until(() => router.context.calls.inside === 0)
  })

  it('is refused with the words that existing clients look for when it does not open', async () => {
    const router = await routerTo(echo)
    const sealed = await sealEnvelopeRequest({ request: { model: 'm' }, recipient: router.recipient })
    const secrets = await sealSecrets({ values: { openai: 'sk-1' }, version: 1, recipient: router.recipient })
    for (const payload of [secrets, 'AAAA', 'a.b.c.d.e', '']) {
      const { status, json } = await post(`${router.url}/v1/chat/completions`, {
        ...sealed.body,
        encrypted_payload: payload
      })
      expect({ status, error: json.error }).toEqual({
        status: 400,
        error: {
          message: 'bad encrypted payload: fetch the key of this router again and seal to it',
          type: 'invalid_request_error',
          code: 'bad_encrypted_payload',
          param: null
        }
      })
    }
  })

  it('is refused in plain when there is no key to seal the answer to', async () => {
    const router = await routerTo(echo)
    const sealed = await sealEnvelopeRequest({ request: { model: 'm' }, recipient: router.recipient })
    for (const [body, code] of [
      [{ ...sealed.body, encode_response_pub: 'x' }, 'invalid_response_key'],
      [{ encrypted_payload: sealed.body.encrypted_payload }, 'invalid_response_key'],
      [{ ...sealed.body, model: 'm' }, 'invalid_envelope']
    ] as const) {
      const { status, json } = await post(`${router.url}/v1/chat/completions`, body)
      expect({ status, code: json.error.code }).toEqual({ status: 400, code })
    }
  })

  it('with a response key that no answer can be sealed to is refused, and the router goes on', async () => {
    const router = await routerTo(echo)
    const { publicKey } = await vectorKey()
    const payload = publicEncrypt(
      { key: publicKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' },
      Buffer.from('{"model":"nosuch:m"}')
    )
    const { status, json } = await post(`${router.url}/v1/chat/completions`, {
      encrypted_payload: payload.toString('base64'),
      encode_response_pub: { kty: 'RSA', n: `_${'A'.repeat(341)}`, e: 'AQAB' }
    })
    expect({ status, code: json.error.code }).toEqual({ status: 400, code: 'invalid_response_key' })
    expect((await fetch(`${router.url}/healthz`)).status).toBe(200)
  })

  it('cannot have a query, and passes on no header that is not sealed', async () => {
    let seen: IncomingHttpHeaders = {}
    const router = await routerTo((request, response) => {
      seen = request.headers
      response.end('{}')
    })
    const send = async (query: string) => {
      const sealed = await sealEnvelopeRequest({ request: { model: 'm' }, recipient: router.recipient })
      const headers = { 'openai-beta': 'assistants=v2', 'idempotency-key': '1' }
      const { status, json } = await post(`${router.url}/v1/chat/completions${query}`, sealed.body, headers)
      return { status, opened: (await sealed.openResponse(json)) as Answer }
    }
    const refused = await send('?store=true')
    expect({ status: refused.status, code: refused.opened.error.code }).toEqual({
      status: 400,
      code: 'invalid_request'
    })
    expect((await send('')).status).toBe(200)
    expect(Object.keys(seen).sort()).toEqual(
      'accept accept-encoding connection content-length content-type host user-agent'.split(' ')
    )
  })

  it('is no envelope when the words only stand in the content', async () => {
    const router = await routerTo(echo)
    const body = { model: 'm', messages: [{ encrypted_payload: 'what is "encrypted_payload"?' }] }
    const { json } = await post(`${router.url}/v1/chat/completions`, body)
    expect(json.echo).toEqual(body)
  })
})
