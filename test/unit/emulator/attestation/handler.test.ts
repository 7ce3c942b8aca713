import { readFileSync } from 'node:fs'
import { createHash, X509Certificate } from 'node:crypto'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from '@jest/globals'
import { compactVerify, decodeProtectedHeader } from 'jose'
import { parseSha256Hex, sha256Hex } from '../../../../src/base/digest.js'
import { authorityExtensions, certificatePem, issueCertificate } from '../../../../src/emulator/hardware/certificate.js'
import { makeRsaKeyPair } from '../../../../src/emulator/hardware/key-pair.js'
import { createHardware, type SimulatedHardware } from '../../../../src/emulator/hardware/simulated-hardware.js'
import type { Handler } from '../../../../src/emulator/http.js'
import { attestationHandler } from '../../../../src/emulator/services/attestation/handler.js'
import { memoryStore } from '../hardware/memory-store.js'
import { call, type Loose, refusal } from '../hardware/requests.js'
import { attestBody, type EvidenceParts, evidenceOf, flipped, hostData, runtimeText, unpadded } from './evidence.js'

const issuer = 'https://127.0.0.1:4443'
const path = '/attest/SevSnpVM?api-version=2020-10-01'
const clock = (): Date => new Date()
const store = memoryStore()
let hardware: SimulatedHardware
let foreign: SimulatedHardware
let handler: Handler

beforeAll(async () => {
  ;[hardware, foreign] = await Promise.all([createHardware({ store }), createHardware({ store: memoryStore() })])
  handler = await attestationHandler({ store, name: 'att1', issuer, roots: hardware.trust, clock })
})

async function claimsOf(body: string, maa = handler): Promise<Loose> {
  const { body: answer } = await call(maa, path, { body })
  const { body: certs } = await call(maa, '/certs')
  const key = new X509Certificate(Buffer.from(certs.keys[0].x5c[0], 'base64')).publicKey
  const { payload } = await compactVerify(answer.token, key, { algorithms: ['RS256'] })
  return JSON.parse(new TextDecoder().decode(payload))
}

async function failure(change: Partial<EvidenceParts>, evidence = evidenceOf(hardware)): Promise<string> {
  const error = await refusal(handler, path, { body: attestBody({ ...evidence, ...change }) })
  expect([error.status, error.code]).toEqual([400, 'AttestationFailed'])
  return error.message
}

