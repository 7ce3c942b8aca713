import { SealError } from '../seal/errors.js'
import { type HpkeSender, sealFor, type SealedEhbpRequest, setUpSender } from '../seal/ehbp-client.js'
import { equalBytes } from '../base/bytes.js'
import { sealHeaders } from '../seal/ehbp.js'
import { sealProviderKey } from '../seal/provider-key.js'
import type { TrustPolicy, VerifiedEvidence } from '../verify/index.js'
import { CallError } from './errors.js'
import { type Fetch, place, routerUrl } from './http.js'
import { type OutgoingRequest, readRequest } from './outgoing-request.js'
import { isNeverSent } from './never-sent.js'
import { checkReceipt, type ReceiptResult } from './receipt-check.js'
import { type AddressEvent, Routers, type RoutersOptions, type Source } from './routers.js'
import type { MaaKeySource, RouterVerdict } from './verify-router.js'

export interface CreateFetchOptions {
  /** Base URL of the router. Calls to any other place are refused. */
  readonly url: string
  /**
   * Base URLs of the same router, the best first, or who gives those of now: where there are any, calls below `url` go
   * to one of them instead, and nothing is sent to `url` itself. The list need not be trusted.
   */
  readonly addresses?: Source<readonly string[]> | undefined
  /** What the router has to be, or who gives what it has to be by now: whoever can change that decides who reads the calls. */
  readonly trust: Source<TrustPolicy>
  /** What makes the connections; the platform's own if left out. */
  readonly fetch?: Fetch | undefined
  /**
   * What makes the connections for calls, once the router is verified, in place of `fetch`: for a TLS key that
   * is held against the one in the evidence.
   */
  readonly transport?: ((evidence: VerifiedEvidence) => Fetch) | undefined
  readonly now?: (() => Date) | undefined
  /**
   * Keys of attestation providers, or who gives them for each verification, where they are not to be fetched: a
   * page in a browser cannot read them from a provider that does not allow it.
   */
  readonly maaKeys?: MaaKeySource | undefined
  /** The only provider to which the router may show the caller's key, for example `openai`. */
  readonly keyProvider?: string | undefined
  /** Pads events to a few sizes, so that whoever looks on cannot tell the length of each; costs bytes. */
  readonly pad?: boolean | undefined
  /** Whether each verification also compares the keys that the router publishes beside its evidence, as `verifyRouter` does. */
  readonly compareKeyEndpoints?: boolean | undefined
  /** Told of each verification, also of one that rejects, and of the address that it is about. */
  readonly onVerdict?: ((verdict: RouterVerdict, address: string) => void) | undefined
  /** Told of addresses that fail, and of what cannot be read. */
  readonly onEvent?: ((event: AddressEvent) => void) | undefined
  /** Told once for each answer that was read to its end. */
  readonly onReceipt?: ((result: ReceiptResult) => void) | undefined
}

/** For SDKs that insist on a key where the router has its own: whoever sends this sends none. */
export const noKey = 'none'

/** Beside its request alone, and not for long: a router's clock may differ by some minutes. */
const credentialLifeMs = 300_000

/**
 * A `fetch` that talks to one router, for the SDKs of OpenAI and others. It verifies the router before
 * the first byte is sent and again before the evidence ages, and seals every request, with the caller's
 * key, to keys of that evidence. There is no way through it in plain text.
 *
 * Fails with an `AttestationError` if the evidence was rejected and a `CheckError` if it could not be
 * checked, or with a `NoAddressError` if that is so of several addresses; nothing has been sent then. Fails with a `CallError` for a call that it cannot seal, or whose
 * answer the router did not seal. An answer that was cut or altered fails while it is read.
 */
export function createFetch(options: CreateFetchOptions): Fetch {
  return fetchOver(routersOf(options), options)
}

/** The router of these options, at all of its addresses; whoever holds it may verify at any time. Throws a `CallError` for a URL that no router has. */
export function routersOf(
  options: Pick<
    CreateFetchOptions,
    | 'url'
    | 'addresses'
    | 'trust'
    | 'fetch'
    | 'transport'
    | 'now'
    | 'maaKeys'
    | 'compareKeyEndpoints'
    | 'onVerdict'
    | 'onEvent'
  > &
    Pick<RoutersOptions, 'onNoVerdict'>
): Routers {
  baseOf(options.url)
  const { url, addresses, trust, transport, maaKeys, compareKeyEndpoints, onVerdict, onNoVerdict, onEvent } = options
  return new Routers({
    addresses: addresses ?? [url],
    trust,
    fetch: senderOf(options),
    transport,
    now: options.now ?? systemClock,
    maaKeys,
    compareKeyEndpoints,
    onVerdict,
    onNoVerdict,
    onEvent
  })
}

