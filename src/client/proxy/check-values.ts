import { encodeHex } from '../../base/encoding.js'
import type { JsonObject } from '../../base/json.js'
import { parsePemCertificates } from '../../verify/certificate.js'
import { printable, shown } from '../../verify/check.js'
import { type Claim, type EvidenceDocument, parseEvidence, type TrustPolicy } from '../../verify/index.js'
import { parseMaaToken } from '../../verify/maa-token.js'
import { readRuntimeData, type RuntimeData } from '../../verify/runtime-data.js'
import { guestPolicyBit, hasPolicyBit, parseReport, type SnpReport } from '../../verify/snp-report.js'
import { decodeTcb, formatTcb, minimumFor } from '../../verify/tcb.js'
import { parseUvmEndorsement, type UvmEndorsement } from '../../verify/uvm-endorsement.js'
import { productOf, readHardwareId, vcekChain, type VcekChain } from '../../verify/vcek.js'
import { sha256Hex } from '../../verify/web-crypto.js'

export interface ShownValue {
  readonly expected: string
  readonly actual: string
}

/** By claim, for those whose evidence can be read. */
export type ShownValues = { readonly [K in Claim]?: ShownValue | undefined }

/**
 * What was compared for the claims of a verdict, as texts for people: a check that matches does not say it. Decides
 * nothing: whether two values match is for the verdict to say.
 */
export async function valuesOf(document: string, trust: TrustPolicy): Promise<ShownValues> {
  const evidence = await attempt(() => parseEvidence(document))
  if (evidence === undefined) return {}
  const report = await attempt(() => parseReport(evidence.snp.report))
  const chain = await attempt(() => vcekChain(parsePemCertificates(evidence.snp.certificates, 'certificates')))
  const endorsement = await attempt(() => parseUvmEndorsement(evidence.snp.uvmEndorsements ?? new Uint8Array()))
  const runtimeData = await attempt(() => readRuntimeData(evidence.runtimeData))
  const token = await attempt(() => parseMaaToken(evidence.maa?.token ?? ''))
  return {
    ...(report && ofReport(report, trust)),
    ...(chain && (await ofChain(chain, trust))),
    ...(report && chain && (await attempt(() => ofSigner(report, chain, trust)))),
    ...(endorsement && trust.uvm !== 'any' && ofEndorsement(endorsement, trust.uvm, report)),
    ...(report && (await ofBinding(evidence, report, trust))),
    ...(runtimeData && ofRuntimeData(runtimeData)),
    ...(token && report && ofToken(token.claims, token.header, report, trust))
  }
}

/** What cannot be read has no value to show; the verdict says why. */
async function attempt<T>(read: () => T | Promise<T>): Promise<T | undefined> {
  try {
    return await read()
  } catch {
    return undefined
  }
}

const both = (value: string): ShownValue => ({ expected: value, actual: value })
const onOff = (on: boolean): string => (on ? 'allowed' : 'forbidden')

function ofReport(report: SnpReport, { vmpl }: TrustPolicy): ShownValues {
  const { migrationAllowed, debugAllowed } = guestPolicyBit
  return {
    'report.format': {
      expected: 'version 2 to 5, signed by the VCEK with ECDSA P-384',
      actual: `version ${report.version}, guest at VMPL ${report.vmpl}`
    },
    'guest.debug': { expected: 'forbidden', actual: onOff(hasPolicyBit(report, debugAllowed)) },
    'guest.migration': { expected: 'forbidden', actual: onOff(hasPolicyBit(report, migrationAllowed)) },
    'guest.vmpl': { expected: String(vmpl), actual: String(report.vmpl) }
  }
}

async function ofChain({ vcek, ask, ark }: VcekChain, { roots }: TrustPolicy): Promise<ShownValues> {
  const until = [vcek, ask, ark].map(({ notAfter }) => notAfter.getTime())
  return {
    'vcek.chain': {
      expected: 'VCEK signed by ASK, ASK by ARK, all valid',
      actual: `signed so, valid until ${day(Math.min(...until))}`
    },
    'ark.pinned': {
      expected: roots === 'amd' ? "one of AMD's three roots" : roots.arkSha256.join(' or '),
      actual: await sha256Hex(ark.der)
    }
  }
}

