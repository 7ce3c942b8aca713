export { isHttpsOrigin } from '../verify/https-origin.js'

export type Fetch = typeof globalThis.fetch

export interface Exchange {
  readonly status: number
  readonly text: string
  /** Of a `Retry-After` in seconds; a date is passed over. */
  readonly retryAfterSeconds: number | undefined
}

/** Why there is no text; the caller makes its own error of it. */
export class ExchangeError extends Error {
  override readonly name = 'ExchangeError'

  constructor(
    readonly reason: 'network' | 'aborted' | 'too-large' | 'not-text',
    message: string,
    readonly status?: number,
    cause?: unknown
  ) {
    super(message, cause === undefined ? undefined : { cause })
  }
}

/**
 * The URL of `path` on a router, keeping a path that the base has. `undefined` for anything but
 * http and https without credentials. Plain http is no fault here: what matters is verified or sealed.
 */
export function routerUrl(base: string, path: string): URL | undefined {
  if (!URL.canParse(base) || !/^\/(?!\/)/.test(path)) return undefined
  const url = new URL(base)
  const plain = url.username === '' && url.password === '' && url.search === '' && url.hash === ''
  if (!plain || (url.protocol !== 'http:' && url.protocol !== 'https:')) return undefined
  const joined = new URL(url.origin + url.pathname.replace(/\/$/, '') + path)
  return joined.origin === url.origin ? joined : undefined
}

/**
 * Calls and reads the whole answer as text of at most `maximumBytes`. Redirects are errors unless `init` says
 * otherwise: another host's answer is not that of the one that was asked. Throws an {@link ExchangeError}.
 */
export async function exchange(fetch: Fetch, url: URL, init: RequestInit, maximumBytes: number): Promise<Exchange> {
  const { status, bytes, retryAfterSeconds } = await exchangeBytes(fetch, url, init, maximumBytes)
  try {
    return { status, retryAfterSeconds, text: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes) }
  } catch {
    throw new ExchangeError('not-text', `${place(url)} answered with bytes that are not UTF-8`, status)
  }
}

export interface BytesExchange {
  readonly status: number
  readonly contentType: string
  readonly bytes: Uint8Array
  readonly retryAfterSeconds: number | undefined
}

/** Like {@link exchange}, for an answer that need not be text. */
export async function exchangeBytes(
  fetch: Fetch,
  url: URL,
  init: RequestInit,
  maximumBytes: number
): Promise<BytesExchange> {
  let response: Response
  try {
    response = await fetch(url, { redirect: 'error', ...init })
  } catch (error) {
    throw noAnswer(url, init.signal, error)
  }
  const { status, headers } = response
  return {
    status,
    contentType: headers.get('content-type') ?? '',
    bytes: await readBytes(response, url, init.signal, maximumBytes),
    retryAfterSeconds: secondsIn(headers.get('retry-after'))
  }
}

const secondsIn = (text: string | null): number | undefined => (/^\d{1,5}$/.test(text ?? '') ? Number(text) : undefined)

async function readBytes(
  { body, status }: Response,
  url: URL,
  signal: AbortSignal | null | undefined,
  maximumBytes: number
): Promise<Uint8Array> {
  if (body === null) return new Uint8Array()
  const reader = body.getReader()
  // Grown by doubling: whoever sends one byte at a time makes nothing quadratic and no heap of pieces.
  let buffer = new Uint8Array(16 * 1024)
  let length = 0
  for (;;) {
    const chunk = await nextChunk(reader, url, signal)
    if (chunk === undefined) return buffer.subarray(0, length)
    if (length + chunk.length > buffer.length) {
      const grown = new Uint8Array(2 * (length + chunk.length))
      grown.set(buffer.subarray(0, length))
      buffer = grown
    }
    buffer.set(chunk, length)
    length += chunk.length
    if (length > maximumBytes) {
      // The rest is not wanted, and how its end goes does not matter any more.
      await reader.cancel().catch(() => undefined)
      throw new ExchangeError('too-large', `${place(url)} answered with more than ${maximumBytes} bytes`, status)
    }
  }
}

async function nextChunk(
  reader: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>,
  url: URL,
  signal: AbortSignal | null | undefined
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  try {
    return (await reader.read()).value
  } catch (error) {
    throw noAnswer(url, signal, error)
  }
}

function noAnswer(url: URL, signal: AbortSignal | null | undefined, cause: unknown): ExchangeError {
  return signal?.aborted === true
    ? new ExchangeError('aborted', `the call to ${place(url)} was ended`, undefined, signal.reason)
    : new ExchangeError('network', `no answer from ${place(url)}`, undefined, cause)
}

/** Without the query, which may hold what nobody should log. */
export function place(url: URL): string {
  return url.origin + url.pathname
}
