import { createHash, createPrivateKey, randomBytes, type KeyObject } from 'node:crypto'
import { parseSha256Hex, sha256Hex, type Sha256Hex } from '../../base/digest.js'
import { decodeBase64, decodeHex, encodeBase64, encodeHex, utf8 } from '../../base/encoding.js'
import type { Store } from '../store.js'
import {
  authorityExtensions,
  authorityKeyIdentifier,
  certificatePem,
  extension,
  issueCertificate,
  smallInteger,
  type DistinguishedName
} from './certificate.js'
import { makeEcKeyPair, makeRsaKeyPair } from './key-pair.js'
import { createReport, tcbBytes, type TcbVersion } from './report.js'
import { endorseUvm } from './uvm-endorsement.js'

export interface ReportRequest {
  /** 64 bytes, the guest's choice. */
  readonly reportData: Uint8Array
  /** 32 bytes, fixed by the host when it launches the guest. */
  readonly hostData: Uint8Array
  /** 32 bytes, one value for the life of a guest; random when left out. */
  readonly reportId?: Uint8Array
  readonly vmpl?: number
  readonly debug?: boolean
  readonly migration?: boolean
  readonly measurement?: Uint8Array
  readonly reportedTcb?: TcbVersion
}

/**
 * A processor that exists only here. It has the formats and signatures of a real one, but its root
 * is made on this machine, so whoever trusts {@link arkSha256} trusts whoever runs the emulator.
 */
export interface SimulatedHardware {
  /** SHA-256 of the root certificate (DER), to be pinned in the place of AMD's. */
  readonly arkSha256: Sha256Hex
  /** VCEK, ASK and ARK, in this order. */
  readonly certificatesPem: string
  /** The answer of THIM: the same certificates, and `tcbm`, REPORTED_TCB printed big-endian. */
  readonly thimJson: string
  /** COSE_Sign1 over the launch measurement of the utility VM. */
  readonly uvmEndorsements: Uint8Array
  /** did:x509 of the authority behind {@link uvmEndorsements}. */
  readonly uvmIssuer: string
  /** What an attestation provider must be told to believe reports of this hardware. */
  readonly trust: { readonly arkSha256: readonly Sha256Hex[]; readonly uvmIssuers: readonly string[] }
  /** A signed report, 1184 bytes. */
  report(request: ReportRequest): Uint8Array
}

/**
 * Opens the processor that the store holds, or makes one. Making one takes about a third of a second.
 * `platformTcb` is the firmware of one that is made, for example one that was rolled back.
 */
export async function createHardware({
  store,
  platformTcb = currentTcb
}: {
  readonly store: Store
  readonly platformTcb?: TcbVersion
}): Promise<SimulatedHardware> {
  const collection = store.collection<PlatformRecord>('hardware')
  let record = collection.get('platform')
  if (record === undefined) {
    record = await manufacture(platformTcb)
    await collection.set('platform', record)
  }
  return fromRecord(record)
}

interface PlatformRecord {
  readonly chipId: string
  readonly arkSha256: string
  readonly vcek: string
  readonly chain: string
  readonly vcekPrivateKey: string
  readonly uvmEndorsements: string
  readonly uvmIssuer: string
  /** Left out by older versions, whose firmware was always the current one. */
  readonly platformTcb?: TcbVersion
}

const currentTcb: TcbVersion = { bootloader: 4, tee: 0, snp: 24, microcode: 219 }
const measurement = createHash('sha384').update('simulated utility VM').digest()
const idKeyDigest = createHash('sha384').update('simulated id key').digest()

/**
 * RSA-2048 where AMD has 4096, because a first start should take seconds. The private keys of the
 * two authorities and of the UVM signer are dropped: nothing needs them again.
 */
