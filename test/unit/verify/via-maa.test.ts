import { describe, expect, it } from '@jest/globals'
import { type Claim, claims } from '../../../src/verify/check.js'
import { parseEvidence } from '../../../src/verify/evidence.js'
import { isAzureAttestation } from '../../../src/verify/maa-token.js'
import { defaultMinimumTcb } from '../../../src/verify/strict-trust-policy.js'
import { verifyEvidence } from '../../../src/verify/verify-evidence.js'
import { rsaPkcs1Key } from './certificate-forge.js'
import { describeFaults, type Row } from './faults.js'
import {
  appraise,
  type Changes,
  createWorld,
  forge,
  maaEndpoint,
  maaKeySet,
  type Members,
  mismatches,
  mismatchOf,
  put
} from './forge.js'

const world = await createWorld()
const stranger = await rsaPkcs1Key('SHA-256')
const prefix = 'x-ms-sevsnpvm-'
const noLevels = { bootloader: 0, tee: 0, snp: 0, microcode: 0 }
const openPolicy = 'cadd74f71ebb8fbf9782baab649612520f3c416bc5ce9ac768808ddc8d9b031c'

const ofHardware = claims.filter((claim) => /^(report\.|vcek\.|ark\.|tcb\.|guest\.|uvm\.)/.test(claim))
const allMaa = claims.filter((claim) => claim.startsWith('maa.'))
const claim = (value: unknown, ...path: string[]): Changes => ({ claims: put(value, ...path) })
const levels = (bootloader: number, tee: number, snp: number, microcode: number): Changes => ({
  claims: (members) => {
    const svns = { bootloader, tee, snpfw: snp, microcode }
    for (const [name, level] of Object.entries(svns)) members[`${prefix}${name}-svn`] = level
  }
})

/** Evidence of which only the token is any good. */
const tokenOnly = (document: Members): void => {
  document['snp'] = { report: '', certificates: '' }
}

