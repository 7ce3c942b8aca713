import { createHash } from 'node:crypto'
import { decodeBase64Url, encodeBase64 } from '../base/encoding.js'
import { isJsonObject, type JsonObject } from '../base/json.js'
import { encodeKeyConfiguration } from '../seal/ehbp.js'
import { identifyCaller, readCredential } from './access.js'
import { readBody } from './body.js'
import type { Call } from './call.js'
import { Problem, retryLater } from './problem.js'
import { metricsContentType } from './process-metrics.js'
import type { RouterKeys } from './released-key.js'
import { SidecarError } from './sidecar-error.js'

/** The endpoints about the router itself. None of them needs a credential: whoever calls may check first. */

/** A nonce in JSON, with room for white space. */
const maximumControlBody = 16 * 1024

export function health(call: Call): void {
  call.plain.json(200, { status: 'ok', stage: call.context.state.stage })
}

export function readiness(call: Call): void {
  const { stage, difficulty, active } = call.context.state
  if (stage === 'ready') {
    call.plain.json(200, { status: 'ready', stage, kid: active?.keys.kid })
    return
  }
  const retryAfter = String(Math.max(1, Math.ceil(difficulty?.nextAttemptInSeconds ?? 1)))
  call.plain.json(503, { status: 'not ready', stage, ...difficulty }, { 'retry-after': retryAfter })
}

/** For whoever may see it by CONFROUTER_METRICS. */
export async function metrics(call: Call): Promise<void> {
  const { settings, addressRate, renderMetrics } = call.context
  if (settings.metrics === 'off') throw new Problem('not_found', 'this router has no such path')
  if (settings.metrics === 'token') identifyCaller(readCredential(call.headers), undefined, settings.access)
  const waitSeconds = await addressRate.take(call.address)
  if (waitSeconds > 0) throw retryLater('rate_limited', 'too many requests of this address in this minute', waitSeconds)
  const text = Buffer.from(await renderMetrics())
  call.plain.start(200, {
    'content-type': metricsContentType,
    'cache-control': 'no-store',
    'content-length': String(text.length)
  })
  call.plain.write(text)
  call.plain.end()
}

export function publicKey(call: Call): void {
  call.plain.json(200, requireActive(call).keys.publicJwk)
}

/** RFC 9458 section 3. EHBP clients compare the content type exactly. */
export function keyConfiguration(call: Call): void {
  const body = encodeKeyConfiguration(requireActive(call).keys.hpke.publicKey)
  call.plain.start(200, {
    'content-type': 'application/ohttp-keys',
    'cache-control': 'no-store',
    'content-length': String(body.length)
  })
  call.plain.write(body)
  call.plain.end()
}

/** Evidence for whoever only wants to look; it is made every few minutes. */
export function cachedEvidence(call: Call): void {
  call.plain.json(200, requireActive(call).evidence)
}

/** Evidence that cannot have existed before the caller chose its nonce. */
export async function freshEvidence(call: Call): Promise<void> {
  const { keys } = requireActive(call)
  const { nonce } = await readMembers(call, 'nonce')
  const bytes = parseNonce(nonce)
  call.plain.json(200, await attested(call, () => call.context.evidence.collect(keys, bytes)))
}

/**
 * The sidecar's own form, for existing clients. What they send is a nonce here: a caller who could
 * choose the whole runtime data could obtain a token whose key is the caller's own.
 */
export async function compatibleAttestation(call: Call): Promise<void> {
  const { keys } = requireActive(call)
  const { runtime_data: text } = await readMembers(call, 'runtime_data')
  const nonce = shorten(parseCompatibleData(text))
  const { token, runtimeData } = await attested(call, () => call.context.evidence.attest(keys, nonce))
  call.plain.json(200, { token, runtime_data: encodeBase64(runtimeData) })
}

function requireActive({ context }: Call): { keys: RouterKeys; evidence: unknown } {
  const { active, difficulty, stage } = context.state
  if (active !== undefined) return active
  throw retryLater('not_ready', `the router is not ready yet (stage "${stage}")`, difficulty?.nextAttemptInSeconds ?? 1)
}

async function readMembers(call: Call, name: string): Promise<JsonObject> {
  const body = await readBody(
    call.request,
    { bytes: maximumControlBody, idleMs: call.context.settings.limits.requestIdleMs },
    (bytes) => call.hold(bytes)
  )
  call.record.bytesIn = body.length
  let value: unknown
  try {
    value = JSON.parse(body.toString('utf8'))
  } catch {
    throw new Problem('invalid_json', 'the body must be one JSON object')
  }
  if (!isJsonObject(value) || Object.keys(value).join() !== name) {
    throw new Problem('invalid_request', `the body must have the member "${name}" and no other`, { param: name })
  }
  return value
}

function parseNonce(text: unknown): Uint8Array {
  const nonce = tryDecode(typeof text === 'string' ? text : '*')
  if (nonce === undefined || nonce.length < 16 || nonce.length > 64) {
    throw new Problem('invalid_nonce', '"nonce" must be 16 to 64 bytes in base64url without padding', {
      param: 'nonce'
    })
  }
  return nonce
}

/** The sidecar takes standard base64; clients of the router were never told, so both alphabets count. */
function parseCompatibleData(text: unknown): Uint8Array {
  const data =
    typeof text === 'string' && text !== ''
      ? tryDecode(
          text
            .replace(/={1,2}$/, '')
            .replaceAll('+', '-')
            .replaceAll('/', '_')
        )
      : undefined
  if (data === undefined) throw new Problem('invalid_nonce', '"runtime_data" must be base64', { param: 'runtime_data' })
  return data
}

function tryDecode(text: string): Uint8Array | undefined {
  try {
    return decodeBase64Url(text, 'nonce')
  } catch {
    return undefined
  }
}

const shorten = (data: Uint8Array): Uint8Array => (data.length > 64 ? createHash('sha256').update(data).digest() : data)

async function attested<Result>(call: Call, attest: () => Promise<Result>): Promise<Result> {
  const { evidenceRate, attestations } = call.context
  // First, so that whoever is turned away here does not lose one of its turns.
  const leave = attestations.enter(call.address)
  if (leave === undefined) throw retryLater('overloaded', 'too many attestations at the same time', 1)
  try {
    const waitSeconds = await evidenceRate.take(call.address)
    if (waitSeconds > 0) throw retryLater('rate_limited', 'too many requests for fresh evidence', waitSeconds)
    return await attest()
  } catch (error) {
    if (!(error instanceof SidecarError)) throw error
    call.context.log.warn({ id: call.id, code: error.code, cause: error.reason }, 'attestation failed')
    throw new Problem('attestation_failed', `no evidence could be made: ${error.reason}`)
  } finally {
    leave()
  }
}
