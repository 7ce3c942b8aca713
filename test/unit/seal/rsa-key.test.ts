import { generateKeyPairSync } from 'node:crypto'
import { describe, expect, it } from '@jest/globals'
import { parseRsaPublicJwk, rsaThumbprint } from '../../../src/seal/rsa-key.js'
import { vectorKey } from './test-keys.js'

describe('parseRsaPublicJwk', () => {
  it('keeps the public members alone', async () => {
    const { publicJwk } = await vectorKey()
    expect(parseRsaPublicJwk({ ...publicJwk, kid: 'x', alg: 'RS256', key_ops: ['encrypt'] }, 'key')).toEqual({
      ...publicJwk,
      kid: 'x'
    })
  })

  it('removes the leading zero bytes that Key Vault writes', async () => {
    const { publicJwk, kid } = await vectorKey()
    const n = Buffer.concat([Buffer.alloc(1), Buffer.from(publicJwk.n, 'base64url')]).toString('base64url')
    const parsed = parseRsaPublicJwk({ kty: 'RSA', n, e: 'AAEAAQ' }, 'key')
    expect(parsed).toEqual(publicJwk)
    expect(await rsaThumbprint(parsed)).toBe(kid)
  })

  it('has the thumbprint of RFC 7638 section 3.1', async () => {
    const n =
      '0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw'
    expect(await rsaThumbprint(parseRsaPublicJwk({ kty: 'RSA', n, e: 'AQAB' }, 'key'))).toBe(
      'NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs'
    )
  })

  const small = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey.export({ format: 'jwk' })
  const odd = `_${'A'.repeat(340)}Q`
  it.each([
    ['a text', 'RSA', 'not an RSA JWK'],
    ['another key type', { kty: 'EC' }, 'not an RSA JWK'],
    ['a private key', { kty: 'RSA', n: 'AQ', e: 'AQAB', d: 'AQ' }, 'contains a private key'],
    ['a key of 1024 bits', small, 'got 1024'],
    ['an overlong modulus', { kty: 'RSA', n: 'A'.repeat(701), e: 'AQAB' }, '"n"'],
    ['a modulus that is not base64url', { kty: 'RSA', n: 'a+b=', e: 'AQAB' }, '"n"'],
    ['a modulus of zero', { kty: 'RSA', n: 'AAAA', e: 'AQAB' }, 'is zero'],
    ['an even modulus', { kty: 'RSA', n: `_${'A'.repeat(341)}`, e: 'AQAB' }, 'even modulus'],
    ['an even exponent', { ...small, n: odd, e: 'Ag' }, 'exponent'],
    ['an exponent of one', { ...small, n: odd, e: 'AQ' }, 'exponent'],
    ['an exponent of 40 bits', { ...small, n: odd, e: 'AQAAAAE' }, 'exponent'],
    ['a kid that is no text', { ...small, n: odd, kid: 7 }, 'kid']
  ])('refuses %s', (_, value, message) => {
    expect(() => parseRsaPublicJwk(value, 'key')).toThrow(message)
  })
})
