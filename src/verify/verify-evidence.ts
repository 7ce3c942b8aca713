import type { Sha256Hex } from '../base/digest.js'
import { isJsonObject } from '../base/json.js'
import { productOfAmdArk } from './amd-roots.js'
import { appraiseBinding } from './appraise-binding.js'
import { appraiseHardware, hardwareClaims } from './appraise-hardware.js'
import { appraiseMaa, type MaaClaim } from './appraise-maa.js'
import { appraiseUvm, uvmClaims } from './appraise-uvm.js'
import { parsePemCertificates } from './certificate.js'
import { all, attempt, type Check, claims, notRequired, type Outcomes, type Read } from './check.js'
import { isBytes } from './cbor.js'
import { VerifyError } from './errors.js'
import type { EvidenceDocument } from './evidence.js'
import { isAzureAttestation, type MaaKeySet, type MaaToken, parseMaaToken } from './maa-token.js'
import { readRuntimeData, type RouterRsaKey, type RuntimeData } from './runtime-data.js'
import { parseReport, type SnpReport } from './snp-report.js'
import { type Statement, statementOfReport, statementOfToken } from './statement.js'
import { type Product, products as allProducts } from './tcb.js'
import { readTrustPolicy, requireNamedProviders, type TrustPolicy } from './trust-policy.js'
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
 * anything, whatever the verdict. Where only the token was asked for there is no chain to tell by, and it is true
 * unless the token is signed by its issuer, and that is Azure's attestation service ({@link isAzureAttestation}).
 * `checks` has all claims, in the order of {@link claims}.
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
  /**
   * `'both'` if left out: report and token, and that they agree (the report alone is the trust policy's `maa: 'none'`).
   *
   * `'maa'` believes the token's word for everything that the report would prove: no chain, no report and no
   * endorsement is looked at, and the minimum TCB is that of whichever product suits the token. A provider can be
   * anybody's, with a policy of the owner's that decides what the token says, so the trust policy must name the
   * providers, and whoever writes it must have chosen them: a name taken from the evidence proves nothing.
   */
  readonly via?: 'both' | 'maa' | undefined
}

/**
 * Verifies and appraises evidence: hardware report and attestation token, each on its own path, and
 * that both are about one guest and about the keys in the runtime data. Every claim is decided, so that
 * one run shows every difference.
 *
 * Needs no network and no clock. Wrong evidence is a verdict and not an exception. A {@link VerifyError}
 * says that an argument is no such thing: `evidence.unreadable` for what {@link parseEvidence} did not
 * return and for inputs of another form, `trust.invalid` for a policy with a field that is not decided, or that
 * names no attestation provider where only the token was asked for.
 */
export async function verifyEvidence(
  evidenceDocument: EvidenceDocument,
  trustPolicy: TrustPolicy,
  verifyInputs: VerifyInputs
): Promise<Verdict> {
  requireWebCrypto()
  checkArguments(evidenceDocument, verifyInputs)
  const { evidence, inputs } = copyOf(evidenceDocument, verifyInputs)
  // Callers without types build policies by hand: a field that is missing must not pass as decided.
  const trust = readTrustPolicy(trustPolicy)
  const runtimeData = await attempt(() => readRuntimeData(evidence.runtimeData))
  const token = await attempt(() => readToken(evidence))
  const first = inputs.via === 'maa' ? relyOnToken(token, trust) : await appraiseReport(evidence, trust, inputs.now)
  const { guest, products } = first
  const maa = await appraiseMaa({
    evidence,
    token,
    guest,
    products,
    trust,
    keys: inputs.maaKeys ?? [],
    now: inputs.now
  })
  const outcomes: Outcomes = {
    ...first.outcomes,
    ...(await appraiseBinding(evidence, guest, runtimeData, trust, inputs.nonce)),
    ...maa
  }
  const checks = claims.map((claim): Check => ({ claim, ...outcomes[claim] }))
  return verdictOf(checks, guest, first.isSimulated(maa), runtimeData)
}

/** Without it every signature would look like a wrong one. */
function requireWebCrypto(): void {
  const { subtle }: Partial<Crypto> = typeof crypto === 'undefined' ? {} : crypto
  if (subtle !== undefined) return
  throw new VerifyError('verify.unsupported', 'nothing can be verified here', [
    'there is no WebCrypto; a page has it only if it came over https or from this machine'
  ])
}

/**
 * The caller's bytes are his own, and he may change them while this waits: what is checked and what is used must be
 * the same.
 */