function ofSigner(report: SnpReport, { vcek }: VcekChain, { minimumTcb }: TrustPolicy): ShownValues {
  const product = productOf(report, vcek)
  const reported = formatTcb(decodeTcb(product, report.reportedTcb))
  return {
    'report.signature': both('a signature by the VCEK'),
    'vcek.hwid': both(`chip id ${encodeHex(readHardwareId(vcek).slice(0, 64))}`),
    'vcek.tcb': both(`${product}: ${reported}`),
    ...(minimumTcb === 'any'
      ? {}
      : {
          'tcb.minimum': { expected: `at least ${formatTcb(minimumFor(product, minimumTcb))}`, actual: reported }
        })
  }
}

function ofEndorsement(
  { issuer, feed, svns, launchMeasurement }: UvmEndorsement,
  trust: Exclude<TrustPolicy['uvm'], 'any'>,
  report: SnpReport | undefined
): ShownValues {
  return {
    'uvm.signature': both('a valid signature and chain'),
    'uvm.issuer': { expected: trust.issuer, actual: printable(issuer ?? 'missing') },
    'uvm.feed': { expected: shown(trust.feed), actual: shown(feed) },
    'uvm.svn': { expected: `at least ${trust.minimumSvn}`, actual: svns.join(', ') },
    ...(report && {
      'uvm.measurement': { expected: encodeHex(report.measurement), actual: launchMeasurement }
    })
  }
}

async function ofBinding(
  { ccePolicy, runtimeData }: EvidenceDocument,
  report: SnpReport,
  { hostData }: TrustPolicy
): Promise<ShownValues> {
  const found = encodeHex(report.hostData)
  return {
    hostData: { expected: hostData === 'any' ? 'any' : hostData.join(' or '), actual: found },
    ...(ccePolicy && { 'ccePolicy.digest': { expected: found, actual: await sha256Hex(ccePolicy) } }),
    reportData: {
      expected: (await sha256Hex(runtimeData)) + '00'.repeat(32),
      actual: encodeHex(report.reportData)
    }
  }
}

function ofRuntimeData({ rsa, nonce }: RuntimeData): ShownValues {
  return {
    'runtimeData.keys': { expected: 'the router\'s keys and no member "keys"', actual: `RSA key ${rsa.kid}` },
    ...(nonce && { nonce: both(encodeHex(nonce)) })
  }
}

function ofToken(claims: JsonObject, header: JsonObject, report: SnpReport, trust: TrustPolicy): ShownValues {
  if (trust.maa === 'none') return {}
  const claim = (name: string): string => shown(claims[`x-ms-sevsnpvm-${name}`])
  const { maximumAgeSeconds: age } = trust
  const issuer = claims['iss']
  return {
    'maa.signature': { expected: 'an RS256 signature by the provider', actual: `by its key ${shown(header['kid'])}` },
    'maa.issuer': {
      expected: trust.maa === 'any' ? 'any' : trust.maa.endpoints.join(' or '),
      actual: typeof issuer === 'string' ? printable(issuer) : shown(issuer)
    },
    'maa.time': {
      expected: age === 'any' ? 'valid' : `valid, at most ${age} seconds old`,
      actual: `issued ${instant(claims['iat'])}, valid until ${instant(claims['exp'])}`
    },
    'maa.type': { expected: '"sevsnpvm"', actual: shown(claims['x-ms-attestation-type']) },
    'maa.compliance': { expected: '"azure-compliant-uvm"', actual: shown(claims['x-ms-compliance-status']) },
    'maa.hostData': { expected: shown(encodeHex(report.hostData)), actual: claim('hostdata') },
    'maa.debug': { expected: 'false', actual: claim('is-debuggable') },
    'maa.vmpl': { expected: String(trust.vmpl), actual: claim('vmpl') },
    'maa.measurement': { expected: shown(encodeHex(report.measurement)), actual: claim('launchmeasurement') },
    'maa.reportData': { expected: shown(encodeHex(report.reportData)), actual: claim('reportdata') },
    'maa.runtime': both('the same runtime data')
  }
}

const day = (milliseconds: number): string => new Date(milliseconds).toISOString().slice(0, 10)

function instant(seconds: unknown): string {
  const time = new Date(Number(seconds) * 1000)
  return Number.isNaN(time.getTime()) ? shown(seconds) : time.toISOString()
}
