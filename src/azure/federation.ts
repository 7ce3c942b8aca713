import { decodeBase64Url, utf8 } from '../base/encoding.js'
import { isJsonObject } from '../base/json.js'
import { UserError } from '../base/user-error.js'

type Variables = Readonly<Record<string, string | undefined>>

/** Whoever vouches for this process towards Entra, without a secret of ours. */
export type Federation =
  /** Kubernetes, and whatever else writes a token into a file. */
  | { readonly kind: 'token-file'; readonly tokenFilePath: string }
  | { readonly kind: 'github'; readonly url: string; readonly token: string }
  | { readonly kind: 'azure-pipelines'; readonly serviceConnectionId: string; readonly accessToken: string }

/** By the variables that each of them sets; undefined if none does. */
export function federationOf(variables: Variables): Federation | undefined {
  const value = (name: string) => variables[name] ?? ''
  const tokenFilePath = value('AZURE_FEDERATED_TOKEN_FILE')
  if (tokenFilePath !== '') return { kind: 'token-file', tokenFilePath }
  const [url, token] = [value('ACTIONS_ID_TOKEN_REQUEST_URL'), value('ACTIONS_ID_TOKEN_REQUEST_TOKEN')]
  if (url !== '' && token !== '') return { kind: 'github', url, token }
  const [serviceConnectionId, accessToken] = [
    value('AZURESUBSCRIPTION_SERVICE_CONNECTION_ID'),
    value('SYSTEM_ACCESSTOKEN')
  ]
  if (value('SYSTEM_OIDCREQUESTURI') !== '' && serviceConnectionId !== '' && accessToken !== '') {
    return { kind: 'azure-pipelines', serviceConnectionId, accessToken }
  }
  return undefined
}

/** What Entra wants as the audience of an assertion. */
const audience = 'api://AzureADTokenExchange'

/**
 * Asks GitHub Actions for an id token. It is asked again whenever Entra wants a new assertion, so that a
 * deployment may take longer than a token lives. `subject` is its claim `sub`, which is no secret.
 *
 * Throws a `UserError` with code `auth.no-id-token`.
 */
export async function gitHubIdToken({
  url,
  token
}: Extract<Federation, { kind: 'github' }>): Promise<{ readonly value: string; readonly subject: string | undefined }> {
  const { createHttpHeaders, createPipelineFromOptions, createPipelineRequest, createDefaultHttpClient } =
    await import('@azure/core-rest-pipeline')
  const address = new URL(url)
  address.searchParams.set('audience', audience)
  const request = createPipelineRequest({
    url: address.href,
    headers: createHttpHeaders({ authorization: `Bearer ${token}`, accept: 'application/json' }),
    allowInsecureConnection: address.hostname === '127.0.0.1'
  })
  const response = await createPipelineFromOptions({
    retryOptions: { maxRetries: 3, retryDelayInMs: 200 }
  }).sendRequest(createDefaultHttpClient(), request)
  const value = response.status === 200 ? valueOf(response.bodyAsText ?? '') : undefined
  if (value !== undefined) return { value, subject: subjectOf(value) }
  throw new UserError('machine', 'auth.no-id-token', `GitHub Actions gave no id token (HTTP ${response.status})`, {
    why: 'the permission id-token: write may be missing, or a fork asked',
    next: ['permissions: { id-token: write, contents: read }', 'run the job again']
  })
}

function valueOf(text: string): string | undefined {
  try {
    const body: unknown = JSON.parse(text)
    return isJsonObject(body) && typeof body['value'] === 'string' ? body['value'] : undefined
  } catch {
    return undefined
  }
}

function subjectOf(token: string): string | undefined {
  try {
    const claims: unknown = JSON.parse(utf8.decode(decodeBase64Url(token.split('.')[1] ?? '', 'id token')))
    return isJsonObject(claims) && typeof claims['sub'] === 'string' ? claims['sub'] : undefined
  } catch {
    return undefined
  }
}
