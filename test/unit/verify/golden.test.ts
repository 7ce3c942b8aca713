import { describe, expect, it } from '@jest/globals'
import { amdArkSha256 } from '../../../src/verify/amd-roots.js'
import { isSignedBy, parsePemCertificates } from '../../../src/verify/certificate.js'
import { type Claim, claims } from '../../../src/verify/check.js'
import { parseEvidence } from '../../../src/verify/evidence.js'
import { parseMaaToken } from '../../../src/verify/maa-token.js'
import { parseReport } from '../../../src/verify/snp-report.js'
import { azureUvmIssuer, defaultMinimumTcb } from '../../../src/verify/strict-trust-policy.js'
import { decodeTcb, formatTcb } from '../../../src/verify/tcb.js'
import { readTrustPolicy } from '../../../src/verify/trust-policy.js'
import { readPatchLevel } from '../../../src/verify/vcek.js'
import { verifyEvidence } from '../../../src/verify/verify-evidence.js'
import { appraise, createWorld, mismatches, mismatchOf, put } from './forge.js'
import { evidenceOf, hardwareOnly, milanV2, type Parts, text, version3 } from './golden-evidence.js'

describe('the captured set of an Azure container group (Milan, report version 2)', () => {
  const { parts, now } = milanV2()

  it('holds in everything but the keys, which a router would have put into its runtime data', async () => {
    const verdict = await verifyEvidence(evidenceOf(parts), readTrustPolicy(hardwareOnly), { now })
    expect(mismatches(verdict)).toEqual(['runtimeData.keys'])
    expect(verdict.simulated).toBe(false)
    const matching = verdict.checks.filter(({ outcome }) => outcome === 'match').map(({ claim }) => claim)
    expect(matching).toEqual(
      claims.filter((claim) => !claim.startsWith('maa.') && claim !== 'runtimeData.keys' && claim !== 'nonce')
    )
  })

  it('has a utility VM older than the strict policy accepts, and says so', async () => {
    const trust = readTrustPolicy({ ...hardwareOnly, uvm: { ...hardwareOnly.uvm, minimumSvn: 100 } })
    const verdict = await verifyEvidence(evidenceOf(parts), trust, { now })
    expect(mismatches(verdict)).toEqual(['uvm.svn', 'runtimeData.keys'])
    expect(mismatchOf(verdict, 'uvm.svn')).toEqual({ expected: 'at least 100', actual: '22' })
  })

  it('says of an open policy that it allows everything', async () => {
    const trust = readTrustPolicy({ ...hardwareOnly, hostData: 'any' })
    const verdict = await verifyEvidence(evidenceOf(parts), trust, { now })
    const check = verdict.checks.find(({ claim }) => claim === 'hostData')
    expect(check).toMatchObject({ outcome: 'not-required', reason: expect.stringContaining('allow everything') })
  })

  it('is the source of the Milan minima: one patch level more is too much', async () => {
    expect(formatTcb(decodeTcb('milan', parseReport(parts.report).reportedTcb))).toBe(
      'bootloader 3, tee 0, snp 8, microcode 115'
    )
    const { milan } = defaultMinimumTcb
    for (const component of ['bootloader', 'tee', 'snp', 'microcode'] as const) {
      const raised = { ...defaultMinimumTcb, milan: { ...milan, [component]: milan[component] + 1 } }
      const trust = readTrustPolicy({ ...hardwareOnly, minimumTcb: raised })
      expect(mismatches(await verifyEvidence(evidenceOf(parts), trust, { now }))).toEqual([
        'tcb.minimum',
        'runtimeData.keys'
      ])
    }
  })

  it('is refused when other roots are the trusted ones', async () => {
    const trust = readTrustPolicy({ ...hardwareOnly, roots: { arkSha256: ['00'.repeat(32)] } })
    expect(mismatches(await verifyEvidence(evidenceOf(parts), trust, { now }))).toEqual([
      'ark.pinned',
      'runtimeData.keys'
    ])
  })

  it('is refused outside the validity of its certificates', async () => {
    for (const date of ['2022-11-01T00:00:00Z', '2030-01-01T00:00:00Z']) {
      const verdict = await verifyEvidence(evidenceOf(parts), readTrustPolicy(hardwareOnly), { now: new Date(date) })
      expect(mismatches(verdict)).toEqual(['vcek.chain', 'runtimeData.keys'])
    }
  })

  const signedParts: readonly [string, keyof Parts, number, readonly Claim[]][] = [
    ['HOST_DATA', 'report', 223, ['report.signature', 'hostData', 'ccePolicy.digest']],
    ['REPORT_DATA', 'report', 80, ['report.signature', 'reportData']],
    ['the measurement', 'report', 144, ['report.signature', 'uvm.measurement']],
    ['the signature', 'report', 700, ['report.signature']],
    ['the padding of the signature', 'report', 1183, ['report.format']],
    ['the UVM payload', 'uvmEndorsements', 10864 - 384 - 100, ['uvm.signature', 'uvm.measurement']],
    ['the CCE policy', 'ccePolicy', 5, ['ccePolicy.digest']],
    ['the runtime data', 'runtimeData', 5, ['reportData']]
  ]
  it.each(signedParts)('names the claim when one digit of %s changes', async (_, part, offset, expected) => {
    const changed = Buffer.from(parts[part as 'report'])
    // One hex digit or byte to another of its kind, so that the part stays readable.
    changed[offset] = (changed[offset] ?? 0) ^ 1
    const verdict = await verifyEvidence(evidenceOf({ ...parts, [part]: changed }), readTrustPolicy(hardwareOnly), {
      now
    })
    expect(mismatches(verdict).filter((claim) => claim !== 'runtimeData.keys')).toEqual(expected)
  })
})

