import { isJsonObject, type Json } from '../base/json.js'
import { type SealedRequest, sealEnvelopeRequest } from '../seal/envelope.js'
import { SealError } from '../seal/errors.js'
import type { RsaPublicJwk } from '../seal/rsa-key.js'
import type { VerifiedEvidence } from '../verify/index.js'
import { CallError, type CallErrorCode } from './errors.js'
import { exchange, ExchangeError, type Fetch, place, routerUrl } from './http.js'

/** Longest sealed answer: 32 MiB of JSON, which base64 makes a third longer. */
const maximumAnswerBytes = 48 * 1024 * 1024

/** An RSA key that the caller has verified before and kept. */
export type PinnedRsaKey = RsaPublicJwk & { readonly kid: string }

export interface SealedCallOptions {
  /** Base URL of the router. */
  readonly url: string
  /** For example `/v1/chat/completions`. */
  readonly path: string
  /** The provider's own request. Not for streams: the router refuses `stream: true` in this form. */
  readonly request: Json
  readonly key: VerifiedEvidence | PinnedRsaKey
  readonly fetch: Fetch
  readonly signal?: AbortSignal | undefined
  /** Sent in the open, for example `authorization`. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** RSA-OAEP/SHA-256 pair for answers; a fresh one for each call if left out. */
  readonly responseKey?: CryptoKeyPair | undefined
}

/**
 * Sends one request in the envelope form and opens the answer. Only the holder of `key` can read the
 * request and only this call the answer; who wrote the answer is not proved. Throws a {@link CallError}.
 */
export async function sealedCall(options: SealedCallOptions): Promise<Json> {
  const { path, request, key, fetch, signal, headers, responseKey } = options
  const target = routerUrl(options.url, path)
  if (target === undefined)
    throw new CallError('call.url', 'the URL of the router must be http or https, the path absolute')
  const recipient: RsaPublicJwk = 'rsa' in key ? key.rsa : key
  const sealed = await sealEnvelopeRequest({ request, recipient, ...(responseKey && { responseKey }) })
  const init: RequestInit = {
    method: 'POST',
    headers: withOurs(headers),
    body: JSON.stringify(sealed.body),
    signal: signal ?? null
  }
  const { status, text } = await callExchange(fetch, target, init)
  const outer = parseJson(text)
  const answer = await open(sealed, outer)
  if (status >= 200 && status < 300 && answer !== undefined) return answer
  throw refusal(place(target), status, outer, answer)
}

/** Replaces the two headers that this form decides, in whatever case they were written. */
function withOurs(headers: SealedCallOptions['headers']): Headers {
  let sent: Headers
  try {
    sent = new Headers(headers)
  } catch {
    // Without a cause: it quotes the header, which may be a credential.
    throw new CallError('call.network', 'the headers of the call cannot be sent')
  }
  sent.set('content-type', 'application/json')
  sent.set('accept', 'application/json')
  return sent
}

const codes: Readonly<Record<ExchangeError['reason'], CallErrorCode>> = {
  network: 'call.network',
  aborted: 'call.aborted',
  'too-large': 'call.unsealed',
  'not-text': 'call.unsealed'
}

async function callExchange(fetch: Fetch, url: URL, init: RequestInit): Promise<{ status: number; text: string }> {
  try {
    return await exchange(fetch, url, init, maximumAnswerBytes)
  } catch (error) {
    if (!(error instanceof ExchangeError)) throw error
    const { reason, message, status, cause } = error
    throw new CallError(codes[reason], message, { status, cause })
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}

/** `undefined` for an answer that is not sealed to this call: errors of what stands before the router are not. */
async function open(sealed: SealedRequest, outer: unknown): Promise<Json | undefined> {
  try {
    return await sealed.openResponse(outer)
  } catch (error) {
    if (error instanceof SealError) return undefined
    throw error
  }
}

function refusal(where: string, status: number, outer: unknown, answer: Json | undefined): CallError {
  if (status >= 200 && status < 300) {
    return new CallError('call.unsealed', `${where} answered with a body that is not sealed to this call`, { status })
  }
  // Nobody vouches for an answer in the open: it is a hint to verify again, and no more than that.
  if (status === 400 && answer === undefined && messageOf(outer).includes('bad encrypted payload')) {
    return new CallError('call.stale-key', `${where} cannot open what was sealed to this key`, { status })
  }
  const hint = answer === undefined ? codeOf(outer) : undefined
  return new CallError('call.refused', `${where} answered with status ${status}`, { status, answer, hint })
}

function messageOf(outer: unknown): string {
  const error = isJsonObject(outer) ? outer['error'] : undefined
  const message = isJsonObject(error) ? error['message'] : error
  return typeof message === 'string' ? message : ''
}

/** Of the form of the router's own codes, so that no text of somebody else passes for one. */
function codeOf(outer: unknown): string | undefined {
  const error = isJsonObject(outer) ? outer['error'] : undefined
  const code = isJsonObject(error) ? error['code'] : undefined
  return typeof code === 'string' && /^[a-z_]{1,40}$/.test(code) ? code : undefined
}
