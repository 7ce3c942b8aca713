import { decodeBase64Url, utf8 } from '../../../base/encoding.js'
import { isJsonObject, type Json, type JsonObject } from '../../../base/json.js'
import { ServiceError } from '../../http.js'

export interface AttestRequest {
  readonly report: Uint8Array
  readonly certificatesPem: string
  readonly uvmEndorsement: Uint8Array
  /** The exact bytes whose SHA-256 the report must hold. */
  readonly runtimeData: Uint8Array
  /** The same bytes as JSON. */
  readonly runtime: Json
  readonly nonce: string | undefined
}

/**
 * Reads the body of `POST /attest/SevSnpVm`: base64url with or without padding, JSON inside of it.
 * Throws `InvalidParameter` for anything else.
 */
export function parseAttestRequest(body: Uint8Array): AttestRequest {
  const request = parseObject(body, 'request', quoteLongIntegers)
  const evidence = parseObject(decodeField(request, 'report'), 'report')
  const endorsements = parseObject(decodeField(evidence, 'Endorsements'), 'report.Endorsements')
  const uvm: unknown = endorsements['Uvm']
  if (!Array.isArray(uvm) || uvm.length !== 1) throw invalid('report.Endorsements.Uvm must have one element.')
  const [uvmEndorsement] = uvm as unknown[]
  const runtime = runtimeMembers(request)
  const init = request['initTimeData']
  if (isJsonObject(init) && init['data'] !== '') {
    throw new ServiceError(501, 'NotImplemented', 'not implemented: initTimeData that is not empty')
  }
  return {
    report: decodeField(evidence, 'SnpReport'),
    certificatesPem: utf8Text(decodeField(evidence, 'VcekCertChain'), 'report.VcekCertChain'),
    uvmEndorsement: decodeText(uvmEndorsement, 'report.Endorsements.Uvm[0]'),
    ...runtime,
    nonce: parseNonce(request['nonce'])
  }
}

function runtimeMembers(request: JsonObject): Pick<AttestRequest, 'runtimeData' | 'runtime'> {
  const member = request['runtimeData']
  if (!isJsonObject(member)) throw invalid('runtimeData is missing.')
  const runtimeData = decodeField(member, 'data')
  if (member['dataType'] === 'Binary') {
    throw new ServiceError(501, 'NotImplemented', 'not implemented: runtimeData of type Binary')
  }
  if (member['dataType'] !== 'JSON') throw invalid('runtimeData.dataType must be "JSON" or "Binary".')
  try {
    return { runtimeData, runtime: JSON.parse(utf8.decode(runtimeData)) as Json }
  } catch {
    throw invalid('runtimeData is not JSON.')
  }
}

/** A number of up to 64 bits, or a string; it comes out as a string. */
function parseNonce(value: Json | undefined): string | undefined {
  if (value === undefined || value === null) return undefined
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return String(value)
  if (typeof value === 'string' && value.length <= 1024) return value
  throw invalid('nonce must be a non-negative integer or a string.')
}

/**
 * The sidecar's nonce is a JSON number of up to 2^64, which `JSON.parse` rounds. Turns integers of
 * 16 and more digits into strings; the pattern eats strings whole, so it never looks inside of one.
 */
function quoteLongIntegers(text: string): string {
  return text.replace(/"(?:[^"\\]|\\.)*"|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g, (token) =>
    /^\d{16,20}$/.test(token) ? `"${token}"` : token
  )
}

function parseObject(bytes: Uint8Array, name: string, prepare = (text: string): string => text): JsonObject {
  let value: unknown
  try {
    const text = utf8.decode(bytes)
    JSON.parse(text)
    value = JSON.parse(prepare(text))
  } catch {
    throw invalid(`${name} is not JSON.`)
  }
  if (!isJsonObject(value)) throw invalid(`${name} is not a JSON object.`)
  return value
}

function decodeField(object: JsonObject, name: string): Uint8Array {
  return decodeText(object[name], name)
}

function decodeText(value: unknown, name: string): Uint8Array {
  if (typeof value !== 'string' || value === '') throw invalid(`${name} is missing.`)
  try {
    return decodeBase64Url(value.replace(/={1,2}$/, ''), name)
  } catch {
    throw invalid(`${name} is not base64url.`)
  }
}

function utf8Text(bytes: Uint8Array, name: string): string {
  try {
    return utf8.decode(bytes)
  } catch {
    throw invalid(`${name} is not text.`)
  }
}

function invalid(message: string): ServiceError {
  return new ServiceError(400, 'InvalidParameter', message)
}
