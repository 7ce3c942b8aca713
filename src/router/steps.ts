import { isFromPage } from './cross-origin.js'
import { isJsonObject } from '../base/json.js'
import { SealError } from '../seal/errors.js'
import { openEnvelope } from '../seal/node/envelope.js'
import { identifyCaller } from './access.js'
import { type BodyLimits, bodyTooLarge, hasBody, LimitedBody, readBody } from './body.js'
import type { Call, Target } from './call.js'
import { EnvelopeReply } from './envelope-reply.js'
import { forward } from './forward.js'
import { requestHeaders } from './headers.js'
import { findMembers } from './json-members.js'
import { chooseByModel } from './model.js'
import { Problem, retryLater } from './problem.js'
import type { Provider } from './providers.js'
import { checkUpstreamPath } from './upstream-path.js'

/** The steps of the pipeline, in its order. What each is for stands there. */

export function admit(call: Call): void {
  const { state, addressRate } = call.context
  if (state.stage === 'stopping') throw retryLater('stopping', 'the router is stopping', 1)
  if (state.active === undefined) {
    throw retryLater(
      'not_ready',
      `the router is not ready yet (stage "${state.stage}"); see /readyz`,
      state.difficulty?.nextAttemptInSeconds ?? 1
    )
  }
  const waitSeconds = addressRate.take(call.address)
  if (waitSeconds > 0) throw retryLater('rate_limited', 'too many requests of this address in this minute', waitSeconds)
}

export function authorize(call: Call): void {
  const { headers, socket } = call.request
  call.caller = identifyCaller(headers, socket.remoteAddress, call.context.settings.access)
}

export function takeSlot(call: Call): void {
  const leave = call.context.calls.enter(call.caller?.identity ?? call.address)
  if (leave === undefined) throw retryLater('overloaded', 'the router has as many calls as it takes', 1)
  call.onClose(leave)
}

export async function readJsonBody(call: Call): Promise<void> {
  const { headers } = call.request
  if (!/^application\/json\s*(;|$)/i.test(headers['content-type'] ?? '')) {
    throw new Problem('unsupported_media_type', 'the Content-Type must be application/json')
  }
  if ((headers['content-encoding'] ?? 'identity') !== 'identity') {
    throw new Problem('unsupported_media_type', 'a compressed body is not supported')
  }
  call.body = await readBody(call.request, bodyLimits(call), (bytes) => call.hold(bytes))
  call.record.bytesIn = call.body.length
}

const envelopeMember = new Set(['encrypted_payload'])

export async function openSealedBody(call: Call): Promise<void> {
  const body = requireBody(call)
  const { active } = call.context.state
  // Almost all plain requests are told apart by a search, without a look at their structure.
  if (active === undefined || !body.includes('encrypted_payload')) return
  if (findMembers(body, envelopeMember).size === 0) return
  let outer: unknown
  try {
    outer = JSON.parse(body.toString('utf8'))
  } catch {
    throw new Problem('invalid_json', 'the body must be one JSON object')
  }
  if (!isJsonObject(outer)) throw new Problem('invalid_json', 'the body must be one JSON object')
  const { plaintext, request, responseKey } = await openEnvelope(outer, active.keys).catch((error: unknown) => {
    throw asProblem(error)
  })
  call.reply = new EnvelopeReply(call.plain, responseKey, (bytes) => call.hold(bytes))
  call.record.sealed = 'envelope'
  call.hold(plaintext.length)
  if (call.query !== '') {
    throw new Problem('invalid_request', 'a sealed request cannot have a query, which nothing would protect')
  }
  if (request.stream !== undefined && request.stream !== false) {
    throw new Problem('stream_not_supported', 'a request in an envelope cannot be streamed; leave out "stream"', {
      param: 'stream'
    })
  }
  call.body = Buffer.from(plaintext)
}

