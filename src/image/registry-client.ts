import type { OciDigest } from '../base/digest.js'
import { utf8 } from '../base/encoding.js'
import { ImageError } from './image-error.js'
import { parseJson, quote } from './manifest.js'
import {
  basicAuthorization,
  parseChallenge,
  parseTokenAnswer,
  tokenRequest,
  type Challenge,
  type CredentialSource,
  type RegistryCredentials
} from './registry-auth.js'
import { createTransport, TransientError, type RegistryAnswer } from './registry-transport.js'
import { collect } from './verified-stream.js'

interface RegistryClientOptions {
  /** As people write it: `docker.io`, `ghcr.io`, `localhost:5000`. */
  readonly registry: string
  readonly repository: string
  /** What a token is asked for when the registry does not say. */
  readonly actions: 'pull' | 'pull,push'
  readonly fetch: typeof globalThis.fetch
  readonly credentials?: CredentialSource | undefined
  readonly signal?: AbortSignal | undefined
  /** Defaults to true for loopback addresses only, as in Docker. */
  readonly plainHttp?: boolean | undefined
  /** Waits between attempts; tests pass their own. */
  readonly wait?: ((milliseconds: number) => Promise<void>) | undefined
}

interface RegistryRequest {
  readonly method?: 'GET' | 'HEAD' | 'POST' | 'PUT'
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Uint8Array | StreamedBody
  /** Status codes that are an answer; any other one is an error. */
  readonly accept: readonly number[]
  /** What is asked for, for messages. */
  readonly label: string
}

/** A body that is too large for memory: opened again for each attempt and each redirect. */
interface StreamedBody {
  readonly size: number
  open(): AsyncIterable<Uint8Array>
}

export interface RegistryClient {
  /** Sends a request to a path below the repository. */
  send(path: string, request: RegistryRequest): Promise<RegistryAnswer>
  /** Ends an upload at the place that the registry gave, which has to be at the registry: it gets our token. */
  sendUpload(location: string, digest: OciDigest, request: RegistryRequest): Promise<RegistryAnswer>
  /** Waits before the attempt after the given one, counted from 0. */
  backOff(attempt: number): Promise<void>
}

export const maxAttempts = 5
const maxRedirects = 5
const firstDelayMs = 500
const maxDelayMs = 30_000
const maxTokenAnswerBytes = 128 * 1024
const maxErrorBytes = 64 * 1024
const retriedStatuses = [408, 429, 500, 502, 503, 504]
const redirectStatuses = [301, 302, 303, 307, 308]

/**
 * Talks to one repository of a registry (OCI distribution-spec 1.1): anonymous first, then basic or
 * bearer as the challenge says; retries with exponential back-off; follows redirects itself, so that
 * no `Authorization` ever reaches another origin and HTTPS never becomes HTTP.
 */
