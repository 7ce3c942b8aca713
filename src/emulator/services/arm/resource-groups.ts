import { Fields } from '../../body.js'
import { jsonBody, ServiceError } from '../../http.js'
import type { Collection } from '../../store.js'
import { readLocation } from './locations.js'
import type { Operations } from './operations.js'
import { resourceGroupId, resourceGroupOf } from './resource-id.js'
import { type ArmRequest, param, type Route } from './route.js'

export interface ResourceGroups {
  readonly routes: readonly Route[]
  require(name: string): ResourceGroup
  /** Also refuses a group that is being deleted. */
  requireWritable(name: string): ResourceGroup
}

export interface ResourceGroup {
  readonly name: string
  readonly location: string
  readonly tags: Readonly<Record<string, string>>
  readonly state: 'Succeeded' | 'Deleting'
}

/** One resource as generic listings show it. */
export interface ResourceSummary {
  readonly id: string
  readonly name: string
  readonly type: string
  readonly location: string
}

/** A resource type as its resource group sees it. */
export interface ResourceType {
  list(): readonly ResourceSummary[]
  /** Deletes as the type's own DELETE does, a vault softly for example. */
  remove(id: string, signal: AbortSignal): Promise<void>
}

const deletion = 'resourceGroup.delete'

export function createResourceGroups(options: {
  readonly subscriptionId: string
  readonly groups: Collection<ResourceGroup>
  readonly operations: Operations
  /** In the order in which they are deleted. */
  readonly types: () => readonly ResourceType[]
  /** Ends what hangs on the group itself, when its resources are gone. */
  readonly onDeleted: (name: string) => Promise<void>
}): ResourceGroups {
  const { subscriptionId, groups, operations, types } = options
  const key = (name: string) => name.toLowerCase()
  const describe = ({ name, location, tags, state }: ResourceGroup) => ({
    id: resourceGroupId(subscriptionId, name),
    name,
    type: 'Microsoft.Resources/resourceGroups',
    location,
    tags,
    properties: { provisioningState: state }
  })

  function require(name: string): ResourceGroup {
    const group = groups.get(key(name))
    if (!group) throw new ServiceError(404, 'ResourceGroupNotFound', `Resource group '${name}' could not be found.`)
    return group
  }

  function requireWritable(name: string): ResourceGroup {
    const group = require(name)
    if (group.state === 'Deleting') throw beingDeleted(group.name)
    return group
  }

  const resourcesOf = (group: string) =>
    types().flatMap((type) =>
      type
        .list()
        .filter(({ id }) => resourceGroupOf(id)?.toLowerCase() === key(group))
        .map((resource) => ({ resource, type }))
    )

  operations.define(deletion, async (name, signal) => {
    for (const { resource, type } of resourcesOf(name)) {
      signal.throwIfAborted()
      await type.remove(resource.id, signal)
    }
    await options.onDeleted(name)
    await groups.delete(key(name))
  })

  const one = '/subscriptions/{subscription}/resourcegroups/{group}'
  const routes: Route[] = [
    {
      method: 'HEAD',
      pattern: one,
      action: 'Microsoft.Resources/subscriptions/resourceGroups/read',
      handle: async (request) => ({ status: groups.get(key(param(request, 'group'))) ? 204 : 404 })
    },
    {
      method: 'GET',
      pattern: one,
      action: 'Microsoft.Resources/subscriptions/resourceGroups/read',
      handle: async (request) => ({ status: 200, body: describe(require(param(request, 'group'))) })
    },
    {
      method: 'GET',
      pattern: '/subscriptions/{subscription}/resourcegroups',
      action: 'Microsoft.Resources/subscriptions/resourceGroups/read',
      handle: async () => ({ status: 200, body: { value: groups.values().map(describe) } })
    },
    {
      method: 'GET',
      pattern: `${one}/resources`,
      action: 'Microsoft.Resources/subscriptions/resourceGroups/read',
      handle: async (request) => {
        const { name } = require(param(request, 'group'))
        return { status: 200, body: { value: resourcesOf(name).map(({ resource }) => resource) } }
      }
    },
    {
      method: 'PUT',
      pattern: one,
      action: 'Microsoft.Resources/subscriptions/resourceGroups/write',
      handle: async (request) => {
        const existing = groups.get(key(param(request, 'group')))
        const group = readGroup(request, existing)
        await groups.set(key(group.name), group)
        return { status: existing ? 200 : 201, body: describe(group) }
      }
    },
    {
      method: 'DELETE',
      pattern: one,
      action: 'Microsoft.Resources/subscriptions/resourceGroups/delete',
      handle: async (request) => {
        const group = require(param(request, 'group'))
        const operation = await operations.start(deletion, group.name, () =>
          groups.set(key(group.name), { ...group, state: 'Deleting' })
        )
        const location = `${request.origin}/subscriptions/${subscriptionId}/operationresults/${operation.id}?api-version=${request.apiVersion}`
        return { status: 202, headers: { location, 'retry-after': '1' } }
      }
    }
  ]
  return { routes, require, requireWritable }
}

function readGroup(request: ArmRequest, existing: ResourceGroup | undefined): ResourceGroup {
  const name = existing?.name ?? param(request, 'group')
  if (existing?.state === 'Deleting') throw beingDeleted(name)
  if (!/^[-\w._()]{1,89}[-\w_()]$/.test(name) && !/^[-\w_()]$/.test(name)) {
    throw new ServiceError(
      400,
      'InvalidResourceGroup',
      `The provided resource group name '${name.slice(0, 100)}' has these invalid characters or is too long. The name can only be a letter, digit, '-', '.', '(', ')' or '_', and cannot end with '.'.`
    )
  }
  const body = Fields.of(jsonBody(request))
  const location = readLocation(body)
  if (existing && existing.location !== location) {
    throw new ServiceError(
      409,
      'InvalidResourceGroupLocation',
      `Invalid resource group location '${location}'. The Resource group already exists in location '${existing.location}'.`
    )
  }
  return { name, location, tags: body.texts('tags'), state: 'Succeeded' }
}

function beingDeleted(name: string): ServiceError {
  return new ServiceError(
    409,
    'ResourceGroupBeingDeleted',
    `The resource group '${name}' is in deprovisioning state and cannot perform this operation.`
  )
}