describe('the attestation provider', () => {
  it('states the report in the claims that a container group has', async () => {
    const claims = await claimsOf(attestBody(evidenceOf(hardware)))
    expect(claims).toMatchObject({
      iss: issuer,
      nonce: '13418423423451234123',
      'x-ms-ver': '1.0',
      'x-ms-attestation-type': 'sevsnpvm',
      'x-ms-compliance-status': 'azure-compliant-uvm',
      'x-ms-runtime': JSON.parse(runtimeText),
      'x-ms-sevsnpvm-hostdata': hostData.toString('hex'),
      'x-ms-sevsnpvm-reportdata': createHash('sha256').update(runtimeText).digest('hex') + '0'.repeat(64),
      'x-ms-sevsnpvm-is-debuggable': false,
      'x-ms-sevsnpvm-migration-allowed': false,
      'x-ms-sevsnpvm-smt-allowed': true,
      'x-ms-sevsnpvm-vmpl': 0,
      'x-ms-sevsnpvm-microcode-svn': 219,
      'x-ms-sevsnpvm-uvm-endorsement-headers': { feed: 'ContainerPlat-AMD-UVM', iss: hardware.uvmIssuer }
    })
    expect(claims.exp - claims.iat).toBe(28800)
    expect(claims.jti).toMatch(/^[0-9a-f]{64}$/)
  })

  it('has exactly the claims of a real token of the shared provider', async () => {
    const claims = await claimsOf(attestBody(evidenceOf(hardware)))
    expect(Object.keys(claims)).toEqual([
      ...['exp', 'iat', 'iss', 'jti', 'nbf', 'nonce', 'x-ms-attestation-type', 'x-ms-compliance-status'],
      ...['x-ms-policy-hash', 'x-ms-runtime', 'x-ms-sevsnpvm-authorkeydigest', 'x-ms-sevsnpvm-bootloader-svn'],
      ...['x-ms-sevsnpvm-familyId', 'x-ms-sevsnpvm-guestsvn', 'x-ms-sevsnpvm-hostdata', 'x-ms-sevsnpvm-idkeydigest'],
      ...['x-ms-sevsnpvm-imageId', 'x-ms-sevsnpvm-is-debuggable', 'x-ms-sevsnpvm-launchmeasurement'],
      ...['x-ms-sevsnpvm-microcode-svn', 'x-ms-sevsnpvm-migration-allowed', 'x-ms-sevsnpvm-reportdata'],
      ...['x-ms-sevsnpvm-reportid', 'x-ms-sevsnpvm-smt-allowed', 'x-ms-sevsnpvm-snpfw-svn', 'x-ms-sevsnpvm-tee-svn'],
      ...['x-ms-sevsnpvm-uvm-endorsement', 'x-ms-sevsnpvm-uvm-endorsement-headers', 'x-ms-sevsnpvm-vmpl', 'x-ms-ver']
    ])
  })

  it('reports debug, migration and VMPL as claims, for the release policy to judge', async () => {
    const evidence = evidenceOf(hardware, { debug: true, migration: true, vmpl: 1 })
    expect(await claimsOf(attestBody(evidence))).toMatchObject({
      'x-ms-sevsnpvm-is-debuggable': true,
      'x-ms-sevsnpvm-migration-allowed': true,
      'x-ms-sevsnpvm-vmpl': 1
    })
  })

  it('names jku, kid and typ in the token header, and publishes x5c, kid and kty only', async () => {
    const { body } = await call(handler, path, { body: attestBody(evidenceOf(hardware)) })
    const { body: certs } = await call(handler, '/certs')
    const { kid } = certs.keys[0]
    expect(Object.keys(certs.keys[0])).toEqual(['x5c', 'kid', 'kty'])
    expect(decodeProtectedHeader(body.token)).toEqual({ alg: 'RS256', jku: `${issuer}/certs`, kid, typ: 'JWT' })
  })

  it('serves OIDC discovery for the issuer', async () => {
    const { body } = await call(handler, '/.well-known/openid-configuration')
    expect(body).toMatchObject({
      issuer,
      jwks_uri: `${issuer}/certs`,
      id_token_signing_alg_values_supported: ['RS256']
    })
  })

  it('keeps its signing key in the store', async () => {
    const again = await attestationHandler({ store, name: 'att1', issuer, roots: hardware.trust, clock })
    expect((await call(again, '/certs')).body).toEqual((await call(handler, '/certs')).body)
  })

  it('takes the path in any case and base64url without padding', async () => {
    const body = attestBody(evidenceOf(hardware), '7', unpadded)
    const answer = await call(handler, '/Attest/sevsnpvm?api-version=2022-08-01', { body })
    expect(answer.status).toBe(200)
  })

  it.each([
    ['a number beyond 2^53', '18446744073709551615', '18446744073709551615'],
    ['a small number', '0', '0'],
    ['a string', '"a \\"nonce\\": 12345678901234567890"', 'a "nonce": 12345678901234567890']
  ])('gives the nonce back as a string: %s', async (_case, nonce, expected) => {
    expect((await claimsOf(attestBody(evidenceOf(hardware), nonce))).nonce).toBe(expected)
  })
})

