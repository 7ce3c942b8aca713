import type { AccessToken, GetTokenOptions, TokenCredential } from '@azure/core-auth'
import { UserError } from '../base/user-error.js'
import type { AzureEnvironment, CredentialSource } from './environment.js'
import { identityCredential } from './identity-credential.js'

/**
 * One caching credential for all clients of a run; without it each client would fetch a token of
 * its own for the same audience.
 */
export async function createCredential(environment: AzureEnvironment): Promise<TokenCredential> {
  const source = environment.credential
  switch (source.kind) {
    case 'identity':
      return cached(await identityCredential(source, environment.ca))
    case 'client-secret':
      return cached({ getToken: (scopes) => clientCredentialsGrant(source, environment.ca, scopes) })
    default:
      return source satisfies never
  }
}

function cached(credential: TokenCredential): TokenCredential {
  const tokens = new Map<string, Promise<AccessToken | null>>()
  const refreshBeforeMs = 5 * 60_000
  return {
    async getToken(scopes: string | string[], options?: GetTokenOptions): Promise<AccessToken | null> {
      // A claims challenge asks for a token that the cache cannot hold.
      if (options?.claims !== undefined) return credential.getToken(scopes, options)
      const key = JSON.stringify([scopes, options?.tenantId])
      const known = await tokens.get(key)?.catch(() => null)
      if (known && known.expiresOnTimestamp - refreshBeforeMs > Date.now()) return known
      const fresh = credential.getToken(scopes, options)
      tokens.set(key, fresh)
      return fresh
    }
  }
}

/**
 * RFC 6749 section 4.4 on the SDK's own HTTP client. `@azure/identity` has this too, but loading it
 * costs a quarter of a second, more than the whole grant (docs/decisions/0003-local-credential.md).
 */
async function clientCredentialsGrant(
  source: Extract<CredentialSource, { kind: 'client-secret' }>,
  ca: string | undefined,
  scopes: string | string[]
): Promise<AccessToken> {
  const { createDefaultHttpClient, createHttpHeaders, createPipelineRequest } =
    await import('@azure/core-rest-pipeline')
  const url = `${source.authorityHost}/${source.tenantId}/oauth2/v2.0/token`
  const request = createPipelineRequest({
    url,
    method: 'POST',
    headers: createHttpHeaders({ 'content-type': 'application/x-www-form-urlencoded' }),
    body: new URLSearchParams({
      grant_type: 'client_credentials',
      client_id: source.clientId,
      client_secret: source.clientSecret,
      scope: [scopes].flat().join(' ')
    }).toString()
  })
  // The constructor's options have this member and ignore it.
  if (ca !== undefined) request.tlsSettings = { ca }
  const response = await createDefaultHttpClient().sendRequest(request)
  const answer = JSON.parse(response.bodyAsText ?? 'null') as {
    access_token?: unknown
    expires_in?: unknown
    error_description?: unknown
  } | null
  if (response.status !== 200 || typeof answer?.access_token !== 'string') {
    throw new UserError('cloud', 'auth.failed', `${url} gave no token (HTTP ${response.status})`, {
      why: typeof answer?.error_description === 'string' ? answer.error_description : undefined
    })
  }
  const seconds = Number(answer.expires_in)
  return {
    token: answer.access_token,
    expiresOnTimestamp: Date.now() + (Number.isFinite(seconds) ? seconds : 0) * 1000
  }
}
