import { encodeBase64, utf8 } from '../base/encoding.js'
import { isJsonObject } from '../base/json.js'
import { ImageError } from './image-error.js'

export type RegistryCredentials =
  | { readonly kind: 'password'; readonly username: string; readonly password: string }
  /** What `docker login` keeps for registries with OAuth, as Azure Container Registry is. */
  | { readonly kind: 'identity-token'; readonly token: string }

/** Asked once for each registry that wants to know who pulls; undefined means anonymous. */
export type CredentialSource = (registry: string) => Promise<RegistryCredentials | undefined>

export type Challenge =
  | { readonly scheme: 'basic' }
  | {
      readonly scheme: 'bearer'
      readonly realm: string
      readonly service: string | undefined
      readonly scope: string | undefined
    }

const maxTokenLength = 64 * 1024

/**
 * Reads `WWW-Authenticate` (RFC 9110 section 11.6.1; distribution "Token Authentication"). Bearer is
 * preferred, since a registry that offers both wants it. Undefined for a header with neither scheme.
 */
export function parseChallenge(header: string): Challenge | undefined {
  const bearer = /(?:^|[\s,])bearer\s+(.*)$/is.exec(header)?.[1]
  if (bearer !== undefined) {
    const parameters = new Map<string, string>()
    for (const [, name = '', quoted, token] of bearer.matchAll(/([A-Za-z_-]+)=(?:"([^"]*)"|([^\s,"]+))/g)) {
      if (!parameters.has(name.toLowerCase())) parameters.set(name.toLowerCase(), quoted ?? token ?? '')
    }
    const realm = parameters.get('realm')
    if (realm === undefined) return undefined
    return { scheme: 'bearer', realm, service: parameters.get('service'), scope: parameters.get('scope') }
  }
  return /(?:^|[\s,])basic(?:\s|$)/i.test(header) ? { scheme: 'basic' } : undefined
}

/** The `Authorization` header of HTTP basic authentication. */
export function basicAuthorization({ username, password }: { username: string; password: string }): string {
  return `Basic ${encodeBase64(utf8.encode(`${username}:${password}`))}`
}

interface TokenRequest {
  readonly url: string
  readonly init: RequestInit
}

/**
 * The request that turns a challenge, with or without credentials, into a token. The realm comes from
 * the registry: it has to be HTTPS unless the registry itself is plain HTTP, because the credentials go there.
 */
export function tokenRequest(
  challenge: Extract<Challenge, { scheme: 'bearer' }>,
  credentials: RegistryCredentials | undefined,
  { registry, plainHttp }: { registry: string; plainHttp: boolean }
): TokenRequest {
  const url = realmUrl(challenge.realm, registry, plainHttp)
  const { service, scope } = challenge
  if (credentials?.kind === 'identity-token') {
    const form = new URLSearchParams({
      grant_type: 'refresh_token',
      refresh_token: credentials.token,
      client_id: 'confrouter'
    })
    if (service !== undefined) form.set('service', service)
    if (scope !== undefined) form.set('scope', scope)
    const headers = { 'content-type': 'application/x-www-form-urlencoded' }
    return { url: url.href, init: { method: 'POST', headers, body: form.toString() } }
  }
  if (service !== undefined) url.searchParams.set('service', service)
  if (scope !== undefined) url.searchParams.set('scope', scope)
  const headers = credentials === undefined ? undefined : { authorization: basicAuthorization(credentials) }
  return { url: url.href, init: headers === undefined ? {} : { headers } }
}

/** The token in the answer of a token service: `token`, or `access_token` as OAuth calls it. */
export function parseTokenAnswer(value: unknown, registry: string): string {
  const token = isJsonObject(value) ? (value['token'] ?? value['access_token']) : undefined
  if (typeof token !== 'string' || token.length > maxTokenLength || !/^[\x21-\x7e]+$/.test(token)) {
    throw new ImageError('registry.failed', `the token service of ${registry} answered without a token`)
  }
  return token
}

function realmUrl(realm: string, registry: string, plainHttp: boolean): URL {
  const url = URL.canParse(realm) ? new URL(realm) : undefined
  const allowed = url?.protocol === 'https:' || (plainHttp && url?.protocol === 'http:')
  if (url === undefined || !allowed || url.username !== '' || url.password !== '') {
    throw new ImageError('registry.failed', `${registry} asks for a token from an address that is not HTTPS`)
  }
  return url
}
