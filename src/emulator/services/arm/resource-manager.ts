import type { Access, Principal } from '../../access.js'
import { type EmulatorRequest, type EmulatorResponse, type Handler, notImplemented, ServiceError } from '../../http.js'
import { requireKnownApiVersion } from './api-versions.js'
import type { ResourceGroups } from './resource-groups.js'
import type { ResourceProviders } from './resource-providers.js'
import { type ArmRequest, matchRoute, type Route, type RouteMatch } from './route.js'

export interface ResourceManagerOptions {
  readonly subscriptionId: string
  readonly tenantId: string
  readonly access: Access
  readonly groups: Pick<ResourceGroups, 'requireWritable' | 'require'>
  readonly providers: Pick<ResourceProviders, 'requireRegistered'>
  readonly routes: () => readonly Route[]
}

export interface ResourceManager {
  readonly handle: Handler
  /** What `handle` does after the caller is known: how a deployment writes its resources. */
  invoke(request: EmulatorRequest, principal: Principal): Promise<EmulatorResponse>
}

/** Tokens for these resources open Resource Manager, besides those for its own address. */
const publicAudiences = ['https://management.azure.com', 'https://management.core.windows.net']

/**
 * The front door of the control plane: who calls, is the request addressed to something that exists,
 * may the caller do it, and only then the resource type's own handler.
 */
export function createResourceManager(options: ResourceManagerOptions): ResourceManager {
  async function invoke(request: EmulatorRequest, principal: Principal): Promise<EmulatorResponse> {
    const match = matchRoute(options.routes(), request.method, request.path)
    if (!match) throw notImplemented(request)
    const apiVersion = requireApiVersion(request.query)
    requireKnownApiVersion(request.path, apiVersion)
    requireSubscription(request.path, options.subscriptionId)
    const { route, params } = match
    requireAllowed(options.access, principal, match, request.path)
    const group = params['group']
    if (group !== undefined && request.path.toLowerCase().includes('/providers/')) {
      if (route.method === 'PUT') options.groups.requireWritable(group)
      else options.groups.require(group)
    }
    if (route.method === 'PUT') options.providers.requireRegistered(namespaceOf(route.pattern))
    return route.handle({ ...request, principal, params, apiVersion } satisfies ArmRequest)
  }

  return {
    invoke,
    handle: async (request) => invoke(request, await authenticate(request, options))
  }
}

async function authenticate(
  request: EmulatorRequest,
  { access, tenantId }: ResourceManagerOptions
): Promise<Principal> {
  const { authorization } = request.headers
  for (const audience of [request.origin, ...publicAudiences]) {
    const principal = await access.authenticate(authorization, audience)
    if (principal) return principal
  }
  const [code, message] = authorization
    ? ['InvalidAuthenticationToken', 'The access token is invalid, has expired or was issued for another audience.']
    : ['AuthenticationFailed', "Authentication failed. The 'Authorization' header is missing."]
  throw new ServiceError(401, code, message, {
    headers: {
      'www-authenticate': `Bearer authorization_uri="${request.origin}/${tenantId}", error="invalid_token", error_description="${message}"`
    }
  })
}

function requireApiVersion(query: URLSearchParams): string {
  const version = query.get('api-version')
  if (version === null) {
    throw new ServiceError(
      400,
      'MissingApiVersionParameter',
      'The api-version query parameter (?api-version=) is required for all requests.'
    )
  }
  if (!/^\d{4}-\d{2}-\d{2}(-preview)?$/.test(version)) {
    throw new ServiceError(
      400,
      'InvalidApiVersionParameter',
      `The api-version '${version.slice(0, 40)}' is invalid. The supported versions have the form 'yyyy-MM-dd' or 'yyyy-MM-dd-preview'.`
    )
  }
  return version
}

function requireSubscription(path: string, subscriptionId: string): void {
  const named = /^\/subscriptions\/([^/]+)/i.exec(path)?.[1]
  if (named === undefined || named.toLowerCase() === subscriptionId) return
  throw new ServiceError(404, 'SubscriptionNotFound', `The subscription '${named}' could not be found.`)
}

function requireAllowed(access: Access, principal: Principal, { route, params }: RouteMatch, path: string): void {
  const action = typeof route.action === 'function' ? route.action(params) : route.action
  if (action === undefined || access.isAllowed(principal, { action }, path)) return
  const { clientId, objectId } = principal
  throw new ServiceError(
    403,
    'AuthorizationFailed',
    `The client '${clientId}' with object id '${objectId}' does not have authorization to perform action '${action}' over scope '${path}' or the scope is invalid. If access was recently granted, please refresh your credentials.`
  )
}

function namespaceOf(pattern: string): string | undefined {
  return /\/providers\/([^/{]+)\/(?!.*\/providers\/)/.exec(pattern)?.[1]
}
