import { createHash, randomUUID, timingSafeEqual } from 'node:crypto'
import { type EmulatorRequest, type EmulatorResponse, type Handler, notImplemented } from '../../http.js'
import { vaultSuffix } from '../../local-caller.js'
import { type TokenIssuer, tokenLifetimeSeconds } from './token-issuer.js'

/** The one application that may log in: the operator. */
interface Application {
  readonly clientId: string
  readonly clientSecret: string
  readonly objectId: string
}

export interface EntraOptions {
  readonly tenantId: string
  readonly application: Application
  readonly tokens: TokenIssuer
  readonly clock: () => Date
}

/** What workload identity federation asks a token for; an assertion must carry it as its audience. */
const federationAudience = 'api://AzureADTokenExchange'
const jwtBearer = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'

/**
 * The parts of Entra ID that a client-credentials login uses. Answers `undefined` for a path that
 * is not Entra's, so that it can share its listener with Resource Manager.
 *
 * A client assertion is accepted when it is a token of this directory itself, issued to the operator
 * for `api://AzureADTokenExchange`: the application has one federated credential, and that is it.
 */
export function entraHandler(
  options: EntraOptions
): (request: EmulatorRequest) => Promise<EmulatorResponse> | undefined {
  const { tenantId } = options
  const routes: Readonly<Record<string, Handler>> = {
    'GET /common/discovery/instance': async ({ origin }) => ok(instanceDiscovery(origin, tenantId)),
    'GET /metadata/endpoints': async ({ origin }) => ok(cloudMetadata(origin))
  }
  const tenantRoutes: Readonly<Record<string, Handler>> = {
    'GET /v2.0/.well-known/openid-configuration': async ({ origin }) => ok(openIdConfiguration(origin, options)),
    'GET /discovery/v2.0/keys': async () => ok(options.tokens.jwks),
    'POST /oauth2/v2.0/token': (request) => token(request, options)
  }
  const knownPaths = Object.keys(tenantRoutes).map((route) => route.slice(route.indexOf(' ') + 1))

  return (request) => {
    const fixed = routes[`${request.method} ${request.path}`]
    if (fixed) return fixed(request)
    const match = /^\/([^/]+)(\/(?:v2\.0|oauth2|discovery)\/.+)$/.exec(request.path)
    if (!match) return undefined
    const [, tenant = '', rest = ''] = match
    if (!knownPaths.includes(rest)) throw notImplemented(request)
    if (tenant.toLowerCase() !== tenantId && tenant !== 'organizations' && tenant !== 'common') {
      return Promise.resolve(tenantNotFound(tenant, options.clock()))
    }
    const handler = tenantRoutes[`${request.method} ${rest}`]
    if (!handler) throw notImplemented(request)
    return handler(request)
  }
}

async function token(request: EmulatorRequest, options: EntraOptions): Promise<EmulatorResponse> {
  const { application, tokens, clock } = options
  const now = clock()
  const form = new URLSearchParams(new TextDecoder().decode(request.body))
  const grantType = form.get('grant_type')
  if (grantType !== 'client_credentials') {
    return failure(
      now,
      400,
      'unsupported_grant_type',
      70003,
      `The app requested an unsupported grant type '${quoted(grantType)}'.`
    )
  }
  const scope = form.get('scope')
  if (!scope) {
    return failure(
      now,
      400,
      'invalid_request',
      90014,
      "The required field 'scope' is missing from the credential. Ensure that you have all the necessary parameters for the login request."
    )
  }
  const clientId = form.get('client_id') ?? ''
  if (clientId.toLowerCase() !== application.clientId) {
    return failure(
      now,
      400,
      'unauthorized_client',
      700016,
      `Application with identifier '${quoted(clientId)}' was not found in the directory '${options.tenantId}'. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You may have sent your authentication request to the wrong tenant.`
    )
  }
  const refusal = await refuseClient(form, options, now)
  if (refusal) return refusal
  const resources = scope.split(' ').filter((item) => !['openid', 'profile', 'offline_access'].includes(item))
  const [resource] = resources
  if (resources.length !== 1 || !resource?.endsWith('/.default') || resource === '/.default') {
    return failure(
      now,
      400,
      'invalid_scope',
      1002012,
      `The provided value for scope ${quoted(scope)} is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI).`
    )
  }
  const audience = resource.slice(0, -'/.default'.length)
  const issued = await tokens.issue(application, audience)
  return ok({
    token_type: 'Bearer',
    expires_in: tokenLifetimeSeconds,
    ext_expires_in: tokenLifetimeSeconds,
    access_token: issued.token
  })
}

