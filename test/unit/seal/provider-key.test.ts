import { generateKeyPairSync } from 'node:crypto'
import { beforeAll, describe, expect, it } from '@jest/globals'
import { CompactEncrypt, decodeProtectedHeader } from 'jose'
import { sealEnvelopeRequest } from '../../../src/seal/envelope.js'
import { openEnvelope } from '../../../src/seal/node/envelope.js'
import { looksLikeSealedKey, openProviderKey } from '../../../src/seal/node/provider-key.js'
import { openSecrets } from '../../../src/seal/node/secrets.js'
import { sealProviderKey } from '../../../src/seal/provider-key.js'
import { sealSecrets } from '../../../src/seal/secrets.js'
import { codeOf } from './raw-ehbp.js'
import { Seeded } from './seeded.js'
import { testKey, type TestKey, vectorKey } from './test-keys.js'

const nowMs = 1_790_000_000_000
let router: TestKey
beforeAll(async () => {
  router = await vectorKey()
})

const seal = (more: Partial<Parameters<typeof sealProviderKey>[0]> = {}) =>
  sealProviderKey({ key: 'sk-test-1', recipient: router.publicJwk, ...more })

/** A JWE to the router with any header and content. */
const sealAny = (header: Record<string, unknown>, text = 'sk-test-1') =>
  new CompactEncrypt(Buffer.from(text, 'latin1'))
    .setProtectedHeader({ alg: 'RSA-OAEP-256', enc: 'A256GCM', typ: 'confrouter-key', kid: router.kid, ...header })
    .encrypt(router.publicKey)

describe('sealProviderKey', () => {
  it('seals a key that the router opens', async () => {
    expect(await openProviderKey(await seal(), router, { nowMs })).toEqual({ key: 'sk-test-1', provider: undefined })
    const expiresAt = new Date(nowMs + 60_000)
    const jwe = await seal({ provider: 'openai', expiresAt, key: '~'.repeat(4096) })
    expect(await openProviderKey(jwe, router, { nowMs })).toEqual({ key: '~'.repeat(4096), provider: 'openai' })
    expect(decodeProtectedHeader(jwe)).toEqual({
      alg: 'RSA-OAEP-256',
      enc: 'A256GCM',
      typ: 'confrouter-key',
      kid: router.kid,
      exp: 1_790_000_060,
      provider: 'openai'
    })
    expect(jwe).toMatch(/^[\x21-\x7e]{1,8192}$/)
  })

  it.each([
    ['an empty key', { key: '' }],
    ['a key with a line end', { key: 'sk-test\r\nx: y' }],
    ['a key with a space', { key: 'sk-test x' }],
    ['a key that is too long', { key: `sk-test${'x'.repeat(4090)}` }],
    ['a name that is none', { provider: 'Open AI' }],
    ['a time that is none', { expiresAt: new Date(Number.NaN) }],
    ['a time before 1970', { expiresAt: new Date(-1000) }]
  ])('refuses %s, without quoting the key', async (_, bad) => {
    const error = await seal(bad).catch((cause: Error) => cause)
    expect(error).toMatchObject({ name: 'SealError', code: 'invalid_provider_key' })
    expect(String(error)).not.toContain('sk-test')
  })
})

