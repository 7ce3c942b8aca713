import {
  constants,
  createHash,
  sign as signBytes,
  type KeyObject,
  KeyObject as NodeKey,
  randomBytes
} from 'node:crypto'
import { encode, Tagged } from 'cborg'
import { readTrustPolicy, type TrustPolicy } from '../../../src/verify/trust-policy.js'
import type { Claim } from '../../../src/verify/check.js'
import { parseEvidence } from '../../../src/verify/evidence.js'
import { type Verdict, verifyEvidence, type VerifyInputs } from '../../../src/verify/verify-evidence.js'
import type { MaaKeySet } from '../../../src/verify/maa-token.js'
import * as asn1 from './der-writer.js'
import {
  certificate,
  type CertificateOptions,
  ecKey,
  extension,
  type KeyPair,
  pem,
  rsaPkcs1Key,
  rsaPssKey
} from './certificate-forge.js'

/**
 * A router that does not exist, on a chip that was never made: own roots, own keys, real signatures.
 * Written from the formats' specifications and apart from the emulator, so that a misreading in one
 * of them shows in the other.
 */
export interface World {
  readonly ark: KeyPair
  readonly ask: KeyPair
  readonly vcek: KeyPair
  readonly uvmRoot: KeyPair
  readonly uvmIntermediate: KeyPair
  readonly uvmLeaf: KeyPair
  readonly maa: KeyPair
  readonly router: KeyPair
  /** Roots are issued once: PSS and ECDSA make another signature, so another certificate, each time. */
  readonly arks: Readonly<Record<Product, Uint8Array>>
  readonly uvmRootCertificate: Uint8Array
}

export type Product = 'Milan' | 'Genoa' | 'Turin'

/** A JSON object that a test changes in one place. */
export type Members = Record<string, unknown>

/** Sets a member, given by its path; `undefined` removes it from what is serialized. */
export function put(value: unknown, ...path: readonly string[]): (members: Members) => void {
  return (members) => {
    const parent = path.slice(0, -1).reduce((object, name) => object[name] as Members, members)
    parent[path.at(-1) ?? ''] = value
  }
}

/** Everything that can be broken. Each part is made from good values and signed after the change. */
export interface Changes {
  readonly product?: Product
  /** Before signing. */
  readonly report?: (view: ReportView) => void
  /** After signing. */
  readonly rawReport?: (bytes: Uint8Array) => Uint8Array
  readonly certificates?: (parts: readonly [Uint8Array, Uint8Array, Uint8Array]) => readonly Uint8Array[] | string
  readonly vcek?: Partial<CertificateOptions>
  readonly ask?: Partial<CertificateOptions>
  readonly ark?: Partial<CertificateOptions>
  /** Replaces the VCEK's own extensions by object identifier; null leaves one out. */
  readonly vcekExtensions?: Readonly<Record<string, Uint8Array | null>>
  /** The value that is serialized, or the bytes themselves. */
  readonly runtimeData?: (value: Members) => unknown
  readonly uvmPayload?: (value: Members) => unknown
  readonly uvmHeader?: (header: Map<unknown, unknown>) => void
  readonly uvmLeaf?: Partial<CertificateOptions>
  readonly uvmIntermediate?: Partial<CertificateOptions>
  readonly uvmSigner?: KeyPair
  /** SHA-384 with a salt of 48 bytes unless this says otherwise. */
  readonly uvmHash?: { readonly name: 'sha256' | 'sha384' | 'sha512'; readonly saltLength?: number }
  /** The protected header as it is encoded, before it is signed. */
  readonly uvmProtected?: (bytes: Uint8Array) => Uint8Array
  readonly uvmUnprotected?: ReadonlyMap<unknown, unknown>
  readonly rawUvm?: (bytes: Uint8Array) => Uint8Array
  readonly claims?: (claims: Members) => void
  readonly tokenHeader?: (header: Members) => void
  readonly rawToken?: (token: string) => string
  readonly maaSigner?: KeyPair
  readonly maaKeys?: (keys: MaaKeySet[]) => MaaKeySet[]
  readonly document?: (document: Members) => void
  readonly trust?: (trust: Members) => void
  readonly via?: 'both' | 'maa'
}

