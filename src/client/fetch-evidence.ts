import { encodeBase64Url } from '../base/encoding.js'
import { type EvidenceDocument, maximumEvidenceLength, parseEvidence, VerifyError } from '../verify/index.js'
import { checkExchange } from './check-exchange.js'
import { CheckError } from './errors.js'
import { type Fetch, place, routerUrl } from './http.js'

export interface FetchedEvidence {
  /** The text as it was served, to be kept: it can be verified again at any time. */
  readonly document: string
  readonly evidence: EvidenceDocument
}

/**
 * Asks a router for evidence bound to `nonce` (16 to 64 bytes). What comes back is not verified. A router that makes
 * as much evidence as it can, or has no key yet, says when to come back (503 or 429 with `Retry-After`): it is asked
 * again then, for up to fifteen seconds in all. Throws a {@link CheckError}.
 */
export async function fetchEvidence({
  url,
  nonce,
  fetch,
  signal,
  pause = pauseFor
}: {
  readonly url: string
  readonly nonce: Uint8Array
  readonly fetch: Fetch
  readonly signal?: AbortSignal | undefined
  /** Waits that many milliseconds, or until the signal ends it; a timer of the platform if left out. */
  readonly pause?: ((milliseconds: number, signal: AbortSignal | undefined) => Promise<void>) | undefined
}): Promise<FetchedEvidence> {
  const target = routerUrl(url, '/.well-known/confrouter')
  if (target === undefined) throw new CheckError('check.url', 'the URL of the router must be http or https and no more')
  const init: RequestInit = {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/json' },
    body: JSON.stringify({ nonce: encodeBase64Url(nonce) }),
    signal: signal ?? null
  }
  const ask = (): Promise<string> => checkExchange(fetch, target, init, maximumEvidenceLength)
  const document = await patiently(() => twice(ask, signal), pause, signal)
  try {
    return { document, evidence: parseEvidence(document) }
  } catch (error) {
    if (!(error instanceof VerifyError)) throw error
    throw new CheckError('check.unreadable', `${place(target)}: ${error.message}`, undefined, error)
  }
}

/** A connection that was kept may have been closed by the other side meanwhile; the next one is new. */
async function twice<T>(exchange: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  try {
    return await exchange()
  } catch (error) {
    if (!(error instanceof CheckError) || error.code !== 'check.network' || signal?.aborted === true) throw error
    return exchange()
  }
}

/** All waits together, and how often: more would be for whoever asked to decide. */
const longestWaitMs = 15_000
const mostAttempts = 8

/**
 * Asks again when it was told to come back. Callers behind one address share a router's turns, so each waits a little
 * longer than it was told, at random, and more so each time: else all of them would come back at once.
 */
async function patiently<T>(
  ask: () => Promise<T>,
  pause: (milliseconds: number, signal: AbortSignal | undefined) => Promise<void>,
  signal: AbortSignal | undefined
): Promise<T> {
  let waitedMs = 0
  for (let attempt = 1; ; attempt++) {
    try {
      return await ask()
    } catch (error) {
      const seconds = error instanceof CheckError && isBusy(error) ? error.retryAfterSeconds : undefined
      if (seconds === undefined || attempt === mostAttempts) throw error
      const waitMs = Math.round(1000 * (seconds + Math.random() * Math.min(4, 0.5 * 2 ** (attempt - 1))))
      waitedMs += waitMs
      if (waitedMs > longestWaitMs) throw error
      await pause(waitMs, signal)
    }
  }
}

const isBusy = ({ status }: CheckError): boolean => status === 503 || status === 429

function pauseFor(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, milliseconds)
    if (signal?.aborted === true) done()
    else signal?.addEventListener('abort', done)
  })
}
