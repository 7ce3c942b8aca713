/** The parts of an ATTESTATION_REPORT that an attestation provider looks at (AMD SEV-SNP ABI 56860). */
export interface GuestReport {
  readonly version: number
  readonly guestSvn: number
  readonly policy: { readonly smt: boolean; readonly migration: boolean; readonly debug: boolean }
  readonly familyId: Uint8Array
  readonly imageId: Uint8Array
  readonly vmpl: number
  readonly reportData: Uint8Array
  readonly measurement: Uint8Array
  readonly hostData: Uint8Array
  readonly idKeyDigest: Uint8Array
  readonly authorKeyDigest: Uint8Array
  readonly reportId: Uint8Array
  readonly reportedTcb: ReportedTcb
  /** From CPUID; undefined in version 2, which leaves it to the certificate. */
  readonly product: 'Milan' | 'Genoa' | undefined
  readonly chipId: Uint8Array
  /** Bytes 0 to 671, over which the signature goes. */
  readonly signed: Uint8Array
  /** r and s, 48 bytes each, big-endian (IEEE P1363). */
  readonly signature: Uint8Array
}

interface ReportedTcb {
  readonly bootloader: number
  readonly tee: number
  readonly snp: number
  readonly microcode: number
}

/** Throws a `TypeError` for a report of another length, version, algorithm, signer or product, or with junk in it. */
export function parseGuestReport(bytes: Uint8Array): GuestReport {
  if (bytes.length !== 1184) throw new TypeError(`report has ${bytes.length} bytes instead of 1184`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const version = view.getUint32(0, true)
  if (version < 2 || version > 5) throw new TypeError(`report version ${version} is not supported`)
  if (view.getUint32(52, true) !== 1) throw new TypeError('report is not signed with ECDSA P-384')
  const flags = view.getUint32(72, true)
  if (((flags >> 2) & 7) !== 0) throw new TypeError('report is not signed with a VCEK')
  if ((flags & 2) !== 0) throw new TypeError('report hides its chip')
  const policy = view.getBigUint64(8, true)
  if ((policy & (1n << 17n)) === 0n) throw new TypeError('guest policy lacks the bit that is always one')
  for (const [start, end] of [
    [720, 744],
    [792, 1184]
  ] as const) {
    if (bytes.subarray(start, end).some((byte) => byte !== 0))
      throw new TypeError('report has bytes after its signature')
  }
  const at = (offset: number, length: number): Uint8Array => bytes.slice(offset, offset + length)
  return {
    version,
    guestSvn: view.getUint32(4, true),
    policy: { smt: bit(policy, 16n), migration: bit(policy, 18n), debug: bit(policy, 19n) },
    familyId: at(16, 16),
    imageId: at(32, 16),
    vmpl: view.getUint32(48, true),
    reportData: at(80, 64),
    measurement: at(144, 48),
    hostData: at(192, 32),
    idKeyDigest: at(224, 48),
    authorKeyDigest: at(272, 48),
    reportId: at(320, 32),
    reportedTcb: {
      bootloader: view.getUint8(384),
      tee: view.getUint8(385),
      snp: view.getUint8(390),
      microcode: view.getUint8(391)
    },
    product: version === 2 ? undefined : productOf(view.getUint8(392), view.getUint8(393)),
    chipId: at(416, 64),
    signed: at(0, 672),
    signature: Uint8Array.of(...at(672, 48).reverse(), ...at(744, 48).reverse())
  }
}

function bit(value: bigint, position: bigint): boolean {
  return ((value >> position) & 1n) === 1n
}

/** Turin orders its TCB bytes otherwise; the emulator has no such processor, so it refuses to guess. */
function productOf(family: number, model: number): 'Milan' | 'Genoa' {
  if (family === 0x19 && model <= 0x0f) return 'Milan'
  if (family === 0x19 && ((model >= 0x10 && model <= 0x1f) || (model >= 0xa0 && model <= 0xaf))) return 'Genoa'
  throw new TypeError(`processor family ${family.toString(16)}h model ${model.toString(16)}h is not supported`)
}
