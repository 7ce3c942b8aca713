import { createHash, randomBytes } from 'node:crypto'
import { encodeBase64Url, encodeHex, utf8 } from '../../../base/encoding.js'
import type { AttestRequest } from './request.js'
import type { GuestReport } from './report.js'
import type { EndorsedUvm } from './uvm-endorsement.js'

const lifetimeSeconds = 8 * 60 * 60

/** The provider's own policy: it permits everything that verifies and adds no claims. */
const attestationPolicy = 'version=1.0; authorizationrules{=>permit();}; issuancerules{};'

/**
 * The claims of a token for a container group, by the names that Azure uses. Debug, VMPL and host
 * data are stated and not judged: that is what the key's release policy is for.
 */
export function tokenClaims(
  issuer: string,
  now: Date,
  request: AttestRequest,
  report: GuestReport,
  uvm: EndorsedUvm
): Record<string, unknown> {
  const issuedAt = Math.floor(now.getTime() / 1000)
  return {
    exp: issuedAt + lifetimeSeconds,
    iat: issuedAt,
    iss: issuer,
    jti: randomBytes(32).toString('hex'),
    nbf: issuedAt,
    ...(request.nonce === undefined ? {} : { nonce: request.nonce }),
    'x-ms-attestation-type': 'sevsnpvm',
    'x-ms-compliance-status': 'azure-compliant-uvm',
    'x-ms-policy-hash': createHash('sha256')
      .update(encodeBase64Url(utf8.encode(attestationPolicy)))
      .digest('base64url'),
    'x-ms-runtime': request.runtime,
    'x-ms-sevsnpvm-authorkeydigest': encodeHex(report.authorKeyDigest),
    'x-ms-sevsnpvm-bootloader-svn': report.reportedTcb.bootloader,
    'x-ms-sevsnpvm-familyId': encodeHex(report.familyId),
    'x-ms-sevsnpvm-guestsvn': report.guestSvn,
    'x-ms-sevsnpvm-hostdata': encodeHex(report.hostData),
    'x-ms-sevsnpvm-idkeydigest': encodeHex(report.idKeyDigest),
    'x-ms-sevsnpvm-imageId': encodeHex(report.imageId),
    'x-ms-sevsnpvm-is-debuggable': report.policy.debug,
    'x-ms-sevsnpvm-launchmeasurement': encodeHex(report.measurement),
    'x-ms-sevsnpvm-microcode-svn': report.reportedTcb.microcode,
    'x-ms-sevsnpvm-migration-allowed': report.policy.migration,
    'x-ms-sevsnpvm-reportdata': encodeHex(report.reportData),
    'x-ms-sevsnpvm-reportid': encodeHex(report.reportId),
    'x-ms-sevsnpvm-smt-allowed': report.policy.smt,
    'x-ms-sevsnpvm-snpfw-svn': report.reportedTcb.snp,
    'x-ms-sevsnpvm-tee-svn': report.reportedTcb.tee,
    'x-ms-sevsnpvm-uvm-endorsement': {
      'x-ms-sevsnpvm-guestsvn': uvm.guestSvn,
      'x-ms-sevsnpvm-launchmeasurement': uvm.launchMeasurement
    },
    'x-ms-sevsnpvm-uvm-endorsement-headers': { feed: uvm.feed, iss: uvm.issuer },
    'x-ms-sevsnpvm-vmpl': report.vmpl,
    'x-ms-ver': '1.0'
  }
}