function copyOf(
  { snp, ...evidence }: EvidenceDocument,
  { now, nonce, ...inputs }: VerifyInputs
): { readonly evidence: EvidenceDocument; readonly inputs: VerifyInputs } {
  return {
    evidence: {
      ...evidence,
      runtimeData: Uint8Array.from(evidence.runtimeData),
      ccePolicy: evidence.ccePolicy && Uint8Array.from(evidence.ccePolicy),
      maa: evidence.maa && { ...evidence.maa },
      snp: {
        ...snp,
        report: Uint8Array.from(snp.report),
        uvmEndorsements: snp.uvmEndorsements && Uint8Array.from(snp.uvmEndorsements)
      }
    },
    inputs: { ...inputs, now: new Date(now), nonce: nonce && Uint8Array.from(nonce) }
  }
}

/** What the first path decided, and what it leaves for the claims that follow. */
interface FirstPath {
  readonly outcomes: Outcomes<(typeof hardwareClaims)[number] | (typeof uvmClaims)[number]>
  readonly guest: Statement
  readonly products: readonly Product[]
  /** Where there is no chain to tell by, what the second path says of the token decides. */
  readonly isSimulated: (maa: Outcomes<MaaClaim>) => boolean
}

async function appraiseReport(evidence: EvidenceDocument, trust: TrustPolicy, now: Date): Promise<FirstPath> {
  const report = await attempt(() => parseReport(evidence.snp.report))
  const chain = await attempt(() => vcekChain(parsePemCertificates(evidence.snp.certificates, 'certificates')))
  const endorsement = await attempt(() => readEndorsement(evidence))
  const hardware = await appraiseHardware(report, chain, trust, now)
  // AMD's certificate is public: it says something only of a report that is signed under it.
  const isOfAmd = chain.ok && productOfAmdArk(await sha256Hex(chain.value.ark.der)) !== undefined
  const isSigned = hardware['vcek.chain'].outcome === 'match' && hardware['report.signature'].outcome === 'match'
  return {
    outcomes: { ...hardware, ...(await appraiseUvm(endorsement, report, trust)) },
    guest: statementOfReport(report),
    products: await productsOf(report, chain),
    isSimulated: () => !isOfAmd || !isSigned
  }
}

function relyOnToken(token: Read<MaaToken>, trust: TrustPolicy): FirstPath {
  requireNamedProviders(trust)
  return {
    outcomes: all([...hardwareClaims, ...uvmClaims], () => notRequired('only the token was asked for')),
    guest: statementOfToken(token),
    products: allProducts,
    // Anybody can write Azure's name into a token: it says something only of one that Azure has signed.
    isSimulated: (maa) =>
      !token.ok ||
      !isAzureAttestation(token.value.claims['iss']) ||
      maa['maa.signature'].outcome !== 'match' ||
      maa['maa.issuer'].outcome !== 'match'
  }
}

function verdictOf(
  checks: readonly Check[],
  { hostData }: Statement,
  simulated: boolean,
  runtimeData: Read<RuntimeData>
): Verdict {
  if (checks.some(({ outcome }) => outcome === 'mismatch') || !runtimeData.ok || !hostData.ok) {
    return { verdict: 'rejected', simulated, checks }
  }
  const { rsa, hpke, ed25519, nonce, tls } = runtimeData.value
  const keys = { rsa, rsaThumbprint: rsa.kid, hpke, ed25519, nonce, hostData: hostData.value, tls }
  return { verdict: 'trusted', simulated, checks, evidence: keys as unknown as VerifiedEvidence }
}

async function productsOf(report: Read<SnpReport>, chain: Read<VcekChain>): Promise<readonly Product[]> {
  const product = await attempt(() => (report.ok && chain.ok ? productOf(report.value, chain.value.vcek) : undefined))
  return product.ok && product.value !== undefined ? [product.value] : []
}

function readEndorsement({ snp }: EvidenceDocument): UvmEndorsement {
  if (snp.uvmEndorsements === undefined) throw new TypeError('missing')
  return parseUvmEndorsement(snp.uvmEndorsements)
}

function readToken({ maa }: EvidenceDocument): MaaToken {
  if (maa === undefined) throw new TypeError('missing')
  return parseMaaToken(maa.token)
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
  const { now, nonce, maaKeys, via }: { readonly [name: string]: unknown } = inputs
  if (!(now instanceof Date) || Number.isNaN(now.getTime())) yield 'the time of verification is not a time'
  if (nonce !== undefined && (!isBytes(nonce) || nonce.length < 16 || nonce.length > 64)) {
    yield 'the nonce is not 16 to 64 bytes'
  }
  if (maaKeys !== undefined && !(Array.isArray(maaKeys) && maaKeys.every(isJsonObject))) {
    yield 'the keys of attestation providers are not a list of key sets'
  }
  if (via !== undefined && via !== 'both' && via !== 'maa') yield 'the path is neither "both" nor "maa"'
}
