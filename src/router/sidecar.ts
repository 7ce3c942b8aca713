import { Agent, request } from 'undici'
import { decodeBase64, encodeBase64 } from '../base/encoding.js'
import { isJsonObject, type JsonObject } from '../base/json.js'
import { parseFirstJson } from './first-json.js'
import { readAtMost } from './read-at-most.js'
import { classifySidecarError, SidecarError } from './sidecar-error.js'

/** The parts of evidence that come from the hardware and the host. */
export interface HardwareEvidence {
  /** ATTESTATION_REPORT, 1184 bytes. */
  readonly report: Uint8Array
  /** PEM: VCEK, ASK, ARK. */
  readonly certificates: Uint8Array
  /** COSE_Sign1. */
  readonly uvmEndorsements: Uint8Array
}

/** Secure Key Release sidecar (mcr.microsoft.com/aci/skr), HTTP form. Every method throws a `SidecarError`. */
export interface Sidecar {
  /** Resolves when the sidecar says that it is ready. */
  status(): Promise<void>
  /** The released key as the parsed JWK, unchecked. */
  releaseKey(): Promise<unknown>
  /** A token of the attestation service that binds `runtimeData`, which must be JSON. */
  attest(runtimeData: Uint8Array): Promise<string>
  /** A report whose REPORT_DATA begins with the SHA-256 of `runtimeData`. */
  collect(runtimeData: Uint8Array): Promise<HardwareEvidence>
  close(): Promise<void>
}

export interface SidecarSettings {
  readonly url: string
  readonly maaHost: string
  readonly vaultHost: string
  readonly keyName: string
  /** The sidecar itself waits for ever when a service behind it hangs. */
  readonly timeoutMs?: number
}

/** A report with its chain and endorsement is some 15 KB. */
const maximumAnswerBytes = 1024 ** 2

export function createSidecar({ url, maaHost, vaultHost, keyName, timeoutMs = 60_000 }: SidecarSettings): Sidecar {
  const dispatcher = new Agent({ connect: { timeout: 5_000 } })

  async function send(
    method: 'GET' | 'POST',
    path: string,
    body?: JsonObject
  ): Promise<{ status: number; text: string }> {
    try {
      const answer = await request(`${url}${path}`, {
        method,
        dispatcher,
        signal: AbortSignal.timeout(timeoutMs),
        ...(body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })
      })
      const text = await readAtMost(answer.body as AsyncIterable<Buffer>, maximumAnswerBytes)
      return { status: answer.statusCode, text: text.toString('utf8') }
    } catch {
      throw new SidecarError('sidecar.unreachable', `the sidecar at ${url} gave no usable answer`, { final: false })
    }
  }

  async function post(operation: 'attest' | 'release', path: string, body: JsonObject): Promise<JsonObject> {
    const { status, text } = await send('POST', path, body)
    let answer: unknown
    try {
      answer = parseFirstJson(text)
    } catch {
      // A panic in the sidecar is an empty 500; a page that is no JSON comes from something else.
      throw new SidecarError(`${operation}.failed`, `the sidecar answered with status ${status} and no JSON`, {
        final: false
      })
    }
    if (status === 200 && isJsonObject(answer) && answer.error === undefined) return answer
    const error = isJsonObject(answer) && typeof answer.error === 'string' ? answer.error : ''
    throw classifySidecarError(operation, status, error)
  }

  return {
    async status() {
      const { status, text } = await send('GET', '/status')
      if (status !== 200 || !text.includes('"Status OK"')) {
        throw new SidecarError('sidecar.not-ready', 'the sidecar is still starting', { final: false })
      }
    },

    async releaseKey() {
      const answer = await post('release', '/key/release', {
        maa_endpoint: maaHost,
        akv_endpoint: vaultHost,
        kid: keyName
      })
      try {
        // The JWK is JSON in a JSON string.
        return parseFirstJson(requireText(answer.key))
      } catch {
        throw new SidecarError('release.failed', 'the sidecar answered without a key', { final: false })
      }
    },

    async attest(runtimeData) {
      const answer = await post('attest', '/attest/maa', {
        maa_endpoint: maaHost,
        runtime_data: encodeBase64(runtimeData)
      })
      const { token } = answer
      if (typeof token !== 'string' || !/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token)) {
        throw new SidecarError('attest.failed', 'the sidecar answered without a token', { final: false })
      }
      return token
    },

    async collect(runtimeData) {
      const answer = await post('attest', '/attest/combined', { runtime_data: encodeBase64(runtimeData) })
      try {
        const report = decodeBase64(requireText(answer.evidence), 'evidence')
        if (report.length !== 1184) throw new TypeError('the report has another length')
        return {
          report,
          certificates: decodeBase64(requireText(answer.endorsements), 'endorsements'),
          uvmEndorsements: decodeBase64(requireText(answer.uvm_endorsements), 'uvm_endorsements')
        }
      } catch {
        throw new SidecarError('attest.failed', 'the sidecar answered without a report and its endorsements', {
          final: false
        })
      }
    },

    close: () => dispatcher.destroy()
  }
}

function requireText(value: unknown): string {
  if (typeof value !== 'string' || value === '') throw new TypeError('not a text')
  return value
}
