import { createHash, randomBytes } from 'node:crypto'
import { decodeHex, encodeBase64, encodeHex, utf8 } from '../../base/encoding.js'
import { isJsonObject } from '../../base/json.js'
import type { Downstream } from './downstream.js'
import { during, SidecarFailure } from './failure.js'
import { type HostCertificates, parseHostCertificates } from './host-certificates.js'
import type { SidecarOptions } from './options.js'
import type { EmulatedDevice } from './security-context.js'

/** Evidence and tokens about this container group. */
export interface Attestor {
  /** A report whose REPORT_DATA is SHA-256 of `runtimeData` and 32 zero bytes. */
  report(runtimeData: Uint8Array): Promise<Uint8Array>
  /** The same, with the certificates that are for its TCB and the endorsement of the utility VM. */
  evidence(runtimeData: Uint8Array): Promise<Evidence>
  /** An attestation token from `endpoint` (host or host:port); `runtimeData` must be JSON. */
  token(endpoint: string, runtimeData: Uint8Array): Promise<string>
}

interface Evidence {
  readonly report: Uint8Array
  readonly certificates: HostCertificates
  readonly uvmEndorsements: Uint8Array
}

export interface AttestorMeans {
  readonly device: EmulatedDevice
  readonly uvmEndorsements: Uint8Array
  readonly hostCertificates: HostCertificates
  readonly certificateCache: SidecarOptions['certificateCache']
  readonly imdsEndpoint: string
  readonly downstream: Downstream
}

export function createAttestor(means: AttestorMeans): Attestor {
  const { downstream } = means
  let certificates = means.hostCertificates

  async function report(runtimeData: Uint8Array): Promise<Uint8Array> {
    const reportData = `${createHash('sha256').update(runtimeData).digest('hex')}${'00'.repeat(32)}`
    const answer = await downstream(
      { method: 'POST', url: means.device.reportUrl, headers: json, body: JSON.stringify({ reportData }) },
      { send: 'fetching snp report failed', read: 'fetching snp report failed' }
    )
    return decodeHex(stringMember(answer, 'report', 'snp report'), 'report')
  }

  async function evidence(runtimeData: Uint8Array): Promise<Evidence> {
    const bytes = await report(runtimeData)
    const tcb = encodeHex(bytes.slice(384, 392).reverse())
    // The firmware was updated since the host gave its certificates: the VCEK is another one now.
    if (tcb !== certificates.tcb) certificates = await during('Refreshing CertChain failed', () => refreshed(tcb))
    return { report: bytes, certificates, uvmEndorsements: means.uvmEndorsements }
  }

  async function refreshed(tcb: string): Promise<HostCertificates> {
    const cache = means.certificateCache
    if (cache === undefined) throw new SidecarFailure('failed to retrieve cert chain: certificate endpoint not set')
    if (cache.type !== 'LocalTHIM') {
      throw new SidecarFailure(`failed to retrieve cert chain: ${cache.type} is not part of the emulator`)
    }
    const fresh = await fetchHostCertificates(downstream, cache.endpoint || thimUrl(means.imdsEndpoint))
    if (fresh.tcb !== tcb) throw new SidecarFailure('failed to retrieve cert chain: THIM has no chain for this TCB')
    return fresh
  }

  async function token(endpoint: string, runtimeData: Uint8Array): Promise<string> {
    const gathered = await evidence(runtimeData)
    return during('Retrieving MAA token from MAA endpoint failed', async () => {
      const answer = await downstream(
        {
          method: 'POST',
          url: `https://${endpoint}/attest/SevSnpVM?api-version=2020-10-01`,
          headers: json,
          body: attestRequest(gathered, runtimeData)
        },
        { send: 'maa post request failed', read: 'pulling maa post response failed' }
      )
      return stringMember(answer, 'token', 'maa post response')
    })
  }

  return { report, evidence, token }
}

/** Asks the host for its certificates, as a sidecar does that found none among its files. */
export async function fetchHostCertificates(downstream: Downstream, url: string): Promise<HostCertificates> {
  const answer = await downstream(
    { method: 'GET', url, headers: { metadata: 'true' } },
    { send: 'THIM get request failed', read: 'pulling THIM response failed' }
  )
  try {
    return parseHostCertificates(answer)
  } catch (error) {
    throw new SidecarFailure(error instanceof Error ? error.message : 'THIM response is malformed')
  }
}

export function thimUrl(imdsEndpoint: string): string {
  return `${imdsEndpoint}/metadata/THIM/amd/certification`
}

const json = { 'content-type': 'application/json' }

/** The request of sidecar 2.12: base64url *with* padding at every level, the nonce a bare 64-bit number. */
function attestRequest(evidence: Evidence, runtimeData: Uint8Array): string {
  const maaReport = {
    SnpReport: paddedBase64Url(evidence.report),
    VcekCertChain: paddedBase64Url(utf8.encode(evidence.certificates.chain)),
    ...(evidence.uvmEndorsements.length === 0
      ? {}
      : { Endorsements: paddedJson({ Uvm: [paddedBase64Url(evidence.uvmEndorsements)] }) })
  }
  const request = {
    report: paddedJson(maaReport),
    runtimeData: { data: paddedBase64Url(runtimeData), dataType: 'JSON' },
    initTimeData: { data: '', dataType: '' }
  }
  return `${JSON.stringify(request).slice(0, -1)},"nonce":${randomBytes(8).readBigUInt64BE()}}`
}

function paddedJson(value: unknown): string {
  return paddedBase64Url(utf8.encode(JSON.stringify(value)))
}

function paddedBase64Url(bytes: Uint8Array): string {
  return encodeBase64(bytes).replaceAll('+', '-').replaceAll('/', '_')
}

function stringMember(text: string, name: string, what: string): string {
  try {
    const value: unknown = JSON.parse(text)
    const member = isJsonObject(value) ? value[name] : undefined
    if (typeof member === 'string') return member
  } catch {
    // Reported below: an answer that is not JSON has no such member either.
  }
  throw new SidecarFailure(`${what} has no ${name}`)
}
