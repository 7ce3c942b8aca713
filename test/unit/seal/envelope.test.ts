import { constants, createPublicKey, generateKeyPairSync, publicEncrypt } from 'node:crypto'
import { beforeAll, describe, expect, it } from '@jest/globals'
import { CompactEncrypt, decodeProtectedHeader } from 'jose'
import { utf8 } from '../../../src/base/encoding.js'
import type { JsonObject } from '../../../src/base/json.js'
import { sealEnvelopeRequest } from '../../../src/seal/envelope.js'
import { openEnvelope, sealResponse } from '../../../src/seal/node/envelope.js'
import { sealSecrets } from '../../../src/seal/secrets.js'
import { codeOf, flipped } from './raw-ehbp.js'
import { testKey, type TestKey, vectorKey } from './test-keys.js'

const request = { model: 'openai:gpt-4o-mini', messages: [{ role: 'user', content: 'grüß dich 👋' }] }

let key: TestKey
let caller: TestKey
beforeAll(async () => {
  key = await vectorKey()
  caller = await testKey(generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey)
})

/** RSA-OAEP with SHA-256 straight over the JSON text, as existing clients do it. */
function rawPayload(value: unknown, encoding: 'base64' | 'base64url' = 'base64'): string {
  return publicEncrypt(
    { key: key.publicKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' },
    Buffer.from(typeof value === 'string' ? value : JSON.stringify(value))
  ).toString(encoding)
}

const text = (value: unknown): string => (typeof value === 'string' ? value : '')

const callerPem = () => caller.publicKey.export({ format: 'pem', type: 'spki' }).toString()

describe('sealEnvelopeRequest', () => {
  it('seals a request that the router opens, and opens the answer', async () => {
    const sealed = await sealEnvelopeRequest({ request, recipient: key.publicJwk })
    const opened = await openEnvelope(sealed.body, key)
    expect(opened.request).toEqual(request)
    expect(utf8.decode(opened.plaintext)).toBe(JSON.stringify(request))
    const { answer } = sealResponse(utf8.encode('{"ok":[1,"ä"]}'), opened.responseKey)
    expect(Object.keys(answer)).toEqual(['alg', 'enc', 'ek', 'iv', 'tag', 'ciphertext', 'kid'])
    expect(await sealed.openResponse(answer)).toEqual({ ok: [1, 'ä'] })
  })

  it('carries a request of any size', async () => {
    const large = { model: 'm', text: 'x'.repeat(300_000) }
    const sealed = await sealEnvelopeRequest({ request: large, recipient: key.publicJwk })
    expect((await openEnvelope(sealed.body, key)).request).toEqual(large)
  })

  it('shows nothing of the request, and names the key and the type', async () => {
    const sealed = await sealEnvelopeRequest({ request, recipient: { ...key.publicJwk, kid: 'other' } })
    expect(JSON.stringify(sealed.body)).not.toContain('gpt-4o')
    expect(decodeProtectedHeader(text(sealed.body.encrypted_payload))).toMatchObject({
      kid: key.kid,
      typ: 'confrouter-request'
    })
  })

  it('uses the response key that is passed in', async () => {
    const responseKey = await crypto.subtle.generateKey(
      { name: 'RSA-OAEP', modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: 'SHA-256' },
      false,
      ['encrypt', 'decrypt']
    )
    const [first, second] = await Promise.all([
      sealEnvelopeRequest({ request, recipient: key.publicJwk, responseKey }),
      sealEnvelopeRequest({ request, recipient: key.publicJwk, responseKey })
    ])
    expect(first.body.encode_response_pub).toEqual(second.body.encode_response_pub)
    expect(first.body.encrypted_payload).not.toEqual(second.body.encrypted_payload)
  })

  it('refuses every change of the answer with one error', async () => {
    const sealed = await sealEnvelopeRequest({ request, recipient: key.publicJwk })
    const { responseKey } = await openEnvelope(sealed.body, key)
    const { answer } = sealResponse(utf8.encode('{"ok":true}'), responseKey)
    const { answer: foreign } = sealResponse(utf8.encode('{"ok":true}'), {
      publicKey: caller.publicKey,
      kid: undefined
    })
    const flipped = (name: string): JsonObject => {
      const bytes = Buffer.from(text(answer[name]), 'base64url')
      bytes[3] = (bytes[3] as number) ^ 1
      return { ...answer, [name]: bytes.toString('base64url') }
    }
    const changes: unknown[] = [
      ...['ek', 'iv', 'tag', 'ciphertext'].map(flipped),
      { ...answer, alg: 'RSA-OAEP-256' },
      { ...answer, enc: 'A128GCM' },
      { ...answer, tag: text(answer.tag).slice(0, 16) },
      { ...answer, iv: undefined },
      { ...answer, ciphertext: `${text(answer.ciphertext)}=` },
      sealResponse(utf8.encode('not json'), responseKey).answer,
      foreign,
      null,
      'text'
    ]
    for (const change of changes) {
      await expect(sealed.openResponse(change)).rejects.toMatchObject({
        code: 'bad_sealed_answer',
        message: 'the answer is not sealed to this request'
      })
    }
  })
})

describe('the receipt beside an answer', () => {
  it('opens with the answer, and with no other', async () => {
    const sealed = await sealEnvelopeRequest({ request, recipient: key.publicJwk })
    const { responseKey } = await openEnvelope(sealed.body, key)
    const { answer, sealReceipt } = sealResponse(utf8.encode('{"ok":true}'), responseKey)
    const other = sealResponse(utf8.encode('{"ok":true}'), responseKey)
    const header = sealReceipt('a.b.c')
    expect(header).toMatch(/^[\w-]+$/)
    expect(await sealed.openReceipt(answer, header)).toBe('a.b.c')
    expect(sealReceipt('a.b.c')).not.toBe(header)
    const bytes = Buffer.from(header, 'base64url')
    const bad: [unknown, string][] = [
      [other.answer, header],
      [{ ...answer, ek: other.answer.ek ?? '' }, header],
      [null, header],
      [answer, ''],
      [answer, `${header}=`],
      [answer, header.slice(0, 20)],
      [answer, 'A'.repeat(40_000)],
      // The text of the answer itself, which is sealed with the same key but is no receipt.
      [
        answer,
        Buffer.concat(
          [answer.iv, answer.ciphertext, answer.tag].map((part) => Buffer.from(text(part), 'base64url'))
        ).toString('base64url')
      ],
      ...Array.from({ length: bytes.length * 8 }, (_, bit): [unknown, string] => [
        answer,
        flipped(bytes, bit).toString('base64url')
      ])
    ]
    for (const [given, value] of bad) {
      expect(await codeOf(() => sealed.openReceipt(given, value))).toBe('bad_sealed_answer')
    }
  })
})

describe('openEnvelope', () => {
  it('opens the form of existing clients in both alphabets, padded or not', async () => {
    const short = { model: 'm', messages: [] }
    const spellings = [
      rawPayload(short),
      rawPayload(short).replace(/=+$/, ''),
      rawPayload(short, 'base64url'),
      `${rawPayload(short, 'base64url')}==`
    ]
    for (const payload of spellings) {
      const opened = await openEnvelope({ encrypted_payload: payload, encode_response_pub: callerPem() }, key)
      expect(opened.request).toEqual(short)
      expect(opened.responseKey.kid).toBeUndefined()
    }
  })

  it('takes the response key as PEM, as a JWK and as the text of a JWK, and keeps its kid', async () => {
    const payload = rawPayload({ model: 'm' })
    const jwk = { ...caller.publicJwk, kid: 'mine' }
    for (const [responsePublic, kid] of [
      [callerPem(), undefined],
      [caller.publicKey.export({ format: 'pem', type: 'pkcs1' }).toString(), undefined],
      [jwk, 'mine'],
      [JSON.stringify(jwk), 'mine']
    ] as const) {
      const { responseKey } = await openEnvelope(
        { encrypted_payload: payload, encode_response_pub: responsePublic },
        key
      )
      expect(responseKey.kid).toBe(kid)
      expect(sealResponse(utf8.encode('{}'), responseKey).answer.kid).toBe(kid)
    }
  })

  it('opens a JWE that names neither type nor key, as existing clients make it', async () => {
    const jwe = await new CompactEncrypt(utf8.encode('{"model":"m"}'))
      .setProtectedHeader({ alg: 'RSA-OAEP-256', enc: 'A256GCM' })
      .encrypt(key.publicKey)
    const opened = await openEnvelope({ encrypted_payload: jwe, encode_response_pub: callerPem() }, key)
    expect(opened.request).toEqual({ model: 'm' })
  })

  it('opens nothing that names another key, also if it was sealed to this one', async () => {
    const seal = (kid: string) =>
      new CompactEncrypt(utf8.encode('{"model":"m"}'))
        .setProtectedHeader({ alg: 'RSA-OAEP-256', enc: 'A256GCM', typ: 'confrouter-request', kid })
        .encrypt(key.publicKey)
    const open = async (kid: string) =>
      openEnvelope({ encrypted_payload: await seal(kid), encode_response_pub: callerPem() }, key)
    expect((await open(key.kid)).request).toEqual({ model: 'm' })
    await expect(open(caller.kid)).rejects.toMatchObject({ code: 'bad_encrypted_payload' })
  })

  it('fails alike whatever is wrong with the payload', async () => {
    const mine = await sealEnvelopeRequest({ request, recipient: key.publicJwk })
    const others = await sealEnvelopeRequest({ request, recipient: caller.publicJwk })
    const secrets = await sealSecrets({ values: { openai: 'sk-1' }, version: 1, recipient: key.publicJwk })
    const jwe = text(mine.body.encrypted_payload)
    const payloads = [
      text(others.body.encrypted_payload),
      `${jwe.slice(0, -2)}${jwe.endsWith('AA') ? 'BA' : 'AA'}`,
      jwe.split('.').slice(0, 4).join('.'),
      // A bundle of provider keys is public text; it must not come back as somebody's request.
      secrets,
      String(secrets.split('.')[1]),
      rawPayload('not json'),
      rawPayload('[1]'),
      rawPayload('"text"'),
      rawPayload({ model: 'm' }).slice(4),
      'A'.repeat(2000),
      `+_${rawPayload({ model: 'm' }).slice(2)}`,
      '*',
      ''
    ]
    for (const payload of payloads) {
      await expect(
        openEnvelope({ encrypted_payload: payload, encode_response_pub: callerPem() }, key)
      ).rejects.toMatchObject({
        code: 'bad_encrypted_payload',
        message: 'bad encrypted payload: fetch the key of this router again and seal to it'
      })
    }
  })

  it('refuses a response key that somebody between put in place of the sealed one', async () => {
    const sealed = await sealEnvelopeRequest({ request, recipient: key.publicJwk })
    for (const replaced of [callerPem(), { ...caller.publicJwk }]) {
      await expect(openEnvelope({ ...sealed.body, encode_response_pub: replaced }, key)).rejects.toMatchObject({
        code: 'bad_encrypted_payload'
      })
    }
  })

  it('refuses a response key to which nothing can be sealed', async () => {
    const small = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey
    // OpenSSL imports a key with an even modulus, and fails when it is used.
    const even = { kty: 'RSA', n: `_${'A'.repeat(341)}`, e: 'AQAB' }
    const evenPem = createPublicKey({ key: even, format: 'jwk' }).export({ format: 'pem', type: 'spki' }).toString()
    const bad: JsonObject[string][] = [
      even,
      JSON.stringify(even),
      evenPem,
      null,
      7,
      'text',
      '{',
      'A'.repeat(9000),
      small.export({ format: 'pem', type: 'spki' }).toString(),
      caller.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
      generateKeyPairSync('ed25519').publicKey.export({ format: 'pem', type: 'spki' }).toString(),
      { kty: 'RSA', n: 'AQ', e: 'AQAB' }
    ]
    for (const responsePublic of bad) {
      await expect(
        openEnvelope({ encrypted_payload: rawPayload({ model: 'm' }), encode_response_pub: responsePublic }, key)
      ).rejects.toMatchObject({ code: 'invalid_response_key' })
    }
  })

  it('refuses members beside the two, because nothing protects them', async () => {
    const sealed = await sealEnvelopeRequest({ request, recipient: key.publicJwk })
    for (const body of [{ ...sealed.body, model: 'm' }, { encrypted_payload: 5 }]) {
      await expect(openEnvelope(body, key)).rejects.toMatchObject({ code: 'invalid_envelope' })
    }
  })
})
