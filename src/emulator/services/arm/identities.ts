import { randomUUID } from 'node:crypto'
import { Fields } from '../../body.js'
import { jsonBody } from '../../http.js'
import type { Collection } from '../../store.js'
import { badRequest, resourceNotFound } from './errors.js'
import { readLocation } from './locations.js'
import type { ResourceType } from './resource-groups.js'
import { resourceKey } from './resource-id.js'
import { type ArmRequest, param, type Route } from './route.js'

export interface IdentityRecord {
  readonly id: string
  readonly name: string
  readonly location: string
  readonly tags: Readonly<Record<string, string>>
  readonly principalId: string
  readonly clientId: string
}

export interface Identities {
  readonly routes: readonly Route[]
  readonly type: ResourceType
  get(resourceId: string): IdentityRecord | undefined
  hasPrincipal(objectId: string): boolean
  all(): readonly IdentityRecord[]
}

const resourceType = 'Microsoft.ManagedIdentity/userAssignedIdentities'

/** User-assigned managed identities. A repeated PUT keeps the principal. */
export function createIdentities(options: {
  readonly tenantId: string
  readonly identities: Collection<IdentityRecord>
  readonly removeAssignments: (scope: string) => Promise<void>
}): Identities {
  const { tenantId, identities } = options
  const describe = ({ principalId, clientId, ...rest }: IdentityRecord) => ({
    ...rest,
    type: resourceType,
    properties: { tenantId, principalId, clientId }
  })

  function require(request: ArmRequest): IdentityRecord {
    const identity = identities.get(resourceKey(request.path))
    if (!identity) throw resourceNotFound(resourceType, param(request, 'name'), param(request, 'group'))
    return identity
  }

  async function remove(id: string): Promise<boolean> {
    const existed = await identities.delete(resourceKey(id))
    if (existed) await options.removeAssignments(id)
    return existed
  }

  const collection =
    '/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities'
  const routes: Route[] = [
    {
      method: 'PUT',
      pattern: `${collection}/{name}`,
      action: `${resourceType}/write`,
      handle: async (request) => {
        const known = identities.get(resourceKey(request.path))
        const body = Fields.of(jsonBody(request))
        const identity: IdentityRecord = {
          location: readLocation(body),
          tags: body.texts('tags'),
          id: known?.id ?? serviceSpelling(request.path),
          name: known?.name ?? requireValidName(param(request, 'name')),
          principalId: known?.principalId ?? randomUUID(),
          clientId: known?.clientId ?? randomUUID()
        }
        await identities.set(resourceKey(request.path), identity)
        return { status: known ? 200 : 201, headers: { location: identity.id }, body: describe(identity) }
      }
    },
    {
      method: 'GET',
      pattern: `${collection}/{name}`,
      action: `${resourceType}/read`,
      handle: async (request) => ({ status: 200, body: describe(require(request)) })
    },
    {
      method: 'GET',
      pattern: collection,
      action: `${resourceType}/read`,
      handle: async (request) => {
        const prefix = `${resourceKey(request.path)}/`
        const value = identities.entries().filter(([id]) => id.startsWith(prefix))
        return { status: 200, body: { value: value.map(([, identity]) => describe(identity)) } }
      }
    },
    {
      method: 'DELETE',
      pattern: `${collection}/{name}`,
      action: `${resourceType}/delete`,
      handle: async (request) => ({ status: (await remove(request.path)) ? 200 : 204 })
    }
  ]
  return {
    routes,
    type: {
      list: () => identities.values().map(({ id, name, location }) => ({ id, name, type: resourceType, location })),
      remove: async (id) => void (await remove(id))
    },
    get: (id) => identities.get(resourceKey(id)),
    all: () => identities.values(),
    hasPrincipal: (objectId) => identities.values().some(({ principalId }) => principalId === objectId.toLowerCase())
  }
}

/** The service returns its ids with `resourcegroups` in lower case, whatever the caller wrote. */
function serviceSpelling(path: string): string {
  return path.replace(/\/resourcegroups\//i, '/resourcegroups/')
}

function requireValidName(name: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9_-]{2,127}$/.test(name)) return name
  throw badRequest(
    `The identity name '${name.slice(0, 60)}' is invalid. It must be between 3 and 128 characters, begin with a letter or number and contain letters, numbers, hyphens and underscores only.`
  )
}
