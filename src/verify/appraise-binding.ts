import { equalBytes } from '../base/bytes.js'
import { encodeHex } from '../base/encoding.js'
import { equal, match, mismatch, noProblems, notRequired, type Outcome, type Outcomes, type Read } from './check.js'
import type { EvidenceDocument } from './evidence.js'
import type { RuntimeData } from './runtime-data.js'
import type { SnpReport } from './snp-report.js'
import { isOpenPolicy, type TrustPolicy } from './trust-policy.js'
import { sha256, sha256Hex } from './web-crypto.js'

type BindingClaim = 'hostData' | 'ccePolicy.digest' | 'reportData' | 'runtimeData.keys' | 'nonce'

/** What ties policy, keys and the caller's nonce to the report. */
export async function appraiseBinding(
  evidence: EvidenceDocument,
  report: Read<SnpReport>,
  runtimeData: Read<RuntimeData>,
  trust: TrustPolicy,
  nonce: Uint8Array | undefined
): Promise<Outcomes<BindingClaim>> {
  return {
    hostData: appraiseHostData(report, trust),
    'ccePolicy.digest': await appraisePolicyDigest(evidence.ccePolicy, report),
    reportData: await appraiseReportData(evidence.runtimeData, report),
    'runtimeData.keys': noProblems(
      'the router\'s keys and no member "keys"',
      runtimeData.ok ? [] : [runtimeData.problem]
    ),
    nonce: appraiseNonce(runtimeData, trust, nonce)
  }
}

function appraiseHostData(report: Read<SnpReport>, trust: TrustPolicy): Outcome {
  const actual = report.ok ? encodeHex(report.value.hostData) : undefined
  if (trust.hostData === 'any') {
    const open = actual !== undefined && isOpenPolicy(actual)
    return notRequired(`the trust policy accepts any${open ? '; this is a policy known to allow everything' : ''}`)
  }
  if (actual === undefined) return mismatch('a readable report', report.ok ? '' : report.problem)
  return trust.hostData.some((digest) => digest === actual) ? match : mismatch(trust.hostData.join(' or '), actual)
}

async function appraisePolicyDigest(ccePolicy: Uint8Array | undefined, report: Read<SnpReport>): Promise<Outcome> {
  if (!report.ok) return mismatch('a readable report', report.problem)
  const expected = encodeHex(report.value.hostData)
  return ccePolicy === undefined ? mismatch(expected, 'missing') : equal(expected, await sha256Hex(ccePolicy))
}

/** REPORT_DATA is SHA-256 of the runtime data and 32 zero bytes. */
async function appraiseReportData(runtimeData: Uint8Array, report: Read<SnpReport>): Promise<Outcome> {
  if (!report.ok) return mismatch('a readable report', report.problem)
  return equal(await expectedReportData(runtimeData), encodeHex(report.value.reportData))
}

export async function expectedReportData(runtimeData: Uint8Array): Promise<string> {
  return encodeHex(await sha256(runtimeData)) + '00'.repeat(32)
}

/** A nonce that the caller gives is compared also where the trust policy would do without one. */
function appraiseNonce(runtimeData: Read<RuntimeData>, trust: TrustPolicy, nonce: Uint8Array | undefined): Outcome {
  if (nonce === undefined) {
    if (trust.nonce === 'required') return mismatch('a nonce that the caller chose', 'none was given to compare with')
    if (trust.maximumAgeSeconds !== 'any' && trust.maa === 'none') {
      // A report has no time: without token and nonce nothing could ever be too old.
      return mismatch(
        `an age of at most ${trust.maximumAgeSeconds} seconds`,
        'neither a token nor a nonce to tell the age'
      )
    }
    return notRequired('the trust policy accepts evidence without a nonce')
  }
  const expected = encodeHex(nonce)
  if (!runtimeData.ok) return mismatch(expected, runtimeData.problem)
  const actual = runtimeData.value.nonce
  return actual !== undefined && equalBytes(actual, nonce)
    ? match
    : mismatch(expected, actual === undefined ? 'missing' : encodeHex(actual))
}
