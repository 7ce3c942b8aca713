import { isHttpsOrigin, type MaaKeySet } from '../verify/index.js'
import { checkExchange } from './check-exchange.js'
import { CheckError } from './errors.js'
import { type Fetch, place } from './http.js'

/** A provider has a handful of keys of about 2 KB. */
const maximumBytes = 512 * 1024

/**
 * Fetches the signing keys of an attestation provider. Its TLS certificate is what makes them
 * trustworthy, hence https only and no redirects. Throws a {@link CheckError}.
 */
export async function fetchMaaKeys({
  endpoint,
  fetch,
  signal
}: {
  /** Origin, as it stands in the trust policy. */
  readonly endpoint: string
  readonly fetch: Fetch
  readonly signal?: AbortSignal | undefined
}): Promise<MaaKeySet> {
  if (!isHttpsOrigin(endpoint)) {
    throw new CheckError('check.url', 'the attestation provider must be an https origin without a path')
  }
  const target = new URL('/certs', endpoint)
  const init: RequestInit = { headers: { accept: 'application/json' }, signal: signal ?? null }
  const text = await checkExchange(fetch, target, init, maximumBytes)
  try {
    return { endpoint, jwks: JSON.parse(text) as unknown }
  } catch {
    throw new CheckError('check.unreadable', `${place(target)} answered with a text that is not JSON`)
  }
}