export interface Forged {
  readonly document: Members
  readonly trust: TrustPolicy
  readonly inputs: VerifyInputs & { readonly nonce: Uint8Array; readonly maaKeys: readonly MaaKeySet[] }
}

export const now = new Date('2026-06-01T12:00:00Z')
export const maaEndpoint = 'https://maa.test.example'
export const uvmEku = '1.3.6.1.4.1.311.76.59.1.2'
const nonce = Uint8Array.from({ length: 32 }, (_, i) => 255 - i)
const measurement = Buffer.alloc(48, 0x5a)
const ccePolicy = Buffer.from('package policy\n\napi_version := "0.10.0"\n')
const launchMeasurementName = 'x-ms-sevsnpvm-launchmeasurement'

const products = {
  Milan: { name: 'Milan-B0', cpuid: [0x19, 0x01, 0x01], tcb: [4, 0, 0, 0, 0, 0, 24, 219], hardwareId: 64 },
  Genoa: { name: 'Genoa', cpuid: [0x19, 0x11, 0x01], tcb: [10, 0, 0, 0, 0, 0, 23, 84], hardwareId: 64 },
  Turin: { name: 'Turin-B0', cpuid: [0x1a, 0x02, 0x01], tcb: [1, 2, 3, 4, 0, 0, 0, 200], hardwareId: 8 }
} as const

/** AMD's own authorities have keys of 4096 bits, which take seconds to make; nothing depends on their length. */
export async function createWorld(authorityBits = 2048): Promise<World> {
  const [ark, ask, vcek, uvmRoot, uvmIntermediate, uvmLeaf, maa, router] = await Promise.all([
    rsaPssKey('SHA-384', authorityBits),
    rsaPssKey('SHA-384', authorityBits),
    ecKey(),
    ecKey(),
    ecKey(),
    rsaPkcs1Key(),
    rsaPkcs1Key('SHA-256'),
    rsaPkcs1Key('SHA-256')
  ])
  const [milan, genoa, turin] = await Promise.all([
    issueRoot('ARK-Milan', ark),
    issueRoot('ARK-Genoa', ark),
    issueRoot('ARK-Turin', ark)
  ])
  const arks = { Milan: milan, Genoa: genoa, Turin: turin }
  const uvmRootCertificate = await issueRoot('Test Root', uvmRoot)
  return { ark, ask, vcek, uvmRoot, uvmIntermediate, uvmLeaf, maa, router, arks, uvmRootCertificate }
}

async function issueRoot(name: string, pair: KeyPair, changes: Partial<CertificateOptions> = {}): Promise<Uint8Array> {
  return certificate({ subject: name, issuer: name, subjectKey: pair, issuerKey: pair, authority: true, ...changes })
}

/** A chip id; on Turin only its first 8 bytes are not zero. */
function chipId(product: Product): Buffer {
  const { hardwareId } = products[product]
  return Buffer.concat([Buffer.alloc(hardwareId, 0xc1), Buffer.alloc(64 - hardwareId)])
}

export async function forge(world: World, changes: Changes = {}): Promise<Forged> {
  const product = changes.product ?? 'Milan'
  const runtimeData = await forgeRuntimeData(world, changes)
  const uvm = await forgeEndorsement(world, changes)
  const report = forgeReport(world, product, runtimeData, changes)
  const chain = await forgeChain(world, product, changes)
  const tokenAndKeys = await forgeToken(world, report, runtimeData, uvm.issuer, changes)
  const document: Members = {
    version: 1,
    runtimeData: runtimeData.toString('base64'),
    maa: { endpoint: maaEndpoint, token: tokenAndKeys.token },
    snp: {
      report: Buffer.from(report).toString('base64'),
      certificates: chain.certificates,
      uvmEndorsements: Buffer.from(uvm.endorsement).toString('base64')
    },
    ccePolicy: ccePolicy.toString('base64'),
    createdAt: now.toISOString(),
    simulated: true
  }
  changes.document?.(document)
  const trust: Members = {
    version: 1,
    hostData: [sha256(ccePolicy).toString('hex')],
    roots: { arkSha256: [chain.arkSha256] },
    minimumTcb: {
      milan: { bootloader: 4, tee: 0, snp: 24, microcode: 219 },
      genoa: { bootloader: 10, tee: 0, snp: 23, microcode: 84 },
      turin: { fmc: 1, bootloader: 2, tee: 3, snp: 4, microcode: 200 }
    },
    debug: 'forbidden',
    migration: 'forbidden',
    vmpl: 0,
    uvm: { issuer: uvm.issuer, feed: 'ContainerPlat-AMD-UVM', minimumSvn: 100 },
    maa: { endpoints: [maaEndpoint] },
    nonce: 'required',
    maximumAgeSeconds: 300
  }
  changes.trust?.(trust)
  const inputs = { now, nonce, maaKeys: tokenAndKeys.keys, via: changes.via }
  return { document, trust: readTrustPolicy(trust), inputs }
}

