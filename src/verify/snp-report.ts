/** Length of ATTESTATION_REPORT in bytes; AMD SEV-SNP ABI specification 56860, table "ATTESTATION_REPORT". */
const reportLength = 1184

/** What the signature covers: everything before it. */
const signedLength = 672

/** What stands before the report in the firmware's own answer; the same specification, table "MSG_REPORT_RSP". */
const answerHeaderLength = 32

const signingKeyNames = new Map([
  [0, 'VCEK'],
  [1, 'VLEK'],
  [7, 'no key']
])

/** Fields of an attestation report, as they stand in it. Authenticates nothing. */
export interface SnpReport {
  readonly version: number
  /** Guest POLICY, bit field. */
  readonly policy: bigint
  readonly vmpl: number
  readonly signatureAlgorithm: number
  /** Bits 2 to 4 of the flags: 0 is VCEK, 1 is VLEK, 7 is no key. */
  readonly signingKey: number
  readonly maskChipKey: boolean
  readonly reportData: Uint8Array
  readonly measurement: Uint8Array
  readonly hostData: Uint8Array
  /** TCB_VERSION, 8 bytes; the layout depends on the product. */
  readonly reportedTcb: Uint8Array
  readonly committedTcb: Uint8Array
  readonly launchTcb: Uint8Array
  /** From version 3 on. */
  readonly cpuid: { readonly family: number; readonly model: number } | undefined
  readonly chipId: Uint8Array
  readonly signed: Uint8Array
  /** r ‖ s, big-endian, 48 bytes each. */
  readonly signature: Uint8Array
  /** Bytes after r, after s and to the end, which no signature covers. */
  readonly signaturePadding: Uint8Array
}

/** Bits of the guest POLICY. */
export const guestPolicyBit = { mustBeOne: 17n, migrationAllowed: 18n, debugAllowed: 19n } as const

export function hasPolicyBit(report: SnpReport, bit: bigint): boolean {
  return ((report.policy >> bit) & 1n) === 1n
}

/**
 * Reads every field. All numbers are little-endian. Throws a `TypeError` only for another length than 1184
 * bytes, or 1216 with the header of the firmware's answer.
 */
export function parseReport(report: Uint8Array): SnpReport {
  // A copy of our own: `slice` of a Node `Buffer` shares its memory.
  const bytes = withoutAnswerHeader(new Uint8Array(report))
  if (bytes.length !== reportLength) throw new TypeError(`report has ${bytes.length} bytes, not ${reportLength}`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const version = view.getUint32(0, true)
  const flags = view.getUint32(72, true)
  return {
    version,
    policy: view.getBigUint64(8, true),
    vmpl: view.getUint32(48, true),
    signatureAlgorithm: view.getUint32(52, true),
    signingKey: (flags >> 2) & 7,
    maskChipKey: (flags & 2) !== 0,
    reportData: bytes.slice(80, 144),
    measurement: bytes.slice(144, 192),
    hostData: bytes.slice(192, 224),
    reportedTcb: bytes.slice(384, 392),
    cpuid: version < 3 ? undefined : { family: view.getUint8(392), model: view.getUint8(393) },
    chipId: bytes.slice(416, 480),
    committedTcb: bytes.slice(480, 488),
    launchTcb: bytes.slice(496, 504),
    signed: bytes.slice(0, signedLength),
    signature: Uint8Array.from([...bytes.slice(672, 720).reverse(), ...bytes.slice(744, 792).reverse()]),
    signaturePadding: Uint8Array.from([...bytes.slice(720, 744), ...bytes.slice(792, reportLength)])
  }
}

/** What {@link formatProblems} looks at first, as it stands in the report. */
export function describeFormat({ version, signatureAlgorithm, signingKey }: SnpReport): string {
  return `version ${version}, signature algorithm ${signatureAlgorithm}, signing key ${describeKey(signingKey)}`
}

function describeKey(signingKey: number): string {
  return `${signingKey} (${signingKeyNames.get(signingKey) ?? 'reserved'})`
}

/**
 * What keeps a report from being one that we understand: version 2 to 5, ECDSA P-384 with SHA-384
 * (algorithm 1), signed with the VCEK, chip id not masked, POLICY bit 17 set as the ABI demands, and
 * zeros wherever the signature does not reach, so that no byte goes unchecked.
 *
 * The certificate of a VLEK, a key that AMD lends to a cloud, names no chip. Azure's container groups sign with the
 * VCEK, so nothing here accepts the other.
 */
export function formatProblems(report: SnpReport): string[] {
  const problems: string[] = []
  if (report.version < 2 || report.version > 5) problems.push(`version ${report.version}`)
  if (report.signatureAlgorithm !== 1) problems.push(`signature algorithm ${report.signatureAlgorithm}`)
  if (report.signingKey !== 0) problems.push(`signing key ${describeKey(report.signingKey)}`)
  if (report.maskChipKey) problems.push('chip key masked')
  if (!hasPolicyBit(report, guestPolicyBit.mustBeOne)) problems.push('guest policy bit 17 is 0')
  if (report.signaturePadding.some((byte) => byte !== 0)) problems.push('bytes around the signature are not zero')
  return problems
}

/**
 * Devices hand out the firmware's answer as it is, and evidence that somebody collected by hand may have it: status 0,
 * the report's size, 24 zeros, the report. Removed only if it is exactly that. It says nothing about the guest, and
 * the report behind it is signed.
 */
function withoutAnswerHeader(bytes: Uint8Array): Uint8Array {
  if (bytes.length !== answerHeaderLength + reportLength) return bytes
  const header = new DataView(bytes.buffer, bytes.byteOffset, answerHeaderLength)
  const isHeader =
    header.getUint32(0, true) === 0 &&
    header.getUint32(4, true) === reportLength &&
    bytes.subarray(8, answerHeaderLength).every((byte) => byte === 0)
  return isHeader ? bytes.subarray(answerHeaderLength) : bytes
}
