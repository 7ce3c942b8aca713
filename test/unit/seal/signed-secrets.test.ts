import { createHmac, generateKeyPairSync, sign } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from '@jest/globals'
import { ecThumbprint, isThumbprint, parseEcPublicJwk } from '../../../src/seal/ec-key.js'
import { openSignedSecrets } from '../../../src/seal/node/secrets.js'
import { recipientOf, sealSecrets } from '../../../src/seal/secrets.js'
import { readSignedSecrets, signSecrets } from '../../../src/seal/signed-secrets.js'
import { expectedOfTests, signedSecrets, testSigner } from './signed-bundle.js'
import { testKey, vectorKey } from './test-keys.js'

const values = { openai: 'sk-test-1', fal: 'id:secret' }
const expected = expectedOfTests

const codeOf = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => 'no error',
    (error: Error) => {
      expect(String(error)).not.toContain('sk-')
      return Reflect.get(error, 'code')
    }
  )

const b64 = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')

const good = async () => signedSecrets({ values, version: 7, recipient: (await vectorKey()).publicJwk })

const read = (part: string | undefined): Record<string, unknown> =>
  JSON.parse(Buffer.from(part ?? '', 'base64url').toString())

/** Signs whatever it is given, with the right key. */
async function resigned(
  change: { header?: (header: Record<string, unknown>) => unknown; payload?: (payload: never) => unknown },
  text?: string
) {
  const [header, payload] = (text ?? (await good())).split('.')
  const signed = [
    b64(change.header?.(read(header)) ?? read(header)),
    b64(change.payload?.(read(payload) as never) ?? read(payload))
  ].join('.')
  const signature = sign('sha256', Buffer.from(signed), { key: testSigner().privateKey, dsaEncoding: 'ieee-p1363' })
  return `${signed}.${signature.toString('base64url')}`
}