/** {@link createFetch} over a router that its maker verifies too; of the options those about calls count. */
export function fetchOver(routers: Routers, options: CreateFetchOptions): Fetch {
  const now = options.now ?? systemClock
  const send = senderOf(options)
  const base = baseOf(options.url)

  // Not one async function: that would hold the caller's body, beside the copy that is sealed, for as long as it runs.
  const verifiedFetch: Fetch = (input, init) => readRequest(input, init, base).then(call)

  async function call(given: OutgoingRequest): Promise<Response> {
    const { signal, isStream: once } = given
    const { request, keys, router, doubt, first } = await routers.begin(
      async (route) => {
        const request = atAddress(given, route.address)
        return { request, ...route, first: await sendSealed(request, route.keys, route.doubt) }
      },
      { signal, once }
    )
    // From here on it may have been served: nothing of it goes to another address.
    if (!isStale(first.response)) return first.answer()
    await first.response.body?.cancel().catch(ignore)
    const renewed = await router.keysAfter(keys, signal)
    // Nobody vouches for the refusal. If the key is the same it was no reason, and the request may have been served.
    if (equalBytes(renewed.hpke, keys.hpke)) throw unsealed(request, first.response)
    if (request.isStream) {
      throw new CallError('call.stale-key', 'the key of the router has changed, and a stream cannot be sent twice')
    }
    const second = await sendSealed(request, renewed, doubt, true)
    if (isStale(second.response)) {
      throw new CallError('call.stale-key', 'the router cannot open what is sealed to the key in its own evidence')
    }
    return second.answer()
  }

  /** The same call, below the base URL of one address. */
  function atAddress(request: OutgoingRequest, address: string): OutgoingRequest {
    if (address === options.url) return request
    const { pathname, search } = request.url
    const url = routerUrl(address, pathname.slice(base.pathname.length - 1))
    if (url === undefined) throw new CallError('call.url', 'the path of the call is not one of a router')
    url.search = search
    return { ...request, url, path: url.pathname + url.search }
  }

  async function sendSealed(
    request: OutgoingRequest,
    keys: VerifiedEvidence,
    doubt: () => void,
    isSecond = false
  ): Promise<{ readonly response: Response; answer(): Response }> {
    const { headers, sealed } = await seal(request, keys)
    const connect = options.transport?.(keys) ?? send
    let response: Response
    try {
      response = await connect(request.url, {
        method: 'POST',
        headers: { ...headers, ...sealed.headers },
        body: sealed.body,
        ...(request.isStream ? { duplex: 'half' } : {}),
        redirect: 'error',
        credentials: 'omit',
        cache: 'no-store',
        referrerPolicy: 'no-referrer',
        signal: request.signal ?? null
      })
    } catch (error) {
      if (request.signal?.aborted === true) throw request.signal.reason
      if (error instanceof CallError) throw error
      const nothingSent = !isSecond && isNeverSent(error)
      if (!nothingSent) doubt()
      const end = nothingSent ? '; nothing was sent' : '; the call may have been served, and was not sent again'
      throw new CallError('call.network', `no answer from ${place(request.url)}${end}`, { nothingSent, cause: error })
    }
    // A router that stops, or somebody in its place.
    if (unavailable.has(response.status) && !response.headers.has(sealHeaders.responseNonce)) doubt()
    const { url, signal } = request
    const { openResponse, sha256 } = sealed
    return { response, answer: () => openAnswer({ url, signal, headers }, { openResponse, sha256 }, response, keys) }
  }

  /** An answer may stay open for long: it is given nothing that has the body of the request. */
  function openAnswer(
    call: Pick<OutgoingRequest, 'url' | 'signal' | 'headers'>,
    { openResponse, sha256 }: Pick<SealedEhbpRequest, 'openResponse' | 'sha256'>,
    response: Response,
    keys: VerifiedEvidence
  ): Response {
    if (!response.headers.has(sealHeaders.responseNonce)) return inTheOpen(call, response)
    // The router says 200 for these, because without a body nothing could be authenticated.
    if (withoutBody.has(response.status) || response.status > 599) throw unsealed(call, response)
    const { status, headers } = response
    const opened = openResponse({ status, headers, body: asCallErrors(call, response) })
    const { onReceipt } = options
    if (onReceipt !== undefined) {
      checkReceipt(opened.receipt, sha256, { path: call.url.pathname, status, keys })
        .then((result) => result !== undefined && onReceipt(result))
        .catch(ignore)
    } else opened.receipt.catch(ignore)
    return new Response(opened.body, {
      status: response.status,
      headers: answerHeaders(response.headers)
    })
  }

  async function seal(
    request: OutgoingRequest,
    keys: VerifiedEvidence
  ): Promise<{ readonly headers: Readonly<Record<string, string>>; readonly sealed: SealedEhbpRequest }> {
    try {
      const sender = await setUpSender(keys.hpke, 'extension')
      const headers = { ...request.headers, ...(await sealedCredential(request, keys, sender)) }
      const extension = { timeMs: now().getTime(), cover: Object.keys(headers), pad: options.pad ?? false }
      const { path, body } = request
      const sealed = await sealFor(sender, { recipient: keys.hpke, method: 'POST', path, headers, body, extension })
      return { headers, sealed }
    } catch (error) {
      // Without the error itself: it could quote what was to be sealed.
      if (error instanceof SealError) throw new CallError('call.unsealable', error.message)
      throw error
    }
  }

  /** The header with the caller's key, of use beside this request alone; nothing if there is none. */
  async function sealedCredential(
    { credential }: OutgoingRequest,
    { rsa }: VerifiedEvidence,
    { encapsulatedKey }: HpkeSender
  ): Promise<Readonly<Record<string, string>>> {
    if (credential === undefined || credential === noKey) return {}
    const expiresAt = new Date(now().getTime() + credentialLifeMs)
    const provider = options.keyProvider
    const sealed = await sealProviderKey({ key: credential, recipient: rsa, provider, expiresAt, encapsulatedKey })
    return { authorization: `Bearer ${sealed}` }
  }

  // Else OpenAI's SDK would find out by a call of its own whether this `fetch` knows forms.
  return Object.assign(verifiedFetch, { Response: globalThis.Response })
}

