import { encodeHex } from '../base/encoding.js'
import { equalBytes } from '../base/bytes.js'
import { amdArkSha256, productOfAmdArk } from './amd-roots.js'
import type { Certificate } from './certificate.js'
import { chainProblems } from './certificate-chain.js'
import {
  all,
  anyOf,
  attempt,
  attemptSync,
  compared,
  equal,
  mismatch,
  noProblems,
  notRequired,
  type Outcome,
  type Outcomes,
  type Read
} from './check.js'
import { describeFormat, formatProblems, guestPolicyBit, hasPolicyBit, type SnpReport } from './snp-report.js'
import { decodeTcb, formatTcb, minimumFor, type Product, reachesTcb, tcbComponents } from './tcb.js'
import type { TrustPolicy } from './trust-policy.js'
import { productOf, readHardwareId, readPatchLevel, type VcekChain } from './vcek.js'
import { describeScheme, sha256Hex, verifySignature } from './web-crypto.js'

const reportClaims = ['report.format', 'guest.debug', 'guest.migration', 'guest.vmpl'] as const
const chainClaims = ['vcek.chain', 'ark.pinned'] as const
const bothClaims = ['report.signature', 'vcek.hwid', 'vcek.tcb', 'tcb.minimum'] as const
export const hardwareClaims = [...reportClaims, ...chainClaims, ...bothClaims] as const
type HardwareClaim = (typeof hardwareClaims)[number]

/** The report and the chain under which it is signed, without what they say about the guest's software. */
export async function appraiseHardware(
  report: Read<SnpReport>,
  chain: Read<VcekChain>,
  trust: TrustPolicy,
  now: Date
): Promise<Outcomes<HardwareClaim>> {
  const unreadableReport = (): Outcome => mismatch('a readable report', report.ok ? '' : report.problem)
  const unreadableChain = (): Outcome => mismatch('a readable certificate chain', chain.ok ? '' : chain.problem)
  return {
    ...(report.ok ? appraiseGuest(report.value, trust) : all(reportClaims, unreadableReport)),
    ...(chain.ok ? await appraiseChain(chain.value, report, trust, now) : all(chainClaims, unreadableChain)),
    ...(report.ok && chain.ok
      ? await appraiseSigner(report.value, chain.value, trust)
      : all(bothClaims, report.ok ? unreadableChain : unreadableReport))
  }
}

function appraiseGuest(report: SnpReport, trust: TrustPolicy): Outcomes<(typeof reportClaims)[number]> {
  const forbidden = (bit: bigint): Outcome => equal('forbidden', hasPolicyBit(report, bit) ? 'allowed' : 'forbidden')
  const any = notRequired('the trust policy accepts any')
  return {
    'report.format': noProblems(
      'version 2 to 5, signed by the VCEK with ECDSA P-384',
      describeFormat(report),
      formatProblems(report)
    ),
    'guest.debug': trust.debug === 'any' ? any : forbidden(guestPolicyBit.debugAllowed),
    'guest.migration': trust.migration === 'any' ? any : forbidden(guestPolicyBit.migrationAllowed),
    'guest.vmpl': trust.vmpl === 'any' ? any : equal(`${trust.vmpl}`, `${report.vmpl}`)
  }
}

async function appraiseChain(
  { vcek, ask, ark }: VcekChain,
  report: Read<SnpReport>,
  trust: TrustPolicy,
  now: Date
): Promise<Outcomes<(typeof chainClaims)[number]>> {
  // The root is appended to itself, so that its own signature is verified like the others.
  const problems = await chainProblems([vcek, ask, ark], now)
  problems.push(...(await chainProblems([ark, ark], undefined)).map((problem) => `root: ${problem}`))
  for (const [name, { signatureAlgorithm: algorithm }] of Object.entries({ VCEK: vcek, ASK: ask, ARK: ark })) {
    if (algorithm.name !== 'RSA-PSS' || algorithm.hash !== 'SHA-384' || algorithm.saltLength !== 48) {
      problems.push(`${name} is not signed with RSA-PSS, SHA-384 and a salt of 48 bytes`)
    }
  }
  const expected = `VCEK signed by ASK, ASK by ARK, all valid at ${now.toISOString()}`
  return {
    'vcek.chain': noProblems(expected, `signed so, ${describeDates([vcek, ask, ark])}`, problems),
    'ark.pinned': appraiseRoot(await sha256Hex(ark.der), vcek, report, trust)
  }
}

/** When all of them are valid. */
function describeDates(chain: readonly Certificate[]): string {
  const from = Math.max(...chain.map(({ notBefore }) => notBefore.getTime()))
  const until = Math.min(...chain.map(({ notAfter }) => notAfter.getTime()))
  return `valid from ${new Date(from).toISOString()} to ${new Date(until).toISOString()}`
}

