import { createPublicKey, generateKeyPairSync, sign } from 'node:crypto'
import { afterEach, describe, expect, it } from '@jest/globals'
import { compactVerify, decodeProtectedHeader, importJWK } from 'jose'
import { signReceipt } from '../../../src/seal/node/receipt.js'
import { curveKeyPair } from '../../../src/seal/node/hpke-kem.js'
import { type Receipt, verifyReceipt } from '../../../src/seal/receipt.js'
import { codeOf, flipped } from './raw-ehbp.js'

const key = curveKeyPair('Ed25519', new Uint8Array(32).fill(0x55))
const kid = '98myLo-RBNIx4H4QObIOAY25MO4gJ-wiE-q0AvKI6dA'
const receipt: Receipt = {
  v: 1,
  id: 'req_1',
  iat: 1_790_000_000,
  request: { method: 'POST', path: '/v1/chat/completions', sha256: 'ab'.repeat(32), bytes: 2100 },
  upstream: { provider: 'openai', origin: 'https://api.openai.com', spki: 'cd'.repeat(32) },
  model: 'gpt-4o',
  response: { status: 200, bytes: 512 }
}

const encode = (value: unknown): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')

/** A JWS of any header and payload under the router's key. */
function jwsOf(payload: unknown, header: unknown = { alg: 'EdDSA', typ: 'confrouter-receipt', kid }): string {
  const signed = `${encode(header)}.${encode(payload)}`
  return `${signed}.${sign(null, Buffer.from(signed), key.privateKey).toString('base64url')}`
}

describe('signReceipt', () => {
  it('signs what the verifier reads', async () => {
    for (const variant of [
      receipt,
      { ...receipt, upstream: null, model: null },
      { ...receipt, upstream: { provider: 'loopback', origin: 'http://127.0.0.1:8080', spki: null } },
      { ...receipt, model: 'größe "x"\n' }
    ]) {
      const jws = signReceipt(variant, { kid, privateKey: key.privateKey })
      expect(jws).toMatch(/^[\w-]+\.[\w-]+\.[\w-]{86}$/)
      expect(await verifyReceipt(jws, key.publicKey)).toEqual(variant)
    }
  })

  it('says what it is, and under which key callers know the router', async () => {
    const jws = signReceipt(receipt, { kid, privateKey: key.privateKey })
    expect(decodeProtectedHeader(jws)).toEqual({ alg: 'EdDSA', typ: 'confrouter-receipt', kid })
    const publicKey = await importJWK(createPublicKey(key.privateKey).export({ format: 'jwk' }), 'EdDSA')
    expect(JSON.parse(Buffer.from((await compactVerify(jws, publicKey)).payload).toString())).toEqual(receipt)
  })

  it('leaves out what is no part of a receipt', async () => {
    const more = { ...receipt, prompt: 'secret', request: { ...receipt.request, query: 'secret' } }
    const jws = signReceipt(more, { kid, privateKey: key.privateKey })
    expect(await verifyReceipt(jws, key.publicKey)).toEqual(receipt)
    expect(Buffer.from(jws.split('.')[1]!, 'base64url').toString()).not.toContain('secret')
  })
})

