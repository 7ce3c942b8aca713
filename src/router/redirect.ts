import type { IncomingHttpHeaders } from 'node:http'
import type { Target } from './call.js'
import { Problem } from './problem.js'

/** Not only the five that the Fetch standard follows: others follow whatever has a 3 before it. */
const isRedirect = (status: number): boolean => status >= 300 && status < 400

/**
 * No redirect is followed. One within the provider's base URL is passed on as a path of this router;
 * one to anywhere else is refused, because a caller's client would follow it by itself and send the
 * prompt to a host that is not in the measured set. A second base URL has no paths here, so from there
 * every redirect is one to anywhere else.
 */
export function checkRedirect(
  { base, provider, path: asked }: Pick<Target, 'base' | 'provider' | 'path'>,
  status: number,
  headers: IncomingHttpHeaders
): IncomingHttpHeaders {
  const { location } = headers
  if (!isRedirect(status) || location === undefined) return headers
  const from = `${base.origin}${base.basePath}${asked}`
  // A list, if the provider names two places: clients differ in which one they take.
  const to = typeof location === 'string' && URL.canParse(location, from) ? new URL(location, from) : undefined
  if (base !== provider || to?.origin !== base.origin || !to.pathname.startsWith(`${base.basePath}/`)) {
    throw new Problem('redirect_refused', `the provider "${provider.name}" answered with a redirect to another place`)
  }
  const path = to.pathname.slice(base.basePath.length)
  return { ...headers, location: `/providers/${provider.name}${path}${to.search}` }
}
