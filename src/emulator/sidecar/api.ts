import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { encodeBase64, encodeHex, utf8 } from '../../base/encoding.js'
import { isJsonObject, type JsonObject } from '../../base/json.js'
import { isLocalCaller } from '../local-caller.js'
import type { Attestor } from './attestation.js'
import { errorText, SidecarFailure } from './failure.js'
import { decodeGoBase64, goJson, goJsonError, missingFields } from './go-dialect.js'
import type { ReleaseRequest } from './release.js'

export interface SidecarMeans {
  readonly attestor: Attestor
  readonly release: (request: ReleaseRequest) => Promise<JsonObject>
  readonly log: (level: 'warning' | 'info', line: string) => void
}

interface Answer {
  readonly status: number
  readonly contentType?: string
  readonly body: string
}

const maximumBody = 1024 * 1024

/**
 * The HTTP API of the Secure Key Release sidecar, version 2.12, oddities included. Whoever reaches the
 * real one is inside the group; here every browser of the machine does, so what comes from a web
 * page is refused.
 */
export function sidecarApi(means: SidecarMeans): RequestListener {
  return (request, response) => {
    void respond(request, response, means)
  }
}

async function respond(request: IncomingMessage, response: ServerResponse, means: SidecarMeans): Promise<void> {
  const path = (request.url ?? '/').split('?')[0] ?? '/'
  let answer: Answer
  try {
    answer = isLocalCaller(request.headers, request.socket.localPort)
      ? await route(`${request.method} ${path}`, request, means)
      : json(403, { error: 'the emulated sidecar answers programs of this machine, and no web pages' })
  } catch (error) {
    // The real one recovers from a panic with a status and nothing else.
    means.log('warning', `${path}: ${error instanceof Error ? error.name : 'unknown error'}`)
    answer = { status: 500, body: '' }
  }
  means.log('info', `${request.method} ${path} ${answer.status}`)
  response.writeHead(answer.status, {
    ...(answer.body === '' ? {} : { 'content-type': answer.contentType ?? 'application/json; charset=utf-8' }),
    'content-length': String(Buffer.byteLength(answer.body))
  })
  response.end(answer.body)
}

async function route(name: string, request: IncomingMessage, means: SidecarMeans): Promise<Answer> {
  switch (name) {
    case 'GET /status':
      return json(200, { message: 'Status OK' })
    case 'POST /attest/raw':
      return attestRaw(await readBody(request), means)
    case 'POST /attest/combined':
      return attestCombined(await readBody(request), means)
    case 'POST /attest/maa':
      return attestMaa(await readBody(request), means)
    case 'POST /key/release':
      return keyRelease(await readBody(request), means)
    default:
      // A wrong method too: the router of the real one knows no 405.
      return { status: 404, contentType: 'text/plain', body: '404 page not found' }
  }
}

async function attestRaw(body: string, { attestor }: SidecarMeans): Promise<Answer> {
  const parsed = parseRequest(body, 'RawAttestData', [['RuntimeData', 'runtime_data']])
  if ('refusal' in parsed) return parsed.refusal
  const runtimeData = parseRuntimeData(parsed.fields)
  if (!(runtimeData instanceof Uint8Array)) return runtimeData
  return answerOf(
    async () => json(200, { report: encodeHex(await attestor.report(runtimeData)) }),
    (chain) => documents(403, { error: errorText('fetching snp report failed', chain) }, { report: '' })
  )
}

async function attestCombined(body: string, { attestor }: SidecarMeans): Promise<Answer> {
  const parsed = parseRequest(body, 'RawAttestData', [['RuntimeData', 'runtime_data']])
  if ('refusal' in parsed) return parsed.refusal
  const runtimeData = parseRuntimeData(parsed.fields)
  if (!(runtimeData instanceof Uint8Array)) return runtimeData
  return answerOf(
    async () => {
      const { report, certificates, uvmEndorsements } = await attestor.evidence(runtimeData)
      return json(200, {
        endorsed_tcb: certificates.tcb,
        endorsements: encodeBase64(utf8.encode(certificates.chain)),
        evidence: encodeBase64(report),
        uvm_endorsements: encodeBase64(uvmEndorsements)
      })
    },
    (chain) => json(500, { error: errorText('attestation failed', chain) })
  )
}

