import { forwardedHeaders } from '../seal/forwarded-headers.js'
import { CallError } from './errors.js'

/** A request as it will be sealed. */
export interface OutgoingRequest {
  readonly url: URL
  /** Path with query, as in the request line. */
  readonly path: string
  /** What travels beside the sealed body, and is bound to it, by lower-case name. */
  readonly headers: Readonly<Record<string, string>>
  /** The caller's key or token; it never stands in `headers`. */
  readonly credential: string | undefined
  readonly body: Uint8Array | ReadableStream<Uint8Array> | undefined
  /** A body that cannot be sent twice. */
  readonly isStream: boolean
  readonly signal: AbortSignal | undefined
}

/** Without a body nothing of a request would be authentic, so these travel as a POST that says which it is. */
const bodiless = new Set(['GET', 'DELETE'])
const methodHeader = 'confrouter-method'

/**
 * Reads what was given to a `fetch`. `base` is the router's URL with a path that ends in a slash. Throws a
 * `CallError` with code `call.url` for any place that is not the router's, and `call.unsealable` for
 * what cannot be sealed.
 */
export async function readRequest(
  input: string | URL | Request,
  init: RequestInit | undefined,
  base: URL
): Promise<OutgoingRequest> {
  const url = placeOfCall(input, base)
  const isStream = init?.body instanceof ReadableStream
  const bytes = init?.body instanceof Uint8Array ? new Uint8Array(init.body) : undefined
  // The platform knows best what type a form or a search has, and what a `Request` and its `init` make together.
  const request = new Request(input instanceof Request ? input : url, {
    ...init,
    ...(isStream ? { duplex: 'half' } : {}),
    // It would only be copied there, more than once.
    ...(bytes === undefined ? {} : { body: new Uint8Array() })
  })
  const { method } = request
  if (method !== 'POST' && !bodiless.has(method)) {
    throw new CallError('call.unsealable', `the router takes no sealed ${method} request`)
  }
  refuseKeysInQuery(url)
  const { credential, headers } = readHeaders(request.headers)
  return {
    url,
    path: url.pathname + url.search,
    headers: method === 'POST' ? headers : { ...headers, [methodHeader]: method },
    credential,
    body: isStream ? (request.body ?? undefined) : (bytes ?? new Uint8Array(await request.arrayBuffer())),
    isStream,
    signal: init?.signal ?? (input instanceof Request ? input.signal : undefined)
  }
}

/** Only below the router's own URL: whatever is sealed or not, nothing goes to another place. */
function placeOfCall(input: string | URL | Request, base: URL): URL {
  const text = input instanceof Request ? input.url : String(input)
  const url = URL.canParse(text) ? new URL(text) : undefined
  const isBelow = url !== undefined && url.origin === base.origin && url.pathname.startsWith(base.pathname)
  if (!isBelow || url.username !== '' || url.password !== '') {
    throw new CallError('call.url', `this fetch calls ${base.href} only; give that to the SDK as its base URL`)
  }
  url.hash = ''
  return url
}

/** A query travels in the open, and some APIs take a key there. */
function refuseKeysInQuery({ searchParams }: URL): void {
  for (const name of searchParams.keys()) {
    if (!/^(?:key|token|auth|(?:api|access|auth)[-_]?(?:key|token))$/i.test(name)) continue
    throw new CallError(
      'call.unsealable',
      `a query travels in the open, and this one has "${name}"; send it as a header`
    )
  }
}

/** In these the SDKs of the providers send a key; the first one counts, as at the router. */
const credentialHeaders = ['authorization', 'x-api-key', 'api-key']

function readHeaders(all: Headers): Pick<OutgoingRequest, 'credential' | 'headers'> {
  const headers: Record<string, string> = {}
  let credential: string | undefined
  for (const name of credentialHeaders) credential ??= credentialOf(name, all.get(name) ?? '')
  for (const [name, value] of all) {
    // Whatever else there is says something of this machine, or is a secret that the router would not pass on.
    if (forwardedHeaders.includes(name) && name !== 'accept-encoding') headers[name] = value
  }
  return { credential, headers }
}

function credentialOf(name: string, value: string): string | undefined {
  if (value === '') return undefined
  if (name !== 'authorization') return value
  const match = /^(?:bearer|key) +([\x21-\x7e]+)$/i.exec(value)
  if (match?.[1] === undefined) {
    throw new CallError('call.unsealable', 'the Authorization header must be "Bearer …" or "Key …"')
  }
  return match[1]
}
