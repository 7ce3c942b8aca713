import { utf8 } from '../base/encoding.js'
import { canonicalJson, isJsonObject, type Json, type JsonObject } from '../base/json.js'
import { appraiseHostData, expectedReportData } from './appraise-binding.js'
import { appraiseSvn } from './appraise-uvm.js'
import {
  all,
  anyOf,
  attemptSync,
  claimsUnder,
  compared,
  equal,
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
import { type MaaKeySet, type MaaToken, signerOf } from './maa-token.js'
import { parseRuntimeJson } from './runtime-data.js'
import type { Statement } from './statement.js'
import type { MinimumTcb, Product, TcbVersion } from './tcb.js'
import type { TrustPolicy } from './trust-policy.js'
import { readSvn } from './uvm-endorsement.js'
import { sha256Hex } from './web-crypto.js'

const maaClaims = claimsUnder('maa')
export type MaaClaim = (typeof maaClaims)[number]

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
    'maa.signature': appraiseSignature(await signerOf(token.value, keys)),
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
    'maa.runtime': await appraiseRuntime(claims['x-ms-runtime'], evidence.runtimeData)
  }
}

function appraiseSignature(signer: Read<string>): Outcome {
  return compared(signer.ok, 'an RS256 signature by the provider', signer.ok ? signer.value : signer.problem)
}

/** The issuer must be the endpoint whose keys were used, and that one must be trusted. */
function appraiseIssuer(issuer: Json | undefined, endpoint: string, { maa }: TrustPolicy): Outcome {
  const accepted = typeof maa === 'string' ? 'any provider' : anyOf(maa.endpoints)
  const actual = typeof issuer === 'string' ? printable(issuer) : shown(issuer)
  if (issuer !== endpoint) {
    return mismatch(`${accepted}, the one that the evidence names`, `${actual}, where it names ${printable(endpoint)}`)
  }
  if (typeof maa === 'string') return notRequired('the trust policy accepts any attestation provider')
  return compared(maa.endpoints.includes(issuer), accepted, actual)
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
  const actual = `issued at ${instant(iat)}, valid from ${instant(nbf)} to ${instant(exp)}`
  return noProblems(`valid at ${now.toISOString()}${age}`, actual, problems)
}

/** Compliance of the platform: the provider's verdict, and the patch levels that it saw. */
function appraiseCompliance(claims: JsonObject, products: readonly Product[], trust: TrustPolicy): Outcome {
  const problems: string[] = []
  const status = claims['x-ms-compliance-status']
  if (status !== 'azure-compliant-uvm') problems.push(`status ${shown(status)}`)
  if (trust.minimumTcb === 'any') return noProblems('"azure-compliant-uvm"', shown(status), problems)
  const candidates = candidatesOf(products, trust.minimumTcb)
  problems.push(...patchLevelProblems(claims, candidates, trust.minimumTcb))
  return noProblems(
    `"azure-compliant-uvm", at least ${describeMinima(candidates, trust.minimumTcb)}`,
    [shown(status), ...levelNames.map(([name]) => `${name} ${shown(claims[prefix + name])}`)].join(', '),
    problems
  )
}

/**
 * Where the product is not known, one whose minimum is zero throughout would let every level pass in the name of the
 * others. Only where all are zero does the trust policy mean just that.
 */
function candidatesOf(products: readonly Product[], minimum: MinimumTcb): readonly Product[] {
  if (products.length < 2) return products
  const demanding = products.filter((product) => Object.values(minimum[product]).some((level) => level > 0))
  return demanding.length === 0 ? products : demanding
}

/** What the token has of a TCB version, under its own names. */
const levelNames = [
  ['bootloader-svn', 'bootloader'],
  ['tee-svn', 'tee'],
  ['snpfw-svn', 'snp'],
  ['microcode-svn', 'microcode']
] as const

