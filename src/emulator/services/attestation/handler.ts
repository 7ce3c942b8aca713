import { createHash, randomBytes } from 'node:crypto'
import { concatBytes, equalBytes } from '../../../base/bytes.js'
import type { Sha256Hex } from '../../../base/digest.js'
import { type EmulatorRequest, type EmulatorResponse, type Handler, notImplemented, ServiceError } from '../../http.js'
import type { Store } from '../../store.js'
import { tokenClaims } from './claims.js'
import { type GuestReport, parseGuestReport } from './report.js'
import { verifyReportSignature } from './report-signature.js'
import { parseAttestRequest, type AttestRequest } from './request.js'
import { openTokenSigner, type TokenSigner } from './token-signer.js'
import { type EndorsedUvm, verifyUvmEndorsement } from './uvm-endorsement.js'

export interface AttestationOptions {
  readonly store: Store
  /** The provider's resource name; its signing key is kept under it. */
  readonly name: string
  /** The provider's origin, `https://host[:port]` without a slash at the end; `iss` of its tokens. */
  readonly issuer: string
  readonly roots: {
    /** SHA-256 of the ARK certificates (DER) that count as hardware. */
    readonly arkSha256: readonly Sha256Hex[]
    /** did:x509 issuers that may endorse a utility VM. */
    readonly uvmIssuers: readonly string[]
  }
  readonly clock: () => Date
}

/**
 * One attestation provider (Microsoft Azure Attestation): verifies SEV-SNP evidence of a container
 * group and states what it says in a signed token. It has no mode in which it verifies less.
 */
export async function attestationHandler(options: AttestationOptions): Promise<Handler> {
  const signer = await openTokenSigner(options.store, options.name, options.clock())
  return async (request) => {
    try {
      const response = await route(request, options, signer)
      return { ...response, headers: responseHeaders() }
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error
      throw new ServiceError(error.status, error.code, error.message, { ...error.details, headers: responseHeaders() })
    }
  }
}

async function route(
  request: EmulatorRequest,
  options: AttestationOptions,
  signer: TokenSigner
): Promise<EmulatorResponse> {
  switch (`${request.method} ${request.path.toLowerCase()}`) {
    case 'POST /attest/sevsnpvm':
      requireApiVersion(request)
      return { status: 200, body: { token: await attest(request.body, options, signer) } }
    case 'GET /certs':
      return { status: 200, body: { keys: [signer.jwk] } }
    case 'GET /.well-known/openid-configuration':
      return { status: 200, body: openIdConfiguration(options.issuer) }
    default:
      throw notImplemented(request)
  }
}

async function attest(body: Uint8Array, options: AttestationOptions, signer: TokenSigner): Promise<string> {
  const request = parseAttestRequest(body)
  const now = options.clock()
  const { report, uvm } = verifyEvidence(request, options.roots, now)
  return signer.sign(tokenClaims(options.issuer, now, request, report, uvm), `${options.issuer}/certs`)
}

/** Everything that a token vouches for; a failure of any kind is `AttestationFailed`. */
function verifyEvidence(
  request: AttestRequest,
  roots: AttestationOptions['roots'],
  now: Date
): { report: GuestReport; uvm: EndorsedUvm } {
  try {
    const report = parseGuestReport(request.report)
    verifyReportSignature(report, request.certificatesPem, roots.arkSha256, now)
    requireRuntimeData(report, request.runtimeData)
    return { report, uvm: verifyUvmEndorsement(request.uvmEndorsement, report.measurement, roots.uvmIssuers) }
  } catch (error) {
    // The verifiers throw TypeError; so does node:crypto, with an Error of its own for odd certificates.
    const reason = error instanceof TypeError ? error.message : 'the evidence is malformed'
    throw new ServiceError(400, 'AttestationFailed', `Attestation failed: ${reason}.`)
  }
}

/** REPORT_DATA is SHA-256 of the runtime data, then 32 zero bytes. */
function requireRuntimeData(report: GuestReport, runtimeData: Uint8Array): void {
  const expected = concatBytes(createHash('sha256').update(runtimeData).digest(), new Uint8Array(32))
  if (!equalBytes(report.reportData, expected)) throw new TypeError('the report is not about this runtime data')
}

const apiVersions = ['2020-10-01', '2022-08-01', '2025-06-01']

function requireApiVersion(request: EmulatorRequest): void {
  const version = request.query.get('api-version')
  if (version === null || !apiVersions.includes(version)) {
    throw new ServiceError(400, 'InvalidParameter', `The api-version must be one of ${apiVersions.join(', ')}.`)
  }
}

function openIdConfiguration(issuer: string): Record<string, unknown> {
  return {
    response_types_supported: ['token', 'none'],
    id_token_signing_alg_values_supported: ['RS256'],
    revocation_endpoint: `${issuer}/revoke`,
    issuer,
    jwks_uri: `${issuer}/certs`,
    claims_supported: ['exp', 'iat', 'iss', 'jti', 'nbf', 'x-ms-attestation-type', 'x-ms-policy-hash', 'x-ms-runtime']
  }
}

function responseHeaders(): Record<string, string> {
  return {
    'x-ms-request-id': `00-${randomBytes(16).toString('hex')}-${randomBytes(8).toString('hex')}-01`,
    'x-ms-maa-service-version': '1.10.0.0-emulated',
    'strict-transport-security': 'max-age=31536000; includeSubDomains'
  }
}
