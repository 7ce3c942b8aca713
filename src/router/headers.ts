import type { IncomingHttpHeaders } from 'node:http'
import { forwardedHeaders } from '../seal/forwarded-headers.js'
import type { AuthScheme } from './providers.js'

/** They name a part of the account that the key is of, so they are for whoever has the key. */
const ofTheAccount = new Set(['openai-organization', 'openai-project'])

/** Beside a sealed body everything else is in the open, and whoever ends TLS in between could set it. */
const besideSealed = new Set(['accept', 'content-type'])

/** RFC 9110 section 7.6.1, and the older names that proxies still send. */
const hopByHop = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade'
])

/** What a provider says about its own origin, and what is not true of ours. */
const ofTheirOrigin = new Set([
  'alt-svc',
  'set-cookie',
  'strict-transport-security',
  'public-key-pins',
  'nel',
  'report-to',
  'reporting-endpoints',
  'clear-site-data',
  'server',
  'via'
])

/** Anthropic refuses calls without a version of its API, and OpenAI's clients send none. */
export function versionFor(auth: AuthScheme, headers: IncomingHttpHeaders): Record<string, string> {
  if (auth !== 'x-api-key') return {}
  const { 'anthropic-version': version } = headers
  return { 'anthropic-version': typeof version === 'string' ? version : '2023-06-01' }
}

/** What only the router says, and what a server in front of it would take for an order. */
const ours = /^(access-control-|ehbp-|confrouter-|x-confrouter-|x-accel-|x-sendfile)/

export function requestHeaders(
  headers: IncomingHttpHeaders,
  auth: AuthScheme,
  key: string | undefined,
  { usesRouterKey = false, sealed = false }: { usesRouterKey?: boolean; sealed?: boolean } = {}
): Record<string, string> {
  const kept: Record<string, string> = { 'user-agent': 'confrouter', ...versionFor(auth, sealed ? {} : headers) }
  for (const name of forwardedHeaders) {
    if ((sealed && !besideSealed.has(name)) || (usesRouterKey && ofTheAccount.has(name))) continue
    const value = headers[name]
    if (typeof value === 'string') kept[name] = value
  }
  if (key !== undefined) Object.assign(kept, authorization(auth, key))
  return kept
}

export function authorization(auth: AuthScheme, key: string): Record<string, string> {
  switch (auth) {
    case 'Bearer':
    case 'Key':
      return { authorization: `${auth} ${key}` }
    case 'x-api-key':
    case 'api-key':
      return { [auth]: key }
    case 'none':
      return {}
    default:
      return auth satisfies never
  }
}

export function responseHeaders(headers: IncomingHttpHeaders): Record<string, string | string[]> {
  const { connection = 'keep-alive' } = headers
  // What a provider calls hop-by-hop, too.
  const listed =
    connection === 'keep-alive'
      ? []
      : String(connection)
          .toLowerCase()
          .split(',')
          .map((name) => name.trim())
  const kept: Record<string, string | string[]> = {}
  for (const name of Object.keys(headers)) {
    const value = headers[name]
    if (value === undefined || hopByHop.has(name) || listed.includes(name)) continue
    if (ofTheirOrigin.has(name) || ours.test(name)) continue
    kept[name] = value
  }
  return kept
}
