import { describe, expect, it } from '@jest/globals'
import type { Claim } from '../../../src/verify/check.js'
import { ecKey, extension, pem, rsaPssKey } from './certificate-forge.js'
import * as asn1 from './der-writer.js'
import { describeFaults } from './faults.js'
import { appraise, type Changes, createWorld, type Members, mismatchOf, put, type ReportView, sha256 } from './forge.js'

const world = await createWorld()
const stranger = { ark: await rsaPssKey(), ask: await rsaPssKey(), vcek: await ecKey() }
const shortKey = await rsaPssKey('SHA-384', 1024)
const amd = '1.3.6.1.4.1.3704.1'

const patched =
  (offset: number, ...bytes: number[]) =>
  (report: Uint8Array): Uint8Array => {
    report.set(bytes, offset)
    return report
  }
/** Named rather than inline where the change is one field. */
const field = (change: (report: ReportView) => void): Changes => ({ report: change })

const withoutReport: readonly Claim[] = [
  'report.format',
  'report.signature',
  'vcek.hwid',
  'vcek.tcb',
  'tcb.minimum',
  'guest.debug',
  'guest.migration',
  'guest.vmpl',
  'uvm.measurement',
  'hostData',
  'ccePolicy.digest',
  'reportData',
  'maa.compliance',
  'maa.hostData',
  'maa.measurement'
]
const withoutChain: readonly Claim[] = [
  'report.signature',
  'vcek.chain',
  'ark.pinned',
  'vcek.hwid',
  'vcek.tcb',
  'tcb.minimum',
  'maa.compliance'
]

const withoutProduct: readonly Claim[] = ['vcek.hwid', 'vcek.tcb', 'tcb.minimum', 'maa.compliance']

describeFaults('the report', world, [
  [
    'version 2 without CPUID is accepted',
    [],
    {
      report: (view) => {
        view.u32(0, 2)
        view.set(392, [0, 0, 0])
      }
    }
  ],
  ['version 4 is accepted', [], field((view) => view.u32(0, 4))],
  [
    'version 5 with mitigation vectors is accepted',
    [],
    {
      report: (view) => {
        view.u32(0, 5)
        view.set(504, [1, 2, 3])
      }
    }
  ],
  [
    'version 2 has no CPUID, whatever stands in its place',
    [],
    {
      report: (view) => {
        view.u32(0, 2)
        view.set(392, [0x1b, 0xff, 0xff])
      }
    }
  ],
  ['version 0 is not', ['report.format'], field((view) => view.u32(0, 0))],
  ['version 1 is not', ['report.format'], field((view) => view.u32(0, 1))],
  ['version 6 is not', ['report.format'], field((view) => view.u32(0, 6))],
  ['another signature algorithm', ['report.format'], field((view) => view.u32(52, 2))],
  ['signed with the VLEK', ['report.format'], field((view) => view.u32(72, 1 << 2))],
  ['signed with a key of a reserved number', ['report.format'], field((view) => view.u32(72, 2 << 2))],
  ['signed with no key', ['report.format'], field((view) => view.u32(72, 7 << 2))],
  ['chip key masked', ['report.format'], field((view) => view.u32(72, 2))],
  ['policy bit 17 not set', ['report.format'], field((view) => view.u64(8, 0x1001fn))],
  ['padding after r not zero', ['report.format'], { rawReport: patched(720, 1) }],
  ['padding after s not zero', ['report.format'], { rawReport: patched(815, 1) }],
  ['end not zero', ['report.format'], { rawReport: patched(1183, 1) }],
  ['one byte short', withoutReport, { rawReport: (report) => report.subarray(0, 1183) }],
  ['one byte long', withoutReport, { rawReport: (report) => Buffer.concat([report, Buffer.alloc(1)]) }],
  ["behind the header of the firmware's answer is accepted", [], inAnswer()],
  ['behind a header with an error', withoutReport, inAnswer({ status: 22 })],
  ['behind a header for another size', withoutReport, inAnswer({ size: 1183 })],
  ['behind a header that is not zero', withoutReport, inAnswer({ last: 1 })],
  ['behind two headers', withoutReport, sent((report) => answer(answer(report)))],
  ['cut short behind a header', withoutReport, sent((report) => answer(report).subarray(0, 1215))],
  ['empty', [...withoutReport, 'maa.reportData'], { rawReport: () => new Uint8Array(0) }],
  ['r changed', ['report.signature'], { rawReport: patched(672, 0, 0, 0) }],
  ['r and s zero', ['report.signature'], { rawReport: (report) => report.fill(0, 672) }],
  ['platform information changed after signing', ['report.signature'], { rawReport: patched(64, 1) }],
  ['debugging allowed', ['guest.debug'], field((view) => view.u64(8, 0xb001fn))],
  ['migration allowed', ['guest.migration'], field((view) => view.u64(8, 0x7001fn))],
  ['VMPL 1', ['guest.vmpl'], field((view) => view.u32(48, 1))],
  [
    'another HOST_DATA',
    ['hostData', 'ccePolicy.digest'],
    { report: (view) => view.set(192, new Uint8Array(32).fill(1)) }
  ],
  ['another measurement', ['uvm.measurement'], { report: (view) => view.set(191, [0]) }],
  ['another REPORT_DATA', ['reportData', 'maa.reportData'], { report: (view) => view.set(80, [0, 0]) }],
  ['second half of REPORT_DATA not zero', ['reportData', 'maa.reportData'], { report: (view) => view.set(143, [1]) }],
  ['policy text that was changed', ['ccePolicy.digest'], { document: put('cGFja2FnZQ==', 'ccePolicy') }]
])

