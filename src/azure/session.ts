import type { AttestationManagementClient } from '@azure/arm-attestation'
import type { AuthorizationManagementClient } from '@azure/arm-authorization'
import type { ContainerInstanceManagementClient } from '@azure/arm-containerinstance'
import type { KeyVaultManagementClient } from '@azure/arm-keyvault'
import type { ManagedServiceIdentityClient } from '@azure/arm-msi'
import type { ResourceManagementClient } from '@azure/arm-resources'
import type { TokenCredential } from '@azure/core-auth'
import type { PipelinePolicy } from '@azure/core-rest-pipeline'
import type { KeyClient } from '@azure/keyvault-keys'
import { decodeBase64Url, utf8 } from '../base/encoding.js'
import { UserError } from '../base/user-error.js'
import { createCredential } from './credential.js'
import type { AzureEnvironment } from './environment.js'
import { toUserError } from './errors.js'

/** Who runs the command, as the claims of its ARM token say; asks no directory. */
export interface Caller {
  readonly objectId: string
  readonly tenantId: string
  readonly kind: 'User' | 'ServicePrincipal'
}

/**
 * The SDK clients of one run against one subscription. Each is imported when it is first needed:
 * together they cost 300–400 ms.
 */
export interface AzureSession {
  readonly environment: AzureEnvironment
  readonly subscriptionId: string
  readonly signal: AbortSignal
  /** Says what is being waited for. */
  readonly onWait: (reason: string) => void
  caller(): Promise<Caller>
  resources(): Promise<ResourceManagementClient>
  attestation(): Promise<AttestationManagementClient>
  vaults(): Promise<KeyVaultManagementClient>
  identities(): Promise<ManagedServiceIdentityClient>
  authorization(): Promise<AuthorizationManagementClient>
  containers(): Promise<ContainerInstanceManagementClient>
  /** Data-plane client of the vault whose `vaultUri` the service returned. */
  keys(vaultUri: string): Promise<KeyClient>
  /**
   * Body of the last long-running operation that ended in `Failed`. The SDK's poller throws an error
   * without code and details, so they are kept here as they pass.
   */
  takeFailedOperation(): unknown
}

/** @param onWait is told each time that Azure or this program has to wait, where no adapter has a place of its own for it */
export function openAzure(
  environment: AzureEnvironment,
  subscriptionId: string,
  signal: AbortSignal,
  onWait: (reason: string) => void = () => undefined
): AzureSession {
  let failedOperation: unknown
  const credential = once(() => createCredential(environment))
  const tls = environment.ca === undefined ? {} : { tlsOptions: { ca: environment.ca } }
  const options = {
    endpoint: environment.armEndpoint,
    ...tls,
    additionalPolicies: [
      { position: 'perRetry' as const, policy: rememberFailedOperation((body) => (failedOperation = body)) },
      { position: 'perRetry' as const, policy: noProxyToLoopback },
      { position: 'perRetry' as const, policy: tellThrottling(onWait) }
    ]
  }
  const arm = { ...options, credentialScopes: environment.armScope }
  return {
    environment,
    subscriptionId,
    signal,
    onWait,
    caller: once(async () => {
      try {
        return await readCaller(await credential(), environment.armScope)
      } catch (error) {
        throw toUserError(error, 'the credential')
      }
    }),
    resources: once(async () => {
      const { ResourceManagementClient } = await import('@azure/arm-resources')
      return new ResourceManagementClient(await credential(), subscriptionId, arm)
    }),
    attestation: once(async () => {
      const { AttestationManagementClient } = await import('@azure/arm-attestation')
      return new AttestationManagementClient(await credential(), subscriptionId, arm)
    }),
    vaults: once(async () => {
      const { KeyVaultManagementClient } = await import('@azure/arm-keyvault')
      const scopes = { credentials: { scopes: [environment.armScope] } }
      return new KeyVaultManagementClient(await credential(), subscriptionId, { ...options, ...scopes })
    }),
    identities: once(async () => {
      const { ManagedServiceIdentityClient } = await import('@azure/arm-msi')
      return new ManagedServiceIdentityClient(await credential(), subscriptionId, arm)
    }),
    authorization: once(async () => {
      const { AuthorizationManagementClient } = await import('@azure/arm-authorization')
      return new AuthorizationManagementClient(await credential(), subscriptionId, arm)
    }),
    containers: once(async () => {
      const { ContainerInstanceManagementClient } = await import('@azure/arm-containerinstance')
      return new ContainerInstanceManagementClient(await credential(), subscriptionId, arm)
    }),
    keys: async (vaultUri) => {
      const { KeyClient } = await import('@azure/keyvault-keys')
      return new KeyClient(vaultUri, await credential(), {
        ...tls,
        // The client compares the challenge's resource with the vault's host by suffix. That guards against a
        // vault URL that a stranger supplied; ours came from Azure Resource Manager over a verified connection,
        // and on loopback there is no common suffix.
        disableChallengeResourceVerification: isLoopback(vaultUri),
        additionalPolicies: options.additionalPolicies
      })
    },
    takeFailedOperation() {
      const body = failedOperation
      failedOperation = undefined
      return body
    }
  }
}

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined
  return () => (made ??= make())
}

