import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { beforeAll, describe, expect, it } from '@jest/globals'
import { CompactSign, decodeJwt, decodeProtectedHeader, type CompactJWSHeaderParameters } from 'jose'
import {
  authorityExtensions,
  certificatePem,
  endEntityExtensions,
  issueCertificate,
  subjectAlternativeName
} from '../../../../src/emulator/hardware/certificate.js'
import { makeEcKeyPair, makeRsaKeyPair } from '../../../../src/emulator/hardware/key-pair.js'
import { openReleaseSigner, releaseRootPem } from '../../../../src/emulator/services/keyvault/release-signer.js'
import { wrapKey } from '../../../../src/emulator/services/keyvault/key-wrap.js'
import { openReleaseResponse, type ReleaseTrust } from '../../../../src/emulator/sidecar/release-response.js'
import { memoryStore } from '../hardware/memory-store.js'
import type { Loose } from '../hardware/requests.js'
import { vault } from '../keyvault/vault-harness.js'

const store = memoryStore()
const wrapping = generateKeyPairSync('rsa', { modulusLength: 2048 })
const secret = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
let trust: ReleaseTrust
let good: string

beforeAll(async () => {
  trust = { host: '127.0.0.1', roots: await releaseRootPem(store, new Date()), now: new Date() }
  good = await responseOf(payloadOf())
})

function payloadOf(change: object = {}, ciphertext = wrapped(), enc = 'CKM_RSA_AES_KEY_WRAP'): object {
  const keyHsm = Buffer.from(JSON.stringify({ ciphertext: Buffer.from(ciphertext).toString('base64url') }))
  const key = { kty: 'RSA-HSM', key_ops: ['unwrapKey'], key_hsm: keyHsm.toString('base64url'), ...change }
  return { request: { enc }, response: { key: { key } } }
}

function wrapped(enc = 'CKM_RSA_AES_KEY_WRAP', data?: Uint8Array): Uint8Array {
  return wrapKey(data ?? secret.export({ format: 'der', type: 'pkcs8' }), wrapping.publicKey, enc)
}

async function responseOf(payload: object, at = store, vaultUri = vault.vaultUri): Promise<string> {
  return (await openReleaseSigner(at, { ...vault, vaultUri }, new Date())).sign(payload)
}

const open = (jws: string, change: Partial<ReleaseTrust> = {}): Loose =>
  openReleaseResponse(jws, wrapping.privateKey, { ...trust, ...change })

let ownRoot: Uint8Array

function ownTrust(): Partial<ReleaseTrust> {
  return { roots: certificatePem(ownRoot) }
}

/** A good response under a chain made here; days until the root ends, and what the leaf is for. */
async function ownChain({ rootEnds = 1, usages = ['1.3.6.1.5.5.7.3.1'] }): Promise<string> {
  const day = 86_400_000
  const [root, leaf] = await Promise.all([makeEcKeyPair('P-256'), makeRsaKeyPair(2048)])
  const validity = (days: number) => ({
    notBefore: new Date(Date.now() - 9 * day),
    notAfter: new Date(Date.now() + days * day)
  })
  const issuer = [['CN', 'root']] as const
  const { publicKey } = root
  ownRoot = issueCertificate(
    { subject: issuer, issuer, ...validity(rootEnds), publicKey, extensions: authorityExtensions(publicKey) },
    root.privateKey,
    'ecdsa-sha256'
  )
  const extensions = [...endEntityExtensions(publicKey, usages), subjectAlternativeName(['127.0.0.1'])]
  const certificate = issueCertificate(
    { subject: [['CN', 'leaf']], issuer, ...validity(1), publicKey: leaf.publicKey, extensions },
    root.privateKey,
    'ecdsa-sha256'
  )
  const x5c = [certificate, ownRoot].map((der) => Buffer.from(der).toString('base64'))
  return new CompactSign(Buffer.from(JSON.stringify(payloadOf())))
    .setProtectedHeader({ alg: 'RS256', x5c })
    .sign(leaf.privateKey)
}

describe('a release response', () => {
  it('opens to the key that was wrapped', () => {
    const { n, d } = secret.export({ format: 'jwk' })
    expect(open(good)).toMatchObject({ kty: 'RSA', n, d, key_ops: ['unwrapKey'] })
  })

  it.each(['RSA_AES_KEY_WRAP_256', 'RSA_AES_KEY_WRAP_384'])('may be wrapped with %s', async (enc) => {
    expect(open(await responseOf(payloadOf({}, wrapped(enc), enc))).kty).toBe('RSA')
  })

  it('may hold a symmetric key', async () => {
    const bytes = randomBytes(32)
    const jws = await responseOf(payloadOf({ kty: 'oct-HSM' }, wrapped(undefined, bytes)))
    expect(open(jws)).toEqual({ k: bytes.toString('base64url'), key_ops: ['unwrapKey'], kty: 'oct' })
  })
})