const systemClock = (): Date => new Date()

const unavailable = new Set([502, 503, 504])

/** Looked up late, so that a test or an application may replace it. */
const senderOf = ({ fetch }: Pick<CreateFetchOptions, 'fetch'>): Fetch =>
  fetch ?? ((input, init) => globalThis.fetch(input, init))

function baseOf(url: string): URL {
  const base = routerUrl(url, '/')
  if (base === undefined) throw new CallError('call.url', 'the URL of the router must be http or https and no more')
  return base
}

/** What a callback of the application throws is not for the call, and how a body that nobody reads ends matters to nobody. */
const ignore = (): void => undefined

/**
 * Nothing of the request was opened by whoever answered with this, and nobody vouches for the answer. The
 * status is told, so that a program can wait and try again; the text is not passed off as the router's.
 */
function inTheOpen({ url, headers }: Pick<OutgoingRequest, 'url' | 'headers'>, response: Response): Response {
  response.body?.cancel().catch(ignore)
  if (response.status < 400 || response.status > 599) throw unsealed({ url }, response)
  const refused = `${place(url)} refused the request with status ${response.status}, before it was opened`
  const why = response.status === 415 ? wrongType(headers['content-type']) : ''
  const message = `${refused}${why}; nothing proves who said so`
  const retryAfter = response.headers.get('retry-after')
  const error = { message, type: 'confrouter_error', code: 'refused_in_the_open', param: null }
  return new Response(JSON.stringify({ error }), {
    status: response.status,
    headers: {
      'content-type': 'application/json',
      ...(retryAfter === null ? {} : { 'retry-after': retryAfter })
    }
  })
}

/** The caller can see that for itself, whoever has answered; a type that a router takes is not what is wrong. */
function wrongType(type: string | undefined): string {
  if (type !== undefined && /^(?:application\/json|multipart\/form-data)\s*(?:;|$)/i.test(type)) return ''
  const found = type === undefined ? 'the request has no content-type' : `its content-type is ${JSON.stringify(type)}`
  return `: ${found}, and a router takes application/json or multipart/form-data`
}

/**
 * The body with errors of ours: a connection that breaks and a coding that cannot be undone fail with whatever
 * error the platform has, and whoever reads should not have to know them all.
 */
function asCallErrors(
  { url, signal }: Pick<OutgoingRequest, 'url' | 'signal'>,
  { body, status }: Response
): ReadableStream<Uint8Array> | null {
  if (body === null) return null
  const reader = body.getReader()
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { done, value } = await reader.read()
          if (done) controller.close()
          else controller.enqueue(value)
        } catch (cause) {
          if (signal?.aborted === true) throw signal.reason
          throw new CallError('call.network', `the answer of ${place(url)} broke off`, { status, cause })
        }
      },
      cancel: (reason) => reader.cancel(reason)
    },
    { highWaterMark: 0 }
  )
}

const unsealed = ({ url }: Pick<OutgoingRequest, 'url'>, { status }: Response): CallError =>
  new CallError('call.unsealed', `${place(url)} answered in the open`, { status })

/** Of these a response has none in a browser or in Node either. */
const withoutBody = new Set([204, 205, 304])

/** The router's word for a key that it does not have (docs/wire-format.md); it cannot seal that answer. */
const isStale = (response: Response): boolean =>
  response.status === 422 && !response.headers.has(sealHeaders.responseNonce)

/** All of them are in the open, and but for the type nobody vouches for them: those that help to come back, and no more. */
function answerHeaders(headers: Headers): Headers {
  const kept = new Headers()
  for (const name of ofTheAnswer) {
    const value = headers.get(name)
    if (value !== null) kept.set(name, value)
  }
  return kept
}

const ofTheAnswer = [
  'content-type',
  'retry-after',
  'retry-after-ms',
  'x-confrouter-request-id',
  'x-request-id',
  'x-should-retry'
]
