import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from '@jest/globals'
import { utf8 } from '../../../src/base/encoding.js'
import { sealEnvelopeRequest } from '../../../src/seal/envelope.js'
import { deriveKeys } from '../../../src/seal/node/derive-keys.js'
import { openEnvelope } from '../../../src/seal/node/envelope.js'
import { openProviderKey } from '../../../src/seal/node/provider-key.js'
import { openSecrets } from '../../../src/seal/node/secrets.js'
import { encodeRuntimeData } from '../../../src/seal/runtime-data.js'
import { vectorKey } from './test-keys.js'

const read = (name: string): string =>
  readFileSync(join(import.meta.dirname, '..', '..', 'vectors', 'seal', name), 'utf8')

describe('the vectors of docs/wire-format.md', () => {
  it('runtime data', async () => {
    const { privateKey, publicJwk, kid } = await vectorKey()
    const { hpke, ed25519 } = deriveKeys(privateKey)
    const keys = { rsa: { ...publicJwk, kid }, hpke: hpke.publicKey, ed25519: ed25519.publicKey }
    expect(utf8.decode(encodeRuntimeData({ keys, nonce: new Uint8Array(16).fill(7) }))).toBe(read('runtime-data.json'))
  })

  it('sealed secrets', async () => {
    expect(await openSecrets(read('secrets.jwe').trim(), await vectorKey())).toEqual({
      version: 7,
      values: { fal: 'id:secret', openai: 'sk-test' }
    })
  })

  it.each(['envelope-jwe.json', 'envelope-raw.json'])('%s', async (name) => {
    const { plaintext } = await openEnvelope(JSON.parse(read(name)), await vectorKey())
    expect(utf8.decode(plaintext)).toBe('{"model":"openai:gpt-4o-mini","messages":[]}')
  })

  it('answer.json and the receipt beside it', async () => {
    const jwk = JSON.parse(read('response-key.jwk.json')) as JsonWebKey
    const algorithm = { name: 'RSA-OAEP', hash: 'SHA-256' }
    const responseKey = {
      privateKey: await crypto.subtle.importKey('jwk', jwk, algorithm, false, ['decrypt']),
      publicKey: await crypto.subtle.importKey('jwk', { kty: 'RSA', n: jwk.n!, e: jwk.e! }, algorithm, true, [
        'encrypt'
      ])
    }
    const { publicJwk } = await vectorKey()
    const { openResponse, openReceipt } = await sealEnvelopeRequest({ request: {}, recipient: publicJwk, responseKey })
    const answer = JSON.parse(read('answer.json'))
    expect(await openResponse(answer)).toEqual({ choices: [] })
    expect(await openReceipt(answer, read('answer-receipt.txt').trim())).toBe('header.payload.signature')
  })

  it('sealed provider key', async () => {
    const jwe = read('provider-key.jwe').trim()
    const opened = { key: 'sk-test', provider: 'openai' }
    expect(await openProviderKey(jwe, await vectorKey(), { nowMs: 1_790_000_059_999 })).toEqual(opened)
    await expect(openProviderKey(jwe, await vectorKey(), { nowMs: 1_790_000_060_000 })).rejects.toThrow('expired')
  })
})
