import { createPrivateKey, generateKeyPairSync } from 'node:crypto'
import { afterEach, describe, expect, it } from '@jest/globals'
import { CallError } from '../../../src/client/errors.js'
import { type PinnedRsaKey, sealedCall, type SealedCallOptions } from '../../../src/client/sealed-call.js'
import type { Json } from '../../../src/base/json.js'
import { openEnvelope, sealResponse } from '../../../src/seal/node/envelope.js'
import { rsaThumbprint } from '../../../src/seal/rsa-key.js'
import { parseEvidence } from '../../../src/verify/evidence.js'
import { verifyEvidence } from '../../../src/verify/verify-evidence.js'
import { createWorld, forge, nodePrivateKey } from '../verify/forge.js'
import { type Answer, type Loopback, sendJson, serve } from './loopback.js'

const routerPair = generateKeyPairSync('rsa', { modulusLength: 2048 })
const key = await pinned(routerPair.publicKey.export({ format: 'jwk' }))
const responseKey: CryptoKeyPair = await crypto.subtle.generateKey(
  { name: 'RSA-OAEP', modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: 'SHA-256' },
  false,
  ['encrypt', 'decrypt']
)
const request = { model: 'loopback:echo', messages: [{ role: 'user', content: 'marked content' }] }

const open: Loopback[] = []
afterEach(async () => {
  await Promise.all(open.splice(0).map((server) => server.close()))
})

async function pinned(jwk: { n?: string; e?: string }): Promise<PinnedRsaKey> {
  const rsa = { kty: 'RSA', n: jwk.n ?? '', e: jwk.e ?? '' } as const
  return { ...rsa, kid: await rsaThumbprint(rsa) }
}

/** A router that answers with what it opened, sealed, under a status of the test's choice. */
const echo =
  (status = 200, privateKey = routerPair.privateKey, kid = key.kid): Answer =>
  async (_, body, response) => {
    const { request: opened, responseKey: recipient } = await openEnvelope(JSON.parse(body), { privateKey, kid })
    sendJson(response, status, sealResponse(Buffer.from(JSON.stringify({ echo: opened })), recipient).answer)
  }

async function call(answer: Answer, overrides: Partial<SealedCallOptions> = {}): Promise<Json> {
  const server = await serve(answer)
  open.push(server)
  const defaults = { url: server.origin, path: '/v1/chat/completions', request, key, responseKey }
  return sealedCall({ ...defaults, fetch: globalThis.fetch, ...overrides })
}

async function errorOf(promise: Promise<unknown>): Promise<CallError> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason
  )
  if (!(error instanceof CallError)) throw new Error(`no CallError but ${String(error)}`)
  return error
}