describeFaults('the TCB', world, [
  ['reported below the minimum', ['vcek.tcb', 'tcb.minimum'], { report: (view) => view.set(384, [3]) }],
  ['reported above what the VCEK is for', ['vcek.tcb'], { report: (view) => view.set(384, [5]) }],
  ['committed below the minimum', ['tcb.minimum'], { report: (view) => view.set(480, [3]) }],
  ['launched below the minimum', ['tcb.minimum'], { report: (view) => view.set(503, [218]) }],
  [
    'one component above does not make up for one below',
    ['tcb.minimum'],
    { report: (view) => view.set(480, [255, 255, 0, 0, 0, 0, 23, 255]) }
  ],
  ['VCEK for another microcode', ['vcek.tcb'], { vcekExtensions: { [`${amd}.3.8`]: asn1.integer(218) } }],
  ['VCEK without the SNP level', ['vcek.tcb'], { vcekExtensions: { [`${amd}.3.3`]: null } }],
  [
    'patch level spelt as a negative number',
    ['vcek.tcb'],
    { vcekExtensions: { [`${amd}.3.8`]: asn1.der(0x02, Uint8Array.of(219)) } }
  ],
  ['patch level above 255', ['vcek.tcb'], { vcekExtensions: { [`${amd}.3.8`]: asn1.integer(256 + 219) } }],
  ['hardware id of another chip', ['vcek.hwid'], { vcekExtensions: { [`${amd}.4`]: new Uint8Array(64).fill(2) } }],
  ['hardware id cut to a prefix', ['vcek.hwid'], { vcekExtensions: { [`${amd}.4`]: new Uint8Array(8).fill(0xc1) } }],
  ['VCEK without hardware id', ['vcek.hwid'], { vcekExtensions: { [`${amd}.4`]: null } }],
  [
    'certificate of a VLEK, which names a cloud and no chip',
    ['vcek.hwid'],
    { vcekExtensions: { [`${amd}.4`]: null, [`${amd}.5`]: asn1.ia5String('azure.com') } }
  ],
  ['CPU of another product than the VCEK', withoutProduct, { report: (view) => view.set(392, [0x19, 0x11]) }],
  ['CPU that nobody knows', withoutProduct, { report: (view) => view.set(392, [0x1b, 0x01]) }],
  [
    'VCEK of a product that nobody knows',
    withoutProduct,
    { vcekExtensions: { [`${amd}.2`]: asn1.ia5String('Venice-A0') } }
  ],
  ['VCEK without product name', withoutProduct, { vcekExtensions: { [`${amd}.2`]: null } }],
  [
    'a patch level with a needless zero',
    ['vcek.tcb'],
    { vcekExtensions: { [`${amd}.3.1`]: asn1.der(0x02, Uint8Array.of(0, 4)) } }
  ],
  ['a patch level that is no integer', ['vcek.tcb'], { vcekExtensions: { [`${amd}.3.1`]: Uint8Array.of(4) } }],
  [
    'bytes after a patch level',
    ['vcek.tcb'],
    { vcekExtensions: { [`${amd}.3.1`]: Buffer.concat([asn1.integer(4), Buffer.alloc(1)]) } }
  ],
  ['another stepping of the product is accepted', [], { vcekExtensions: { [`${amd}.2`]: asn1.ia5String('Milan-B1') } }],
  ['a product name without stepping is accepted', [], { vcekExtensions: { [`${amd}.2`]: asn1.ia5String('Milan') } }],
  [
    'a product name of another type of text',
    withoutProduct,
    { vcekExtensions: { [`${amd}.2`]: asn1.der(0x0c, Buffer.from('Milan-B0')) } }
  ],
  ['CPU at either end of the range of its product is accepted', [], { report: (view) => view.set(392, [0x19, 0x0f]) }],
  ['Turin: level of 200 in its own place', ['vcek.tcb'], { ...turin(), report: (view) => view.set(391, [201]) }],
  ['Turin: FMC of another VCEK', ['vcek.tcb'], { ...turin(), vcekExtensions: { [`${amd}.3.9`]: asn1.integer(2) } }],
  ['Turin: reserved levels are no part of it', [], { ...turin(), vcekExtensions: { [`${amd}.3.4`]: asn1.integer(9) } }],
  [
    'Turin: hardware id of 64 bytes',
    ['vcek.hwid'],
    { ...turin(), vcekExtensions: { [`${amd}.4`]: Buffer.concat([Buffer.alloc(8, 0xc1), Buffer.alloc(56)]) } }
  ],
  ['Turin: FMC below the minimum', ['tcb.minimum'], { ...turin(), report: (view) => view.set(480, [0]) }],
  ['Turin: VCEK without FMC', ['vcek.tcb'], { ...turin(), vcekExtensions: { [`${amd}.3.9`]: null } }],
  ['Turin: chip id longer than 8 bytes', ['vcek.hwid'], { ...turin(), report: (view) => view.set(424, [1]) }]
])