/** The codes that speak of the caller's request; any other one is our own fault. */
function asProblem(error: unknown): unknown {
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

export function refusePlain(call: Call): void {
  if (call.context.settings.encryption === 'required' && call.record.sealed === undefined) {
    throw new Problem(
      'encryption_required',
      'this router takes sealed requests only; the key is at /v1/crypto/jwk, to be trusted after its evidence is verified'
    )
  }
}

const modelMember = new Set(['model'])

export function targetByModel(call: Call): void {
  const body = requireBody(call)
  const span = findMembers(body, modelMember).get('model')
  const choice = chooseByModel(body, span, call.context.settings.providers)
  call.body = choice.body
  // The providers' base URLs end where the paths of this API begin.
  setTarget(call, choice.provider, checkUpstreamPath(call.path.slice('/v1'.length)), false)
  if (!choice.provider.openaiCompatible) {
    throw new Problem(
      'unsupported_by_provider',
      `the provider "${choice.provider.name}" has an API of its own; use /providers/${choice.provider.name}/…`,
      { param: 'model' }
    )
  }
}

export function targetByPath(call: Call): void {
  const [, , name = ''] = call.path.split('/', 3)
  const provider = call.context.settings.providers.enabled.get(name)
  if (provider === undefined) {
    throw new Problem('unknown_provider', `this router has no provider ${JSON.stringify(name.slice(0, 80))}`)
  }
  setTarget(call, provider, checkUpstreamPath(call.path.slice(`/providers/${name}`.length) || '/'), true)
}

/** As early as it can be known; a body that does not say its length is measured as it passes. */
export function refuseLongBody(call: Call): void {
  const { bodyBytes } = call.context.settings.limits
  if (Number(call.request.headers['content-length'] ?? 0) > bodyBytes) throw bodyTooLarge(bodyBytes)
}

export function chooseKey(call: Call): void {
  const { provider, wholeApi } = requireTarget(call)
  if (provider.auth === 'none' || call.caller === undefined) return
  const { ownKey, identity } = call.caller
  if (ownKey !== undefined) {
    call.providerKey = ownKey
    return
  }
  const routerKey = call.context.state.providerKeys.get(provider.name)
  if (routerKey === undefined) {
    throw new Problem(
      'missing_api_key',
      `this router has no key for "${provider.name}"; send your own as "Authorization: Bearer …"`
    )
  }
  if (wholeApi && call.context.settings.access.mode === 'open' && !provider.accountAccess) {
    throw new Problem(
      'own_key_required',
      `without a key of your own only /v1/… of this router is open to you, not the account behind "${provider.name}"; send your key as "Authorization: Bearer …"`
    )
  }
  if (call.context.settings.access.mode === 'open' && isFromPage(call)) {
    throw new Problem(
      'own_key_required',
      `pages in a browser may not use the router's key for "${provider.name}"; send your own as "Authorization: Bearer …"`
    )
  }
  const waitSeconds = call.context.callRate.take(identity)
  if (waitSeconds > 0) throw retryLater('rate_limited', 'too many requests in this minute', waitSeconds)
  call.providerKey = routerKey
  call.usesRouterKey = true
}

export async function passOn(call: Call): Promise<void> {
  const { provider, path } = requireTarget(call)
  const headers = requestHeaders(call.request.headers, provider.auth, call.providerKey, {
    usesRouterKey: call.usesRouterKey,
    sealed: call.record.sealed !== undefined
  })
  // A sealed answer is read here, so it must come as it is.
  if (call.record.sealed !== undefined) headers['accept-encoding'] = 'identity'
  const { upstreamStatus, firstByteMs, outcome } = await forward(
    {
      dispatcher: call.context.egress.dispatcher(provider),
      origin: provider.origin,
      method: call.method,
      path: `${provider.basePath}${path}${call.query}`,
      headers,
      body: call.body ?? passThrough(call, headers)
    },
    call.reply,
    call,
    call.context.settings.limits.idleMs
  )
  Object.assign(call.record, { upstreamStatus, firstByteMs: Math.round(firstByteMs), outcome })
}

function passThrough(call: Call, headers: Record<string, string>): LimitedBody | null {
  if (!hasBody(call.request)) return null
  for (const name of ['content-length', 'content-encoding'] as const) {
    const value = call.request.headers[name]
    if (value !== undefined) headers[name] = value
  }
  const body = new LimitedBody(call.request, bodyLimits(call))
  body.once('close', () => {
    call.record.bytesIn = body.bytes
  })
  return body
}

function bodyLimits({ context }: Call): BodyLimits {
  const { bodyBytes, requestIdleMs } = context.settings.limits
  return { bytes: bodyBytes, idleMs: requestIdleMs }
}

function setTarget(call: Call, provider: Provider, path: string, wholeApi: boolean): void {
  call.target = { provider, path, wholeApi }
  call.record.provider = provider.name
}

function requireBody({ body }: Call): Buffer {
  if (body === undefined) throw new Error('the pipeline has not read the body')
  return body
}

function requireTarget({ target }: Call): Target {
  if (target === undefined) throw new Error('the pipeline has not chosen a provider')
  return target
}