function appraiseRoot(fingerprint: string, vcek: Certificate, report: Read<SnpReport>, trust: TrustPolicy): Outcome {
  const accepted = trust.roots === 'amd' ? Object.values(amdArkSha256) : trust.roots.arkSha256
  const outcome = compared(
    accepted.some((root) => root === fingerprint),
    anyOf(accepted),
    fingerprint
  )
  const rootProduct = productOfAmdArk(fingerprint)
  if (outcome.outcome === 'mismatch' || rootProduct === undefined || !report.ok) return outcome
  // AMD has one root for each product: a report of another one cannot end in this root.
  const product = attemptSync(() => productOf(report.value, vcek))
  return product.ok && product.value !== rootProduct
    ? mismatch(`the root for ${product.value}`, `the root for ${rootProduct}`)
    : outcome
}

async function appraiseSigner(
  report: SnpReport,
  { vcek }: VcekChain,
  trust: TrustPolicy
): Promise<Outcomes<(typeof bothClaims)[number]>> {
  const product = attemptSync(() => productOf(report, vcek))
  const unknownProduct = mismatch('a known product, the same in report and VCEK', product.ok ? '' : product.problem)
  return {
    'report.signature': await appraiseSignature(report, vcek),
    'vcek.hwid': product.ok ? appraiseHardwareId(report, vcek, product.value) : unknownProduct,
    'vcek.tcb': product.ok ? appraiseVcekTcb(report, vcek, product.value) : unknownProduct,
    'tcb.minimum':
      trust.minimumTcb === 'any'
        ? notRequired('the trust policy accepts any TCB')
        : product.ok
          ? appraiseMinimum(report, product.value, trust.minimumTcb)
          : unknownProduct
  }
}

async function appraiseSignature(report: SnpReport, vcek: Certificate): Promise<Outcome> {
  if (vcek.keyType.type !== 'EC' || vcek.keyType.curve !== 'P-384') return mismatch('a VCEK on P-384', 'another key')
  const scheme = { name: 'ECDSA', hash: 'SHA-384', namedCurve: 'P-384' } as const
  const verified = await attempt(() => verifySignature(scheme, vcek.publicKey, report.signature, report.signed))
  const isBy = verified.ok && verified.value
  const signer = `${describeScheme(scheme)}, by the certificate with SHA-256 ${await sha256Hex(vcek.der)}`
  return compared(isBy, 'a signature by the VCEK', isBy ? signer : 'another signature')
}

function appraiseHardwareId(report: SnpReport, vcek: Certificate, product: Product): Outcome {
  const hardwareId = attemptSync(() => readHardwareId(vcek))
  if (!hardwareId.ok) return mismatch('a VCEK with hardware id', hardwareId.problem)
  // Turin's id is 8 bytes; the report has them first and zeros after them.
  const length = product === 'turin' ? 8 : 64
  const chipId = report.chipId.subarray(0, length)
  const same = equalBytes(hardwareId.value, chipId) && report.chipId.subarray(length).every((byte) => byte === 0)
  return compared(same, `chip id ${encodeHex(hardwareId.value.slice(0, 64))}`, `chip id ${encodeHex(report.chipId)}`)
}

function appraiseVcekTcb(report: SnpReport, vcek: Certificate, product: Product): Outcome {
  const levels = attemptSync(() => new Map(tcbComponents(product).map((name) => [name, readPatchLevel(vcek, name)])))
  if (!levels.ok) return mismatch('a VCEK with patch levels', levels.problem)
  return equal(
    `${product}: ${formatTcb(levels.value)}`,
    `${product}: ${formatTcb(decodeTcb(product, report.reportedTcb))}`
  )
}

/**
 * Reported alone would not do: COMMITTED_TCB is what the platform can be rolled back to, LAUNCH_TCB
 * the firmware that measured this guest, which an update afterwards does not mend.
 */
function appraiseMinimum(
  report: SnpReport,
  product: Product,
  minimum: Exclude<TrustPolicy['minimumTcb'], 'any'>
): Outcome {
  const least = minimumFor(product, minimum)
  const levels = Object.entries({
    reported: report.reportedTcb,
    committed: report.committedTcb,
    launch: report.launchTcb
  }).map(([name, raw]) => {
    const tcb = decodeTcb(product, raw)
    return { text: `${name} ${formatTcb(tcb)}`, isEnough: reachesTcb(tcb, least) }
  })
  const texts = (some: typeof levels): string[] => some.map(({ text }) => text)
  return noProblems(
    `${product}: at least ${formatTcb(least)}`,
    texts(levels).join('; '),
    texts(levels.filter(({ isEnough }) => !isEnough))
  )
}