describe('signed secrets', () => {
  it('are opened by the router that they are for, under the version of the bundle', async () => {
    const key = await vectorKey()
    expect(await openSignedSecrets(await good(), key, expected)).toEqual({ version: 7, values })
  })

  it('say names and versions in the open, in order, and no value', async () => {
    const text = await good()
    const bundle = await readSignedSecrets(text, expected)
    expect(bundle).toMatchObject({
      deployment: 'router-test',
      version: 7,
      secrets: [
        { name: 'fal', version: 7 },
        { name: 'openai', version: 7 }
      ]
    })
    expect(bundle.secrets.map(({ jwe }) => recipientOf(jwe))).toEqual(Array(2).fill((await vectorKey()).kid))
    const [header, payload] = text.split('.')
    expect(read(header)).toEqual({
      alg: 'ES256',
      typ: 'confrouter-signed-secrets',
      jwk: { ...testSigner().publicKey }
    })
    expect(JSON.stringify(read(payload))).not.toMatch(/sk-test|id:secret/)
  })

  it('may have nothing in them, and values of different age', async () => {
    const key = await vectorKey()
    const none = await signSecrets({ deployment: 'router-test', version: 1, secrets: [] }, testSigner())
    expect(await openSignedSecrets(none, key, expected)).toEqual({ version: 1, values: {} })
    const secrets = await Promise.all(
      Object.entries(values).map(async ([name, value], index) => ({
        name,
        version: index + 1,
        jwe: await sealSecrets({ values: { [name]: value }, version: index + 1, recipient: key.publicJwk })
      }))
    )
    const text = await signSecrets({ deployment: 'router-test', version: 9, secrets }, testSigner())
    expect(await openSignedSecrets(text, key, expected)).toEqual({ version: 9, values })
  })

  it('are refused when nobody signed them', async () => {
    const { publicJwk } = await vectorKey()
    const [header, payload] = (await good()).split('.')
    const withHeader = (change: object, signature: string) =>
      `${b64({ ...read(header), ...change })}.${payload}.${signature}`
    const none = withHeader({ alg: 'none' }, '')
    const mac = withHeader({ alg: 'HS256' }, '').slice(0, -1)
    const texts = [
      await sealSecrets({ values, version: 1, recipient: publicJwk }),
      none,
      withHeader({ alg: 'none' }, 'AA'),
      `${mac}.${createHmac('sha256', JSON.stringify(testSigner().publicKey)).update(mac).digest('base64url')}`,
      withHeader({ typ: 'confrouter-receipt' }, 'AA'),
      'x.y.z',
      '',
      'x'.repeat(200_000)
    ]
    for (const text of texts) expect(await codeOf(readSignedSecrets(text, expected))).toBe('unsigned_secrets')
  })

  it('are refused when another key signed them, even one that is in them', async () => {
    const { publicJwk } = await vectorKey()
    const foreign = await signedSecrets({ values, version: 8, recipient: publicJwk, signer: testSigner('mallory') })
    expect(await codeOf(readSignedSecrets(foreign, expected))).toBe('foreign_signer')
    // The right key in the header, and a signature by another.
    const [, payload, signature] = foreign.split('.')
    const [header] = (await good()).split('.')
    expect(await codeOf(readSignedSecrets([header, payload, signature].join('.'), expected))).toBe('bad_signature')
  })

  it('are refused when they were made for another deployment', async () => {
    const { publicJwk } = await vectorKey()
    const other = await signedSecrets({ values, version: 8, recipient: publicJwk, deployment: 'staging' })
    const error = await readSignedSecrets(other, expected).catch((cause: Error) => cause)
    expect(error).toMatchObject({
      code: 'other_deployment',
      message: 'the sealed secrets are for the deployment "staging", and this one is "router-test"'
    })
  })

  it('are refused when a byte of payload or signature was changed', async () => {
    const [header, payload = '', signature = ''] = (await good()).split('.')
    const altered = b64({ ...read(payload), version: 8 })
    const other = `${signature.startsWith('A') ? 'B' : 'A'}${signature.slice(1)}`
    for (const text of [
      [header, altered, signature],
      [header, payload, other],
      [header, payload, signature.slice(0, -4)],
      [header, payload, `${signature}AAAA`]
    ]) {
      expect(await codeOf(readSignedSecrets(text.join('.'), expected))).toBe('bad_signature')
    }
  })

  it.each<[string, Parameters<typeof resigned>[0]]>([
    ['a header parameter that it does not know', { header: (header) => ({ ...header, crit: ['b64'], b64: false }) }],
    ['a private key in the header', { header: (h) => ({ ...h, jwk: { ...(h['jwk'] as object), d: 'AA' } }) }],
    ['a key that is none', { header: (header) => ({ ...header, jwk: { kty: 'oct', k: 'AA' } }) }],
    ['a member that it does not know', { payload: (payload: object) => ({ ...payload, more: 1 }) }],
    ['another format', { payload: (payload: object) => ({ ...payload, v: 2 }) }],
    ['a version of 0', { payload: (payload: object) => ({ ...payload, version: 0 }) }],
    ['a deployment that is no name', { payload: (payload: object) => ({ ...payload, deployment: '../x' }) }],
    ['secrets that are no list', { payload: (payload: object) => ({ ...payload, secrets: {} }) }],
    [
      'names in another order',
      { payload: (payload: { secrets: unknown[] }) => ({ ...payload, secrets: payload.secrets.toReversed() }) }
    ],
    ['a name twice', { payload: (p: { secrets: unknown[] }) => ({ ...p, secrets: [p.secrets[0], ...p.secrets] }) }],
    ['a value that is newer than the bundle', { payload: (payload: object) => ({ ...payload, version: 6 }) }]
  ])('are refused with %s', async (_, change) => {
    expect(await codeOf(readSignedSecrets(await resigned(change), expected))).toBe('invalid_secrets')
  })

  it('are refused when what is sealed is not what was signed for', async () => {
    const key = await vectorKey()
    type Payload = { secrets: { name: string; version: number; jwe: string }[] }
    const swapped = await resigned({
      payload: ({ secrets: [a, b], ...rest }: Payload) => ({
        ...rest,
        secrets: [
          { ...a, jwe: b?.jwe },
          { ...b, jwe: a?.jwe }
        ]
      })
    })
    const older = await resigned({
      payload: ({ secrets: [a, ...others], ...rest }: Payload) => ({
        ...rest,
        secrets: [{ ...a, version: 3 }, ...others]
      })
    })
    for (const text of [swapped, older]) {
      expect(await codeOf(openSignedSecrets(text, key, expected))).toBe('invalid_secrets')
    }
  })

  it('are refused when they were sealed to another key', async () => {
    const other = await testKey(generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey)
    const text = await signedSecrets({ values, version: 1, recipient: other.publicJwk })
    expect(await codeOf(openSignedSecrets(text, await vectorKey(), expected))).toBe('bad_encrypted_payload')
  })

  it('are not given out when the signer signed something else', async () => {
    const signer = testSigner()
    const wrong = { ...signer, sign: (data: Uint8Array) => signer.sign(data.subarray(1)) }
    const bundle = { deployment: 'router-test', version: 1, secrets: [] }
    expect(await codeOf(signSecrets(bundle, wrong))).toBe('bad_signature')
    const other = { ...signer, publicKey: testSigner('another').publicKey }
    expect(await codeOf(signSecrets(bundle, other))).toBe('bad_signature')
  })

  it('are as in the vector', async () => {
    const text = readFileSync(join(import.meta.dirname, '../../vectors/seal/signed-secrets.jws'), 'utf8').trim()
    const secrets = await openSignedSecrets(text, await vectorKey(), { ...expected, deployment: 'confrouter' })
    expect(secrets).toEqual({ version: 7, values: { fal: 'id:secret-test', openai: 'sk-test' } })
  })
})

describe('an EC key', () => {
  it('has the thumbprint of RFC 7638 over its required members alone', async () => {
    const { publicKey } = testSigner()
    expect(await ecThumbprint(parseEcPublicJwk({ ...publicKey, kid: 'x', key_ops: ['sign'] }, 'k'))).toBe(
      expected.signer
    )
    expect(isThumbprint(expected.signer)).toBe(true)
    for (const text of ['', 'A'.repeat(42), `${'A'.repeat(42)}B`, `${'A'.repeat(42)}=`])
      expect(isThumbprint(text)).toBe(false)
  })

  it.each([
    ['another curve', { crv: 'P-384' }],
    ['another type', { kty: 'RSA' }],
    ['a short coordinate', { x: 'AAAA' }],
    ['a coordinate that is no base64url', { y: `${'A'.repeat(42)}B` }],
    ['no coordinate', { y: undefined }],
    ['a private half', { d: 'AA' }]
  ])('is refused with %s', (_, change) => {
    expect(() => parseEcPublicJwk({ ...testSigner().publicKey, ...change }, 'the key')).toThrow(/^the key /)
  })
})
