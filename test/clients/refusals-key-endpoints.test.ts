import { generateKeyPairSync, type JsonWebKey } from 'node:crypto'
import { createServer, type RequestListener, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, describe, expect, it } from '@jest/globals'
import { checkKeyEndpoints, type KeyEndpointCheck } from '../../src/client/key-endpoints.js'
import { encodeKeyConfiguration } from '../../src/seal/ehbp.js'
import { rsaThumbprint } from '../../src/seal/rsa-key.js'
import type { VerifiedEvidence } from '../../src/verify/index.js'
import { Cleanup } from '../unit/router/harness.js'

const cleanup = new Cleanup()
afterAll(() => cleanup.run())

const rsaKey = (bits: number): { kty: 'RSA'; n: string; e: string } => {
  const { n = '', e = '' }: JsonWebKey = generateKeyPairSync('rsa', { modulusLength: bits }).publicKey.export({
    format: 'jwk'
  })
  return { kty: 'RSA', n, e }
}
const rsa = rsaKey(2048)
const kid = await rsaThumbprint(rsa)
const hpke = new Uint8Array(32).fill(7)
/** Only what is compared; nothing is sealed to it here. */
const evidence = { rsa: { ...rsa, kid }, rsaThumbprint: kid, hpke } as unknown as VerifiedEvidence
const other = rsaKey(2048)
const otherKid = await rsaThumbprint(other)
const text = JSON.stringify

async function checked(answer: RequestListener): Promise<readonly [KeyEndpointCheck, KeyEndpointCheck]> {
  const server = createServer(answer)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  cleanup.add(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const checks = await checkKeyEndpoints({ url, evidence, fetch })
  expect(checks.map(({ path }) => path)).toEqual(['/v1/crypto/jwk', '/.well-known/hpke-keys'])
  return [...checks] as [KeyEndpointCheck, KeyEndpointCheck]
}

const says =
  (body: string | Buffer, status = 200, headers: Record<string, string> = {}) =>
  (_: unknown, response: ServerResponse) =>
    response.writeHead(status, headers).end(body)

describe('/v1/crypto/jwk', () => {
  it.each<readonly [string, RequestListener]>([
    ['alone', says(text(rsa))],
    ['under its name', says(text({ ...rsa, kid, use: 'enc' }))],
    ['with another status that is none of refusal', says(text(rsa), 203)],
    ['behind a byte order mark', says(`\ufeff${text(rsa)}`)]
  ])('matches where it has the key of the evidence, %s', async (_, answer) => {
    expect((await checked(answer))[0]).toEqual({ path: '/v1/crypto/jwk', outcome: 'match' })
  })

  it.each<readonly [string, RequestListener, unknown]>([
    ['as it is', says(text(other)), otherKid],
    ['with status 203', says(text(other), 203), otherKid],
    ['with status 500', says(text(other), 500), otherKid],
    ['behind a byte order mark', says(`\ufeff${text(other)}`), otherKid],
    ['of 1024 bits', says(text(rsaKey(1024))), expect.stringMatching(/^[\w-]{43}$/)],
    ['of 4104 bits', says(text(rsaKey(4104))), expect.stringMatching(/^[\w-]{43}$/)],
    ['with another exponent', says(text({ ...rsa, e: 'Aw' })), expect.stringMatching(/^[\w-]{43}$/)],
    ['without a modulus', says(text({ ...rsa, n: '' })), 'a key without a modulus or exponent'],
    ['of another type', says(text({ ...rsa, kty: 'EC' })), 'a key that is not RSA'],
    ['under the name of another', says(text({ ...rsa, kid: 'default' })), 'a "kid" of another key'],
    ['in a set of keys', says(text({ keys: [other] })), 'a key in another form'],
    ['in a set, its name spelled otherwise', says('{"keys":[{"\\u006e":"AQAB"}]}'), 'a key in another form'],
    ['in JSON with a remark', says(`/* */ ${text(other)}`), 'a key in another form'],
    ['beside a number for an exponent', says(text({ ...other, e: 65537 })), 'a key in another form'],
    ['in UTF-16', says(Buffer.from(text(other), 'utf16le')), 'bytes that are no text'],
    [
      'behind bytes that are no text',
      says(Buffer.concat([Buffer.of(0xff), Buffer.from(text(other))])),
      'bytes that are no text'
    ],
    [
      'behind more spaces than anybody reads here',
      says(' '.repeat(70_000) + text(other)),
      expect.stringMatching(/answered with more than 65536 bytes$/)
    ],
    [
      'at another place',
      (request, response) => {
        if (request.url === '/v1/crypto/jwk') says('', 302, { location: '/elsewhere' })(request, response)
        else says(text(other))(request, response)
      },
      'a redirect to another place'
    ]
  ])('differs where it offers another key %s', async (_, answer, actual) => {
    expect((await checked(answer))[0]).toEqual({ path: '/v1/crypto/jwk', outcome: 'mismatch', expected: kid, actual })
  })

  it.each<readonly [string, RequestListener, string]>([
    ['is not there', says(text(other), 404), 'it answers with status 404'],
    ['takes no GET', says(text(other), 405), 'it answers with status 405'],
    ['refuses without a key', says('{"error":"overloaded"}', 503), 'it answers with status 503'],
    ['is a page', says('<html lang="en">'), 'it is no JWK'],
    ['is JSON without a key', says('{"version":1}'), 'it is no JWK'],
    ['is nested beyond all measure', says('['.repeat(60_000)), 'it is no JWK']
  ])('is unchecked where it %s', async (_, answer, reason) => {
    expect((await checked(answer))[0]).toEqual({ path: '/v1/crypto/jwk', outcome: 'unchecked', reason })
  })

  it('is unchecked where the connection breaks', async () => {
    const [check] = await checked((request) => request.socket.destroy())
    expect(check).toMatchObject({ outcome: 'unchecked', reason: expect.stringContaining('no answer from') })
  })
})

describe('/.well-known/hpke-keys', () => {
  const ours = Buffer.from(encodeKeyConfiguration(hpke))
  const theirs = Buffer.from(encodeKeyConfiguration(new Uint8Array(32).fill(9)))
  const type = { 'content-type': 'application/ohttp-keys' }

  it('matches where it has the key of the evidence', async () => {
    expect((await checked(says(ours, 200, type)))[1]).toMatchObject({ outcome: 'match' })
  })

  it.each<readonly [string, RequestListener, string]>([
    ['as it is', says(theirs, 200, type), theirs.toString('hex')],
    ['with status 203', says(theirs, 203, type), theirs.toString('hex')],
    ['as bytes of any kind', says(theirs), theirs.toString('hex')],
    ['first of two', says(Buffer.concat([theirs, ours]), 200, type), '82 bytes'],
    ['as a text of that type', says('none', 200, type), '4 bytes'],
    ['at another place', says('', 301, { location: '/' }), 'a redirect to another place']
  ])('differs where it offers another key %s', async (_, answer, actual) => {
    const expected = ours.toString('hex')
    expect((await checked(answer))[1]).toMatchObject({ outcome: 'mismatch', expected, actual })
  })

  it.each<readonly [string, RequestListener, string]>([
    ['is not there', says('', 404), 'it answers with status 404'],
    ['is a page', says('<html>', 200, { 'content-type': 'text/html' }), 'it is no key configuration'],
    ['refuses', says('busy', 503), 'it answers with status 503']
  ])('is unchecked where it %s', async (_, answer, reason) => {
    expect((await checked(answer))[1]).toMatchObject({ outcome: 'unchecked', reason })
  })
})
