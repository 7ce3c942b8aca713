import { createHash, createPublicKey, generateKeyPairSync, verify } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { KeyClient } from '@azure/keyvault-keys'
import { type RunningServer, serve } from '../../../../src/emulator/server.js'
import { signDigest, type SigningCurve } from '../../../../src/emulator/services/keyvault/ecdsa.js'
import { openTlsIdentity } from '../../../../src/emulator/tls.js'
import { call, refusal } from '../hardware/requests.js'
import { asOfficer, asReleaser, type Environment, startEnvironment, v } from './vault-harness.js'

let environment: Environment
beforeAll(async () => {
  environment = await startEnvironment()
})

const make = async (name: string, body: object = {}) =>
  (await call(environment.keyVault, `/keys/${name}/create${v}`, { ...asOfficer, body: { kty: 'EC-HSM', ...body } }))
    .body
const digestOf = (text: string, hash = 'sha256') => createHash(hash).update(text).digest()
const sign = (name: string, body: object) => ({
  path: `/keys/${name}/sign${v}`,
  request: { ...asOfficer, method: 'POST', body }
})
const refused = (name: string, body: object) => {
  const { path, request } = sign(name, body)
  return refusal(environment.keyVault, path, request)
}

describe('ECDSA over a digest', () => {
  it.each<[SigningCurve, string, string]>([
    ['P-256', 'prime256v1', 'sha256'],
    ['P-384', 'secp384r1', 'sha384'],
    ['P-521', 'secp521r1', 'sha512'],
    ['P-256K', 'secp256k1', 'sha256']
  ])('on %s is what OpenSSL verifies, each time another one', (curve, namedCurve, hash) => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve })
    const signatures = Array.from({ length: 5 }, () => signDigest(privateKey, curve, digestOf('x', hash)))
    for (const signature of signatures) {
      const key = { key: publicKey, dsaEncoding: 'ieee-p1363' as const }
      expect(verify(hash, Buffer.from('x'), key, signature)).toBe(true)
      expect(verify(hash, Buffer.from('y'), key, signature)).toBe(false)
    }
    expect(new Set(signatures.map((signature) => Buffer.from(signature).toString('hex'))).size).toBe(5)
  })
})

describe('a key that signs', () => {
  it('gives its own identifier with the signature, by version and without', async () => {
    const made = await make('k1')
    const value = digestOf('hello').toString('base64url')
    const version = String(made.key.kid).split('/').at(-1)
    for (const path of [`/keys/k1/sign${v}`, `/keys/k1/${version}/sign${v}`, `/keys/k1//sign${v}`]) {
      const { body } = await call(environment.keyVault, path, {
        ...asOfficer,
        method: 'POST',
        body: { alg: 'ES256', value }
      })
      expect(body.kid).toBe(made.key.kid)
      const publicKey = createPublicKey({ key: { ...made.key, kty: 'EC' }, format: 'jwk' })
      const signature = Buffer.from(body.value, 'base64url')
      expect(verify('sha256', Buffer.from('hello'), { key: publicKey, dsaEncoding: 'ieee-p1363' }, signature)).toBe(
        true
      )
    }
    expect(environment.access.asked.at(-1)).toMatch(/^Microsoft.KeyVault\/vaults\/keys\/sign\/action .*\/keys\/k1$/)
  })

  it('needs a role with the action sign', async () => {
    await make('k2')
    const body = { alg: 'ES256', value: digestOf('x').toString('base64url') }
    const error = await refusal(environment.keyVault, `/keys/k2/sign${v}`, { ...asReleaser, method: 'POST', body })
    expect([error.status, error.details.innerCode]).toEqual([403, 'ForbiddenByRbac'])
    expect(error.message).toContain("Action: 'Microsoft.KeyVault/vaults/keys/sign/action'")
  })

  it.each([
    ['another curve', { alg: 'ES384' }, 'Key curve is P-256, algorithm is ES384'],
    ['no algorithm', { alg: undefined }, 'Invalid algorithm: ""'],
    ['an algorithm of RSA', { alg: 'RS256' }, 'Invalid algorithm: "RS256"'],
    ['a digest of another length', { value: digestOf('x', 'sha384').toString('base64url') }, '48 bytes'],
    ['no digest', { value: undefined }, '0 bytes'],
    ['a digest that is no base64url', { value: '+/' }, 'base64url']
  ])('refuses %s', async (_, change, message) => {
    await make('k3')
    const error = await refused('k3', { alg: 'ES256', value: digestOf('x').toString('base64url'), ...change })
    expect([error.status, error.code]).toEqual([400, 'BadParameter'])
    expect(error.message).toContain(message)
  })

  it.each([
    ['may not sign', { key_ops: ['verify'] }, 'KeyOperationForbidden'],
    ['is disabled', { attributes: { enabled: false } }, 'KeyDisabled'],
    ['has expired', { attributes: { exp: 1 } }, 'KeyExpired'],
    ['is not valid yet', { attributes: { nbf: 9_999_999_999 } }, 'KeyNotYetValid']
  ])('is refused when it %s', async (_, body, innerCode) => {
    await make('k4', body)
    const error = await refused('k4', { alg: 'ES256', value: digestOf('x').toString('base64url') })
    expect([error.status, error.details.innerCode]).toEqual([403, innerCode])
  })

  it('is not there: 404; and RSA keys sign nothing here, which is said', async () => {
    const body = { alg: 'RS256', value: digestOf('x').toString('base64url') }
    expect((await refused('none', body)).status).toBe(404)
    await make('k5', { kty: 'RSA' })
    expect((await refused('k5', body)).status).toBe(501)
    expect((await refused('k5', { ...body, alg: 'ES256' })).status).toBe(400)
  })
})

describe('the real CryptographyClient', () => {
  let directory: string
  let server: RunningServer
  let client: KeyClient
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'sign-'))
    const tls = await openTlsIdentity(directory)
    server = await serve({ handler: environment.keyVault, port: 0, tls })
    const credential = { getToken: async () => ({ token: 'officer', expiresOnTimestamp: Date.now() + 3600_000 }) }
    client = new KeyClient(server.origin, credential, {
      disableChallengeResourceVerification: true,
      tlsOptions: { ca: tls.ca },
      retryOptions: { maxRetries: 0 }
    })
  })
  afterAll(async () => {
    await server.close()
    await rm(directory, { recursive: true, force: true })
  })

  it('signs a digest with a key that cannot be exported', async () => {
    const made = await client.createKey('k9', 'EC-HSM', {
      curve: 'P-256',
      exportable: false,
      keyOps: ['sign', 'verify']
    })
    expect(made.properties.exportable).toBe(false)
    const cryptography = client.getCryptographyClient('k9', { keyVersion: made.properties.version! })
    const { result } = await cryptography.sign('ES256', digestOf('hello'))
    const { x, y } = made.key!
    const jwk = {
      kty: 'EC',
      crv: 'P-256',
      x: Buffer.from(x!).toString('base64url'),
      y: Buffer.from(y!).toString('base64url')
    }
    const key = { key: createPublicKey({ key: jwk, format: 'jwk' }), dsaEncoding: 'ieee-p1363' as const }
    expect(verify('sha256', Buffer.from('hello'), key, result)).toBe(true)
    await expect(cryptography.sign('ES384', digestOf('hello', 'sha384'))).rejects.toMatchObject({ statusCode: 400 })
  })
})
