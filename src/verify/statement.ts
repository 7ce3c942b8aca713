import { encodeHex } from '../base/encoding.js'
import type { Json } from '../base/json.js'
import { attemptSync, type Read, shown } from './check.js'
import type { MaaToken } from './maa-token.js'
import type { SnpReport } from './snp-report.js'

/** What one of the two signed parts says about the guest, in lower-case hex. It is as good as that part's signature. */
export interface Statement {
  /** The part, as it is called in a mismatch. */
  readonly part: 'report' | 'token'
  readonly hostData: Read<string>
  readonly reportData: Read<string>
  readonly measurement: Read<string>
}

export function statementOfReport(report: Read<SnpReport>): Statement {
  const field = (read: (report: SnpReport) => Uint8Array): Read<string> =>
    report.ok ? { ok: true, value: encodeHex(read(report.value)) } : report
  return {
    part: 'report',
    hostData: field(({ hostData }) => hostData),
    reportData: field(({ reportData }) => reportData),
    measurement: field(({ measurement }) => measurement)
  }
}

export function statementOfToken(token: Read<MaaToken>): Statement {
  const claim = (name: string, bytes: number): Read<string> =>
    token.ok ? attemptSync(() => readHex(token.value.claims[name], name, bytes)) : token
  return {
    part: 'token',
    hostData: claim('x-ms-sevsnpvm-hostdata', 32),
    reportData: claim('x-ms-sevsnpvm-reportdata', 64),
    measurement: claim('x-ms-sevsnpvm-launchmeasurement', 48)
  }
}

function readHex(value: Json | undefined, name: string, bytes: number): string {
  if (typeof value !== 'string' || value.length !== 2 * bytes || !/^[0-9a-f]*$/.test(value)) {
    throw new TypeError(`${name} is ${shown(value)}, not ${bytes} bytes in lower-case hex`)
  }
  return value
}