/** Undefined if the client has proved who it is. */
async function refuseClient(
  form: URLSearchParams,
  { application, tokens }: EntraOptions,
  now: Date
): Promise<EmulatorResponse | undefined> {
  const secret = form.get('client_secret')
  const assertion = form.get('client_assertion')
  if (secret !== null) {
    if (equalSecrets(secret, application.clientSecret)) return undefined
    return failure(
      now,
      401,
      'invalid_client',
      7000215,
      `Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '${application.clientId}'.`
    )
  }
  if (assertion === null || form.get('client_assertion_type') !== jwtBearer) {
    return failure(
      now,
      401,
      'invalid_client',
      7000218,
      "The request body must contain the following parameter: 'client_assertion' or 'client_secret'."
    )
  }
  const verified = await tokens.verify(assertion)
  if (!verified) {
    return failure(
      now,
      401,
      'invalid_client',
      700027,
      'The certificate with identifier used to sign the client assertion is not registered on application, or the assertion is not valid.'
    )
  }
  if (verified.audience !== federationAudience || verified.objectId !== application.objectId) {
    return failure(
      now,
      401,
      'invalid_client',
      700213,
      'No matching federated identity record found for presented assertion subject. Check your federated identity credential Subject, Audience and Issuer against the presented assertion.'
    )
  }
  return undefined
}

/** Compares digests, so that neither content nor length shows in the time taken. */
function equalSecrets(a: string, b: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(a), digest(b))
}

function tenantNotFound(tenant: string, now: Date): EmulatorResponse {
  return failure(
    now,
    400,
    'invalid_request',
    90002,
    `Tenant '${quoted(tenant)}' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud.`
  )
}

function failure(now: Date, status: number, error: string, code: number, message: string): EmulatorResponse {
  const traceId = randomUUID()
  const correlationId = randomUUID()
  const timestamp = `${now.toISOString().slice(0, 19).replace('T', ' ')}Z`
  return {
    status,
    body: {
      error,
      error_description: `AADSTS${code}: ${message} Trace ID: ${traceId} Correlation ID: ${correlationId} Timestamp: ${timestamp}`,
      error_codes: [code],
      timestamp,
      trace_id: traceId,
      correlation_id: correlationId
    }
  }
}

/** What a caller sent goes into messages in short form only. */
function quoted(text: string | null): string {
  return (text ?? '').slice(0, 200)
}

function openIdConfiguration(origin: string, { tenantId, tokens }: EntraOptions): unknown {
  const tenant = `${origin}/${tenantId}`
  return {
    token_endpoint: `${tenant}/oauth2/v2.0/token`,
    token_endpoint_auth_methods_supported: ['client_secret_post', 'private_key_jwt'],
    jwks_uri: `${tenant}/discovery/v2.0/keys`,
    response_modes_supported: ['query', 'fragment', 'form_post'],
    subject_types_supported: ['pairwise'],
    id_token_signing_alg_values_supported: ['RS256'],
    response_types_supported: ['code', 'id_token', 'token'],
    scopes_supported: ['openid', 'profile', 'offline_access'],
    issuer: tokens.issuer,
    request_uri_parameter_supported: false,
    authorization_endpoint: `${tenant}/oauth2/v2.0/authorize`,
    device_authorization_endpoint: `${tenant}/oauth2/v2.0/devicecode`,
    end_session_endpoint: `${tenant}/oauth2/v2.0/logout`,
    claims_supported: ['sub', 'iss', 'aud', 'exp', 'iat', 'tid', 'oid', 'appid', 'ver'],
    tenant_region_scope: 'NA',
    cloud_instance_name: new URL(origin).host
  }
}

function instanceDiscovery(origin: string, tenantId: string): unknown {
  const { host } = new URL(origin)
  return {
    tenant_discovery_endpoint: `${origin}/${tenantId}/v2.0/.well-known/openid-configuration`,
    'api-version': '1.1',
    metadata: [{ preferred_network: host, preferred_cache: host, aliases: [host] }]
  }
}

/** `az cloud register` takes one object; the array form belongs to ARM_CLOUD_METADATA_URL. */
function cloudMetadata(origin: string): unknown {
  return {
    name: 'loopback',
    portal: origin,
    authentication: {
      loginEndpoint: origin,
      audiences: [origin],
      tenant: 'common',
      identityProvider: 'AAD'
    },
    resourceManager: origin,
    graph: origin,
    graphAudience: origin,
    microsoftGraphResourceId: origin,
    media: origin,
    batch: origin,
    sqlManagement: origin,
    gallery: origin,
    vmImageAliasDoc: origin,
    suffixes: { keyVaultDns: `${vaultSuffix}:${new URL(origin).port}` }
  }
}

function ok(body: unknown): EmulatorResponse {
  return { status: 200, body }
}
