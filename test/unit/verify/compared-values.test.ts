import { describe, expect, it } from '@jest/globals'
import { amdArkSha256 } from '../../../src/verify/amd-roots.js'
import type { Claim } from '../../../src/verify/check.js'
import { azureUvmIssuer } from '../../../src/verify/strict-trust-policy.js'
import type { Verdict } from '../../../src/verify/verify-evidence.js'
import {
  appraise,
  type Changes,
  createWorld,
  maaEndpoint,
  matchOf,
  mismatches,
  mismatchOf,
  put,
  sha256
} from './forge.js'
import { derOf, hardwareOnly, milanV2, verifyCaptured } from './golden-evidence.js'

/** Every check says what was compared with what, also one that matches. */

const world = await createWorld()
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

function expectValues({ checks }: Verdict): void {
  for (const check of checks) {
    if (check.outcome === 'not-required') {
      expect(Object.keys(check).sort()).toEqual(['claim', 'outcome', 'reason'])
      continue
    }
    for (const value of [check.expected, check.actual]) {
      expect({ claim: check.claim, value }).toEqual({ claim: check.claim, value: expect.stringMatching(/^[ -~]+$/) })
      expect(value.length).toBeLessThan(800)
    }
  }
}

describe('the captured set of an Azure container group', () => {
  const captured = milanV2()
  const { report, runtimeData } = captured.parts
  const [vcek, , ark] = captured.chain.map((pem) => hex(sha256(derOf(pem))))
  const levels = 'bootloader 3, tee 0, snp 8, microcode 115'
  const field = (start: number, end: number): string => hex(report.subarray(start, end))

  it.each<readonly [Claim, string, string]>([
    [
      'report.format',
      'version 2 to 5, signed by the VCEK with ECDSA P-384',
      'version 2, signature algorithm 1, signing key 0 (VCEK)'
    ],
    [
      'report.signature',
      'a signature by the VCEK',
      `ECDSA P-384 with SHA-384, by the certificate with SHA-256 ${vcek}`
    ],
    [
      'vcek.chain',
      'VCEK signed by ASK, ASK by ARK, all valid at 2023-06-01T00:00:00.000Z',
      'signed so, valid from 2022-11-29T01:55:56.000Z to 2029-11-29T01:55:56.000Z'
    ],
    ['ark.pinned', Object.values(amdArkSha256).join(' or '), ark ?? ''],
    ['vcek.hwid', `chip id ${field(416, 480)}`, `chip id ${field(416, 480)}`],
    ['vcek.tcb', `milan: ${levels}`, `milan: ${levels}`],
    ['tcb.minimum', `milan: at least ${levels}`, `reported ${levels}; committed ${levels}; launch ${levels}`],
    ['guest.debug', 'forbidden', 'forbidden'],
    ['guest.migration', 'forbidden', 'forbidden'],
    ['guest.vmpl', '0', '0'],
    [
      'uvm.signature',
      'a valid signature and chain',
      'RSA-PSS with SHA-384 at 2023-02-08T05:42:23.000Z, by the certificate with SHA-256 a4323e00bde0e2bc37707302fdd98c2a9773145f09305cd6bdf2336caf7f0db4'
    ],
    ['uvm.issuer', `a chain of ${azureUvmIssuer}`, azureUvmIssuer],
    ['uvm.feed', '"ContainerPlat-AMD-UVM"', '"ContainerPlat-AMD-UVM"'],
    ['uvm.svn', 'at least 22', '22'],
    ['uvm.measurement', field(144, 192), field(144, 192)],
    ['hostData', field(192, 224), field(192, 224)],
    ['ccePolicy.digest', field(192, 224), field(192, 224)],
    ['reportData', hex(sha256(runtimeData)) + '00'.repeat(32), field(80, 144)]
  ])('matches in %s, and says with what values', async (claim, expected, actual) => {
    const verdict = await verifyCaptured(captured, {}, hardwareOnly)
    expect(matchOf(verdict, claim)).toEqual({ expected, actual })
  })
})

