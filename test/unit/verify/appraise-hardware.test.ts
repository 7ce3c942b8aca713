import type { Claim } from '../../../src/verify/check.js'
import { ecKey, extension, pem, rsaPssKey } from './certificate-forge.js'
import * as asn1 from './der-writer.js'
import { describeFaults } from './faults.js'
import { type Changes, createWorld, put, type ReportView } from './forge.js'

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
  ['version 1 is not', ['report.format'], field((view) => view.u32(0, 1))],
  ['version 6 is not', ['report.format'], field((view) => view.u32(0, 6))],
  ['another signature algorithm', ['report.format'], field((view) => view.u32(52, 2))],
  ['signed with the VLEK', ['report.format'], field((view) => view.u32(72, 1 << 2))],
  ['signed with no key', ['report.format'], field((view) => view.u32(72, 7 << 2))],
  ['chip key masked', ['report.format'], field((view) => view.u32(72, 2))],
  ['policy bit 17 not set', ['report.format'], field((view) => view.u64(8, 0x1001fn))],
  ['padding after r not zero', ['report.format'], { rawReport: patched(720, 1) }],
  ['padding after s not zero', ['report.format'], { rawReport: patched(815, 1) }],
  ['end not zero', ['report.format'], { rawReport: patched(1183, 1) }],
  ['one byte short', withoutReport, { rawReport: (report) => report.subarray(0, 1183) }],
  ['one byte long', withoutReport, { rawReport: (report) => Buffer.concat([report, Buffer.alloc(1)]) }],
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
  ['CPU of another product than the VCEK', withoutProduct, { report: (view) => view.set(392, [0x19, 0x11]) }],
  ['CPU that nobody knows', withoutProduct, { report: (view) => view.set(392, [0x1b, 0x01]) }],
  [
    'VCEK of a product that nobody knows',
    withoutProduct,
    { vcekExtensions: { [`${amd}.2`]: asn1.ia5String('Venice-A0') } }
  ],
  ['VCEK without product name', withoutProduct, { vcekExtensions: { [`${amd}.2`]: null } }],
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
