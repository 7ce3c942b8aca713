import { encodeHex } from '../base/encoding.js'
import {
  all,
  attempt,
  claimsUnder,
  compared,
  equal,
  mismatch,
  noProblems,
  notRequired,
  type Outcome,
  type Outcomes,
  type Read,
  shown
} from './check.js'
import { didX509Problems, parseDidX509 } from './did-x509.js'
import type { SnpReport } from './snp-report.js'
import type { TrustPolicy, UvmTrust } from './trust-policy.js'
import { endorsementProblems, type UvmEndorsement } from './uvm-endorsement.js'
import { describeScheme, sha256Hex } from './web-crypto.js'

export const uvmClaims = claimsUnder('uvm')
type UvmClaim = (typeof uvmClaims)[number]

/** Whether the measured utility VM is one that its maker signed. */
export async function appraiseUvm(
  endorsement: Read<UvmEndorsement>,
  report: Read<SnpReport>,
  trust: TrustPolicy
): Promise<Outcomes<UvmClaim>> {
  if (trust.uvm === 'any') return all(uvmClaims, () => notRequired('the trust policy accepts any utility VM'))
  if (!endorsement.ok) return all(uvmClaims, () => mismatch('a readable UVM endorsement', endorsement.problem))
  const { feed, launchMeasurement } = endorsement.value
  return {
    'uvm.signature': noProblems(
      'a valid signature and chain',
      await describeSigner(endorsement.value),
      await endorsementProblems(endorsement.value)
    ),
    'uvm.issuer': await appraiseIssuer(endorsement.value, trust.uvm),
    'uvm.feed': compared(feed === trust.uvm.feed, shown(trust.uvm.feed), shown(feed)),
    'uvm.svn': appraiseSvn(endorsement.value.svns, trust.uvm.minimumSvn),
    'uvm.measurement': report.ok
      ? equal(encodeHex(report.value.measurement), launchMeasurement)
      : mismatch('a readable report', report.problem)
  }
}

/** An SVN that is stated twice must be enough both times, and one must be stated. */
export function appraiseSvn(svns: readonly number[], minimum: number): Outcome {
  const enough = svns.length > 0 && svns.every((svn) => svn >= minimum)
  return compared(enough, `at least ${minimum}`, svns.join(', ') || 'missing')
}

async function describeSigner({ algorithm, chain, signedAt }: UvmEndorsement): Promise<string> {
  const [leaf] = chain
  const fingerprint = leaf === undefined ? 'missing' : await sha256Hex(leaf.der)
  const time = signedAt === undefined ? 'at a time that is not stated' : `at ${signedAt.toISOString()}`
  return `${describeScheme(algorithm)} ${time}, by the certificate with SHA-256 ${fingerprint}`
}

async function appraiseIssuer({ issuer, chain }: UvmEndorsement, trust: UvmTrust): Promise<Outcome> {
  if (issuer !== trust.issuer) return mismatch(trust.issuer, shown(issuer))
  const did = parseDidX509(trust.issuer)
  if (did === undefined) return mismatch('a did:x509 issuer with eku policies', shown(trust.issuer))
  const checked = await attempt(() => didX509Problems(did, chain))
  return noProblems(`a chain of ${trust.issuer}`, issuer, checked.ok ? checked.value : [checked.problem])
}