async function forgeRuntimeData(world: World, changes: Changes): Promise<Buffer> {
  const { n, e } = await crypto.subtle.exportKey('jwk', world.router.publicKey)
  const rsa = { kty: 'RSA', n, e }
  const kid = sha256(Buffer.from(JSON.stringify({ e, kty: 'RSA', n }))).toString('base64url')
  const good = {
    confrouter: {
      v: 1,
      rsa: { ...rsa, kid },
      hpke: Buffer.alloc(32, 0x11).toString('base64url'),
      ed25519: Buffer.alloc(32, 0x22).toString('base64url'),
      nonce: Buffer.from(nonce).toString('base64url')
    }
  }
  const value = changes.runtimeData?.(good) ?? good
  return value instanceof Uint8Array ? Buffer.from(value) : Buffer.from(JSON.stringify(value))
}

/** Fields of a report by name, in a buffer that is signed when all are set. */
export class ReportView {
  readonly bytes = Buffer.alloc(1184)
  u32(offset: number, value: number): void {
    this.bytes.writeUInt32LE(value, offset)
  }
  u64(offset: number, value: bigint): void {
    this.bytes.writeBigUInt64LE(value, offset)
  }
  set(offset: number, bytes: Uint8Array | readonly number[]): void {
    this.bytes.set(bytes, offset)
  }
}

function forgeReport(world: World, product: Product, runtimeData: Buffer, changes: Changes): Uint8Array {
  const { tcb, cpuid } = products[product]
  const view = new ReportView()
  view.u32(0, 3)
  view.u32(4, 2)
  view.u64(8, 0x3001fn)
  view.u32(52, 1)
  view.set(56, tcb)
  view.set(80, sha256(runtimeData))
  view.set(144, measurement)
  view.set(192, sha256(ccePolicy))
  view.set(384, tcb)
  view.set(392, cpuid)
  view.set(416, chipId(product))
  view.set(480, tcb)
  view.set(496, tcb)
  changes.report?.(view)
  signReport(view.bytes, world.vcek)
  return changes.rawReport?.(view.bytes) ?? view.bytes
}

function signReport(report: Buffer, vcek: KeyPair): void {
  const key = nodePrivateKey(vcek)
  const signature = signBytes('sha384', report.subarray(0, 672), { key, dsaEncoding: 'ieee-p1363' })
  report.set(Buffer.from(signature.subarray(0, 48)).reverse(), 672)
  report.set(Buffer.from(signature.subarray(48)).reverse(), 744)
}

async function forgeChain(
  world: World,
  product: Product,
  changes: Changes
): Promise<{ certificates: string; arkSha256: string }> {
  const arkName = `ARK-${product}`
  const askName = `SEV-${product}`
  const ark = changes.ark ? await issueRoot(arkName, world.ark, changes.ark) : world.arks[product]
  const ask = await certificate({
    subject: askName,
    issuer: arkName,
    subjectKey: world.ask,
    issuerKey: world.ark,
    authority: true,
    pathLength: 0,
    ...changes.ask
  })
  const vcek = await certificate({
    subject: 'SEV-VCEK',
    issuer: askName,
    subjectKey: world.vcek,
    issuerKey: world.ask,
    extensions: vcekExtensions(product, changes.vcekExtensions ?? {}),
    ...changes.vcek
  })
  const parts = changes.certificates?.([vcek, ask, ark]) ?? [vcek, ask, ark]
  return { certificates: typeof parts === 'string' ? parts : pem(...parts), arkSha256: sha256(ark).toString('hex') }
}

