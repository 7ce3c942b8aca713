import { Fields } from '../../body.js'
import { jsonBody, ServiceError } from '../../http.js'
import type { Collection } from '../../store.js'
import { badRequest, resourceNotFound } from './errors.js'
import { readLocation } from './locations.js'
import type { ResourceType } from './resource-groups.js'
import { resourceGroupId, resourceKey } from './resource-id.js'
import { type ArmRequest, param, type Route } from './route.js'

export interface AttestationProviderRecord {
  readonly name: string
  readonly group: string
  readonly location: string
  readonly tags: Readonly<Record<string, string>>
}

export interface AttestationDataPlane {
  /** Opens the provider's own listener and returns its origin; repeatable. */
  open(name: string): Promise<string>
  destroy(provider: AttestationProviderRecord): Promise<void>
}

export interface AttestationProviders {
  readonly routes: readonly Route[]
  readonly type: ResourceType
  get(name: string): AttestationProviderRecord | undefined
  openAll(): Promise<void>
}

const resourceType = 'Microsoft.Attestation/attestationProviders'

/** Attestation providers. Creation is synchronous; names are unique in a region, here in all. */
export function createAttestationProviders(options: {
  readonly subscriptionId: string
  readonly providers: Collection<AttestationProviderRecord>
  readonly dataPlane: AttestationDataPlane
  readonly removeAssignments: (scope: string) => Promise<void>
}): AttestationProviders {
  const { subscriptionId, providers, dataPlane } = options
  const key = (name: string) => name.toLowerCase()
  const resourceId = ({ group, name }: AttestationProviderRecord) =>
    `${resourceGroupId(subscriptionId, group)}/providers/${resourceType}/${name}`

  const describe = async (provider: AttestationProviderRecord) => ({
    id: resourceId(provider),
    name: provider.name,
    type: resourceType,
    location: provider.location,
    tags: provider.tags,
    properties: { trustModel: 'AAD', status: 'Ready', attestUri: await dataPlane.open(provider.name) }
  })

  function require(request: ArmRequest): AttestationProviderRecord {
    const [name, group] = [param(request, 'name'), param(request, 'group')]
    const provider = providers.get(key(name))
    if (provider && key(provider.group) === key(group)) return provider
    throw resourceNotFound(resourceType, name, group)
  }

  async function remove(id: string): Promise<boolean> {
    const provider = providers.values().find((each) => resourceKey(resourceId(each)) === resourceKey(id))
    if (!provider) return false
    await dataPlane.destroy(provider)
    await providers.delete(key(provider.name))
    await options.removeAssignments(resourceId(provider))
    return true
  }

  const collection =
    '/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Attestation/attestationProviders'
  const routes: Route[] = [
    {
      method: 'PUT',
      pattern: `${collection}/{name}`,
      action: `${resourceType}/write`,
      handle: async (request) => {
        const [name, group] = [param(request, 'name'), param(request, 'group')]
        const known = providers.get(key(name))
        if (known && key(known.group) !== key(group)) throw nameInUse(name)
        const provider: AttestationProviderRecord = {
          ...readProvider(request, name),
          name: known?.name ?? name,
          group: known?.group ?? group
        }
        await providers.set(key(name), provider)
        return { status: known ? 200 : 201, body: await describe(provider) }
      }
    },
    {
      method: 'GET',
      pattern: `${collection}/{name}`,
      action: `${resourceType}/read`,
      handle: async (request) => ({ status: 200, body: await describe(require(request)) })
    },
    {
      method: 'GET',
      pattern: collection,
      action: `${resourceType}/read`,
      handle: async (request) => {
        const inGroup = providers.values().filter(({ group }) => key(group) === key(param(request, 'group')))
        return { status: 200, body: { value: await Promise.all(inGroup.map(describe)) } }
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
      list: () =>
        providers.values().map((provider) => ({
          id: resourceId(provider),
          name: provider.name,
          type: resourceType,
          location: provider.location
        })),
      remove: async (id) => void (await remove(id))
    },
    get: (name) => providers.get(key(name)),
    openAll: async () => {
      await Promise.all(providers.values().map(({ name }) => dataPlane.open(name)))
    }
  }
}

function readProvider(request: ArmRequest, name: string): Pick<AttestationProviderRecord, 'location' | 'tags'> {
  if (!/^[a-z0-9]{3,24}$/.test(name)) {
    throw badRequest(
      `The attestation provider name '${name.slice(0, 60)}' is invalid. It must be between 3 and 24 characters and contain lower-case letters and numbers only.`
    )
  }
  const body = Fields.of(jsonBody(request))
  if (body.objectOrEmpty('properties').has('policySigningCertificates')) {
    throw new ServiceError(
      501,
      'NotImplemented',
      'not implemented: attestation providers with policy signing certificates'
    )
  }
  return { location: readLocation(body), tags: body.texts('tags') }
}

function nameInUse(name: string): ServiceError {
  return new ServiceError(
    409,
    'DuplicateTenant',
    `The given service URI '${name}' is already in use. Please try again with a different name.`
  )
}