describe('verifyEvidence, asked for the token only', () => {
  it('trusts its word and hands out the keys', async () => {
    const { document, trust, inputs } = await forge(world, { via: 'maa', document: tokenOnly })
    const verdict = await verifyEvidence(parseEvidence(document), trust, inputs)
    expect(mismatches(verdict)).toEqual([])
    if (verdict.verdict !== 'trusted') throw new Error('not trusted')
    const { n } = await crypto.subtle.exportKey('jwk', world.router.publicKey)
    expect(verdict.evidence.rsa.n).toBe(n)
    expect(verdict.evidence.nonce).toEqual(inputs.nonce)
    expect([verdict.evidence.hostData]).toEqual(trust.hostData)
  })

  it('requires nothing that only a report could prove, and says why', async () => {
    const { checks } = await appraise(world, { via: 'maa' })
    expect(checks.map(({ claim }) => claim)).toEqual(claims)
    expect(checks.filter(({ outcome }) => outcome === 'not-required')).toEqual(
      ofHardware.map((claim) => ({ claim, outcome: 'not-required', reason: 'only the token was asked for' }))
    )
  })

  it.each(['none', 'any'])('refuses a trust policy that names no provider: %s', async (maa) => {
    const verdict = appraise(world, { via: 'maa', trust: put(maa, 'maa') })
    await expect(verdict).rejects.toMatchObject({ name: 'VerifyError', code: 'trust.invalid' })
    await expect(verdict).rejects.toThrow(`maa is "${maa}"`)
  })

  it('gives no keys with a rejection', async () => {
    const verdict = await appraise(world, { via: 'maa', maaSigner: stranger })
    expect(verdict.verdict).toBe('rejected')
    expect(verdict).not.toHaveProperty('evidence')
  })

  it('accepts any host data if the trust policy does, and takes it from the token', async () => {
    const verdict = await appraise(world, { via: 'maa', trust: put('any', 'hostData') })
    const notRequired = verdict.checks.filter(({ outcome }) => outcome === 'not-required').map(({ claim }) => claim)
    expect(notRequired).toEqual(claims.filter((name) => ofHardware.includes(name) || /^(maa\.)?hostData$/.test(name)))
    if (verdict.verdict !== 'trusted') throw new Error('not trusted')
    expect(verdict.evidence.hostData).toMatch(/^[0-9a-f]{64}$/)
  })

  it('warns of a policy that is known to allow everything', async () => {
    const verdict = await appraise(world, {
      via: 'maa',
      ...claim(openPolicy, `${prefix}hostdata`),
      trust: put([openPolicy], 'hostData')
    })
    const warned = verdict.checks.filter((check) => check.outcome === 'match' && check.warning !== undefined)
    expect(warned.map(({ claim }) => claim)).toEqual(['hostData', 'maa.hostData'])
  })

  it('says in a mismatch that it is the token that cannot be read', async () => {
    const verdict = await appraise(world, { via: 'maa', ...claim('AB', `${prefix}hostdata`) })
    expect(mismatchOf(verdict, 'hostData')).toEqual({
      expected: 'a readable token',
      actual: 'x-ms-sevsnpvm-hostdata is "AB", not 32 bytes in lower-case hex'
    })
  })

  it('says that nothing was compared where the trust policy accepts any utility VM: there is but the one word', async () => {
    const verdict = await appraise(world, {
      via: 'maa',
      ...claim('ab'.repeat(48), `${prefix}launchmeasurement`),
      trust: put('any', 'uvm')
    })
    expect(verdict.checks.find(({ claim }) => claim === 'maa.measurement')).toEqual({
      claim: 'maa.measurement',
      outcome: 'not-required',
      reason: 'the trust policy accepts any utility VM'
    })
    const withReport = await appraise(world, {
      ...claim('ab'.repeat(48), `${prefix}launchmeasurement`),
      trust: put('any', 'uvm')
    })
    expect(mismatches(withReport)).toEqual(['maa.measurement'])
  })

  it.each([
    [
      'lets no level pass in the name of a product without a minimum',
      levels(0, 0, 0, 0),
      defaultMinimumTcb,
      'mismatch'
    ],
    ['nor one below the others', levels(3, 0, 8, 71), defaultMinimumTcb, 'mismatch'],
    ['lets the least of Milan pass', levels(3, 0, 8, 115), defaultMinimumTcb, 'match'],
    ['lets the least of Genoa pass', levels(7, 0, 14, 72), defaultMinimumTcb, 'match'],
    [
      'lets every level pass where the trust policy has no minimum for any product',
      levels(0, 0, 0, 0),
      { milan: noLevels, genoa: noLevels, turin: { fmc: 0, ...noLevels } },
      'match'
    ],
    [
      'takes a product with one level above zero for a candidate',
      levels(0, 0, 1, 0),
      { ...defaultMinimumTcb, turin: { fmc: 0, ...noLevels, snp: 1 } },
      'match'
    ]
  ])('%s', async (_, changes, minimum, outcome) => {
    const verdict = await appraise(world, { via: 'maa', ...changes, trust: put(minimum, 'minimumTcb') })
    expect(verdict.checks.find(({ claim }) => claim === 'maa.compliance')).toMatchObject({ outcome })
    if (minimum === defaultMinimumTcb) expect(JSON.stringify(verdict.checks)).not.toContain('turin')
  })

  it('takes a Turin for what it is where there is a report', async () => {
    const verdict = await appraise(world, {
      product: 'Turin',
      ...levels(2, 3, 4, 200),
      trust: put(defaultMinimumTcb, 'minimumTcb')
    })
    expect(mismatches(verdict)).toEqual([])
  })

  it('names the products whose minimum the patch levels do not reach', async () => {
    const turin = { fmc: 1, bootloader: 2, tee: 3, snp: 4, microcode: 200 }
    const verdict = await appraise(world, {
      via: 'maa',
      ...levels(1, 3, 4, 9),
      trust: put(turin, 'minimumTcb', 'turin')
    })
    const { actual } = mismatchOf(verdict, 'maa.compliance')
    for (const product of ['milan', 'genoa', 'turin']) expect(actual).toContain(`${product}: bootloader-svn 1`)
  })
})

const all: readonly Claim[] = ['hostData', 'ccePolicy.digest', 'reportData', ...allMaa]