function vcekExtensions(product: Product, replaced: Readonly<Record<string, Uint8Array | null>>): Uint8Array[] {
  const { name, tcb, hardwareId } = products[product]
  const level = (index: number): Uint8Array => asn1.integer(tcb[index] ?? 0)
  const amd = '1.3.6.1.4.1.3704.1'
  const levels: Record<string, Uint8Array> =
    product === 'Turin'
      ? { [`${amd}.3.9`]: level(0), [`${amd}.3.1`]: level(1), [`${amd}.3.2`]: level(2), [`${amd}.3.3`]: level(3) }
      : { [`${amd}.3.1`]: level(0), [`${amd}.3.2`]: level(1), [`${amd}.3.3`]: level(6) }
  const values: Record<string, Uint8Array | null> = {
    [`${amd}.1`]: asn1.integer(1),
    [`${amd}.2`]: asn1.ia5String(name),
    ...levels,
    [`${amd}.3.8`]: level(7),
    [`${amd}.4`]: chipId(product).subarray(0, hardwareId),
    ...replaced
  }
  return Object.entries(values).flatMap(([oid, value]) => (value === null ? [] : [extension(oid, value)]))
}

async function forgeEndorsement(world: World, changes: Changes): Promise<{ endorsement: Uint8Array; issuer: string }> {
  const root = world.uvmRootCertificate
  const intermediate = await certificate({
    subject: 'Test Intermediate',
    issuer: 'Test Root',
    subjectKey: world.uvmIntermediate,
    issuerKey: world.uvmRoot,
    authority: true,
    ...changes.uvmIntermediate
  })
  const leaf = await certificate({
    subject: 'Test Leaf',
    issuer: 'Test Intermediate',
    subjectKey: changes.uvmSigner ?? world.uvmLeaf,
    issuerKey: world.uvmIntermediate,
    extendedKeyUsage: ['1.3.6.1.4.1.311.76.59.1.1', uvmEku],
    notBefore: new Date('2025-01-01T00:00:00Z'),
    notAfter: new Date('2026-01-01T00:00:00Z'),
    ...changes.uvmLeaf
  })
  const issuer = `did:x509:0:sha256:${sha256(root).toString('base64url')}::eku:${uvmEku}`
  const header = new Map<unknown, unknown>([
    [1, -38],
    [3, 'application/json'],
    [33, [leaf, intermediate, root].map((der) => new Uint8Array(der))],
    [34, [-16, new Uint8Array(sha256(leaf))]],
    ['iss', issuer],
    ['feed', 'ContainerPlat-AMD-UVM'],
    ['signingtime', new Tagged(1, Date.parse('2025-06-01T00:00:00Z') / 1000)]
  ])
  changes.uvmHeader?.(header)
  const good = { 'x-ms-sevsnpvm-guestsvn': '100', [launchMeasurementName]: measurement.toString('hex') }
  const value = changes.uvmPayload?.(good) ?? good
  const payload = value instanceof Uint8Array ? new Uint8Array(value) : new TextEncoder().encode(JSON.stringify(value))
  const encoded = encode(header)
  const protectedHeader = changes.uvmProtected?.(encoded) ?? encoded
  const input = encode(['Signature1', protectedHeader, new Uint8Array(0), payload])
  const signature = signCose(changes.uvmSigner ?? world.uvmLeaf, input, changes.uvmHash ?? { name: 'sha384' })
  const unprotected = changes.uvmUnprotected ?? new Map()
  const endorsement = encode(new Tagged(18, [protectedHeader, unprotected, payload, signature]))
  return { endorsement: changes.rawUvm?.(endorsement) ?? endorsement, issuer }
}

/** PSS with an RSA key, ECDSA with an elliptic one. */
function signCose(pair: KeyPair, input: Uint8Array, hash: NonNullable<Changes['uvmHash']>): Uint8Array {
  const key = nodePrivateKey(pair)
  const options =
    key.asymmetricKeyType === 'ec'
      ? ({ key, dsaEncoding: 'ieee-p1363' } as const)
      : { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: hash.saltLength ?? 48 }
  return new Uint8Array(signBytes(hash.name, input, options))
}

