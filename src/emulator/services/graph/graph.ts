import type { Access } from '../../access.js'
import { Fields } from '../../body.js'
import { type EmulatorRequest, type EmulatorResponse, jsonBody, notImplemented, ServiceError } from '../../http.js'

/** One application or managed identity of the tenant, as its directory knows it. */
export interface ServicePrincipal {
  readonly objectId: string
  readonly clientId: string
  readonly displayName: string
}

export interface GraphOptions {
  readonly access: Pick<Access, 'authenticate'>
  readonly principals: () => readonly ServicePrincipal[]
}

const maximumIds = 1000

/**
 * The parts of Microsoft Graph by which `az` turns names into object ids and back (Microsoft Graph REST API
 * v1.0, "List servicePrincipals" and "directoryObject: getByIds"). Answers `undefined` for a path that is not Graph's.
 */
export function graphHandler(
  options: GraphOptions
): (request: EmulatorRequest) => Promise<EmulatorResponse> | undefined {
  return (request) => (request.path.startsWith('/v1.0/') ? answer(request, options) : undefined)
}

async function answer(request: EmulatorRequest, { access, principals }: GraphOptions): Promise<EmulatorResponse> {
  if ((await access.authenticate(request.headers.authorization, request.origin)) === undefined) {
    throw new ServiceError(401, 'InvalidAuthenticationToken', 'Access token is empty, invalid or for another audience.')
  }
  switch (`${request.method} ${request.path}`) {
    case 'GET /v1.0/servicePrincipals':
      return found(principals().filter(readFilter(request.query.get('$filter'))))
    case 'POST /v1.0/directoryObjects/getByIds': {
      const ids = Fields.of(jsonBody(request)).rawList('ids')
      if (ids.length > maximumIds) throw badRequest(`Too many ids: at most ${maximumIds}.`)
      return found(principals().filter(({ objectId }) => ids.includes(objectId)))
    }
    case 'GET /v1.0/me':
      throw badRequest('/me request is only valid with delegated authentication flow.')
    default:
      throw notImplemented(request)
  }
}

const found = (principals: readonly ServicePrincipal[]): EmulatorResponse => ({
  status: 200,
  body: {
    value: principals.map(({ objectId, clientId, displayName }) => ({
      '@odata.type': '#microsoft.graph.servicePrincipal',
      id: objectId,
      appId: clientId,
      displayName,
      servicePrincipalNames: [clientId]
    }))
  }
})

function readFilter(filter: string | null): (principal: ServicePrincipal) => boolean {
  if (filter === null) return () => true
  const [, name, appId] =
    /^servicePrincipalNames\/any\(c:c eq '([^']*)'\)$/.exec(filter) ?? /^()appId eq '([^']*)'$/.exec(filter) ?? []
  const wanted = name || appId
  if (wanted === undefined || wanted === '') {
    throw new ServiceError(501, 'NotImplemented', `not implemented: $filter ${filter.slice(0, 100)}`)
  }
  return ({ clientId }) => clientId === wanted.toLowerCase()
}

const badRequest = (message: string): ServiceError => new ServiceError(400, 'BadRequest', message)