const rows: readonly Row[] = [
  ['no report, chain or endorsement is looked at', [], { document: tokenOnly }],
  [
    'not even a report of another guest',
    [],
    { report: (view) => view.u64(8, 0xb001fn), ...claim(false, `${prefix}is-debuggable`) }
  ],
  ['no token', all, { document: put(undefined, 'maa') }],
  ['a token in two parts', all, { rawToken: (token) => token.split('.').slice(0, 2).join('.') }],
  ['signed by a stranger', ['maa.signature'], { maaSigner: stranger }],
  ['no keys of the provider', ['maa.signature'], { maaKeys: () => [] }],
  ['another issuer', ['maa.issuer'], claim('https://evil.example', 'iss')],
  [
    'a provider that the trust policy does not name',
    ['maa.issuer'],
    { trust: put(['https://a.example'], 'maa', 'endpoints') }
  ],
  ['expired', ['maa.time'], claim(1, 'exp')],
  ['too old', ['maa.time'], claim(1, 'iat')],
  ['of a virtual machine', ['maa.type'], claim('azurevm', 'x-ms-attestation-type')],
  ['not compliant', ['maa.compliance'], claim('none', 'x-ms-compliance-status')],
  ['another host data', ['hostData', 'ccePolicy.digest', 'maa.hostData'], claim('00'.repeat(32), `${prefix}hostdata`)],
  [
    'host data in capitals',
    ['hostData', 'ccePolicy.digest', 'maa.hostData'],
    claim('AB'.repeat(32), `${prefix}hostdata`)
  ],
  ['no host data', ['hostData', 'ccePolicy.digest', 'maa.hostData'], claim(undefined, `${prefix}hostdata`)],
  [
    'no host data where any is accepted',
    ['ccePolicy.digest', 'maa.hostData'],
    { ...claim(undefined, `${prefix}hostdata`), trust: put('any', 'hostData') }
  ],
  [
    'host data of another length where any is accepted',
    ['ccePolicy.digest', 'maa.hostData'],
    { ...claim('ab'.repeat(33), `${prefix}hostdata`), trust: put('any', 'hostData') }
  ],
  ['policy text that was changed', ['ccePolicy.digest'], { document: put('cGFja2FnZQ==', 'ccePolicy') }],
  ['policy text missing', ['ccePolicy.digest'], { document: put(undefined, 'ccePolicy') }],
  ['another report data', ['reportData', 'maa.reportData'], claim('00'.repeat(64), `${prefix}reportdata`)],
  ['report data that is short', ['reportData', 'maa.reportData'], claim('00'.repeat(32), `${prefix}reportdata`)],
  [
    'runtime data of another router',
    ['reportData', 'nonce', 'maa.reportData', 'maa.runtime'],
    {
      document: (document) => {
        const other = JSON.parse(Buffer.from(String(document['runtimeData']), 'base64').toString())
        other.confrouter.nonce = Buffer.alloc(32).toString('base64url')
        document['runtimeData'] = Buffer.from(JSON.stringify(other)).toString('base64')
      }
    }
  ],
  ['a member named keys', ['runtimeData.keys', 'nonce'], { runtimeData: (value) => void put([], 'keys')(value) }],
  ['another nonce', ['nonce'], { runtimeData: (value) => void put('A'.repeat(43), 'confrouter', 'nonce')(value) }],
  ['debuggable', ['maa.debug'], claim(true, `${prefix}is-debuggable`)],
  ['VMPL 1', ['maa.vmpl'], claim(1, `${prefix}vmpl`)],
  [
    'measurement of another length, endorsed as it is',
    ['maa.measurement'],
    {
      claims: (members) => {
        put('ab', `${prefix}launchmeasurement`)(members)
        put('ab', `${prefix}uvm-endorsement`, `${prefix}launchmeasurement`)(members)
      }
    }
  ],
  ['measurement that is no digest', ['maa.measurement'], claim('x', `${prefix}launchmeasurement`)],
  ['endorsement of another measurement', ['maa.measurement'], claim('00'.repeat(48), `${prefix}launchmeasurement`)],
  ['endorsement in another feed', ['maa.measurement'], claim('x', `${prefix}uvm-endorsement-headers`, 'feed')],
  [
    'endorsement with too low an SVN',
    ['maa.measurement'],
    claim('99', `${prefix}uvm-endorsement`, `${prefix}guestsvn`)
  ],
  ['another runtime claim', ['maa.runtime'], claim('x', 'x-ms-runtime', 'confrouter', 'hpke')],
  ['patch levels that suit Genoa and no other', [], { ...levels(10, 0, 23, 84), trust: noTurin }],
  ['patch levels that suit no product', ['maa.compliance'], { ...levels(9, 0, 23, 84), trust: noTurin }],
  [
    'patch levels of which some suit Milan and others Genoa',
    ['maa.compliance'],
    { ...levels(4, 0, 23, 219), trust: noTurin }
  ],
  ['no patch levels', ['maa.compliance'], { claims: withoutLevels }],
  ['no patch levels where any are accepted', [], { claims: withoutLevels, trust: put('any', 'minimumTcb') }]
]

