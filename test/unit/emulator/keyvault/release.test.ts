import {
  constants,
  createDecipheriv,
  createPrivateKey,
  generateKeyPairSync,
  privateDecrypt,
  X509Certificate
} from 'node:crypto'
import { beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { CompactSign, compactVerify, decodeJwt, decodeProtectedHeader } from 'jose'
import type { ServiceError } from '../../../../src/emulator/http.js'
import { keyVaultHandler } from '../../../../src/emulator/services/keyvault/handler.js'
import { releaseRootPem } from '../../../../src/emulator/services/keyvault/release-signer.js'
import { call, type Loose, refusal } from '../hardware/requests.js'
import {
  asOfficer,
  asReleaser,
  authority,
  encodePolicy,
  type Environment,
  exportableKey,
  policyFor,
  runtimeWith,
  startEnvironment,
  testAccess,
  tokenFor,
  v,
  vault,
  wrapping
} from './vault-harness.js'

const notVerified = 'Target environment attestation statement cannot be verified.'
const notMet = 'Target environment attestation does not meet key release policy requirements.'
let environment: Environment

beforeAll(async () => {
  environment = await startEnvironment()
  await call(environment.keyVault, `/keys/k1/create${v}`, { ...asOfficer, body: exportableKey() })
})

beforeEach(() => {
  environment.now = new Date()
})

async function release(target: string, path = '/keys/k1/release', change: object = {}): Promise<Loose> {
  return (await call(environment.keyVault, path + v, { ...asReleaser, body: { target, ...change } })).body.value
}

async function refused(target: string, message: string, path = '/keys/k1/release'): Promise<ServiceError> {
  const error = await refusal(environment.keyVault, path + v, { ...asReleaser, body: { target } })
  expect([error.status, error.code, error.message]).toEqual([403, 'Forbidden', message])
  return error
}

/** The token with another header or other claims, signed with the key that the provider publishes. */
function signedByProvider(token: string, header: object, claims: object): Promise<string> {
  const record = environment.store.collection<{ privateKey: string }>('attestation-signers').get('att1')
  return new CompactSign(Buffer.from(JSON.stringify({ ...decodeJwt(token), ...claims })))
    .setProtectedHeader({ ...(decodeProtectedHeader(token) as { alg: string }), ...header })
    .sign(createPrivateKey(record?.privateKey ?? ''))
}

function unwrap(value: string, oaepHash = 'sha1'): Loose {
  const { response } = decodeJwt<Loose>(value)
  const keyHsm = JSON.parse(Buffer.from(response.key.key.key_hsm, 'base64url').toString())
  const ciphertext = Buffer.from(keyHsm.ciphertext, 'base64url')
  const kek = privateDecrypt(
    { key: wrapping.privateKey, oaepHash, padding: constants.RSA_PKCS1_OAEP_PADDING },
    ciphertext.subarray(0, 256)
  )
  const decipher = createDecipheriv('id-aes256-wrap-pad', kek, Buffer.from('A65959A6', 'hex'))
  const pkcs8 = Buffer.concat([decipher.update(ciphertext.subarray(256)), decipher.final()])
  return createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' }).export({ format: 'jwk' })
}

describe('releasing a key', () => {
  it('wraps the private key to the runtime key of the token', async () => {
    const value = await release(await tokenFor(environment))
    const { body } = await call(environment.keyVault, `/keys/k1${v}`, asOfficer)
    expect(unwrap(value)).toMatchObject({ kty: 'RSA', e: 'AQAB', n: body.key.n })
  })

  it('answers in the form that was recorded from a real vault', async () => {
    const payload = decodeJwt<Loose>(await release(await tokenFor(environment)))
    const { body } = await call(environment.keyVault, `/keys/k1${v}`, asOfficer)
    const { key_hsm: keyHsm, ...key } = payload.response.key.key
    expect(payload.request).toEqual({
      'api-version': '7.4',
      enc: 'CKM_RSA_AES_KEY_WRAP',
      kid: 'https://127.0.0.1:5443/keys/k1'
    })
    expect(key).toEqual(body.key)
    expect(payload.response.key.attributes).toEqual(body.attributes)
    expect(payload.response.key.release_policy).toEqual({ data: body.release_policy.data })
    expect(JSON.parse(Buffer.from(keyHsm, 'base64url').toString())).toEqual({
      schema_version: '1.0',
      header: { kid: 'wrapping', alg: 'dir', enc: 'CKM_RSA_AES_KEY_WRAP' },
      ciphertext: expect.any(String)
    })
  })

  it('signs with a chain from a leaf of the vault host to the release root', async () => {
    const value = await release(await tokenFor(environment))
    const { alg, kid, x5t, typ, x5c, 'x5t#S256': x5t256 } = decodeProtectedHeader(value) as Loose
    const [leaf, intermediate, root] = x5c.map((der: string) => new X509Certificate(Buffer.from(der, 'base64')))
    expect([alg, typ, x5c.length]).toEqual(['RS256', 'JWT', 3])
    expect(kid).toBe(leaf.fingerprint.replaceAll(':', ''))
    expect(Buffer.from(x5t, 'base64url').toString('hex').toUpperCase()).toBe(kid)
    expect(Buffer.from(x5t256, 'base64url').toString('hex').toUpperCase()).toBe(leaf.fingerprint256.replaceAll(':', ''))
    expect(leaf.checkIP('127.0.0.1')).toBe('127.0.0.1')
    expect(leaf.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1'])
    expect(leaf.checkIssued(intermediate) && leaf.verify(intermediate.publicKey)).toBe(true)
    expect(intermediate.checkIssued(root) && intermediate.verify(root.publicKey)).toBe(true)
    expect(new X509Certificate(await releaseRootPem(environment.store, new Date())).raw).toEqual(root.raw)
    await expect(compactVerify(value, leaf.publicKey, { algorithms: ['RS256'] })).resolves.toBeDefined()
  })

  it('takes the double slash that the JavaScript client sends, and a version', async () => {
    const { body } = await call(environment.keyVault, `/keys/k1${v}`, asOfficer)
    const version = body.key.kid.split('/').at(-1)
    const target = await tokenFor(environment)
    expect(unwrap(await release(target, '/keys/k1//release')).n).toBe(body.key.n)
    const versioned = await release(target, `/keys/k1/${version}/release`)
    expect(decodeJwt<Loose>(versioned).request.kid).toBe(body.key.kid)
  })

  it.each([
    ['CKM_RSA_AES_KEY_WRAP', 'sha1'],
    ['RSA_AES_KEY_WRAP_256', 'sha256'],
    ['RSA_AES_KEY_WRAP_384', 'sha384']
  ])('wraps with %s, and repeats a nonce', async (enc, oaepHash) => {
    const value = await release(await tokenFor(environment), undefined, { enc, nonce: 'n1' })
    expect(decodeJwt<Loose>(value).request).toMatchObject({ enc, nonce: 'n1' })
    expect(unwrap(value, oaepHash).kty).toBe('RSA')
  })

  it('releases EC keys', async () => {
    const body = exportableKey(policyFor(), { kty: 'EC-HSM', crv: 'P-256', key_size: undefined, key_ops: ['sign'] })
    const made = await call(environment.keyVault, `/keys/ec/create${v}`, { ...asOfficer, body })
    const value = await release(await tokenFor(environment), '/keys/ec/release')
    expect(unwrap(value)).toMatchObject({ kty: 'EC', crv: 'P-256', x: made.body.key.x, y: made.body.key.y })
  })

  it('takes the first usable RSA key, one that says use enc and has no key_ops too', async () => {
    const { n, e } = wrapping.publicKey.export({ format: 'jwk' })
    const weak = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey.export({ format: 'jwk' })
    const keys = [
      { kty: 'EC', kid: 'ec', crv: 'P-256', x: 'AA', y: 'AA' },
      { ...weak, kid: 'weak' },
      { kty: 'RSA', kid: 'signs', use: 'sig', n, e },
      { kty: 'RSA', kid: 'verifies', key_ops: ['verify'], n, e },
      { kty: 'RSA', kid: 'good', use: 'enc', n, e }
    ]
    const value = await release(await tokenFor(environment, {}, JSON.stringify({ keys })))
    const keyHsm = JSON.parse(Buffer.from(decodeJwt<Loose>(value).response.key.key.key_hsm, 'base64url').toString())
    expect(keyHsm.header.kid).toBe('good')
  })

  it('strips one trailing slash of the authority in the policy', async () => {
    const body = exportableKey(policyFor({}, `${authority}/`))
    await call(environment.keyVault, `/keys/slash/create${v}`, { ...asOfficer, body })
    expect(unwrap(await release(await tokenFor(environment), '/keys/slash/release')).kty).toBe('RSA')
  })

  it('follows a policy that was replaced', async () => {
    await call(environment.keyVault, `/keys/moved/create${v}`, { ...asOfficer, body: exportableKey() })
    const target = await tokenFor(environment)
    expect(await release(target, '/keys/moved/release')).toBeDefined()
    const data = encodePolicy(policyFor({ 'x-ms-sevsnpvm-hostdata': '00'.repeat(32) }))
    await call(environment.keyVault, `/keys/moved${v}`, {
      method: 'PATCH',
      ...asOfficer,
      body: { release_policy: { data } }
    })
    await refused(target, notMet, '/keys/moved/release')
  })
})

describe('a release is refused when the policy is not met', () => {
  it('by other host data', async () => {
    const error = await refused(await tokenFor(environment, { hostData: new Uint8Array(32) }), notMet)
    expect(error.details.innerCode).toBe('AccessDenied')
  })

  it('by the debug bit', async () => {
    await refused(await tokenFor(environment, { debug: true }), notMet)
  })

  it('by VMPL', async () => {
    await refused(await tokenFor(environment, { vmpl: 1 }), notMet)
  })
})

describe('a release is refused when the token cannot be verified', () => {
  it('because it has expired, or is not yet valid', async () => {
    const target = await tokenFor(environment)
    environment.now = new Date(Date.now() + 8 * 3600_000)
    await refused(target, notVerified)
    environment.now = new Date(Date.now() - 3600_000)
    await refused(target, notVerified)
  })

  it('because a claim was changed', async () => {
    const [head, , signature] = (await tokenFor(environment, { debug: true })).split('.')
    const claims = { ...decodeJwt(await tokenFor(environment)) }
    await refused(`${head}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.${signature}`, notVerified)
  })

  it('because the signature was changed', async () => {
    const target = await tokenFor(environment)
    const flipped = target.at(-10) === 'A' ? 'B' : 'A'
    await refused(target.slice(0, -10) + flipped + target.slice(-9), notVerified)
  })

  it('because another key signed it under the same kid and jku', async () => {
    const target = await tokenFor(environment)
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
    const forged = await new CompactSign(Buffer.from(JSON.stringify(decodeJwt(target))))
      .setProtectedHeader(decodeProtectedHeader(target) as { alg: string })
      .sign(privateKey)
    await refused(forged, notVerified)
  })

  it('because its kid is unknown, though the provider’s own key signed it', async () => {
    const target = await tokenFor(environment)
    expect(await release(await signedByProvider(target, {}, {}))).toBeDefined()
    await refused(await signedByProvider(target, { kid: 'x' }, {}), notVerified)
  })

  it('because it does not say when it ends', async () => {
    await refused(await signedByProvider(await tokenFor(environment), {}, { exp: undefined }), notVerified)
  })

  it('because it is not signed at all', async () => {
    const target = await tokenFor(environment)
    const header = Buffer.from('{"alg":"none"}').toString('base64url')
    await refused(`${header}.${target.split('.')[1]}.`, notVerified)
  })

  it('because its issuer is no authority of the policy', async () => {
    const body = exportableKey(policyFor({}, 'https://other.attest.azure.net'))
    await call(environment.keyVault, `/keys/foreign/create${v}`, { ...asOfficer, body })
    await refused(await tokenFor(environment), notVerified, '/keys/foreign/release')
  })

  it('because it is not a token', async () => {
    await refused('abc', notVerified)
  })

  it.each([
    ['no discovery document', () => Promise.reject(new Error('refused'))],
    ['discovery of another issuer', async () => ({ issuer: 'https://evil.test', jwks_uri: `${authority}/certs` })],
    ['keys outside of https', async () => ({ issuer: authority, jwks_uri: 'http://127.0.0.1/certs' })],
    [
      'no keys',
      async (url: string) => (url.endsWith('/certs') ? {} : { issuer: authority, jwks_uri: `${authority}/certs` })
    ]
  ])('because the authority has %s', async (_case, fetchJson) => {
    const { store } = environment
    const clock = (): Date => new Date()
    const options = { store, access: testAccess(), vault, fetchJson, clock, authorityHost: 'https://login.test' }
    const body = { target: await tokenFor(environment) }
    const error = await refusal(keyVaultHandler(options), `/keys/k1/release${v}`, { ...asReleaser, body })
    expect(error.message).toBe(notVerified)
  })

  it.each([
    ['no member keys', '{"confrouter":{"v":1}}'],
    ['keys that are empty', '{"keys":[]}'],
    ['a key without kid', runtimeWith({ kid: undefined })],
    ['a key with a broken modulus', runtimeWith({ n: '' })],
    ['only a signing key', runtimeWith({ use: 'sig' })]
  ])('because its runtime data has %s', async (_case, runtime) => {
    await refused(await tokenFor(environment, {}, runtime), notVerified)
  })
})

describe('a release is refused', () => {
  it('without the role', async () => {
    const body = { target: await tokenFor(environment) }
    const error = await refusal(environment.keyVault, `/keys/k1/release${v}`, { ...asOfficer, body })
    expect([error.status, error.details.innerCode]).toEqual([403, 'ForbiddenByRbac'])
    expect(error.message).toContain("Action: 'Microsoft.KeyVault/vaults/keys/release/action'")
  })

  it('for a key or version that is not there', async () => {
    for (const path of ['/keys/absent/release', `/keys/k1/${'0'.repeat(32)}/release`]) {
      const error = await refusal(environment.keyVault, path + v, { ...asReleaser, body: { target: 'x' } })
      expect([error.status, error.code]).toEqual([404, 'KeyNotFound'])
    }
  })

  it('without a target, and for an unknown wrapping', async () => {
    for (const body of [{}, { target: 'x', enc: 'RSA1_5' }]) {
      const error = await refusal(environment.keyVault, `/keys/k1/release${v}`, { ...asReleaser, body })
      expect([error.status, error.code]).toEqual([400, 'BadParameter'])
    }
  })

  it('for a key that is disabled, expired, not yet valid or not exportable', async () => {
    const seconds = Math.floor(Date.now() / 1000)
    const cases: [string, object][] = [
      ['disabled', exportableKey(undefined, { attributes: { exportable: true, enabled: false } })],
      ['expired', exportableKey(undefined, { attributes: { exportable: true, exp: seconds - 10 } })],
      ['early', exportableKey(undefined, { attributes: { exportable: true, nbf: seconds + 1000 } })],
      ['plain', { kty: 'RSA-HSM' }]
    ]
    const target = await tokenFor(environment)
    for (const [name, body] of cases) {
      await call(environment.keyVault, `/keys/${name}/create${v}`, { ...asOfficer, body })
      const error = await refusal(environment.keyVault, `/keys/${name}/release${v}`, {
        ...asReleaser,
        body: { target }
      })
      expect([error.status, error.code, error.message]).toEqual([
        403,
        'Forbidden',
        expect.stringContaining('not allowed')
      ])
    }
  })
})
