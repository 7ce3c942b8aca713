import { createHash } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import {
  type Answer,
  Cleanup,
  fakeSidecar,
  type FakeSidecar,
  post,
  type RunningRouter,
  startRouter
} from './harness.js'

const cleanup = new Cleanup()
let sidecar: FakeSidecar
let router: RunningRouter
beforeEach(async () => {
  sidecar = await fakeSidecar(cleanup)
  router = await startRouter(cleanup, { SKR_URL: sidecar.url, CONFROUTER_EVIDENCE_PER_MINUTE: '20' })
})
afterEach(() => cleanup.run())

const nonceOf = (base64: string): string =>
  JSON.parse(Buffer.from(base64, 'base64').toString()).confrouter.nonce as string

describe('POST /.well-known/confrouter', () => {
  it('binds the nonce of the caller', async () => {
    for (const length of [16, 64]) {
      const nonce = Buffer.alloc(length, 7).toString('base64url')
      const { status, json } = await post(`${router.url}/.well-known/confrouter`, { nonce })
      expect(status).toBe(200)
      expect(nonceOf(json.runtimeData)).toBe(nonce)
      const report = Buffer.from(json.snp.report, 'base64')
      expect(report.subarray(80, 112)).toEqual(
        createHash('sha256').update(Buffer.from(json.runtimeData, 'base64')).digest()
      )
    }
  })

  it.each([
    ['a nonce of 15 bytes', { nonce: Buffer.alloc(15).toString('base64url') }, 'invalid_nonce'],
    ['a nonce of 65 bytes', { nonce: Buffer.alloc(65).toString('base64url') }, 'invalid_nonce'],
    ['a padded nonce', { nonce: `${Buffer.alloc(16).toString('base64url')}==` }, 'invalid_nonce'],
    ['a nonce that is no text', { nonce: 7 }, 'invalid_nonce'],
    ['no nonce', {}, 'invalid_request'],
    ['runtime data beside the nonce', { nonce: 'x', runtime_data: 'y' }, 'invalid_request'],
    ['a list', [], 'invalid_request'],
    ['no JSON', 'nonce', 'invalid_json'],
    ['a body that is too large', { nonce: 'x'.repeat(20_000) }, 'body_too_large']
  ])('refuses %s without asking the sidecar', async (_, body, code) => {
    const before = sidecar.requests.length
    const { json } = await post(`${router.url}/.well-known/confrouter`, body)
    expect(json.error.code).toBe(code)
    expect(sidecar.requests).toHaveLength(before)
  })

  it('limits how often one caller may ask', async () => {
    const nonce = Buffer.alloc(16).toString('base64url')
    let answer: Answer
    for (let i = 0; i < 21; i++) answer = await post(`${router.url}/.well-known/confrouter`, { nonce })
    expect(answer).toMatchObject({ status: 429, json: { error: { code: 'rate_limited', type: 'rate_limit_error' } } })
    // What the calls before took of it depends on the machine.
    expect(answer.headers.get('retry-after')).toMatch(/^[1-3]$/)
  })

  it('limits how many run at the same time', async () => {
    const leave = Array.from({ length: 8 }, (_, i) => router.context.attestations.enter(`caller ${i}`))
    const nonce = Buffer.alloc(16).toString('base64url')
    expect(await post(`${router.url}/.well-known/confrouter`, { nonce })).toMatchObject({
      status: 503,
      json: { error: { code: 'overloaded' } }
    })
    for (const one of leave) one?.()
    expect((await post(`${router.url}/.well-known/confrouter`, { nonce })).status).toBe(200)
  })

  it('runs at most two of one address, and takes no turn for what it does not begin', async () => {
    const nonce = Buffer.alloc(16).toString('base64url')
    const ask = () => post(`${router.url}/.well-known/confrouter`, { nonce })
    const leave = [1, 2].map(() => router.context.attestations.enter('127.0.0.1'))
    for (let i = 0; i < 25; i++) {
      expect(await ask()).toMatchObject({ status: 503, json: { error: { code: 'overloaded' } } })
    }
    expect(router.context.attestations.enter('192.0.2.1')).toBeDefined()
    for (const one of leave) one?.()
    expect((await ask()).status).toBe(200)
  })

  it('says in words why there is no evidence', async () => {
    sidecar.failures['/attest/maa'] = ['26-release-maa-503']
    const nonce = Buffer.alloc(16).toString('base64url')
    expect(await post(`${router.url}/.well-known/confrouter`, { nonce })).toMatchObject({
      status: 502,
      json: {
        error: {
          code: 'attestation_failed',
          message: 'no evidence could be made: the attestation service answered with status 503'
        }
      }
    })
  })
})

describe('POST /attest and /attest/maa', () => {
  it('take what the caller sends as a nonce and pass nothing of it through', async () => {
    // What an attacker would send to have a key of his own in the token.
    const target = Buffer.from('{"keys":[{"kty":"RSA","e":"AQAB","n":"AQ"}]}')
    for (const path of ['/attest', '/attest/maa']) {
      const { status, json } = await post(`${router.url}${path}`, { runtime_data: target.toString('base64') })
      expect(status).toBe(200)
      expect(json.token).toMatch(/^eyJ/)
      expect(Object.keys(JSON.parse(Buffer.from(json.runtime_data, 'base64').toString()))).toEqual(['confrouter'])
      expect(nonceOf(json.runtime_data)).toBe(target.toString('base64url'))
    }
    const sent = sidecar.requests
      .filter(({ path }) => path === '/attest/maa')
      .map(({ body }) => body.runtime_data ?? '')
    expect(sent).toHaveLength(3)
    for (const data of sent) expect(Buffer.from(data, 'base64').toString()).toMatch(/^\{"confrouter":\{"v":1,"rsa"/)
  })

  it('hash what is longer than 64 bytes', async () => {
    const long = Buffer.alloc(65, 1)
    const { json } = await post(`${router.url}/attest/maa`, { runtime_data: long.toString('base64') })
    expect(nonceOf(json.runtime_data)).toBe(createHash('sha256').update(long).digest('base64url'))
  })

  it('refuse what is no base64, or empty', async () => {
    for (const data of ['', '***', 7, 'A']) {
      const { status, json } = await post(`${router.url}/attest`, { runtime_data: data })
      expect({ status, code: json.error.code }).toEqual({ status: 400, code: 'invalid_nonce' })
    }
  })
})

describe('GET /v1/crypto/jwk', () => {
  it('gives the public key with its thumbprint and nothing private', async () => {
    const jwk = await (await fetch(`${router.url}/v1/crypto/jwk`)).json()
    expect(Object.keys(jwk).sort()).toEqual(['e', 'kid', 'kty', 'n'])
    const canonical = `{"e":"${jwk.e}","kty":"RSA","n":"${jwk.n}"}`
    expect(jwk.kid).toBe(createHash('sha256').update(canonical).digest('base64url'))
  })
})