function describeMinima(products: readonly Product[], minimum: MinimumTcb): string {
  const minima = products.map((product) => {
    return `${product}: ${levelNames.map(([name, level]) => `${name} ${minimum[product][level]}`).join(', ')}`
  })
  return minima.join(' or ') || 'the minimum of its product'
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

function levelsBelow(claims: JsonObject, minima: TcbVersion): string[] {
  return levelNames.flatMap(([name, of]) => {
    const level = claims[prefix + name]
    const minimum = minima[of]
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
  const names = [
    ...(trust.debug === 'any' ? [] : ['is-debuggable']),
    ...(trust.migration === 'any' ? [] : ['migration-allowed'])
  ]
  const list = (valueOf: (name: string) => Json | undefined): string =>
    names.map((name) => `${name} ${shown(valueOf(name))}`).join(', ')
  return equal(
    list(() => false),
    list((name) => claims[prefix + name])
  )
}

/** The measurement, and that the endorsement which the provider saw is for it and by whom we trust. */
function appraiseMeasurement(claims: JsonObject, guest: Statement, trust: TrustPolicy): Outcome {
  if (!guest.measurement.ok) return mismatch(`a readable ${guest.part}`, guest.measurement.problem)
  const expected = guest.measurement.value
  // Held against itself it would match whatever it is.
  if (trust.uvm === 'any' && guest.part === 'token') return notRequired('the trust policy accepts any utility VM')
  const measurement = claims[`${prefix}launchmeasurement`]
  const problems = measurement === expected ? [] : [shown(measurement)]
  if (trust.uvm === 'any') return noProblems(shown(expected), shown(measurement), problems)
  const endorsement = objectOf(claims[`${prefix}uvm-endorsement`])
  const { iss, feed } = objectOf(claims[`${prefix}uvm-endorsement-headers`])
  const endorsed = endorsement[`${prefix}launchmeasurement`]
  if (endorsed !== expected) problems.push(`endorsement for ${shown(endorsed)}`)
  if (iss !== trust.uvm.issuer) problems.push(`endorsement by ${shown(iss)}`)
  if (feed !== trust.uvm.feed) problems.push(`endorsement in feed ${shown(feed)}`)
  const stated = endorsement[`${prefix}guestsvn`]
  const svn = attemptSync(() => readSvn(stated))
  const outcome = appraiseSvn(svn.ok ? [svn.value] : [], trust.uvm.minimumSvn)
  if (outcome.outcome === 'mismatch') problems.push(`endorsement with SVN ${shown(stated)}, not ${outcome.expected}`)
  return noProblems(
    describeEndorsed(expected, trust.uvm.issuer, trust.uvm.feed, `at least ${trust.uvm.minimumSvn}`),
    describeEndorsed(measurement, iss, feed, shown(stated)),
    problems
  )
}

function describeEndorsed(measurement: unknown, issuer: unknown, feed: unknown, svn: string): string {
  return `${shown(measurement)}, endorsed by ${shown(issuer)} in feed ${shown(feed)} with SVN ${svn}`
}

/** The provider gives the parsed form back, so values are compared, not bytes. */
async function appraiseRuntime(runtime: Json | undefined, runtimeData: Uint8Array): Promise<Outcome> {
  const ours = attemptSync(() => canonicalJson(parseRuntimeJson(runtimeData)))
  if (!ours.ok) return mismatch('readable runtime data', ours.problem)
  if (runtime === undefined) return mismatch('the runtime data', 'missing')
  // JSON has numbers that are none: 1e999 is parsed as infinity.
  const theirs = attemptSync(() => canonicalJson(runtime))
  if (!theirs.ok) return mismatch('the runtime data', theirs.problem)
  if (ours.value === theirs.value) {
    const describe = async (text: string): Promise<string> => `JSON with SHA-256 ${await sha256Hex(utf8.encode(text))}`
    return compared(true, await describe(ours.value), await describe(theirs.value))
  }
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