/** No proxy can reach this machine's loopback interface, so a configured one is taken off such requests. */
const noProxyToLoopback: PipelinePolicy = {
  name: 'noProxyToLoopback',
  sendRequest(request, next) {
    if (isLoopback(request.url)) delete request.agent
    return next(request)
  }
}

/** The SDK waits as long as `Retry-After` says and sends the request again, three times, and says nothing of it. */
function tellThrottling(onWait: (reason: string) => void): PipelinePolicy {
  return {
    name: 'tellThrottling',
    async sendRequest(request, next) {
      const response = await next(request)
      const seconds = Number(response.headers.get('retry-after'))
      if (response.status === 429 || response.status === 503) {
        const pause = Number.isFinite(seconds) && seconds > 0 ? `, trying again in ${Math.ceil(seconds)} s` : ''
        onWait(
          `${response.status === 429 ? 'throttled by Azure' : 'Azure is busy'} (status ${response.status})${pause}`
        )
      }
      return response
    }
  }
}

function isLoopback(url: string): boolean {
  const { hostname } = new URL(url)
  return hostname === '127.0.0.1' || hostname === '[::1]' || hostname === 'localhost'
}

function rememberFailedOperation(keep: (body: unknown) => void): PipelinePolicy {
  return {
    name: 'rememberFailedOperation',
    async sendRequest(request, next) {
      const response = await next(request)
      if (response.bodyAsText?.includes('"Failed"')) {
        try {
          const body = JSON.parse(response.bodyAsText) as { status?: unknown } | null
          // With the headers, so that the request id is not lost.
          if (body?.status === 'Failed') keep({ ...body, response: { headers: response.headers } })
        } catch {
          // Not JSON: the SDK reports it in its own words.
        }
      }
      return response
    }
  }
}

/**
 * Reads `oid`, `tid` and the kind of caller from the token that ARM itself will check. The token is
 * not verified here, because nothing is granted on its word: a wrong id makes a useless role assignment.
 */
async function readCaller(credential: TokenCredential, scope: string): Promise<Caller> {
  const token = await credential.getToken(scope)
  const payload = token?.token.split('.')[1]
  if (payload === undefined)
    throw new UserError('machine', 'auth.no-object-id', 'the credential gave no readable token', { next: ['az login'] })
  const claims = JSON.parse(utf8.decode(decodeBase64Url(payload, 'token payload'))) as Record<string, unknown>
  if (typeof claims['oid'] !== 'string' || typeof claims['tid'] !== 'string') {
    throw new UserError('machine', 'auth.no-object-id', 'the credential’s token names no object id (claim "oid")', {
      next: ['az login']
    })
  }
  const isApplication =
    claims['idtyp'] === 'app' || (claims['upn'] === undefined && claims['unique_name'] === undefined)
  return { objectId: claims['oid'], tenantId: claims['tid'], kind: isApplication ? 'ServicePrincipal' : 'User' }
}