async function attestMaa(body: string, { attestor }: SidecarMeans): Promise<Answer> {
  const parsed = parseRequest(body, 'MAAAttestData', [
    ['MAAEndpoint', 'maa_endpoint'],
    ['RuntimeData', 'runtime_data']
  ])
  if ('refusal' in parsed) return parsed.refusal
  const runtimeData = parseRuntimeData(parsed.fields)
  if (!(runtimeData instanceof Uint8Array)) return runtimeData
  return answerOf(
    async () => json(200, { token: await attestor.token(parsed.fields['maa_endpoint'] ?? '', runtimeData) }),
    // Two documents: the real one forgets to return after the first.
    (chain) => documents(403, { error: errorText('attestation failed', chain) }, { token: '' })
  )
}

async function keyRelease(body: string, { release }: SidecarMeans): Promise<Answer> {
  const parsed = parseRequest(body, 'KeyReleaseData', [
    ['MAAEndpoint', 'maa_endpoint'],
    ['AKVEndpoint', 'akv_endpoint'],
    ['KID', 'kid']
  ])
  // An error value goes into the JSON as it is, and Go makes an empty object of it.
  if ('refusal' in parsed) return json(400, { error: {} })
  const {
    maa_endpoint: maaEndpoint = '',
    akv_endpoint: akvEndpoint = '',
    kid = '',
    access_token: token
  } = parsed.fields
  return answerOf(
    async () => {
      const key = await release({ maaEndpoint, akvEndpoint, kid, accessToken: token === '' ? undefined : token })
      return json(200, { key: goJson(key) })
    },
    (chain) => json(403, { error: errorText('secure key release failed', chain) })
  )
}

async function answerOf(work: () => Promise<Answer>, refuse: (chain: string) => Answer): Promise<Answer> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof SidecarFailure)) throw error
    return refuse(error.message)
  }
}

type Parsed = { readonly fields: Readonly<Record<string, string>> } | { readonly refusal: Answer }

/** Binds a body to a Go struct: members are strings, `required` ones must not be empty. */
function parseRequest(
  body: string,
  struct: string,
  required: readonly (readonly [field: string, member: string])[]
): Parsed {
  const refuse = (chain: string): Parsed => ({
    refusal: json(400, { error: errorText('invalid request format', chain) })
  })
  let value: unknown
  try {
    value = JSON.parse(body)
  } catch {
    return refuse(goJsonError(body))
  }
  if (!isJsonObject(value)) return refuse(`json: cannot unmarshal into Go value of type server.${struct}`)
  const fields: Record<string, string> = {}
  for (const [name, member] of Object.entries(value)) {
    if (typeof member === 'string') fields[name] = member
    else if (member !== null && [...required.map(([, known]) => known), 'access_token'].includes(name)) {
      return refuse(`json: cannot unmarshal ${typeof member} into Go struct field ${struct}.${name} of type string`)
    }
  }
  const missing = required.filter(([, member]) => (fields[member] ?? '') === '').map(([field]) => field)
  return missing.length === 0 ? { fields } : refuse(missingFields(struct, missing))
}

function parseRuntimeData(fields: Readonly<Record<string, string>>): Uint8Array | Answer {
  const decoded = decodeGoBase64(fields['runtime_data'] ?? '')
  if (decoded instanceof Uint8Array) return decoded
  return json(400, { error: errorText('decoding base64-encoded runtime data of request failed', decoded.error) })
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length
    // Read to the end all the same: an answer to a caller that is still sending gets lost.
    if (length <= maximumBody) chunks.push(chunk)
  }
  if (length > maximumBody) throw new RangeError('request body is too long')
  return Buffer.concat(chunks).toString('utf8')
}

function json(status: number, value: unknown): Answer {
  return documents(status, value)
}

function documents(status: number, ...values: readonly unknown[]): Answer {
  return { status, body: values.map(goJson).join('') }
}