describe('a release response is refused', () => {
  it('with a swapped payload', async () => {
    const other = await responseOf(payloadOf({ kty: 'oct' }))
    const [header, , signature] = good.split('.')
    expect(() => open([header, other.split('.')[1], signature].join('.'))).toThrow(/verification error/)
  })

  it('when another key than the leaf signed it', async () => {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
    const forged = await new CompactSign(Buffer.from(JSON.stringify(decodeJwt(good))))
      .setProtectedHeader(decodeProtectedHeader(good) as CompactJWSHeaderParameters)
      .sign(privateKey)
    expect(() => open(forged)).toThrow(/verification error/)
  })

  it('under another root', async () => {
    const foreign = await responseOf(payloadOf(), memoryStore())
    expect(() => open(foreign)).toThrow(/certificate signed by unknown authority/)
  })

  it('for another host', async () => {
    const elsewhere = await responseOf(payloadOf(), store, 'https://kv2.vault.azure.net/')
    expect(() => open(elsewhere)).toThrow(/not valid for 127\.0\.0\.1/)
    expect(open(elsewhere, { host: 'kv2.vault.azure.net' }).kty).toBe('RSA')
  })

  it('under a leaf that is not for servers, and under a root that has ended', async () => {
    expect(open(await ownChain({}), ownTrust()).kty).toBe('RSA')
    expect(open.bind(undefined, await ownChain({ usages: [] }), ownTrust())).toThrow(/incompatible key usage/)
    const clients = ['1.3.6.1.5.5.7.3.2']
    expect(open.bind(undefined, await ownChain({ usages: clients }), ownTrust())).toThrow(/incompatible key usage/)
    expect(open.bind(undefined, await ownChain({ rootEnds: -1 }), ownTrust())).toThrow(/expired/)
  })

  it('after the end of its certificates', () => {
    expect(() => open(good, { now: new Date(Date.now() + 20 * 365 * 86_400_000) })).toThrow(/expired/)
  })

  it('without the intermediate', async () => {
    const header = decodeProtectedHeader(good) as Loose
    const cut = { ...header, x5c: [header.x5c[0], header.x5c[2]] }
    const jws = [Buffer.from(JSON.stringify(cut)).toString('base64url'), ...good.split('.').slice(1)].join('.')
    // The header is signed too, so the signature is what fails first.
    expect(() => open(jws)).toThrow(/verification error/)
  })

  it.each([
    ['without a chain', { x5c: undefined }, /chain of the JWS/],
    ['with junk in its chain', { x5c: ['AAAA'] }, /chain of the JWS/],
    ['with an algorithm that is none', { alg: 'none' }, /unsupported signature algorithm/],
    ['with a symmetric algorithm', { alg: 'HS256' }, /unsupported signature algorithm/]
  ])('%s', (_case, change, message) => {
    const header = Buffer.from(JSON.stringify({ ...decodeProtectedHeader(good), ...change })).toString('base64url')
    expect(() => open([header, ...good.split('.').slice(1)].join('.'))).toThrow(message)
  })

  it('when it is wrapped to another key', async () => {
    const other = generateKeyPairSync('rsa', { modulusLength: 2048 })
    expect(() => openReleaseResponse(good, other.privateKey, trust)).toThrow(/failed to unwrap/)
  })

  it('when the wrapped key was changed', async () => {
    const ciphertext = wrapped()
    ciphertext[300] = (ciphertext[300] ?? 0) ^ 1
    const jws = await responseOf(payloadOf({}, ciphertext))
    expect(() => open(jws)).toThrow(/failed to unwrap/)
  })

  it('as a fault of the program when the ciphertext is cut short, as in the real one', async () => {
    const jws = await responseOf(payloadOf({}, wrapped().subarray(0, 200)))
    expect(() => open(jws)).toThrow(RangeError)
  })

  it.each([
    ['of an unknown type', { kty: 'OKP' }, /type OKP not supported/],
    ['whose bytes are of another type', { kty: 'EC' }, /cannot be parsed/],
    ['that is missing', { key_hsm: undefined }, /no key_hsm/]
  ])('with a key %s', async (_case, change, message) => {
    const jws = await responseOf(payloadOf(change))
    expect(() => open(jws)).toThrow(message)
  })

  it('with an unknown wrapping', async () => {
    const jws = await responseOf(payloadOf({}, undefined, 'RSA1_5'))
    expect(() => open(jws)).toThrow(/unsupported key wrap algorithm/)
  })

  it.each(['', 'a.b', 'a.b.c.d', '!.!.!'])('when it is no JWS: %j', (jws) => {
    expect(() => open(jws)).toThrow(/JWS/)
  })
})
