import { canonicalJson, isJsonObject, type Json, type JsonObject } from '../base/json.js'
import { appraiseHostData, expectedReportData } from './appraise-binding.js'
import { appraiseSvn } from './appraise-uvm.js'
import {
  all,
  attemptSync,
  equal,
  match,
  mismatch,
  noProblems,
  notRequired,
  type Outcome,
  type Outcomes,
  printable,
  type Read,
  shown
} from './check.js'
import type { EvidenceDocument } from './evidence.js'
import { type MaaKeySet, type MaaToken, tokenSignatureProblems } from './maa-token.js'
import { parseRuntimeJson } from './runtime-data.js'
import type { Statement } from './statement.js'
import type { MinimumTcb, Product, TcbVersion } from './tcb.js'
import type { TrustPolicy } from './trust-policy.js'
import { readSvn } from './uvm-endorsement.js'

const maaClaims = [
  'maa.signature',
  'maa.issuer',
  'maa.time',
  'maa.type',
  'maa.compliance',
  'maa.hostData',
  'maa.debug',
  'maa.vmpl',
  'maa.measurement',
  'maa.reportData',
  'maa.runtime'
] as const
type MaaClaim = (typeof maaClaims)[number]

/** How far the clocks of the caller and of the attestation provider may be apart, in seconds. */
const clockSkew = 60

const prefix = 'x-ms-sevsnpvm-'

export interface MaaInputs {
  readonly evidence: EvidenceDocument
  readonly token: Read<MaaToken>
  /** What the token is held against: the report, or the token itself where no report was asked for. */
  readonly guest: Statement
  /** What the processor can be. */
  readonly products: readonly Product[]
  readonly trust: TrustPolicy
  readonly keys: readonly MaaKeySet[]
  readonly now: Date
}

/**
 * The second path: what the attestation provider says. Where the report was checked already, claims which state
 * what is in it are compared with it; else they are held against the trust policy alone.
 */
export async function appraiseMaa(inputs: MaaInputs): Promise<Outcomes<MaaClaim>> {
  const { evidence, token, guest, trust } = inputs
  if (trust.maa === 'none') return all(maaClaims, () => notRequired('the trust policy relies on the report alone'))
  if (!token.ok || evidence.maa === undefined) {
    return all(maaClaims, () => mismatch('a readable token', token.ok ? 'missing' : token.problem))
  }
  const { endpoint } = evidence.maa
  const { claims } = token.value
  const text = (name: string): string => shown(claims[name])
  const keys = inputs.keys.find((candidate) => candidate.endpoint === endpoint)
  const reportData = await expectedReportData(evidence.runtimeData)
  return {
    'maa.signature': noProblems('an RS256 signature by the provider', await tokenSignatureProblems(token.value, keys)),
    'maa.issuer': appraiseIssuer(claims['iss'], endpoint, trust),
    'maa.time': appraiseTime(claims, trust, inputs.now),
    'maa.type': equal('"sevsnpvm"', text('x-ms-attestation-type')),
    'maa.compliance': appraiseCompliance(claims, inputs.products, trust),
    'maa.hostData': appraiseTokenHostData(claims, guest, trust),
    'maa.debug': appraiseGuestPolicy(claims, trust),
    'maa.vmpl':
      trust.vmpl === 'any'
        ? notRequired('the trust policy accepts any')
        : equal(`${trust.vmpl}`, text(`${prefix}vmpl`)),
    'maa.measurement': appraiseMeasurement(claims, guest, trust),
    'maa.reportData': equal(shown(reportData), text(`${prefix}reportdata`)),
    'maa.runtime': appraiseRuntime(claims['x-ms-runtime'], evidence.runtimeData)
  }
}

/** The issuer must be the endpoint whose keys were used, and that one must be trusted. */
function appraiseIssuer(issuer: Json | undefined, endpoint: string, trust: TrustPolicy): Outcome {
  if (issuer !== endpoint) return mismatch(shown(endpoint), shown(issuer))
  if (typeof trust.maa === 'string') return notRequired('the trust policy accepts any attestation provider')
  return trust.maa.endpoints.includes(issuer) ? match : mismatch(trust.maa.endpoints.join(' or '), shown(issuer))
}

function appraiseTime(claims: JsonObject, trust: TrustPolicy, now: Date): Outcome {
  const { iat, nbf, exp } = claims
  if (!isTime(iat) || !isTime(nbf) || !isTime(exp)) {
    return mismatch('iat, nbf and exp', `iat ${shown(iat)}, nbf ${shown(nbf)}, exp ${shown(exp)}`)
  }
  const seconds = now.getTime() / 1000
  const problems: string[] = []
  if (Math.max(iat, nbf) > seconds + clockSkew) problems.push(`not valid before ${instant(Math.max(iat, nbf))}`)
  if (exp <= seconds - clockSkew) problems.push(`expired at ${instant(exp)}`)
  if (trust.maximumAgeSeconds !== 'any' && seconds - iat > trust.maximumAgeSeconds + clockSkew) {
    problems.push(`${Math.floor(seconds - iat)} seconds old`)
  }
  const age = trust.maximumAgeSeconds === 'any' ? '' : ` and at most ${trust.maximumAgeSeconds} seconds old`
  return noProblems(`valid at ${now.toISOString()}${age}`, problems)
}

