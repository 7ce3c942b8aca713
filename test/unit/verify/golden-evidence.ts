import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { type Claim, claims } from '../../../src/verify/check.js'
import { type EvidenceDocument, parseEvidence } from '../../../src/verify/evidence.js'
import { azureUvmIssuer, defaultMinimumTcb } from '../../../src/verify/strict-trust-policy.js'
import { readTrustPolicy } from '../../../src/verify/trust-policy.js'
import { type Verdict, verifyEvidence } from '../../../src/verify/verify-evidence.js'

/** The captured evidence of test/vectors/attestation, in the form in which a router would serve it. */

const vectors = resolve(import.meta.dirname, '../../vectors/attestation')
const bytes = (path: string): Buffer => readFileSync(resolve(vectors, path))
export const text = (path: string): string => readFileSync(resolve(vectors, path), 'utf8')

/** Accepts the captured container group by its report alone. */
export const hardwareOnly = {
  version: 1,
  hostData: ['cadd74f71ebb8fbf9782baab649612520f3c416bc5ce9ac768808ddc8d9b031c'],
  roots: 'amd',
  minimumTcb: defaultMinimumTcb,
  debug: 'forbidden',
  migration: 'forbidden',
  vmpl: 0,
  uvm: { issuer: azureUvmIssuer, feed: 'ContainerPlat-AMD-UVM', minimumSvn: 22 },
  maa: 'none',
  nonce: 'any',
  maximumAgeSeconds: 'any'
}

/** For reports that came without anything but their chain. */
export const reportAlone = { ...hardwareOnly, uvm: 'any' }

export interface Parts {
  readonly report: Uint8Array
  readonly certificates: string
  readonly uvmEndorsements?: Uint8Array
  readonly runtimeData?: Uint8Array
  readonly ccePolicy?: Uint8Array
}

export interface CapturedSet {
  readonly parts: Parts
  /** PEM, in their order: VCEK, ASK, ARK. */
  readonly chain: readonly [string, string, string]
  /** A time at which the chain is valid. */
  readonly now: Date
}

export function milanV2(): CapturedSet & { readonly parts: Required<Parts> } {
  const { vcekCert, certificateChain } = JSON.parse(text('snp-milan-v2/uvm_host_amd_certificate.json'))
  const certificates = `${vcekCert}${certificateChain}`
  return {
    chain: splitPem(certificates),
    now: new Date('2023-06-01T00:00:00Z'),
    parts: {
      report: bytes('snp-milan-v2/snp_report.bin'),
      certificates,
      uvmEndorsements: bytes('snp-milan-v2/body.uvm_reference_info.bin'),
      runtimeData: bytes('snp-milan-v2/runtime_data_for_report.json'),
      ccePolicy: Buffer.from(text('snp-milan-v2/uvm_security_policy.base64'), 'base64')
    }
  }
}

export function version3(product: 'milan' | 'genoa'): CapturedSet {
  const prefix = `snp-${product}-v3/${product}`
  const [vcek = '', ask = '', ark = ''] = ['vcek', 'ask', 'ark'].map((name) => text(`${prefix}_${name}.pem`))
  return {
    chain: [vcek, ask, ark],
    now: new Date('2026-06-01T00:00:00Z'),
    parts: { report: bytes(`${prefix}_attestation_report.bin`), certificates: [vcek, ask, ark].join('\n') }
  }
}

/** ASK and ARK of a product, as AMD serves them. */
export function amdAuthorities(product: 'milan' | 'genoa' | 'turin'): readonly [string, string] {
  const file = product === 'turin' ? 'ask_ark_turin_vcek.pem' : `ask_ark_${product}.pem`
  const [ask = '', ark = ''] = text(`amd-roots/${file}`).split(/(?<=-----END CERTIFICATE-----\n)/)
  return [ask, ark]
}

export function evidenceOf(parts: Parts): EvidenceDocument {
  const base64 = (part: Uint8Array | undefined): string | undefined => part && Buffer.from(part).toString('base64')
  return parseEvidence(
    JSON.stringify({
      version: 1,
      runtimeData: base64(parts.runtimeData ?? Buffer.from('{}')),
      snp: {
        report: base64(parts.report),
        certificates: parts.certificates,
        uvmEndorsements: base64(parts.uvmEndorsements)
      },
      ccePolicy: base64(parts.ccePolicy),
      createdAt: '2026-01-01T00:00:00Z',
      simulated: false
    })
  )
}

/** Without the way over JSON, so that thousands of cases stay quick. */
export async function verifyCaptured(set: CapturedSet, changed: Partial<Parts>, trust: unknown): Promise<Verdict> {
  const {
    report,
    certificates,
    uvmEndorsements,
    runtimeData = Buffer.from('{}'),
    ccePolicy
  } = {
    ...set.parts,
    ...changed
  }
  const evidence: EvidenceDocument = {
    version: 1,
    runtimeData,
    snp: { report, certificates, uvmEndorsements },
    ccePolicy,
    createdAt: '2026-01-01T00:00:00Z',
    simulated: false
  }
  return verifyEvidence(evidence, readTrustPolicy(trust), { now: set.now })
}

/** Claims that are mismatches in good captured evidence already: no router made its runtime data. */
export const knownMismatches: readonly Claim[] = ['runtimeData.keys']

/** Some claims, in the order of a verdict. */
export function inOrder(names: Iterable<Claim>): readonly Claim[] {
  const wanted = new Set(names)
  return claims.filter((claim) => wanted.has(claim))
}

export function derOf(pem: string): Buffer {
  return Buffer.from(pem.replace(/-----(BEGIN|END) CERTIFICATE-----|\s/g, ''), 'base64')
}

function splitPem(pem: string): readonly [string, string, string] {
  const [vcek = '', ask = '', ark = ''] = pem.split(/(?<=-----END CERTIFICATE-----\r?\n)/)
  return [vcek, ask, ark]
}