async function manufacture(platformTcb: TcbVersion): Promise<PlatformRecord> {
  const [ark, ask, uvmRoot, uvmLeaf, vcek] = await Promise.all([
    makeRsaKeyPair(2048),
    makeRsaKeyPair(2048),
    makeRsaKeyPair(2048),
    makeRsaKeyPair(2048),
    makeEcKeyPair('P-384')
  ])
  const now = new Date()
  const validity = { notBefore: new Date(now.getTime() - dayMs), notAfter: new Date(now.getTime() + 20 * 365 * dayMs) }
  const chipId = randomBytes(64)
  const arkCertificate = issueCertificate(
    {
      subject: arkName,
      issuer: arkName,
      publicKey: ark.publicKey,
      ...validity,
      extensions: authorityExtensions(ark.publicKey)
    },
    ark.privateKey,
    'rsa-pss-sha384'
  )
  const askCertificate = issueCertificate(
    {
      subject: askName,
      issuer: arkName,
      publicKey: ask.publicKey,
      ...validity,
      extensions: [...authorityExtensions(ask.publicKey, 0), authorityKeyIdentifier(ark.publicKey)]
    },
    ark.privateKey,
    'rsa-pss-sha384'
  )
  const vcekCertificate = issueCertificate(
    {
      subject: vcekName,
      issuer: askName,
      publicKey: vcek.publicKey,
      ...validity,
      extensions: vcekExtensions(chipId, platformTcb)
    },
    ask.privateKey,
    'rsa-pss-sha384'
  )
  const endorsement = endorseUvm(measurement, { root: uvmRoot, leaf: uvmLeaf }, validity, now)
  return {
    chipId: encodeHex(chipId),
    arkSha256: sha256Hex(arkCertificate),
    vcek: certificatePem(vcekCertificate),
    chain: certificatePem(askCertificate) + certificatePem(arkCertificate),
    vcekPrivateKey: vcek.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
    uvmEndorsements: encodeBase64(endorsement.document),
    uvmIssuer: endorsement.issuer,
    platformTcb
  }
}

function fromRecord(record: PlatformRecord): SimulatedHardware {
  const vcek: KeyObject = createPrivateKey(record.vcekPrivateKey)
  const { platformTcb = currentTcb } = record
  const chipId = decodeHex(record.chipId, 'chip id')
  const arkSha256 = parseSha256Hex(record.arkSha256, 'root hash')
  return {
    arkSha256,
    certificatesPem: record.vcek + record.chain,
    thimJson: JSON.stringify({
      vcekCert: record.vcek,
      tcbm: encodeHex(tcbBytes(platformTcb).reverse()),
      certificateChain: record.chain,
      cacheControl: '86400'
    }),
    uvmEndorsements: decodeBase64(record.uvmEndorsements, 'UVM endorsement'),
    uvmIssuer: record.uvmIssuer,
    trust: { arkSha256: [arkSha256], uvmIssuers: [record.uvmIssuer] },
    report: (request) =>
      createReport(
        {
          vmpl: 0,
          debug: false,
          migration: false,
          measurement,
          reportedTcb: platformTcb,
          reportId: randomBytes(32),
          ...request,
          platformTcb,
          idKeyDigest,
          chipId
        },
        vcek
      )
  }
}

const dayMs = 86_400_000

const amdName = (commonName: string): DistinguishedName => [
  ['OU', 'Engineering'],
  ['C', 'US'],
  ['O', 'Simulated, no hardware protection'],
  ['CN', `${commonName} (simulated)`]
]
const arkName = amdName('ARK-Milan')
const askName = amdName('SEV-Milan')
const vcekName = amdName('SEV-VCEK')

/** IA5String of under 128 characters. */
function ia5String(text: string): Uint8Array {
  return Uint8Array.of(0x16, text.length, ...utf8.encode(text))
}

/**
 * VCEK certificate extensions (AMD 57230, "VCEK certificate definition"). SPLs are INTEGERs, so 219
 * takes two bytes; hwID is the bare chip id, without an OCTET STRING of its own.
 */
function vcekExtensions(chipId: Uint8Array, platformTcb: TcbVersion): Uint8Array[] {
  const amd = '1.3.6.1.4.1.3704.1'
  const spl = (number: number, value: number): Uint8Array => extension(`${amd}.3.${number}`, smallInteger(value))
  return [
    extension(`${amd}.1`, smallInteger(0)),
    extension(`${amd}.2`, ia5String('Milan-B1')),
    spl(1, platformTcb.bootloader),
    spl(2, platformTcb.tee),
    spl(4, 0),
    spl(5, 0),
    spl(6, 0),
    spl(7, 0),
    spl(3, platformTcb.snp),
    spl(8, platformTcb.microcode),
    extension(`${amd}.4`, chipId)
  ]
}
