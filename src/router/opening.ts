import type { IncomingHttpHeaders } from 'node:http'
import { createHash } from 'node:crypto'
import { isJsonObject } from '../base/json.js'
import { SealError } from '../seal/errors.js'
import { recognizeSealed } from '../seal/node/ehbp.js'
import { openEnvelope } from '../seal/node/envelope.js'
import { type BodyLimits, bodyTooLarge, hasBody } from './body.js'
import { asProblem, readWholeBody, streamBody } from './body-source.js'
import type { Call } from './call.js'
import { EnvelopeReply } from './envelope-reply.js'
import { findMembers } from './json-members.js'
import { parseBoundary, routeMultipart } from './multipart.js'
import { Problem } from './problem.js'

/** What the caller sends: how it is sealed, and the body as far as the router has to look into it. */

/**
 * Looks at the headers alone. With the extension only those that it protects count: whoever ends
 * TLS in between could have added the others, a credential of another account above all.
 */
export function recognizeSeal(call: Call): void {
  const { method = '', url = '', headers } = call.request
  call.seal = asProblem(() => recognizeSealed({ method, path: url, headers }))
  const extension = call.seal?.extension
  if (call.seal !== undefined) call.record.sealed = extension === undefined ? 'ehbp' : 'ehbp-extended'
  if (call.seal !== undefined && extension === undefined && call.query !== '') {
    throw new Problem(
      'invalid_request',
      'a request sealed by plain EHBP cannot have a query, which nothing would protect; the extension binds it'
    )
  }
  if (extension === undefined) return
  call.headers = only(headers, extension.covered)
  const inner = call.headers[methodHeader]
  if (inner === undefined) return
  if (method !== 'POST' || typeof inner !== 'string' || !bodiless.has(inner)) {
    throw new Problem('invalid_request', `${methodHeader} goes with POST and is GET or DELETE`)
  }
  call.method = inner
}

/**
 * The method of a sealed request without content. A GET cannot have a body, and without a body
 * nothing of it would be authentic and no answer could be sealed, so it travels as a POST.
 */
const methodHeader = 'confrouter-method'
const bodiless = new Set(['GET', 'DELETE'])

const only = (headers: IncomingHttpHeaders, names: readonly string[]): IncomingHttpHeaders =>
  Object.fromEntries(names.flatMap((name) => (headers[name] === undefined ? [] : [[name, headers[name]]])))

/** The body of a model's call: JSON is read whole, a form is passed on while it comes. */
export async function readModelBody(call: Call): Promise<void> {
  const type = call.headers['content-type'] ?? ''
  if ((call.request.headers['content-encoding'] ?? 'identity') !== 'identity') {
    throw new Problem('unsupported_media_type', 'a compressed body is not supported')
  }
  if (/^application\/json\s*(;|$)/i.test(type)) call.body = await readWholeBody(call, wholeBodyLimits(call))
  else if (/^multipart\/form-data\s*;/i.test(type)) await readForm(call, parseBoundary(type))
  else {
    throw new Problem('unsupported_media_type', 'the Content-Type must be application/json or multipart/form-data')
  }
}

/** The form's part `model` decides where it goes, so what comes before that part waits here. */
async function readForm(call: Call, boundary: string): Promise<void> {
  const limits = streamLimits(call)
  refuseLongBody(call, limits)
  const source = await streamBody(call, limits)
  if (source === null) throw new Problem('invalid_multipart', 'the form has no body')
  const form = await routeMultipart(source, boundary, (bytes) => call.hold(bytes))
  call.onClose(() => form.destroy())
  call.form = form
}

/** Any body as it comes; a sealed one has begun to open. */
export async function openStream(call: Call): Promise<void> {
  const limits = streamLimits(call)
  refuseLongBody(call, limits)
  const body = await streamBody(call, limits)
  if (body === null) return
  if (call.method === call.request.method) {
    call.stream = { body, length: call.plainLength }
    return
  }
  for await (const chunk of body as AsyncIterable<Buffer>) {
    if (chunk.length > 0) throw new Problem('unexpected_body', `a sealed ${call.method} request has no content`)
  }
}

/** For what is answered without a body of the caller: a sealed request then has an empty one. */
export async function openNothing(call: Call): Promise<void> {
  if (call.seal === undefined && hasBody(call.request)) {
    throw new Problem('unexpected_body', 'this request cannot have a body', { headers: { connection: 'close' } })
  }
  await openStream(call)
}

const envelopeMember = new Set(['encrypted_payload'])

/** From here on the answer is sealed to the key in the envelope. */
export async function openEnvelopeBody(call: Call): Promise<void> {
  const { body, seal } = call
  const { active } = call.context.state
  // Almost all plain requests are told apart by a search, without a look at their structure.
  if (body === undefined || seal !== undefined || active === undefined || !body.includes('encrypted_payload')) return
  if (findMembers(body, envelopeMember).size === 0) return
  let outer: unknown
  try {
    outer = JSON.parse(body.toString('utf8'))
  } catch {
    throw new Problem('invalid_json', 'the body must be one JSON object')
  }
  if (!isJsonObject(outer)) throw new Problem('invalid_json', 'the body must be one JSON object')
  const { plaintext, request, responseKey } = await openEnvelope(outer, active.keys).catch((error: unknown) => {
    throw envelopeProblem(error)
  })
  call.opened = {
    keys: active.keys,
    measure: () => ({ sha256: createHash('sha256').update(body).digest('hex'), bytes: body.length })
  }
  call.reply = new EnvelopeReply(call, responseKey)
  call.record.sealed = 'envelope'
  call.hold(plaintext.length)
  if (call.query !== '') {
    throw new Problem('invalid_request', 'a sealed request cannot have a query, which nothing would protect')
  }
  if (request.stream !== undefined && request.stream !== null && request.stream !== false) {
    throw new Problem('stream_not_supported', 'a request in an envelope cannot be streamed; leave out "stream"', {
      param: 'stream'
    })
  }
  call.body = Buffer.from(plaintext)
}

/** The codes that speak of the caller's request; any other one is our own fault. */
function envelopeProblem(error: unknown): unknown {
  if (!(error instanceof SealError)) return error
  switch (error.code) {
    case 'bad_encrypted_payload':
    case 'invalid_envelope':
    case 'invalid_response_key':
      return new Problem(error.code, error.message)
    default:
      return error
  }
}

/** As early as it can be known; a body that does not say its length is measured as it passes. */
function refuseLongBody({ request }: Call, { bytes }: BodyLimits): void {
  if (Number(request.headers['content-length'] ?? 0) > bytes) throw bodyTooLarge(bytes)
}

const wholeBodyLimits = ({ context }: Call): BodyLimits => ({
  bytes: context.settings.limits.bodyBytes,
  idleMs: context.settings.limits.requestIdleMs
})

const streamLimits = ({ context }: Call): BodyLimits => ({
  bytes: context.settings.limits.uploadBytes,
  idleMs: context.settings.limits.requestIdleMs
})