async function forgeToken(
  world: World,
  report: Uint8Array,
  runtimeData: Buffer,
  uvmIssuer: string,
  changes: Changes
): Promise<{ token: string; keys: readonly MaaKeySet[] }> {
  const bytes = Buffer.from(report)
  const hex = (start: number, end: number): string => bytes.subarray(start, end).toString('hex')
  const seconds = now.getTime() / 1000
  const claims: Members = {
    exp: seconds + 28800 - 5,
    iat: seconds - 5,
    iss: maaEndpoint,
    jti: randomBytes(32).toString('hex'),
    nbf: seconds - 5,
    nonce: '7394904505194784658',
    'x-ms-attestation-type': 'sevsnpvm',
    'x-ms-compliance-status': 'azure-compliant-uvm',
    'x-ms-runtime': parseOr(runtimeData, {}),
    'x-ms-sevsnpvm-bootloader-svn': 4,
    'x-ms-sevsnpvm-guestsvn': 2,
    'x-ms-sevsnpvm-hostdata': hex(192, 224),
    'x-ms-sevsnpvm-is-debuggable': false,
    [launchMeasurementName]: hex(144, 192),
    'x-ms-sevsnpvm-microcode-svn': 219,
    'x-ms-sevsnpvm-migration-allowed': false,
    'x-ms-sevsnpvm-reportdata': hex(80, 144),
    'x-ms-sevsnpvm-snpfw-svn': 24,
    'x-ms-sevsnpvm-tee-svn': 3,
    'x-ms-sevsnpvm-uvm-endorsement': {
      'x-ms-sevsnpvm-guestsvn': '100',
      [launchMeasurementName]: hex(144, 192)
    },
    'x-ms-sevsnpvm-uvm-endorsement-headers': { feed: 'ContainerPlat-AMD-UVM', iss: uvmIssuer },
    'x-ms-sevsnpvm-vmpl': 0,
    'x-ms-ver': '1.0'
  }
  changes.claims?.(claims)
  const header: Record<string, unknown> = { alg: 'RS256', jku: `${maaEndpoint}/certs`, kid: 'key-1', typ: 'JWT' }
  changes.tokenHeader?.(header)
  const input = [header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')
  const signature = signBytes('sha256', Buffer.from(input), nodePrivateKey(changes.maaSigner ?? world.maa))
  const token = `${input}.${signature.toString('base64url')}`
  const keys = [await maaKeySet(world.maa)]
  return { token: changes.rawToken?.(token) ?? token, keys: changes.maaKeys?.(keys) ?? keys }
}

/** As `/certs` serves it: certificates, and no modulus beside them. */
export async function maaKeySet(pair: KeyPair, kid = 'key-1', endpoint = maaEndpoint): Promise<MaaKeySet> {
  const der = await certificate({ subject: 'MAA', issuer: 'MAA', subjectKey: pair, issuerKey: pair })
  return { endpoint, jwks: { keys: [{ x5c: [Buffer.from(der).toString('base64')], kid, kty: 'RSA' }] } }
}

export function nodePrivateKey(pair: KeyPair): KeyObject {
  return NodeKey.from(pair.privateKey)
}

export function sha256(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest()
}

function parseOr(bytes: Buffer, otherwise: unknown): unknown {
  try {
    return JSON.parse(bytes.toString())
  } catch {
    return otherwise
  }
}

/** The whole way of a caller: parse, then verify. */
export async function appraise(world: World, changes: Changes = {}): Promise<Verdict> {
  const { document, trust, inputs } = await forge(world, changes)
  return verifyEvidence(parseEvidence(JSON.stringify(document)), trust, inputs)
}

/** Names of the claims that do not hold. */
export function mismatches(verdict: Verdict): Claim[] {
  return verdict.checks.filter(({ outcome }) => outcome === 'mismatch').map(({ claim }) => claim)
}

/** Expected and actual of one claim, for assertions about what a person reads. */
export function mismatchOf(verdict: Verdict, claim: Claim): Compared {
  return comparedIn(verdict, claim, 'mismatch')
}

/** The same of a claim that holds. */
export function matchOf(verdict: Verdict, claim: Claim): Compared {
  return comparedIn(verdict, claim, 'match')
}

export interface Compared {
  readonly expected: string
  readonly actual: string
}

function comparedIn(verdict: Verdict, claim: Claim, outcome: 'match' | 'mismatch'): Compared {
  const check = verdict.checks.find((candidate) => candidate.claim === claim)
  if (check?.outcome !== outcome) throw new Error(`${claim} is no ${outcome}`)
  return { expected: check.expected, actual: check.actual }
}