describe('sealedCall', () => {
  it('is answered with what only the two of them can read', async () => {
    expect(await call(echo())).toEqual({ echo: request })
    const [sent] = open[0]?.requests ?? []
    expect(sent).toMatchObject({ method: 'POST', url: '/v1/chat/completions' })
    expect(sent?.body).not.toContain('marked')
    expect(Object.keys(JSON.parse(sent?.body ?? ''))).toEqual(['encrypted_payload', 'encode_response_pub'])
  })

  it('makes a key for the answer if none is given', async () => {
    expect(await call(echo(), { responseKey: undefined })).toEqual({ echo: request })
  })

  it('takes the key from verified evidence', async () => {
    const world = await createWorld()
    const { document, trust, inputs } = await forge(world)
    const verdict = await verifyEvidence(parseEvidence(document), trust, inputs)
    if (verdict.verdict !== 'trusted') throw new Error('not trusted')
    const privateKey = createPrivateKey(nodePrivateKey(world.router).export({ format: 'pem', type: 'pkcs8' }))
    const answer = echo(200, privateKey, verdict.evidence.rsaThumbprint)
    expect(await call(answer, { key: verdict.evidence })).toEqual({ echo: request })
  })

  it("sends the caller's headers, and its own content type whatever they say", async () => {
    await call(echo(), { headers: { authorization: 'Bearer x', 'content-type': 'text/plain' } })
    expect(open[0]?.requests[0]?.headers).toMatchObject({
      authorization: 'Bearer x',
      'content-type': 'application/json'
    })
  })

  it('replaces a content type in any case, and keeps what cannot be sent out of its error', async () => {
    await call(echo(), { headers: { 'Content-Type': 'text/plain', ACCEPT: 'text/html' } })
    expect(open[0]?.requests[0]?.headers).toMatchObject({
      'content-type': 'application/json',
      accept: 'application/json'
    })
    const error = await errorOf(call(echo(), { headers: { authorization: 'Bearer sk-secret\n' + 'x\u0000' } }))
    expect(error.code).toBe('call.network')
    expect(String(error.cause) + error.message).not.toContain('secret')
  })

  it('gives the code of an error in the open as a hint, if it has the form of one', async () => {
    const refused = (code: unknown): Answer => {
      return (_, __, response) => sendJson(response, 429, { error: { message: 'x', code } })
    }
    const limited = await errorOf(call(refused('rate_limited')))
    expect(limited).toMatchObject({ code: 'call.refused', status: 429, answer: undefined, hint: 'rate_limited' })
    for (const code of ['Call +1 555', 7, undefined, 'x'.repeat(41)]) {
      expect((await errorOf(call(refused(code)))).hint).toBeUndefined()
    }
    expect((await errorOf(call(echo(429)))).hint).toBeUndefined()
  })

  it('follows no redirect, also to where it would be answered', async () => {
    const target = await serve(echo())
    open.push(target)
    const redirect: Answer = (_, __, response) =>
      void response.writeHead(307, { location: `${target.origin}/v1/chat/completions` }).end()
    expect((await errorOf(call(redirect))).code).toBe('call.network')
    expect(target.requests).toEqual([])
  })

  it('throws the opened error of a provider', async () => {
    const error = await errorOf(call(echo(429)))
    expect(error).toMatchObject({ code: 'call.refused', status: 429, answer: { echo: request } })
    expect(error.message).not.toContain('marked')
  })

  it('says that the key is stale where the router cannot open the request', async () => {
    const refused: Answer = (_, __, response) =>
      sendJson(response, 400, { error: { message: 'bad encrypted payload: fetch the key again' } })
    expect(await errorOf(call(refused))).toMatchObject({ code: 'call.stale-key', status: 400, answer: undefined })
  })

  it.each<readonly [string, Answer, string]>([
    ['an answer in the open', (_, __, response) => sendJson(response, 200, { choices: [] }), 'call.unsealed'],
    ['no JSON', (_, __, response) => void response.end('<html>'), 'call.unsealed'],
    ['an empty answer', (_, __, response) => void response.end(), 'call.unsealed'],
    ['an error in the open', (_, __, response) => sendJson(response, 502, { error: 'x' }), 'call.refused'],
    ['a redirect', (_, __, response) => void response.writeHead(307, { location: '/x' }).end(), 'call.network'],
    ['a broken connection', (_, __, response) => void response.destroy(), 'call.network']
  ])('throws on %s', async (_, answer, code) => {
    expect((await errorOf(call(answer))).code).toBe(code)
  })

  it('does not open an answer that was sealed to another call', async () => {
    const other = generateKeyPairSync('rsa', { modulusLength: 2048 })
    const stale: Answer = (_, __, response) =>
      sendJson(response, 200, sealResponse(Buffer.from('{}'), { publicKey: other.publicKey, kid: undefined }).answer)
    expect((await errorOf(call(stale))).code).toBe('call.unsealed')
  })

  it('ends with the signal of the caller', async () => {
    const error = await errorOf(call(() => undefined, { signal: AbortSignal.timeout(50) }))
    expect(error.code).toBe('call.aborted')
  })

  it.each(['v1/x', '//evil.example/x', '', 'https://evil.example'])('does not call the path %j', async (path) => {
    expect((await errorOf(call(echo(), { path }))).code).toBe('call.url')
    expect(open[0]?.requests).toEqual([])
  })
})
