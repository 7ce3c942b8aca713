import { sign, type KeyObject } from 'node:crypto'

/** TCB_VERSION of Milan and Genoa: the security version of each firmware part, one byte each. */
export interface TcbVersion {
  readonly bootloader: number
  readonly tee: number
  readonly snp: number
  readonly microcode: number
}

export interface ReportContent {
  readonly reportData: Uint8Array
  readonly hostData: Uint8Array
  readonly measurement: Uint8Array
  readonly idKeyDigest: Uint8Array
  readonly reportId: Uint8Array
  readonly chipId: Uint8Array
  readonly vmpl: number
  readonly debug: boolean
  readonly migration: boolean
  readonly platformTcb: TcbVersion
  readonly reportedTcb: TcbVersion
}

const reportLength = 1184
const signedLength = 672

/**
 * An ATTESTATION_REPORT of version 3 (AMD SEV-SNP ABI 56860, MSG_REPORT_RSP), signed as the
 * firmware of a Milan processor signs it: ECDSA P-384 with SHA-384, r and s little-endian.
 */
export function createReport(content: ReportContent, vcek: KeyObject): Uint8Array {
  const bytes = new Uint8Array(reportLength)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, 3, true)
  view.setUint32(4, guestSvn, true)
  view.setBigUint64(8, guestPolicy(content), true)
  put(bytes, 16, 16, Uint8Array.of(1, ...new Uint8Array(15)))
  put(bytes, 32, 16, Uint8Array.of(2, ...new Uint8Array(15)))
  view.setUint32(48, content.vmpl, true)
  view.setUint32(52, 1, true)
  put(bytes, 56, 8, tcbBytes(content.platformTcb))
  view.setBigUint64(64, platformInfo, true)
  put(bytes, 80, 64, content.reportData)
  put(bytes, 144, 48, content.measurement)
  put(bytes, 192, 32, content.hostData)
  put(bytes, 224, 48, content.idKeyDigest)
  put(bytes, 320, 32, content.reportId)
  put(bytes, 352, 32, new Uint8Array(32).fill(0xff))
  put(bytes, 384, 8, tcbBytes(content.reportedTcb))
  put(bytes, 392, 3, Uint8Array.of(0x19, 0x01, 0x01))
  put(bytes, 416, 64, content.chipId)
  put(bytes, 480, 8, tcbBytes(content.platformTcb))
  put(bytes, 488, 3, firmwareVersion)
  put(bytes, 492, 3, firmwareVersion)
  put(bytes, 496, 8, tcbBytes(content.platformTcb))
  const signature = sign('sha384', bytes.subarray(0, signedLength), { key: vcek, dsaEncoding: 'ieee-p1363' })
  put(bytes, 672, 48, Uint8Array.from(signature.subarray(0, 48)).reverse())
  put(bytes, 744, 48, Uint8Array.from(signature.subarray(48)).reverse())
  return bytes
}

/** The eight bytes of TCB_VERSION as they stand in a report. */
export function tcbBytes(tcb: TcbVersion): Uint8Array {
  return Uint8Array.of(tcb.bootloader, tcb.tee, 0, 0, 0, 0, tcb.snp, tcb.microcode)
}

/** What ACI's utility VM reports. */
const guestSvn = 2
/** Bits 0, 2 and 5: SMT, ECC memory, alias check. */
const platformInfo = 0x25n
/** Build, minor, major. */
const firmwareVersion = Uint8Array.of(29, 55, 1)

/** ABI 0.31, SMT allowed (16), the bit that must be one (17); migration is bit 18, debug bit 19. */
function guestPolicy(content: ReportContent): bigint {
  return 0x3001fn | (content.migration ? 1n << 18n : 0n) | (content.debug ? 1n << 19n : 0n)
}

function put(bytes: Uint8Array, offset: number, length: number, value: Uint8Array): void {
  if (value.length !== length)
    throw new TypeError(`report field at ${offset} must be ${length} bytes, got ${value.length}`)
  bytes.set(value, offset)
}