/** Compliance of the platform: the provider's verdict, and the patch levels that it saw. */
function appraiseCompliance(claims: JsonObject, products: readonly Product[], trust: TrustPolicy): Outcome {
  const problems: string[] = []
  const status = claims['x-ms-compliance-status']
  if (status !== 'azure-compliant-uvm') problems.push(`status ${shown(status)}`)
  if (trust.minimumTcb !== 'any') problems.push(...patchLevelProblems(claims, products, trust.minimumTcb))
  return noProblems('"azure-compliant-uvm" with patch levels of at least the minimum', problems)
}

/**
 * The token does not say of which product the processor is. Without a report all are candidates, and the levels must
 * reach the minimum of one of them.
 */
function patchLevelProblems(claims: JsonObject, products: readonly Product[], minimum: MinimumTcb): string[] {
  const candidates = products.map((product) => levelsBelow(claims, minimum[product]))
  if (candidates.length === 0) return ['patch levels of an unknown product']
  if (candidates.some((below) => below.length === 0)) return []
  return candidates.map((below, i) => `${products[i] ?? ''}: ${below.join(', ')}`)
}

function levelsBelow(claims: JsonObject, { bootloader, tee, snp, microcode }: TcbVersion): string[] {
  const minima = { 'bootloader-svn': bootloader, 'tee-svn': tee, 'snpfw-svn': snp, 'microcode-svn': microcode }
  return Object.entries(minima).flatMap(([name, minimum]) => {
    const level = claims[prefix + name]
    return typeof level === 'number' && level >= minimum ? [] : [`${name} ${shown(level)}, not at least ${minimum}`]
  })
}

function appraiseTokenHostData(claims: JsonObject, guest: Statement, trust: TrustPolicy): Outcome {
  if (!guest.hostData.ok) return mismatch(`a readable ${guest.part}`, guest.hostData.problem)
  return guest.part === 'token'
    ? appraiseHostData(guest, trust)
    : equal(shown(guest.hostData.value), shown(claims[`${prefix}hostdata`]))
}

/** Debugging and, beside it, migration: the provider reports both bits of the guest policy and judges neither. */
function appraiseGuestPolicy(claims: JsonObject, trust: TrustPolicy): Outcome {
  if (trust.debug === 'any' && trust.migration === 'any') return notRequired('the trust policy accepts any')
  const problems: string[] = []
  const forbid = (name: string): void => {
    if (claims[prefix + name] !== false) problems.push(`${name} ${shown(claims[prefix + name])}`)
  }
  if (trust.debug !== 'any') forbid('is-debuggable')
  if (trust.migration !== 'any') forbid('migration-allowed')
  return noProblems('false', problems)
}

/** The measurement, and that the endorsement which the provider saw is for it and by whom we trust. */
function appraiseMeasurement(claims: JsonObject, guest: Statement, trust: TrustPolicy): Outcome {
  if (!guest.measurement.ok) return mismatch(`a readable ${guest.part}`, guest.measurement.problem)
  const expected = guest.measurement.value
  const measurement = claims[`${prefix}launchmeasurement`]
  const problems = measurement === expected ? [] : [shown(measurement)]
  if (trust.uvm !== 'any') {
    const endorsement = objectOf(claims[`${prefix}uvm-endorsement`])
    const headers = objectOf(claims[`${prefix}uvm-endorsement-headers`])
    const endorsed = endorsement[`${prefix}launchmeasurement`]
    if (endorsed !== expected) problems.push(`endorsement for ${shown(endorsed)}`)
    if (headers['iss'] !== trust.uvm.issuer) problems.push(`endorsement by ${shown(headers['iss'])}`)
    if (headers['feed'] !== trust.uvm.feed) problems.push(`endorsement in feed ${shown(headers['feed'])}`)
    const stated = endorsement[`${prefix}guestsvn`]
    const svn = attemptSync(() => readSvn(stated))
    const outcome = appraiseSvn(svn.ok ? [svn.value] : [], trust.uvm.minimumSvn)
    if (outcome.outcome === 'mismatch') problems.push(`endorsement with SVN ${shown(stated)}, not ${outcome.expected}`)
  }
  return noProblems(`${expected}, endorsed`, problems)
}

/** The provider gives the parsed form back, so values are compared, not bytes. */
function appraiseRuntime(runtime: Json | undefined, runtimeData: Uint8Array): Outcome {
  const ours = attemptSync(() => canonicalJson(parseRuntimeJson(runtimeData)))
  if (!ours.ok) return mismatch('readable runtime data', ours.problem)
  if (runtime === undefined) return mismatch('the runtime data', 'missing')
  // JSON has numbers that are none: 1e999 is parsed as infinity.
  const theirs = attemptSync(() => canonicalJson(runtime))
  if (!theirs.ok) return mismatch('the runtime data', theirs.problem)
  if (ours.value === theirs.value) return match
  const place = firstDifference(ours.value, theirs.value)
  return mismatch(excerpt(ours.value, place), excerpt(theirs.value, place))
}

function firstDifference(a: string, b: string): number {
  let place = 0
  while (place < a.length && a[place] === b[place]) place++
  return place
}

/** Both texts are long and mostly equal: their beginnings alone would look the same. */
function excerpt(text: string, place: number): string {
  const start = Math.max(0, place - 60)
  return printable(`${start > 0 ? '...' : ''}${text.slice(start, place + 90)}`)
}

function objectOf(value: Json | undefined): JsonObject {
  return isJsonObject(value) ? value : {}
}

function isTime(value: Json | undefined): value is number {
  return typeof value === 'number' && Number.isFinite(value)
}

function instant(seconds: number): string {
  const time = new Date(seconds * 1000)
  return Number.isNaN(time.getTime()) ? `${seconds}` : time.toISOString()
}