describe('openProviderKey', () => {
  it('refuses what is sealed to another key, altered, or sealed for another purpose, all alike', async () => {
    const other = await testKey(generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey)
    const good = await seal()
    const request = await sealEnvelopeRequest({ request: {}, recipient: router.publicJwk })
    const bad = [
      await seal({ recipient: other.publicJwk }),
      `${good.slice(0, -2)}${good.endsWith('AA') ? 'BA' : 'AA'}`,
      await sealSecrets({ values: { openai: 'x' }, version: 1, recipient: router.publicJwk }),
      request.body.encrypted_payload as string,
      await sealAny({ typ: undefined }),
      await sealAny({ kid: undefined }),
      await sealAny({ kid: other.kid }),
      await sealAny({ more: 1 }),
      await sealAny({ zip: 'DEF' }).catch(() => 'a.b.c.d.e'),
      'a.b.c.d.e',
      ''
    ]
    for (const jwe of bad) {
      expect(await codeOf(() => openProviderKey(jwe, router, { nowMs }))).toBe('bad_encrypted_payload')
    }
  })

  it('is refused as a request and as secrets', async () => {
    const jwe = await seal({ key: '{}' })
    const { body } = await sealEnvelopeRequest({ request: {}, recipient: router.publicJwk })
    expect(await codeOf(() => openEnvelope({ ...body, encrypted_payload: jwe }, router))).toBe('bad_encrypted_payload')
    expect(await codeOf(() => openSecrets(jwe, router))).toBe('bad_encrypted_payload')
    // The parameters of a provider key are not those of a request.
    const withExpiry = await sealAny({ typ: 'confrouter-request', exp: 1_790_000_060 }, '{}')
    expect(await codeOf(() => openEnvelope({ ...body, encrypted_payload: withExpiry }, router))).toBe(
      'bad_encrypted_payload'
    )
  })

  it('ends with the second that it names', async () => {
    const jwe = await seal({ expiresAt: new Date(nowMs) })
    expect(await codeOf(() => openProviderKey(jwe, router, { nowMs: nowMs - 1 }))).toBe('no error')
    expect(await codeOf(() => openProviderKey(jwe, router, { nowMs }))).toBe('invalid_provider_key')
  })

  it.each([
    ['an expiry in words', { exp: 'tomorrow' }, 'sk-test-1'],
    ['an expiry with a fraction', { exp: 1_790_000_060.5 }, 'sk-test-1'],
    ['an expiry of zero', { exp: 0 }, 'sk-test-1'],
    ['a provider that is no name', { provider: 'Open AI' }, 'sk-test-1'],
    ['a provider that is no text', { provider: 7 }, 'sk-test-1'],
    ['an empty key', {}, ''],
    ['a key with a line end', {}, 'sk-test\r\nx: y'],
    ['a key that is not UTF-8', {}, 'sk-test-\xff'],
    ['a key that is too long', {}, 'x'.repeat(4097)]
  ])('refuses %s', async (_, header, text) => {
    const error = await openProviderKey(await sealAny(header, text), router, { nowMs }).catch((cause: Error) => cause)
    expect(error).toMatchObject({ name: 'SealError', code: 'invalid_provider_key' })
    expect((error as Error).message).not.toContain('sk-test')
  })
})

describe('looksLikeSealedKey', () => {
  it('knows what sealProviderKey makes', async () => {
    expect(looksLikeSealedKey(await seal())).toBe(true)
    expect(looksLikeSealedKey(await seal({ key: 'x'.repeat(4096), provider: 'openai' }))).toBe(true)
  })

  const header = (value: unknown): string =>
    Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')
  const key = header({ typ: 'confrouter-key' })

  it.each([
    ['a key of a provider', 'sk-proj-abc'],
    ['nothing', ''],
    ['a JWT', `${key}.e30.e30`],
    ['six parts', `${key}.a.b.c.d.e`],
    ['an empty part', `${key}..b.c.d`],
    ['another alphabet', `${key}.a+b.b.c.d`],
    ['a line end', `${key}.a.b.c.d\n`],
    ['another type', `${header({ typ: 'confrouter-secrets' })}.a.b.c.d`],
    ['no type', `${header({})}.a.b.c.d`],
    ['a header that is no JSON', `${header('{')}.a.b.c.d`],
    ['a header that is a list', `${header(['confrouter-key'])}.a.b.c.d`],
    ['a header that is nothing', `${header(null)}.a.b.c.d`],
    ['a long header', `${header({ typ: 'confrouter-key', x: 'x'.repeat(1000) })}.a.b.c.d`],
    ['a long text', `${key}.a.b.c.${'d'.repeat(8192)}`]
  ])('does not take %s for one', (_, text) => {
    expect(looksLikeSealedKey(text)).toBe(false)
  })

  it('never throws and takes no time', () => {
    const random = new Seeded(31)
    const start = process.cpuUsage().user
    for (let round = 0; round < 20_000; round++) {
      const parts = Array.from({ length: random.below(8) }, () =>
        Buffer.from(random.bytes(random.below(30))).toString(random.pick(['base64url', 'latin1']))
      )
      expect(looksLikeSealedKey([random.pick([key, '']), ...parts].join('.'))).toBeDefined()
    }
    expect(looksLikeSealedKey(`${'a.'.repeat(500_000)}`)).toBe(false)
    expect(process.cpuUsage().user - start).toBeLessThan(10_000_000)
  })
})
