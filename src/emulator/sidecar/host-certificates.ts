import { isJsonObject } from '../../base/json.js'

/** The VCEK and its chain as THIM gives them. */
export interface HostCertificates {
  /** VCEK, ASK and ARK in PEM. */
  readonly chain: string
  /** The TCB that the VCEK is for: REPORTED_TCB printed big-endian, 16 hex characters. */
  readonly tcb: string
}

/** Reads THIM's answer, which is also the content of `host-amd-cert-base64`. Throws a `TypeError`. */
export function parseHostCertificates(text: string): HostCertificates {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new TypeError('the host certificates are not JSON')
  }
  const fields = isJsonObject(value) ? value : {}
  const { vcekCert, certificateChain, tcbm } = fields
  if (typeof vcekCert !== 'string' || typeof certificateChain !== 'string') {
    throw new TypeError('the host certificates lack vcekCert or certificateChain')
  }
  if (typeof tcbm !== 'string' || !/^[0-9a-fA-F]{1,16}$/.test(tcbm)) {
    throw new TypeError('tcbm of the host certificates is not a 64-bit hex number')
  }
  return { chain: vcekCert + certificateChain, tcb: tcbm.toLowerCase().padStart(16, '0') }
}