export function createRegistryClient(options: RegistryClientOptions): RegistryClient {
  const { registry, repository, signal } = options
  const plainHttp = options.plainHttp ?? isLoopback(registry)
  const host = registry === 'docker.io' ? 'registry-1.docker.io' : registry
  const base = new URL(`${plainHttp ? 'http' : 'https'}://${host}`)
  const transport = createTransport({ registry, fetch: options.fetch, signal })
  const wait = options.wait ?? ((milliseconds: number) => sleep(milliseconds, signal))
  let authorization: string | undefined
  let credentials: Promise<RegistryCredentials | undefined> | undefined

  return {
    send: (path, request) => sendRetried(new URL(`/v2/${repository}${path}`, base), request),
    sendUpload: (location, digest, request) => sendRetried(uploadUrl(location, digest), request),
    backOff: (attempt) => wait(backOffMs(attempt))
  }

  async function sendRetried(url: URL, request: RegistryRequest): Promise<RegistryAnswer> {
    for (let attempt = 0; ; attempt++) {
      const last = attempt + 1 >= maxAttempts
      try {
        const answer = await sendAuthorized(url, request)
        if (request.accept.includes(answer.status)) return answer
        if (last || !retriedStatuses.includes(answer.status)) throw await statusError(answer, request.label, attempt)
        await answer.discard()
        await wait(Math.max(backOffMs(attempt), retryAfterMs(answer)))
      } catch (error) {
        if (last || !(error instanceof TransientError)) throw error
        await wait(backOffMs(attempt))
      }
    }
  }

  async function sendAuthorized(url: URL, request: RegistryRequest): Promise<RegistryAnswer> {
    const used = authorization
    const answer = await followRedirects(url, request)
    if (answer.status !== 401) return answer
    await answer.discard()
    // Another request may have renewed the token while this one was under way.
    if (authorization === used) authorization = await authorize(answer.headers.get('www-authenticate'), request.label)
    return followRedirects(url, request)
  }

  async function followRedirects(url: URL, { method, headers, body, label }: RegistryRequest): Promise<RegistryAnswer> {
    let current = url
    for (let hop = 0; hop <= maxRedirects; hop++) {
      const authorized = current.origin === base.origin && authorization !== undefined ? { authorization } : {}
      const answer = await transport(
        current.href,
        {
          method: method ?? 'GET',
          // A layer must arrive as it is stored: what a proxy compressed would not have the digest.
          headers: { 'accept-encoding': 'identity', ...headers, ...authorized, ...lengthOf(body) },
          ...contentOf(body)
        },
        label
      )
      const location = redirectStatuses.includes(answer.status) ? answer.headers.get('location') : null
      if (location === null) return answer
      await answer.discard()
      current = redirectTarget(location, current)
    }
    throw new ImageError('registry.failed', `${registry} redirects more than ${maxRedirects} times for ${label}`)
  }

  function redirectTarget(location: string, from: URL): URL {
    const target = URL.canParse(location, from.href) ? new URL(location, from.href) : undefined
    const allowed = target?.protocol === 'https:' || (target?.protocol === 'http:' && from.protocol === 'http:')
    if (target === undefined || !allowed) {
      throw new ImageError('registry.failed', `${registry} redirects to an address that is not HTTPS`)
    }
    return target
  }

  function uploadUrl(location: string, digest: OciDigest): URL {
    const url = URL.canParse(location, base.href) ? new URL(location, base) : undefined
    if (url?.origin !== base.origin)
      throw new ImageError('registry.failed', `${registry} wants uploads at another host`)
    url.searchParams.set('digest', digest)
    return url
  }

  async function authorize(header: string | null, label: string): Promise<string> {
    const challenge = parseChallenge(header ?? '')
    if (challenge === undefined) throw notLoggedIn(label)
    credentials ??= options.credentials?.(registry) ?? Promise.resolve(undefined)
    const known = await credentials
    if (challenge.scheme === 'bearer') return `Bearer ${await bearerToken(challenge, known, label)}`
    if (known?.kind !== 'password') throw notLoggedIn(label)
    return basicAuthorization(known)
  }

  async function bearerToken(
    challenge: Extract<Challenge, { scheme: 'bearer' }>,
    known: RegistryCredentials | undefined,
    label: string
  ): Promise<string> {
    const scope = challenge.scope ?? `repository:${repository}:${options.actions}`
    const { url, init } = tokenRequest({ ...challenge, scope }, known, { registry, plainHttp })
    const tokenLabel = `a token for ${registry}`
    const answer = await transport(url, init, tokenLabel)
    if (answer.status === 401 || answer.status === 403) {
      await answer.discard()
      throw notLoggedIn(label)
    }
    if (retriedStatuses.includes(answer.status)) {
      await answer.discard()
      throw new TransientError(`the token service of ${registry} answered ${answer.status}`)
    }
    if (answer.status !== 200) throw await statusError(answer, tokenLabel)
    return parseTokenAnswer(
      parseJson(await collect(answer.body(), maxTokenAnswerBytes, tokenLabel), tokenLabel),
      registry
    )
  }

  async function statusError(answer: RegistryAnswer, label: string, retries = 0): Promise<ImageError> {
    if (answer.status === 401 || answer.status === 403) {
      await answer.discard()
      return notLoggedIn(label)
    }
    const says = await errorText(answer)
    if (answer.status === 404) return new ImageError('image.not-found', `${registry} has no ${label}`, { why: says })
    const tried = retries === 0 ? undefined : `it was asked ${retries + 1} times`
    const why = [tried, says].filter((text) => text !== undefined).join('; ')
    return new ImageError('registry.failed', `${registry} answered ${answer.status} for ${label}`, {
      why: why === '' ? undefined : why,
      next: answer.status === 429 ? [`docker login ${registry}   (many registries let those in more often)`] : []
    })
  }

  function notLoggedIn(label: string): ImageError {
    return new ImageError('registry.not-logged-in', `${registry} refuses access to ${label}`, {
      why: 'it wants credentials, does not accept the ones it got, or hides a repository that does not exist',
      next: [`docker login ${registry}`]
    })
  }
}

/** Without it the body would go in chunks, which not every registry takes for a blob. */
function lengthOf(body: RegistryRequest['body']): Readonly<Record<string, string>> {
  return body === undefined || body instanceof Uint8Array ? {} : { 'content-length': String(body.size) }
}

function contentOf(body: RegistryRequest['body']) {
  if (body === undefined) return {}
  return body instanceof Uint8Array ? { body: new Uint8Array(body) } : { content: body.open() }
}

async function errorText(answer: RegistryAnswer): Promise<string | undefined> {
  try {
    const text = utf8.decode(await collect(answer.body(), maxErrorBytes, 'the error document'))
    return text === '' ? undefined : `the registry says ${quote(text)}`
  } catch {
    // The status is the error; a body that cannot be read adds nothing to it.
    return undefined
  }
}

function isLoopback(registry: string): boolean {
  return /^(?:localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])(?::[0-9]+)?$/.test(registry)
}

function backOffMs(attempt: number): number {
  return Math.min(maxDelayMs, firstDelayMs * 2 ** attempt)
}

/** Registries use the seconds of RFC 9110 section 10.2.3, not its dates. */
function retryAfterMs(answer: RegistryAnswer): number {
  const header = answer.headers.get('retry-after') ?? ''
  return /^[0-9]{1,4}$/.test(header) ? Math.min(maxDelayMs, Number(header) * 1000) : 0
}

function sleep(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer)
      // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- the caller's own reason
      reject(signal?.reason)
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop)
      resolve()
    }, milliseconds)
    if (signal?.aborted === true) stop()
    else signal?.addEventListener('abort', stop, { once: true })
  })
}