describe('every check that is required', () => {
  it.each<readonly [string, Changes]>([
    ['of good evidence', {}],
    ['of a Turin', { product: 'Turin' }],
    ['of the token alone', { via: 'maa' }],
    ['of evidence without parts', { document: (document) => void delete document['maa'] }],
    ['of a report that is cut off', { document: put('AAAA', 'snp', 'report') }],
    ['of a token with hostile claims', { claims: put(`\u001b[2J${'x'.repeat(5000)}`, 'iss') }],
    ['of a feed that is long', { uvmPayload: put(`${'x'.repeat(5000)}`, 'x-ms-sevsnpvm-guestsvn') }]
  ])('%s has two printable values of bounded length', async (_, changes) => {
    expectValues(await appraise(world, changes))
  })

  it('compares with what the trust policy accepts, of which ten values are enough to read', async () => {
    const others = Array.from({ length: 30 }, (_, i) => i.toString(16).padStart(64, '0'))
    const good = matchOf(await appraise(world), 'hostData').actual
    const few = matchOf(await appraise(world, { trust: put([others[0], good], 'hostData') }), 'hostData')
    expect(few).toEqual({ expected: `${others[0]} or ${good}`, actual: good })
    const many = matchOf(await appraise(world, { trust: put([...others, good], 'hostData') }), 'hostData')
    expect(many).toEqual({ expected: `${others.slice(0, 10).join(' or ')} or one of 21 more`, actual: good })
  })

  it('shows the levels of the evidence beside the lower ones that are asked for', async () => {
    const least = { bootloader: 1, tee: 0, snp: 2, microcode: 3 }
    const verdict = await appraise(world, { trust: put(least, 'minimumTcb', 'milan') })
    expect(matchOf(verdict, 'tcb.minimum')).toEqual({
      expected: 'milan: at least bootloader 1, tee 0, snp 2, microcode 3',
      actual: expect.stringMatching(/^reported bootloader 4, tee 0, snp 24, microcode 219; committed .*; launch /)
    })
    expect(matchOf(verdict, 'maa.compliance')).toEqual({
      expected: '"azure-compliant-uvm", at least milan: bootloader-svn 1, tee-svn 0, snpfw-svn 2, microcode-svn 3',
      actual: '"azure-compliant-uvm", bootloader-svn 4, tee-svn 3, snpfw-svn 24, microcode-svn 219'
    })
  })

  it('claims nothing that was not compared', async () => {
    const noMinimum = await appraise(world, { trust: put('any', 'minimumTcb') })
    expect(matchOf(noMinimum, 'maa.compliance').expected).toBe('"azure-compliant-uvm"')
    const migration = await appraise(world, { trust: put('any', 'migration') })
    expect(matchOf(migration, 'maa.debug')).toEqual({ expected: 'is-debuggable false', actual: 'is-debuggable false' })
    const uvm = await appraise(world, { trust: put('any', 'uvm') })
    expect(matchOf(uvm, 'maa.measurement').expected).toMatch(/^"[0-9a-f]{96}"$/)
    const age = await appraise(world, { trust: put('any', 'maximumAgeSeconds') })
    expect(matchOf(age, 'maa.time').expected).toBe('valid at 2026-06-01T12:00:00.000Z')
  })

  it('names the keys that the evidence has', async () => {
    const verdict = await appraise(world)
    if (verdict.verdict !== 'trusted') throw new Error('not trusted')
    const { actual } = matchOf(verdict, 'runtimeData.keys')
    const { rsaThumbprint, hpke, ed25519 } = verdict.evidence
    const [x25519, ed] = [hpke, ed25519].map((key) => Buffer.from(key).toString('base64url'))
    expect(actual).toBe(`RSA ${rsaThumbprint}, X25519 ${x25519}, Ed25519 ${ed}`)
  })

  it('says by which key a token was signed', async () => {
    const fingerprints: string[] = []
    const verdict = await appraise(world, {
      maaKeys: (keys) => {
        const { x5c } = (keys[0]?.jwks as { keys: { x5c: string[] }[] }).keys[0] ?? { x5c: [] }
        fingerprints.push(hex(sha256(Buffer.from(x5c[0] ?? '', 'base64'))))
        return keys
      }
    })
    expect(matchOf(verdict, 'maa.signature')).toEqual({
      expected: 'an RS256 signature by the provider',
      actual: `RS256 by its key "key-1", certificate with SHA-256 ${fingerprints[0]}`
    })
  })
})

describe('the issuer of a token', () => {
  const other = 'https://other.example'

  it.each<readonly [string, Changes, string, string]>([
    ['that the policy does not name', { trust: put([other], 'maa', 'endpoints') }, other, maaEndpoint],
    [
      'that is not the one beside the token',
      { claims: put(other, 'iss') },
      `${maaEndpoint}, the one that the evidence names`,
      `${other}, where it names ${maaEndpoint}`
    ],
    [
      'that the policy names, with another one beside the token',
      { document: put(other, 'maa', 'endpoint') },
      `${maaEndpoint}, the one that the evidence names`,
      `${maaEndpoint}, where it names ${other}`
    ],
    [
      'that is missing',
      { claims: put(undefined, 'iss') },
      `${maaEndpoint}, the one that the evidence names`,
      `missing, where it names ${maaEndpoint}`
    ],
    [
      'that is another one where any is accepted',
      { claims: put(other, 'iss'), trust: put('any', 'maa') },
      'any provider, the one that the evidence names',
      `${other}, where it names ${maaEndpoint}`
    ]
  ])('%s is held against the trust policy', async (_, changes, expected, actual) => {
    const verdict = await appraise(world, changes)
    expect(mismatches(verdict)).toContain('maa.issuer')
    expect(mismatchOf(verdict, 'maa.issuer')).toEqual({ expected, actual })
  })
})
