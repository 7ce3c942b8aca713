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
 * Asks a router for evidence bound to `nonce` (16 to 64 bytes). What comes back is not verified.
 * Throws a {@link CheckError}.
 */
export async function fetchEvidence({
  url,
  nonce,
  fetch,
  signal
}: {
  readonly url: string
  readonly nonce: Uint8Array
  readonly fetch: Fetch
  readonly signal?: AbortSignal | undefined
}): Promise<FetchedEvidence> {
  const target = routerUrl(url, '/.well-known/confrouter')
  if (target === undefined) throw new CheckError('check.url', 'the URL of the router must be http or https and no more')
  const init: RequestInit = {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/json' },
    body: JSON.stringify({ nonce: encodeBase64Url(nonce) }),
    signal: signal ?? null
  }
  const document = await twice(() => checkExchange(fetch, target, init, maximumEvidenceLength), signal)
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