describeFaults('the certificate chain', world, [
  [
    'VCEK of another chip maker',
    ['report.signature', 'vcek.chain'],
    { vcek: { subjectKey: stranger.vcek, issuerKey: stranger.ask } }
  ],
  ['VCEK for another key', ['report.signature'], { vcek: { subjectKey: stranger.vcek } }],
  ['ASK signed by a stranger', ['vcek.chain'], { ask: { issuerKey: stranger.ark } }],
  ['ARK signed by a stranger', ['vcek.chain'], { ark: { issuerKey: stranger.ark } }],
  [
    'foreign root that the trust policy does not name',
    ['ark.pinned'],
    { trust: put(['11'.repeat(32)], 'roots', 'arkSha256') }
  ],
  [
    'root with the same key and name, issued again',
    ['ark.pinned'],
    { ark: {}, trust: put([sha256(world.arks.Milan).toString('hex')], 'roots', 'arkSha256') }
  ],
  ['only AMD roots are trusted', ['ark.pinned'], { trust: put('amd', 'roots') }],
  ['issuer by another name', ['vcek.chain'], { vcek: { issuer: 'SEV-Other' } }],
  ['VCEK not valid yet', ['vcek.chain'], { vcek: { notBefore: new Date('2026-06-02T00:00:00Z') } }],
  ['VCEK expired', ['vcek.chain'], { vcek: { notAfter: new Date('2026-05-31T00:00:00Z') } }],
  ['ASK expired', ['vcek.chain'], { ask: { notAfter: new Date('2026-05-31T00:00:00Z') } }],
  ['ARK expired', ['vcek.chain'], { ark: { notAfter: new Date('2026-05-31T00:00:00Z') } }],
  ['ASK that is no authority', ['vcek.chain'], { ask: { authority: false } }],
  ['ASK that may not sign certificates', ['vcek.chain'], { ask: { keyUsage: 0x02 } }],
  ['root that allows no intermediate', ['vcek.chain'], { ark: { pathLength: 0 } }],
  ['salt of another length', ['vcek.chain'], { vcek: { salt: 32 } }],
  ['another hash', ['vcek.chain'], { vcek: { issuerKey: await rsaPssKey('SHA-256'), salt: 48 } }],
  [
    'critical extension that nobody understands',
    ['vcek.chain'],
    { ask: { extensions: [extension('1.2.3.4', asn1.nullValue, true)] } }
  ],
  ['ASK with a key of 1024 bits', ['vcek.chain'], { ask: { subjectKey: shortKey }, vcek: { issuerKey: shortKey } }],
  [
    'basic constraints that cannot be read',
    ['vcek.chain'],
    { ask: { authority: false, extensions: [extension('2.5.29.19', asn1.nullValue)] } }
  ],
  ['VCEK on P-256', ['report.signature'], { vcek: { subjectKey: await ecKey('P-256') } }],
  ['VCEK with an RSA key', ['report.signature'], { vcek: { subjectKey: stranger.ask } }],
  ['ASK and ARK swapped', ['vcek.chain', 'ark.pinned'], { certificates: ([vcek, ask, ark]) => [vcek, ark, ask] }],
  [
    'VCEK and ASK swapped',
    ['report.signature', 'vcek.chain', 'vcek.hwid', 'vcek.tcb', 'tcb.minimum', 'maa.compliance'],
    { certificates: ([vcek, ask, ark]) => [ask, vcek, ark] }
  ],
  ['ARK missing', withoutChain, { certificates: ([vcek, ask]) => [vcek, ask] }],
  ['one certificate too many', withoutChain, { certificates: ([vcek, ask, ark]) => [vcek, ask, ark, ark] }],
  ['none', withoutChain, { certificates: () => '' }],
  ['text before the first', withoutChain, { certificates: (parts) => `hello\n${pem(...parts)}` }],
  [
    'base64 that is not canonical',
    withoutChain,
    { certificates: (parts) => pem(...parts).replace(/\n-----END/, '=\n-----END') }
  ],
  [
    'bytes after a certificate',
    withoutChain,
    { certificates: ([vcek, ask, ark]) => [Buffer.concat([vcek, Buffer.alloc(1)]), ask, ark] }
  ],
  ['certificate cut off', withoutChain, { certificates: ([vcek, ask, ark]) => [vcek.subarray(0, -1), ask, ark] }],
  [
    'length that is not in its shortest form',
    withoutChain,
    { certificates: ([vcek, ask, ark]) => [longForm(vcek), ask, ark] }
  ],
  ['version 1 certificate', withoutChain, { vcek: { version: 0 } }],
  [
    'extension twice',
    withoutChain,
    { vcek: { extensions: [extension('1.2.3', asn1.nullValue), extension('1.2.3', asn1.nullValue)] } }
  ]
])