describe.each([
  ['milan', 'bootloader 4, tee 0, snp 24, microcode 219'],
  ['genoa', 'bootloader 10, tee 0, snp 23, microcode 84']
] as const)('the captured report of version 3 (%s)', (product, tcb) => {
  const { parts, chain, now } = version3(product)
  const hardware: readonly Claim[] = claims.slice(0, claims.indexOf('uvm.signature'))

  it('holds in chain, root, signature, hardware id and TCB', async () => {
    const verdict = await verifyEvidence(evidenceOf(parts), readTrustPolicy(hardwareOnly), { now })
    expect(mismatches(verdict).filter((claim) => hardware.includes(claim))).toEqual([])
    expect(verdict.simulated).toBe(false)
    expect(formatTcb(decodeTcb(product, parseReport(parts.report).reportedTcb))).toBe(tcb)
  })

  it('has a VCEK for these patch levels, of which 219 takes two octets in DER', () => {
    const [vcek] = parsePemCertificates(chain[0], 'VCEK')
    if (vcek === undefined) throw new Error('one certificate expected')
    const levels = (['bootloader', 'tee', 'snp', 'microcode'] as const).map((name) => readPatchLevel(vcek, name))
    expect(levels).toEqual(product === 'milan' ? [4, 0, 24, 219] : [10, 0, 23, 84])
  })
})

describe('AMD roots', () => {
  it.each([
    ['milan', 'ask_ark_milan.pem'],
    ['genoa', 'ask_ark_genoa.pem'],
    ['turin', 'ask_ark_turin_vcek.pem']
  ] as const)('%s: the root is pinned, and signed itself and the intermediate', async (product, file) => {
    const [ask, ark] = parsePemCertificates(text(`amd-roots/${file}`), file)
    if (ask === undefined || ark === undefined) throw new Error('two certificates expected')
    const digest = Buffer.from(await crypto.subtle.digest('SHA-256', new Uint8Array(ark.der))).toString('hex')
    expect(digest).toBe(amdArkSha256[product])
    expect(await isSignedBy(ask, ark)).toBe(true)
    expect(await isSignedBy(ark, ark)).toBe(true)
    expect(await isSignedBy(ark, ask)).toBe(false)
  })
})

describe('a captured token of the virtual machine kind', () => {
  const token = text('maa/maa_01.jwt').trim()

  it('is read', () => {
    expect(parseMaaToken(token).claims['iss']).toBe('https://sharedweu.weu.attest.azure.net')
  })

  it('is refused as evidence of a container group', async () => {
    const { document, trust, now } = {
      document: {
        ...JSON.parse(
          JSON.stringify({
            version: 1,
            runtimeData: Buffer.from('{}').toString('base64'),
            snp: { report: '', certificates: '' },
            createdAt: '2026-01-01T00:00:00Z',
            simulated: false
          })
        ),
        maa: { endpoint: 'https://sharedweu.weu.attest.azure.net', token }
      },
      trust: readTrustPolicy({ ...hardwareOnly, maa: { endpoints: ['https://sharedweu.weu.attest.azure.net'] } }),
      now: new Date('2023-03-30T12:00:00Z')
    }
    const maaKeys = [{ endpoint: 'https://sharedweu.weu.attest.azure.net', jwks: { keys: [] } }]
    const verdict = await verifyEvidence(parseEvidence(document), trust, { now, maaKeys })
    expect(mismatches(verdict).filter((claim) => claim.startsWith('maa.'))).toEqual([
      'maa.signature',
      'maa.type',
      'maa.compliance',
      'maa.hostData',
      'maa.debug',
      'maa.vmpl',
      'maa.measurement',
      'maa.reportData',
      'maa.runtime'
    ])
    expect(mismatchOf(verdict, 'maa.signature').actual).toContain(
      'no key "dRKh+hBcWUfQimSl3Iv6ZhStW3TSOt0ThwiTgUUqZAo="'
    )
  })
})

describe('claims of a captured token of a container group', () => {
  it('are read under the names that the service uses: only values of another guest differ', async () => {
    const captured = JSON.parse(text('maa/uid2_shared_aci_maa_payload.json'))
    const verdict = await appraise(await createWorld(), {
      claims: (claims) => {
        for (const name of Object.keys(claims)) delete claims[name]
        Object.assign(claims, captured)
      },
      trust: put(defaultMinimumTcb, 'minimumTcb')
    })
    expect(mismatches(verdict)).toEqual([
      'maa.issuer',
      'maa.time',
      'maa.hostData',
      'maa.measurement',
      'maa.reportData',
      'maa.runtime'
    ])
  })

  it('tell the measurement and its endorsement in the form that is compared', async () => {
    const captured = JSON.parse(text('maa/uid2_shared_aci_maa_payload.json'))
    const measurement = captured['x-ms-sevsnpvm-launchmeasurement']
    const verdict = await appraise(await createWorld(), {
      report: (view) => view.set(144, Buffer.from(measurement, 'hex')),
      uvmPayload: (payload) => void put(measurement, 'x-ms-sevsnpvm-launchmeasurement')(payload),
      claims: (claims) => {
        for (const name of ['uvm-endorsement', 'uvm-endorsement-headers', 'launchmeasurement']) {
          claims[`x-ms-sevsnpvm-${name}`] = captured[`x-ms-sevsnpvm-${name}`]
        }
      },
      trust: put(azureUvmIssuer, 'uvm', 'issuer')
    })
    // The endorsement beside the token is a forged one, the token's own is Microsoft's.
    expect(mismatches(verdict)).toEqual(['uvm.issuer'])
  })
})
