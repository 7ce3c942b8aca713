import { createHash } from 'node:crypto'
import type { ReportRequest, SimulatedHardware } from '../../../../src/emulator/hardware/simulated-hardware.js'

export const hostData = createHash('sha256').update('policy').digest()
export const runtimeText = '{"keys":[],"hello":"world"}'

export interface EvidenceParts {
  report: Uint8Array
  certificatesPem: string
  uvmEndorsement: Uint8Array
  runtimeData: Uint8Array
}

/** Good evidence of a group with {@link hostData} over {@link runtimeText}; options change the report before it is signed. */
export function evidenceOf(hardware: SimulatedHardware, options: Partial<ReportRequest> = {}): EvidenceParts {
  const reportData = Buffer.concat([createHash('sha256').update(runtimeText).digest(), Buffer.alloc(32)])
  return {
    report: hardware.report({ reportData, hostData, ...options }),
    certificatesPem: hardware.certificatesPem,
    uvmEndorsement: hardware.uvmEndorsements,
    runtimeData: Buffer.from(runtimeText)
  }
}

/** The body of `POST /attest/SevSnpVm` as the sidecar writes it: padded base64url, the nonce a bare number. */
export function attestBody(evidence: EvidenceParts, nonce = '13418423423451234123', encode = padded): string {
  const report = encode(
    JSON.stringify({
      SnpReport: encode(evidence.report),
      VcekCertChain: encode(evidence.certificatesPem),
      Endorsements: encode(JSON.stringify({ Uvm: [encode(evidence.uvmEndorsement)] }))
    })
  )
  const runtime = JSON.stringify({ data: encode(evidence.runtimeData), dataType: 'JSON' })
  return `{"report":"${report}","runtimeData":${runtime},"initTimeData":{"data":"","dataType":""},"nonce":${nonce}}`
}

function padded(data: Uint8Array | string): string {
  return Buffer.from(data).toString('base64').replaceAll('+', '-').replaceAll('/', '_')
}

export function unpadded(data: Uint8Array | string): string {
  return Buffer.from(data).toString('base64url')
}

/** A copy with one bit of one byte the other way round. */
export function flipped(bytes: Uint8Array, offset: number): Uint8Array {
  const copy = Uint8Array.from(bytes)
  copy[offset] = (copy[offset] ?? 0) ^ 1
  return copy
}