describe('what a person reads of the report', () => {
  const formatOf = async (change: (report: ReportView) => void): Promise<string> =>
    mismatchOf(await appraise(world, { report: change }), 'report.format').actual

  it('names the key that signed it', async () => {
    expect(await formatOf((view) => view.u32(72, 1 << 2))).toBe('signing key 1 (VLEK)')
    expect(await formatOf((view) => view.u32(72, 7 << 2))).toBe('signing key 7 (no key)')
    expect(await formatOf((view) => view.u32(72, 2 << 2))).toBe('signing key 2 (reserved)')
  })

  it('names everything that is wrong with its form', async () => {
    const actual = await formatOf((view) => {
      view.u32(0, 6)
      view.u32(52, 2)
      view.u32(72, 2 | (1 << 2))
      view.u64(8, 0x1001fn)
    })
    expect(actual).toBe(
      'version 6; signature algorithm 2; signing key 1 (VLEK); chip key masked; guest policy bit 17 is 0'
    )
  })

  it('names all three patch levels that are too low, each with its components', async () => {
    const verdict = await appraise(world, {
      report: (view) => {
        for (const offset of [384, 480, 496]) view.set(offset, [3])
      }
    })
    const below = 'bootloader 3, tee 0, snp 24, microcode 219'
    expect(mismatchOf(verdict, 'tcb.minimum')).toEqual({
      expected: 'milan: at least bootloader 4, tee 0, snp 24, microcode 219',
      actual: `reported ${below}; committed ${below}; launch ${below}`
    })
  })
})

/** Evidence whose report is sent in another form; the token was made from the report itself. */
function sent(form: (report: Uint8Array) => Uint8Array): Changes {
  return {
    document: (document) => {
      const snp = document['snp'] as Members
      snp['report'] = Buffer.from(form(Buffer.from(String(snp['report']), 'base64'))).toString('base64')
    }
  }
}

function inAnswer(header: Parameters<typeof answer>[1] = {}): Changes {
  return sent((report) => answer(report, header))
}

/** The firmware's answer to a guest: status, size of the report, 24 zeros, the report. */
function answer(report: Uint8Array, { status = 0, size = 1184, last = 0 } = {}): Uint8Array {
  const header = Buffer.alloc(32)
  header.writeUInt32LE(status, 0)
  header.writeUInt32LE(size, 4)
  header[31] = last
  return Buffer.concat([header, report])
}

/** Good evidence of Turin, whose TCB has another layout and whose chip id is shorter. */
function turin(): Changes {
  const levels = { 'bootloader-svn': 2, 'snpfw-svn': 4, 'microcode-svn': 200 }
  return {
    product: 'Turin',
    claims: (claims) => {
      for (const [name, level] of Object.entries(levels)) claims[`x-ms-sevsnpvm-${name}`] = level
    }
  }
}

/** The outermost length in four octets where three would do. */
function longForm(der: Uint8Array): Uint8Array {
  return Uint8Array.of(0x30, 0x83, 0, ...der.subarray(2))
}
