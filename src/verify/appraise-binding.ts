import { equalBytes } from '../base/bytes.js'
import { encodeBase64Url, encodeHex } from '../base/encoding.js'
import { anyOf, compared, equal, mismatch, notRequired, type Outcome, type Outcomes, type Read } from './check.js'
import type { EvidenceDocument } from './evidence.js'
import type { RuntimeData } from './runtime-data.js'
import type { Statement } from './statement.js'
import { isOpenPolicy, type TrustPolicy } from './trust-policy.js'
import { sha256, sha256Hex } from './web-crypto.js'

type BindingClaim = 'hostData' | 'ccePolicy.digest' | 'reportData' | 'runtimeData.keys' | 'nonce'

/** What ties policy, keys and the caller's nonce to what was signed about the guest. */
export async function appraiseBinding(
  evidence: EvidenceDocument,
  guest: Statement,
  runtimeData: Read<RuntimeData>,
  trust: TrustPolicy,
  nonce: Uint8Array | undefined
): Promise<Outcomes<BindingClaim>> {
  return {
    hostData: appraiseHostData(guest, trust),
    'ccePolicy.digest': await appraisePolicyDigest(evidence.ccePolicy, guest),
    reportData: await appraiseReportData(evidence.runtimeData, guest),
    'runtimeData.keys': compared(
      runtimeData.ok,
      'the router\'s keys and no member "keys"',
      runtimeData.ok ? describeKeys(runtimeData.value) : runtimeData.problem
    ),
    nonce: appraiseNonce(runtimeData, trust, nonce)
  }
}

/** Whether HOST_DATA is one that the trust policy accepts. */
export function appraiseHostData({ hostData, part }: Statement, trust: TrustPolicy): Outcome {
  const warning = hostData.ok && isOpenPolicy(hostData.value) ? 'this is a policy known to allow everything' : undefined
  if (trust.hostData === 'any') {
    return notRequired(`the trust policy accepts any${warning === undefined ? '' : `; ${warning}`}`)
  }
  if (!hostData.ok) return mismatch(`a readable ${part}`, hostData.problem)
  const isAccepted = trust.hostData.some((digest) => digest === hostData.value)
  const outcome = compared(isAccepted, anyOf(trust.hostData), hostData.value)
  return outcome.outcome === 'match' && warning !== undefined ? { ...outcome, warning } : outcome
}

function describeKeys({ rsa, hpke, ed25519 }: RuntimeData): string {
  return `RSA ${rsa.kid}, X25519 ${encodeBase64Url(hpke)}, Ed25519 ${encodeBase64Url(ed25519)}`
}

async function appraisePolicyDigest(ccePolicy: Uint8Array | undefined, guest: Statement): Promise<Outcome> {
  const { hostData, part } = guest
  if (!hostData.ok) return mismatch(`a readable ${part}`, hostData.problem)
  return ccePolicy === undefined
    ? mismatch(hostData.value, 'missing')
    : equal(hostData.value, await sha256Hex(ccePolicy))
}

/** REPORT_DATA is SHA-256 of the runtime data and 32 zero bytes. */
async function appraiseReportData(runtimeData: Uint8Array, { reportData, part }: Statement): Promise<Outcome> {
  if (!reportData.ok) return mismatch(`a readable ${part}`, reportData.problem)
  return equal(await expectedReportData(runtimeData), reportData.value)
}

export async function expectedReportData(runtimeData: Uint8Array): Promise<string> {
  return encodeHex(await sha256(runtimeData)) + '00'.repeat(32)
}

/** A nonce that the caller gives is compared also where the trust policy would do without one. */
function appraiseNonce(runtimeData: Read<RuntimeData>, trust: TrustPolicy, nonce: Uint8Array | undefined): Outcome {
  if (nonce === undefined) {
    if (trust.nonce === 'required') return mismatch('a nonce that the caller chose', 'this verification was given none')
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
  if (actual === undefined) return mismatch(expected, 'missing')
  return compared(equalBytes(actual, nonce), expected, encodeHex(actual))
}