describe('the attestation provider refuses', () => {
  it.each([
    ['host data changed after signing', 192],
    ['the debug bit cleared after signing', 10],
    ['a changed signature', 672]
  ])('a report with %s', async (_case, offset) => {
    const evidence = evidenceOf(hardware, { debug: true })
    expect(await failure({ report: flipped(evidence.report, offset) }, evidence)).toMatch(
      /report signature is not valid/
    )
  })

  it('a report about other runtime data', async () => {
    expect(await failure({ runtimeData: Buffer.from('{"keys":[]}') })).toMatch(/not about this runtime data/)
  })

  it('a report whose second half of report data is not zero', async () => {
    const good = evidenceOf(hardware)
    const reportData = Uint8Array.from(good.report.subarray(80, 144))
    reportData[63] = 1
    expect(await failure(evidenceOf(hardware, { reportData }))).toMatch(/not about this runtime data/)
  })

  it('hardware with another root', async () => {
    expect(await failure({}, evidenceOf(foreign))).toMatch(/root certificate is not a trusted one/)
  })

  it('a foreign VCEK under the trusted root', async () => {
    const [vcek] = foreign.certificatesPem.split(/(?<=-----END CERTIFICATE-----\n)/)
    const [, ...chain] = hardware.certificatesPem.split(/(?<=-----END CERTIFICATE-----\n)/)
    const evidence = evidenceOf(foreign)
    expect(await failure({ ...evidence, certificatesPem: [vcek, ...chain].join('') })).toMatch(
      /VCEK certificate is not signed/
    )
  })

  it('a foreign ASK under the trusted root', async () => {
    const [vcek, ask] = foreign.certificatesPem.split(/(?<=-----END CERTIFICATE-----\n)/)
    const ark = hardware.certificatesPem.split(/(?<=-----END CERTIFICATE-----\n)/)[2]
    expect(await failure({ certificatesPem: `${vcek}${ask}${ark}` })).toMatch(/ASK certificate is not signed/)
  })

  it('a chain without its root', async () => {
    const [vcek, ask] = hardware.certificatesPem.split(/(?<=-----END CERTIFICATE-----\n)/)
    expect(await failure({ certificatesPem: `${vcek}${ask}` })).toMatch(/2 certificates instead of/)
  })

  it.each([
    ['rsa-sha384', /the ARK certificate is not signed/],
    // With the right algorithm the same root passes, and what it did not sign is what fails.
    ['rsa-pss-sha384', /the ASK certificate is not signed/]
  ] as const)('a trusted root that is signed with %s, by its algorithm', async (algorithm, message) => {
    const { publicKey, privateKey } = await makeRsaKeyPair(2048)
    const subject = [['CN', 'ARK-Milan']] as const
    const validity = { notBefore: new Date(Date.now() - 86_400_000), notAfter: new Date(Date.now() + 86_400_000) }
    const extensions = authorityExtensions(publicKey)
    const ark = issueCertificate(
      { subject, issuer: subject, ...validity, publicKey, extensions },
      privateKey,
      algorithm
    )
    const roots = { ...hardware.trust, arkSha256: [sha256Hex(ark)] }
    const maa = await attestationHandler({ store, name: 'otherroot', issuer, roots, clock })
    const [vcek, ask] = hardware.certificatesPem.split(/(?<=-----END CERTIFICATE-----\n)/)
    const certificatesPem = `${vcek}${ask}${certificatePem(ark)}`
    const error = await refusal(maa, path, { body: attestBody({ ...evidenceOf(hardware), certificatesPem }) })
    expect(error.message).toMatch(message)
  })

  it('certificates after their end', async () => {
    const late = (): Date => new Date(Date.now() + 30 * 365 * 86_400_000)
    const maa = await attestationHandler({ store, name: 'late', issuer, roots: hardware.trust, clock: late })
    const error = await refusal(maa, path, { body: attestBody(evidenceOf(hardware)) })
    expect(error.message).toMatch(/ARK certificate is not valid at this time/)
  })

  it('a report at another TCB than the VCEK was made for', async () => {
    const reportedTcb = { bootloader: 4, tee: 0, snp: 24, microcode: 218 }
    expect(await failure({}, evidenceOf(hardware, { reportedTcb }))).toMatch(/another TCB/)
  })

  it('a report from another chip', async () => {
    const store = memoryStore()
    const record = memoryStoreRecord()
    await store.collection('hardware').set('platform', { ...record, chipId: 'ab'.repeat(64) })
    expect(await failure({}, evidenceOf(await createHardware({ store })))).toMatch(/another chip/)
  })

  it('a UVM endorsement with a changed signature', async () => {
    const end = hardware.uvmEndorsements.length - 1
    expect(await failure({ uvmEndorsement: flipped(hardware.uvmEndorsements, end) })).toMatch(/signature is not valid/)
  })

  it('a UVM endorsement with a changed payload', async () => {
    const offset = Buffer.from(hardware.uvmEndorsements).indexOf('"101"') + 1
    expect(await failure({ uvmEndorsement: flipped(hardware.uvmEndorsements, offset) })).toMatch(
      /signature is not valid/
    )
  })

  it('a UVM endorsement by an issuer that is not trusted', async () => {
    expect(await failure({ uvmEndorsement: foreign.uvmEndorsements })).toMatch(/issuer that is not trusted/)
  })

  it('a UVM endorsement for another measurement', async () => {
    const evidence = evidenceOf(hardware, { measurement: new Uint8Array(48).fill(1) })
    expect(await failure({}, evidence)).toMatch(/another launch measurement/)
  })

  it('a UVM endorsement that is not COSE', async () => {
    expect(await failure({ uvmEndorsement: Buffer.from('{}') })).toMatch(/not CBOR|not a COSE_Sign1/)
  })

  it.each([
    ['a report of another length', (bytes: Uint8Array) => bytes.subarray(1), /1183 bytes/],
    ['a report of version 1', (bytes: Uint8Array) => Uint8Array.of(1, ...bytes.subarray(1)), /version 1/],
    ['a report signed with a VLEK', (bytes: Uint8Array) => withByte(bytes, 72, 4), /not signed with a VCEK/],
    ['a report that hides its chip', (bytes: Uint8Array) => withByte(bytes, 72, 2), /hides its chip/],
    ['a report of another processor', (bytes: Uint8Array) => withByte(bytes, 392, 0x1a), /family 1ah/],
    ['a report with another algorithm', (bytes: Uint8Array) => withByte(bytes, 52, 2), /ECDSA P-384/],
    [
      'a report without the policy bit that is always one',
      (bytes: Uint8Array) => withByte(bytes, 10, (bytes[10] ?? 0) & ~2),
      /lacks the bit/
    ],
    ['a report of another product than the VCEK', (bytes: Uint8Array) => withByte(bytes, 393, 0x11), /another product/],
    ['a report with bytes after s', (bytes: Uint8Array) => withByte(bytes, 900, 1), /bytes after its signature/]
  ])('%s', async (_case, change, message) => {
    expect(await failure({ report: change(evidenceOf(hardware).report) })).toMatch(message)
  })
})

