import type { Call } from './call.js'
import { Problem } from './problem.js'
import type { BaseUrl, Provider } from './providers.js'

const header = 'x-fal-target-url'

/** fal's two hosts for models, as its clients write them; which base URLs stand for them is configured. */
const queueHost = 'queue.fal.run'
const syncHost = 'fal.run'

/**
 * Where a call of fal's own client in proxy mode goes: it sends everything to one URL, here
 * `/providers/fal`, with the URL that it means in a header. Only the two hosts are taken, and each
 * for the configured base URL, so that the header cannot lead out of the measured set. `undefined`
 * for a call that names its path itself.
 *
 * Throws a `Problem` with code `invalid_request`.
 */
export function falTarget(
  call: Call,
  provider: Provider,
  rest: string
): { readonly base: BaseUrl; readonly path: string } | undefined {
  const text = call.headers[header]
  if (provider.sync === undefined || text === undefined) return undefined
  const url = typeof text === 'string' && text.length <= 2048 && URL.canParse(text) ? new URL(text) : undefined
  const base = url?.host === queueHost ? provider : url?.host === syncHost ? provider.sync : undefined
  if (rest !== '/' || call.query !== '' || url?.protocol !== 'https:' || base === undefined) {
    throw new Problem(
      'invalid_request',
      `${header} goes with the path /providers/${provider.name} and must be an https URL of ${queueHost} or ${syncHost}`
    )
  }
  call.query = url.search
  return { base, path: url.pathname }
}
