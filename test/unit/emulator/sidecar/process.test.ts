import { createHash, createPrivateKey, createPublicKey } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { decodeJwt } from 'jose'
import { Agent, fetch as tlsFetch } from 'undici'
import { sha256Hex } from '../../../../src/base/digest.js'
import { type Loose } from '../hardware/requests.js'
import { encodePolicy, policyFor } from '../keyvault/vault-harness.js'
import { ask, askJson, ccePolicy, TestGroup } from './group.js'

let group: TestGroup
let sidecar: string
let dispatcher: Agent

beforeAll(async () => {
  group = await TestGroup.start()
  dispatcher = new Agent({ connect: { ca: group.tls.ca } })
  sidecar = await group.spawnSidecar(group.environment(await group.writeContext()))
  await createKey('default', ccePolicy)
  await createKey('other', 'another policy')
})

afterAll(async () => {
  await dispatcher.close()
  await group.close()
})

beforeEach(() => {
  group.reportChange = {}
})

/** Makes a key in the vault, through its own API, that groups with this CCE policy may have. */
async function createKey(name: string, policy: string, change: object = {}): Promise<Loose> {
  const release = policyFor({ 'x-ms-sevsnpvm-hostdata': sha256Hex(policy) }, `https://${group.attestation}`)
  const { answer } = await vaultCall('POST', `/keys/${name}/create`, {
    kty: 'RSA-HSM',
    attributes: { exportable: true },
    release_policy: { data: encodePolicy(release) },
    ...change
  })
  return answer
}

async function vaultCall(method: string, path: string, body?: object): Promise<{ status: number; answer: Loose }> {
  const response = await tlsFetch(`https://${group.keyVault}${path}?api-version=7.4`, {
    method,
    headers: { authorization: 'Bearer officer' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    dispatcher
  })
  return { status: response.status, answer: await response.json() }
}

function releaseBody(change: object = {}): object {
  return { maa_endpoint: group.attestation, akv_endpoint: group.keyVault, kid: 'default', ...change }
}

async function refusedRelease(change: object = {}): Promise<string> {
  const { status, text } = await ask(sidecar, '/key/release', releaseBody(change))
  expect(status).toBe(403)
  return (JSON.parse(text) as { error: string }).error
}

describe('the sidecar process', () => {
  it('releases the key that the policy of the group opens, as a JWK encoded twice', async () => {
    const { key } = await askJson(sidecar, '/key/release', releaseBody())
    const jwk = JSON.parse(key)
    const { answer } = await vaultCall('GET', '/keys/default')
    expect(Object.keys(jwk)).toEqual(['d', 'dp', 'dq', 'e', 'key_ops', 'kty', 'n', 'p', 'q', 'qi'])
    expect([jwk.kty, jwk.e, jwk.n]).toEqual(['RSA', 'AQAB', answer.key.n])
    expect(createPublicKey(createPrivateKey({ key: jwk, format: 'jwk' })).asymmetricKeyDetails?.modulusLength).toBe(
      2048
    )
  })

  it('releases a version, an EC key, and with a token of the caller', async () => {
    const made = await createKey('ec', ccePolicy, { kty: 'EC-HSM', crv: 'P-256' })
    const kid = made.key.kid.split('/keys/')[1]
    const { key } = await askJson(sidecar, '/key/release', releaseBody({ kid, access_token: 'releaser' }))
    const jwk = JSON.parse(key)
    expect(Object.keys(jwk)).toEqual(['crv', 'd', 'key_ops', 'kty', 'x', 'y'])
    expect([jwk.x, jwk.y]).toEqual([made.key.x, made.key.y])
  })

  it('gives tokens over the exact bytes of the runtime data', async () => {
    const runtime = '{ "confrouter": {"v": 1} }'
    const { token } = await askJson(sidecar, '/attest/maa', {
      maa_endpoint: group.attestation,
      runtime_data: Buffer.from(runtime).toString('base64')
    })
    const claims = decodeJwt<Loose>(token)
    expect(claims['x-ms-runtime']).toEqual({ confrouter: { v: 1 } })
    expect(claims['x-ms-sevsnpvm-hostdata']).toBe(sha256Hex(ccePolicy))
    expect(claims['x-ms-sevsnpvm-reportdata']).toBe(sha256Hex(runtime) + '0'.repeat(64))
    expect(claims.nonce).toMatch(/^\d{1,20}$/)
  })

  it('gives raw and combined evidence', async () => {
    const body = { runtime_data: Buffer.from('any bytes').toString('base64') }
    const { report } = await askJson(sidecar, '/attest/raw', body)
    const combined = await askJson(sidecar, '/attest/combined', body)
    const digest = createHash('sha256').update('any bytes').digest('hex')
    expect(report).toHaveLength(2368)
    expect(report.slice(160, 288)).toBe(digest + '0'.repeat(64))
    expect(Buffer.from(combined.evidence, 'base64').subarray(80, 112).toString('hex')).toBe(digest)
    expect(Buffer.from(combined.endorsements, 'base64').toString()).toBe(group.hardware.certificatesPem)
    expect(Buffer.from(combined.uvm_endorsements, 'base64')).toEqual(Buffer.from(group.hardware.uvmEndorsements))
    expect(combined.endorsed_tcb).toBe('db18000000000004')
  })

  it.each([
    ['hostData', { hostData: new Uint8Array(32) }],
    ['debug', { debug: true }],
    ['vmpl', { vmpl: 1 }]
  ])('is refused the key when the report has another %s', async (_field, change) => {
    group.reportChange = change
    expect(await refusedRelease()).toMatch(/does not meet key release policy requirements.*403 Forbidden$/)
  })

  it('is refused the key of another policy, with the answer of the vault at the end of the text', async () => {
    expect(await refusedRelease({ kid: 'other' })).toMatch(
      /^secure key release failed\nERROR: [^]*: releasing the key other failed: pulling AKV response body failed: \{"error":\{"code":"Forbidden"[^]*: http response status equal to 403 Forbidden$/
    )
  })

  it('is refused without the role', async () => {
    expect(await refusedRelease({ access_token: 'officer' })).toMatch(/ForbiddenByRbac/)
  })

  it('is refused when the platform reports a measurement that nobody endorsed', async () => {
    group.reportChange = { measurement: new Uint8Array(48) }
    expect(await refusedRelease()).toMatch(
      /attestation failed: Retrieving MAA token from MAA endpoint failed: .*another launch measurement.*400 Bad Request$/s
    )
  })

  it('says that nothing is there as the real one does', async () => {
    group.reportChange = {}
    expect(await refusedRelease({ akv_endpoint: '127.0.0.1:1' })).toMatch(
      /AKV post request failed: HTTP GET failed: Post "https:\/\/127\.0\.0\.1:1\/keys\/default\/release\?api-version=7\.4": dial tcp 127\.0\.0\.1:1: connect: connection refused$/
    )
  })

  it('takes several calls at once', async () => {
    const answers = await Promise.all([1, 2, 3].map(() => askJson(sidecar, '/key/release', releaseBody())))
    expect(new Set(answers.map(({ key }) => key as string)).size).toBe(1)
  })

  it('trusts no TLS certificate but those of its root', async () => {
    const other = await TestGroup.start()
    try {
      expect(await refusedRelease({ maa_endpoint: other.attestation })).toMatch(/failed to verify certificate/)
    } finally {
      await other.close()
    }
  })

  it('needs its security context to start', async () => {
    await expect(group.spawnSidecar({ Port: '0' })).rejects.toThrow(
      /ended with 1:.*UVM_SECURITY_CONTEXT_DIR is not set/
    )
  })
})