describe('the attestation provider answers InvalidParameter to', () => {
  const good = (): Loose => JSON.parse(attestBody(evidenceOf(hardware), '1'))
  const report = (): Loose => JSON.parse(Buffer.from(good().report, 'base64url').toString())
  const withReport = (change: object): object => ({
    ...good(),
    report: unpadded(JSON.stringify({ ...report(), ...change }))
  })

  it.each([
    ['a body that is not JSON', () => 'xx'],
    ['a body without report', () => ({ ...good(), report: undefined })],
    ['a report that is not base64url', () => ({ ...good(), report: '***' })],
    ['evidence without endorsements', () => withReport({ Endorsements: undefined })],
    ['two UVM endorsements', () => withReport({ Endorsements: unpadded('{"Uvm":["AA","AA"]}') })],
    ['runtime data that is not JSON', () => ({ ...good(), runtimeData: { data: 'aGVsbG8', dataType: 'JSON' } })],
    ['runtime data of an unknown type', () => ({ ...good(), runtimeData: { data: 'e30', dataType: 'Text' } })],
    ['a fractional nonce', () => ({ ...good(), nonce: 1.5 })],
    ['a negative nonce', () => ({ ...good(), nonce: -1 })]
  ])('%s', async (_case, body) => {
    const error = await refusal(handler, path, { body: body() })
    expect([error.status, error.code]).toEqual([400, 'InvalidParameter'])
  })

  it.each(['/attest/SevSnpVm', '/attest/SevSnpVm?api-version=1999-01-01'])(
    'an api-version it does not know: %s',
    async (target) => {
      const error = await refusal(handler, target, { body: attestBody(evidenceOf(hardware)) })
      expect([error.status, error.code]).toEqual([400, 'InvalidParameter'])
    }
  )

  it('nothing that it lacks: that is 501 by name', async () => {
    expect((await refusal(handler, '/policies/SevSnpVm')).message).toBe('not implemented: GET /policies/SevSnpVm')
    const body = { ...good(), runtimeData: { data: 'e30', dataType: 'Binary' } }
    expect((await refusal(handler, path, { body })).status).toBe(501)
  })
})

describe('evidence captured on Azure (Milan, report version 2)', () => {
  const vector = (name: string): Buffer => readFileSync(join('test/vectors/skr-emulator/azure-milan-v2', name))
  const thim = JSON.parse(vector('thim.json').toString())
  const evidence = {
    report: vector('report.bin'),
    certificatesPem: thim.vcekCert + thim.certificateChain,
    uvmEndorsement: vector('uvm-endorsement.cose'),
    runtimeData: vector('runtime-data.json')
  }
  const arkMilan = parseSha256Hex('69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd', 'ARK')
  const microsoft = 'did:x509:0:sha256:I__iuL25oXEVFdTP_aBLx_eT1RPHbCQ_ECBQfYZpt9s::eku:1.3.6.1.4.1.311.76.59.1.2'
  const provider = (roots = { arkSha256: [arkMilan], uvmIssuers: [microsoft] }): Promise<Handler> =>
    attestationHandler({ store, name: 'real', issuer, roots, clock: () => new Date('2024-06-01') })

  it('passes every check with the roots of AMD and Microsoft', async () => {
    expect(await claimsOf(attestBody(evidence), await provider())).toMatchObject({
      'x-ms-runtime': { akey: 'avalue' },
      'x-ms-sevsnpvm-hostdata': evidence.report.subarray(192, 224).toString('hex'),
      'x-ms-sevsnpvm-microcode-svn': 115,
      'x-ms-sevsnpvm-uvm-endorsement': { 'x-ms-sevsnpvm-guestsvn': '22' },
      'x-ms-sevsnpvm-uvm-endorsement-headers': { feed: 'ContainerPlat-AMD-UVM', iss: microsoft }
    })
  })

  it('is refused by a provider that trusts the simulated root only', async () => {
    const maa = await provider({ arkSha256: [hardware.arkSha256], uvmIssuers: [microsoft] })
    expect((await refusal(maa, path, { body: attestBody(evidence) })).message).toMatch(/root certificate/)
  })

  it('is refused with one bit changed', async () => {
    const body = attestBody({ ...evidence, report: flipped(evidence.report, 200) })
    expect((await refusal(await provider(), path, { body })).message).toMatch(/report signature/)
  })
})

function withByte(bytes: Uint8Array, offset: number, value: number): Uint8Array {
  const copy = Uint8Array.from(bytes)
  copy[offset] = value
  return copy
}

function memoryStoreRecord(): object {
  return store.collection<object>('hardware').get('platform')!
}
