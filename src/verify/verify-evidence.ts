import type { Sha256Hex } from '../base/digest.js'
import { encodeHex } from '../base/encoding.js'
import { isJsonObject } from '../base/json.js'
import { productOfAmdArk } from './amd-roots.js'
import { appraiseBinding } from './appraise-binding.js'
import { appraiseHardware } from './appraise-hardware.js'
import { appraiseMaa } from './appraise-maa.js'
import { appraiseUvm } from './appraise-uvm.js'
import { parsePemCertificates } from './certificate.js'
import { attempt, type Check, claims, type Outcomes, type Read } from './check.js'
import { VerifyError } from './errors.js'
import type { EvidenceDocument } from './evidence.js'
import { type MaaKeySet, type MaaToken, parseMaaToken } from './maa-token.js'
import { readRuntimeData, type RouterRsaKey } from './runtime-data.js'
import { parseReport } from './snp-report.js'
import { readTrustPolicy, type TrustPolicy } from './trust-policy.js'
import { parseUvmEndorsement, type UvmEndorsement } from './uvm-endorsement.js'
import { productOf, type VcekChain, vcekChain } from './vcek.js'
import { sha256Hex } from './web-crypto.js'

declare const verified: unique symbol

/**
 * Keys of a router that passed every check that the trust policy demands. {@link verifyEvidence} is
 * the only source of this type, and there is no other way to a key.
 */
export interface VerifiedEvidence {
  readonly [verified]: true
  readonly rsa: RouterRsaKey
  /** RFC 7638, SHA-256, base64url. */
  readonly rsaThumbprint: string
  /** X25519 public key, 32 bytes. */
  readonly hpke: Uint8Array
  /** Ed25519 public key, 32 bytes. */
  readonly ed25519: Uint8Array
  /** The nonce in the evidence, if there is one. */
  readonly nonce: Uint8Array | undefined
  readonly hostData: Sha256Hex
  /** SHA-256 of the SubjectPublicKeyInfo of the TLS key, if the router binds one. */
  readonly tls: Sha256Hex | undefined
}

/**
 * `simulated` is true unless the chain ends in one of AMD's three roots: then no hardware protects
 * anything, whatever the verdict. `checks` has all claims, in the order of {@link claims}.
 */
export type Verdict =
  | {
      readonly verdict: 'trusted'
      readonly simulated: boolean
      readonly checks: readonly Check[]
      readonly evidence: VerifiedEvidence
    }
  | { readonly verdict: 'rejected'; readonly simulated: boolean; readonly checks: readonly Check[] }

export interface VerifyInputs {
  readonly now: Date
  /** What the caller sent to the router, 16 to 64 bytes. */
  readonly nonce?: Uint8Array | undefined
  /** Keys of attestation providers, fetched by the caller over TLS from the endpoints that it trusts. */
  readonly maaKeys?: readonly MaaKeySet[] | undefined
}

/**
 * Verifies and appraises evidence: hardware report and attestation token, each on its own path, and
 * that both are about one guest and about the keys in the runtime data. Every claim is decided, so that
 * one run shows every difference.
 *
 * Needs no network and no clock. Wrong evidence is a verdict and not an exception. A {@link VerifyError}
 * says that an argument is no such thing: `evidence.unreadable` for what {@link parseEvidence} did not
 * return, `trust.invalid` for a policy with a field that is not decided.
 */
