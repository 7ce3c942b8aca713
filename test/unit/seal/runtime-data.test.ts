import { describe, expect, it } from '@jest/globals'
import { utf8 } from '../../../src/base/encoding.js'
import { encodeRuntimeData } from '../../../src/seal/runtime-data.js'
import { readRuntimeData } from '../../../src/verify/runtime-data.js'
import { vectorKey } from './test-keys.js'

describe('encodeRuntimeData', () => {
  it('writes the members in the order of docs/wire-format.md, without white space', async () => {
    const { publicJwk, kid } = await vectorKey()
    const keys = { rsa: { ...publicJwk, kid }, hpke: new Uint8Array(32).fill(1), ed25519: new Uint8Array(32).fill(2) }
    expect(utf8.decode(encodeRuntimeData({ keys, nonce: new Uint8Array(16).fill(3) }))).toBe(
      `{"confrouter":{"v":1,"rsa":{"kty":"RSA","n":"${publicJwk.n}","e":"AQAB","kid":"${kid}"},` +
        '"hpke":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE","ed25519":"AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI",' +
        '"nonce":"AwMDAwMDAwMDAwMDAwMDAw"}}'
    )
  })

  it('has no nonce in evidence that nobody asked for', async () => {
    const { publicJwk } = await vectorKey()
    const keys = { rsa: publicJwk, hpke: new Uint8Array(32), ed25519: new Uint8Array(32) }
    const { confrouter } = JSON.parse(utf8.decode(encodeRuntimeData({ keys, nonce: undefined })))
    expect(Object.keys(confrouter)).toEqual(['v', 'rsa', 'hpke', 'ed25519'])
  })

  it('says which key ends TLS when the router does, and the verifier reads it', async () => {
    const { publicJwk } = await vectorKey()
    const keys = { rsa: publicJwk, hpke: new Uint8Array(32), ed25519: new Uint8Array(32) }
    const tls = 'ab'.repeat(32)
    const bytes = encodeRuntimeData({ keys, nonce: new Uint8Array(16), tls })
    const { confrouter } = JSON.parse(utf8.decode(bytes))
    expect(Object.entries(confrouter).slice(-2)).toEqual([
      ['nonce', 'AAAAAAAAAAAAAAAAAAAAAA'],
      ['tls', tls]
    ])
    expect((await readRuntimeData(bytes)).tls).toBe(tls)
  })

  it('leaves out a missing kid, and everything that is not public', async () => {
    const { publicJwk } = await vectorKey()
    const rsa = { ...publicJwk, key_ops: ['encrypt'], use: 'enc' }
    const keys = { rsa, hpke: new Uint8Array(32), ed25519: new Uint8Array(32) }
    const { confrouter } = JSON.parse(utf8.decode(encodeRuntimeData({ keys, nonce: new Uint8Array(1) })))
    expect(Object.keys(confrouter.rsa)).toEqual(['kty', 'n', 'e'])
  })

  it.each([
    ['an HPKE key of 31 bytes', { hpke: new Uint8Array(31) }, {}, 'HPKE key must have 32 bytes, got 31'],
    ['an Ed25519 key of 33 bytes', { ed25519: new Uint8Array(33) }, {}, 'Ed25519 key must have 32 bytes, got 33'],
    ['an empty nonce', {}, { nonce: new Uint8Array() }, 'nonce must have 1 to 64 bytes, got 0'],
    ['a TLS digest in capitals', {}, { tls: 'AB'.repeat(32) }, 'TLS key must be 64 lower-case hex'],
    ['a short TLS digest', {}, { tls: 'ab'.repeat(31) }, 'TLS key must be 64 lower-case hex'],
    ['a nonce of 65 bytes', {}, { nonce: new Uint8Array(65) }, 'nonce must have 1 to 64 bytes, got 65']
  ])('refuses %s', async (_, keys, others, message) => {
    const { publicJwk } = await vectorKey()
    const good = { rsa: publicJwk, hpke: new Uint8Array(32), ed25519: new Uint8Array(32) }
    expect(() => encodeRuntimeData({ keys: { ...good, ...keys }, nonce: new Uint8Array(16), ...others })).toThrow(
      message
    )
  })
})