describeFaults(
  'the token alone',
  world,
  rows.map(([fault, expected, changes]) => [fault, expected, { via: 'maa', ...changes }])
)

describe('simulation, told by the token alone', () => {
  it.each([
    ['https://sharedeus.eus.attest.azure.net', true],
    ['https://mine.weu.attest.azure.net', true],
    ['https://sharedugv.ugv.attest.azure.us', true],
    ['https://shared.cnn.attest.azure.cn', true],
    ['http://sharedeus.eus.attest.azure.net', false],
    ['https://sharedeus.eus.attest.azure.net:8443', false],
    ['https://sharedeus.eus.attest.azure.net/', false],
    ['https://attest.azure.net', false],
    ['https://xattest.azure.net', false],
    ['https://a.attest.azure.net.evil.example', false],
    ['https://evil.example/.attest.azure.net', false],
    ['https://u@a.attest.azure.net', false],
    ['https://A.attest.azure.net', false],
    ['https://a.attest.azure.de', false],
    ['https://a.attest.azure.net\n', false],
    ['', false],
    [undefined, false],
    [7, false]
  ])('the issuer %j is that of Azure: %s', (issuer, expected) => {
    expect(isAzureAttestation(issuer)).toBe(expected)
  })

  it.each([
    ['https://sharedeus.eus.attest.azure.net', false],
    [maaEndpoint, true]
  ])('a token of %s says simulated: %s, whatever the document says', async (endpoint, simulated) => {
    for (const word of [true, false]) {
      const { jwks } = await maaKeySet(world.maa)
      const verdict = await appraise(world, {
        via: 'maa',
        ...claim(endpoint, 'iss'),
        document: (document) => {
          put(endpoint, 'maa', 'endpoint')(document)
          put(word, 'simulated')(document)
        },
        maaKeys: () => [{ endpoint, jwks }],
        trust: put([endpoint], 'maa', 'endpoints')
      })
      expect(verdict).toMatchObject({ verdict: 'trusted', simulated })
    }
  })

  it.each<readonly [string, Changes]>([
    ['nobody has signed', { rawToken: (token) => `${token.split('.').slice(0, 2).join('.')}.AAAA` }],
    ['a stranger has signed', { maaSigner: stranger }],
    ['the trust policy does not name the issuer of', { trust: put([maaEndpoint], 'maa', 'endpoints') }]
  ])('is not denied by a token with the name of Azure that %s', async (_, changes) => {
    const endpoint = 'https://sharedeus.eus.attest.azure.net'
    const { jwks } = await maaKeySet(world.maa)
    const verdict = await appraise(world, {
      via: 'maa',
      ...claim(endpoint, 'iss'),
      document: put(endpoint, 'maa', 'endpoint'),
      maaKeys: () => [{ endpoint, jwks }],
      trust: put([endpoint], 'maa', 'endpoints'),
      ...changes
    })
    expect(verdict).toMatchObject({ verdict: 'rejected', simulated: true })
  })

  it('does not go by the issuer where the report was asked for as well', async () => {
    const endpoint = 'https://sharedeus.eus.attest.azure.net'
    const verdict = await appraise(world, { ...claim(endpoint, 'iss') })
    expect(verdict.simulated).toBe(true)
  })
})

/** Turin's minimum out of reach, so that it cannot be the one that suits. */
function noTurin(trust: Members): void {
  put(255, 'minimumTcb', 'turin', 'snp')(trust)
}

function withoutLevels(members: Members): void {
  for (const name of ['bootloader', 'tee', 'snpfw', 'microcode']) delete members[`${prefix}${name}-svn`]
}