export async function verifyEvidence(
  evidence: EvidenceDocument,
  trustPolicy: TrustPolicy,
  inputs: VerifyInputs
): Promise<Verdict> {
  checkArguments(evidence, inputs)
  // Callers without types build policies by hand: a field that is missing must not pass as decided.
  const trust = readTrustPolicy(trustPolicy)
  const report = await attempt(() => parseReport(evidence.snp.report))
  const chain = await attempt(() => vcekChain(parsePemCertificates(evidence.snp.certificates, 'certificates')))
  const endorsement = await attempt(() => readEndorsement(evidence))
  const runtimeData = await attempt(() => readRuntimeData(evidence.runtimeData))
  const token = await attempt(() => readToken(evidence))
  const product = await attempt(() => (report.ok && chain.ok ? productOf(report.value, chain.value.vcek) : undefined))

  const outcomes: Outcomes = {
    ...(await appraiseHardware(report, chain, trust, inputs.now)),
    ...(await appraiseUvm(endorsement, report, trust)),
    ...(await appraiseBinding(evidence, report, runtimeData, trust, inputs.nonce)),
    ...(await appraiseMaa({
      evidence,
      token,
      report,
      product: product.ok ? product.value : undefined,
      trust,
      keys: inputs.maaKeys ?? [],
      now: inputs.now
    }))
  }
  const checks = claims.map((claim): Check => ({ claim, ...outcomes[claim] }))
  const simulated = await isSimulated(chain)
  if (checks.some(({ outcome }) => outcome === 'mismatch') || !runtimeData.ok || !report.ok) {
    return { verdict: 'rejected', simulated, checks }
  }
  const { rsa, hpke, ed25519, nonce, tls } = runtimeData.value
  const hostData = encodeHex(report.value.hostData)
  const keys = { rsa, rsaThumbprint: rsa.kid, hpke, ed25519, nonce, hostData, tls }
  return { verdict: 'trusted', simulated, checks, evidence: keys as unknown as VerifiedEvidence }
}

function readEndorsement({ snp }: EvidenceDocument): UvmEndorsement {
  if (snp.uvmEndorsements === undefined) throw new TypeError('missing')
  return parseUvmEndorsement(snp.uvmEndorsements)
}

function readToken({ maa }: EvidenceDocument): MaaToken {
  if (maa === undefined) throw new TypeError('missing')
  return parseMaaToken(maa.token)
}

async function isSimulated(chain: Read<VcekChain>): Promise<boolean> {
  return !chain.ok || productOfAmdArk(await sha256Hex(chain.value.ark.der)) === undefined
}

/** For callers without types: a document whose base64 nobody decoded, or a clock that says nothing. */
function checkArguments(evidence: unknown, inputs: unknown): void {
  const problems = [...problemsOfEvidence(evidence), ...problemsOfInputs(inputs)]
  if (problems.length > 0) throw new VerifyError('evidence.unreadable', 'evidence cannot be read', problems)
}

function* problemsOfEvidence(evidence: unknown): Generator<string> {
  if (!isJsonObject(evidence) || !isJsonObject(evidence.snp)) {
    yield 'it is not what parseEvidence returns'
    return
  }
  const { runtimeData, snp, ccePolicy, maa } = evidence
  const bytes = [runtimeData, snp.report, ...[snp.uvmEndorsements, ccePolicy].filter((part) => part !== undefined)]
  if (!bytes.every(isBytes)) yield 'its parts are not bytes'
  if (typeof snp.certificates !== 'string') yield 'its certificates are not a text'
  if (maa === undefined) return
  if (!isJsonObject(maa) || typeof maa.endpoint !== 'string' || typeof maa.token !== 'string') {
    yield 'its token and endpoint are not texts'
  }
}

function* problemsOfInputs(inputs: unknown): Generator<string> {
  if (!isJsonObject(inputs)) {
    yield 'the inputs of the verification are missing'
    return
  }
  const { now, nonce, maaKeys }: { readonly [name: string]: unknown } = inputs
  if (!(now instanceof Date) || Number.isNaN(now.getTime())) yield 'the time of verification is not a time'
  if (nonce !== undefined && (!isBytes(nonce) || nonce.length < 16 || nonce.length > 64)) {
    yield 'the nonce is not 16 to 64 bytes'
  }
  if (maaKeys !== undefined && !Array.isArray(maaKeys)) yield 'the keys of attestation providers are not a list'
}

const isBytes = (value: unknown): value is Uint8Array => value instanceof Uint8Array
