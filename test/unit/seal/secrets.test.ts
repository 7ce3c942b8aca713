import { generateKeyPairSync } from 'node:crypto'
import { describe, expect, it } from '@jest/globals'
import { CompactEncrypt, decodeProtectedHeader } from 'jose'
import { utf8 } from '../../../src/base/encoding.js'
import { sealEnvelopeRequest } from '../../../src/seal/envelope.js'
import { openSecrets } from '../../../src/seal/node/secrets.js'
import { parseSecrets, sealSecrets } from '../../../src/seal/secrets.js'
import { testKey, vectorKey } from './test-keys.js'

const values = { openai: 'sk-test-1', fal: 'id:secret' }

describe('sealSecrets', () => {
  it('seals a bundle that the router opens', async () => {
    const key = await vectorKey()
    const jwe = await sealSecrets({ values, version: 3, recipient: key.publicJwk })
    expect(await openSecrets(jwe, key)).toEqual({ version: 3, values })
  })

  it('names the thumbprint, whatever the vault calls the key, and the type', async () => {
    const key = await vectorKey()
    const recipient = { ...key.publicJwk, kid: 'https://v.vault.azure.net/keys/default/0' }
    const jwe = await sealSecrets({ values, version: 1, recipient })
    expect(decodeProtectedHeader(jwe)).toEqual({
      alg: 'RSA-OAEP-256',
      enc: 'A256GCM',
      typ: 'confrouter-secrets',
      kid: key.kid
    })
    expect(jwe).not.toContain('sk-test-1')
  })

  it.each([
    ['a name with a capital', { OpenAI: 'x' }, 1, '"OpenAI" is not the name of a provider'],
    ['an empty value', { openai: '' }, 1, 'the value of "openai"'],
    ['a value with a line end', { openai: 'sk-\r\nx' }, 1, 'the value of "openai"'],
    ['a value that is too long', { openai: 'x'.repeat(4097) }, 1, 'the value of "openai"'],
    ['version 0', values, 0, '"version"'],
    ['version 1.5', values, 1.5, '"version"'],
    ['too many values', Object.fromEntries([...Array(65).keys()].map((i) => [`p${i}`, 'x'])), 1, 'at most 64']
  ])('refuses %s and does not quote the value', async (_, bad, version, message) => {
    const { publicJwk } = await vectorKey()
    const error = await sealSecrets({ values: bad, version, recipient: publicJwk }).catch((cause: Error) => cause)
    expect(error).toMatchObject({ code: 'invalid_secrets', message: expect.stringContaining(message) })
    expect(String(error)).not.toContain('sk-')
  })
})

describe('openSecrets', () => {
  it('refuses what was sealed to another key, broken, or sealed for another purpose, all alike', async () => {
    const key = await vectorKey()
    const other = await testKey(generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey)
    const good = await sealSecrets({ values, version: 1, recipient: key.publicJwk })
    const [header, ...rest] = good.split('.')
    const request = await sealEnvelopeRequest({ request: { v: 1, version: 1, values }, recipient: key.publicJwk })
    const bad = [
      await sealSecrets({ values, version: 1, recipient: other.publicJwk }),
      `${good.slice(0, -2)}${good.endsWith('AA') ? 'BA' : 'AA'}`,
      [Buffer.from(String(header), 'base64url').toString().replace('secrets', 'secretz'), ...rest].join('.'),
      request.body.encrypted_payload as string,
      'x.y.z',
      ''
    ]
    const errors = await Promise.all(bad.map((jwe) => openSecrets(jwe, key).catch((error: Error) => error)))
    expect(
      new Set(errors.map((error) => JSON.stringify([Reflect.get(error, 'code'), Reflect.get(error, 'message')]))).size
    ).toBe(1)
    expect(errors[0]).toMatchObject({
      code: 'bad_encrypted_payload',
      message: expect.stringContaining('bad encrypted payload')
    })
  })

  it('refuses a header parameter that it does not know', async () => {
    const key = await vectorKey()
    const jwe = await new CompactEncrypt(utf8.encode('{"v":1,"version":1,"values":{}}'))
      .setProtectedHeader({ alg: 'RSA-OAEP-256', enc: 'A256GCM', typ: 'confrouter-secrets', b64: true })
      .encrypt(key.publicKey)
    await expect(openSecrets(jwe, key)).rejects.toMatchObject({ code: 'bad_encrypted_payload' })
  })

  it('refuses a bundle without a type, which somebody may have sealed as a request', async () => {
    const key = await vectorKey()
    const seal = (header: object) =>
      new CompactEncrypt(utf8.encode('{"v":1,"version":1,"values":{}}'))
        .setProtectedHeader({ alg: 'RSA-OAEP-256', enc: 'A256GCM', ...header })
        .encrypt(key.publicKey)
    expect(await openSecrets(await seal({ typ: 'confrouter-secrets' }), key)).toMatchObject({ version: 1 })
    await expect(openSecrets(await seal({}), key)).rejects.toMatchObject({ code: 'bad_encrypted_payload' })
  })

  it('refuses the older algorithms', async () => {
    const key = await vectorKey()
    for (const [alg, enc] of [
      ['RSA-OAEP', 'A256GCM'],
      ['RSA-OAEP-256', 'A128GCM']
    ] as const) {
      const jwe = await new CompactEncrypt(utf8.encode('{"v":1,"version":1,"values":{}}'))
        .setProtectedHeader({ alg, enc, typ: 'confrouter-secrets' })
        .encrypt(key.publicKey)
      await expect(openSecrets(jwe, key)).rejects.toMatchObject({ code: 'bad_encrypted_payload' })
    }
  })
})

describe('parseSecrets', () => {
  it.each([
    ['not JSON', 'sk-marker', 'not JSON'],
    ['an unknown member', '{"v":1,"version":1,"values":{},"x":1}', 'exactly'],
    ['a missing member', '{"v":1,"values":{}}', 'exactly'],
    ['another format', '{"v":2,"version":1,"values":{}}', '"v" must be 1'],
    ['values that are a list', '{"v":1,"version":1,"values":[]}', '"values"'],
    ['a value that is a number', '{"v":1,"version":1,"values":{"openai":1}}', '"openai"']
  ])('refuses %s', (_, plaintext, message) => {
    expect(() => parseSecrets(plaintext)).toThrow(message)
    expect(() => parseSecrets(plaintext)).not.toThrow('sk-marker')
  })
})