describe('verifyReceipt', () => {
  const good = jwsOf(receipt)

  it('refuses every bit that was altered', async () => {
    const parts = good.split('.').map((part) => Buffer.from(part, 'base64url'))
    for (const [index, part] of parts.entries()) {
      // A header's first bytes alone: each of them takes as long as a signature.
      for (let bit = 0; bit < Math.min(part.length, 40) * 8; bit++) {
        const altered = parts.map((other, at) => (at === index ? flipped(other, bit) : other))
        const jws = altered.map((bytes) => bytes.toString('base64url')).join('.')
        expect(await codeOf(() => verifyReceipt(jws, key.publicKey))).toBe('bad_receipt')
      }
    }
  })

  it('refuses the signature of another key', async () => {
    const other = generateKeyPairSync('ed25519').privateKey
    const jws = signReceipt(receipt, { kid, privateKey: other })
    expect(await codeOf(() => verifyReceipt(jws, key.publicKey))).toBe('bad_receipt')
  })

  it.each([
    ['nothing', ''],
    ['a signature that is short', good.slice(0, -4)],
    ['a signature that is long', `${good.slice(0, -2)}AAAAAA`],
    ['an empty signature', good.slice(0, good.lastIndexOf('.') + 1)],
    ['two parts', good.slice(0, good.lastIndexOf('.'))],
    ['four parts', `${good}.`],
    ['padding', `${good}==`],
    ['white space', `${good} `],
    ['another spelling of the same signature', spareBits(good)],
    ['a text that is too long', `${good}${'A'.repeat(20_000)}`],
    ['no signature', jwsOf(receipt, { alg: 'none', typ: 'confrouter-receipt', kid })],
    ['another algorithm', jwsOf(receipt, { alg: 'Ed25519', typ: 'confrouter-receipt', kid })],
    ['another type', jwsOf(receipt, { alg: 'EdDSA', typ: 'JWT', kid })],
    ['no type', jwsOf(receipt, { alg: 'EdDSA', kid })],
    ['no key id', jwsOf(receipt, { alg: 'EdDSA', typ: 'confrouter-receipt' })],
    ['a key in the header', jwsOf(receipt, { alg: 'EdDSA', typ: 'confrouter-receipt', kid, jwk: {} })],
    ['a critical extension', jwsOf(receipt, { alg: 'EdDSA', typ: 'confrouter-receipt', kid, crit: ['x'], x: 1 })],
    ['a payload that is no JSON', jwsOf('{')],
    ['a list', jwsOf([])],
    ['another version', jwsOf({ ...receipt, v: 2 })],
    ['a member more', jwsOf({ ...receipt, more: 1 })],
    ['a member less', jwsOf({ ...receipt, model: undefined })],
    ['an id that is empty', jwsOf({ ...receipt, id: '' })],
    ['a time with a fraction', jwsOf({ ...receipt, iat: 1.5 })],
    ['a path with no slash', jwsOf({ ...receipt, request: { ...receipt.request, path: 'v1' } })],
    ['a digest in capitals', jwsOf({ ...receipt, request: { ...receipt.request, sha256: 'AB'.repeat(32) } })],
    ['a negative length', jwsOf({ ...receipt, request: { ...receipt.request, bytes: -1 } })],
    ['a request with more', jwsOf({ ...receipt, request: { ...receipt.request, more: 1 } })],
    ['an origin with a path', jwsOf({ ...receipt, upstream: { ...receipt.upstream, origin: 'https://a.example/x' } })],
    ['an origin with a user', jwsOf({ ...receipt, upstream: { ...receipt.upstream, origin: 'https://a@b.example' } })],
    ['no TLS key and no word for it', jwsOf({ ...receipt, upstream: { provider: 'x', origin: 'https://a.example' } })],
    ['a model that is a number', jwsOf({ ...receipt, model: 4 })],
    ['a status that is none', jwsOf({ ...receipt, response: { status: 99, bytes: 0 } })],
    ['a text for a status', jwsOf({ ...receipt, response: { status: '200', bytes: 0 } })],
    ['an inherited member', jwsOf('{"__proto__":{"v":1},"id":"x"}')]
  ])('refuses %s', async (_, jws) => {
    expect(await codeOf(() => verifyReceipt(jws, key.publicKey))).toBe('bad_receipt')
  })

  it.each([0, 31, 33])('refuses a key of %d bytes', async (length) => {
    expect(await codeOf(() => verifyReceipt(good, new Uint8Array(length)))).toBe('invalid_key')
  })
})

describe('where WebCrypto has no Ed25519', () => {
  const { subtle } = crypto
  afterEach(() => {
    // What was assigned hides the methods of the prototype.
    for (const name of ['importKey', 'verify']) Reflect.deleteProperty(subtle, name)
  })
  const notSupported = (): never => {
    throw new DOMException('Unrecognized name.', 'NotSupportedError')
  }
  const withoutSubtle = (): never => {
    throw new TypeError('crypto.subtle is undefined')
  }

  it.each([
    ['cannot import', { importKey: notSupported }],
    ['cannot verify', { verify: notSupported }],
    ['is not there', { importKey: withoutSubtle }]
  ])('nothing is said of the signature: it %s', async (_, broken) => {
    Object.assign(subtle, broken)
    for (const jws of [jwsOf(receipt), jwsOf(receipt).replace(/..$/, 'AA')]) {
      expect(await codeOf(() => verifyReceipt(jws, key.publicKey))).toBe('unsupported')
    }
  })

  it('bytes that are no key are still told apart', async () => {
    Object.assign(subtle, {
      importKey: (): never => {
        throw new DOMException('Invalid keyData', 'DataError')
      }
    })
    expect(await codeOf(() => verifyReceipt(jwsOf(receipt), key.publicKey))).toBe('invalid_key')
  })
})

/** The signature's 86 characters leave four bits of the last one unused. */
function spareBits(jws: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  const last = alphabet.indexOf(jws.slice(-1))
  return `${jws.slice(0, -1)}${alphabet.charAt(last | 1)}`
}
