import { ServiceError } from '../../http.js'
import { resourceGroupOf } from './resource-id.js'
import type { ResourceGroups, ResourceSummary, ResourceType } from './resource-groups.js'
import { type ArmRequest, param, type Route } from './route.js'

/** Lists of resources of every type, of the subscription and of one group. */
export function resourceRoutes(options: {
  readonly groups: Pick<ResourceGroups, 'require'>
  readonly types: () => readonly ResourceType[]
}): Route[] {
  const list = (request: ArmRequest, group: string | undefined) => {
    const wanted = readFilter(request.query.get('$filter'))
    const all = options.types().flatMap((type) => type.list())
    const inGroup = all.filter(({ id }) => group === undefined || same(resourceGroupOf(id) ?? '', group))
    return { status: 200, body: { value: inGroup.filter(wanted) } }
  }
  return [
    {
      method: 'GET',
      pattern: '/subscriptions/{subscription}/resources',
      action: 'Microsoft.Resources/subscriptions/resources/read',
      handle: async (request) => list(request, undefined)
    },
    {
      method: 'GET',
      pattern: '/subscriptions/{subscription}/resourceGroups/{group}/resources',
      action: 'Microsoft.Resources/subscriptions/resourceGroups/resources/read',
      handle: async (request) => {
        options.groups.require(param(request, 'group'))
        return list(request, param(request, 'group'))
      }
    }
  ]
}

const members: Readonly<Record<string, (resource: ResourceSummary) => string>> = {
  name: ({ name }) => name,
  resourcetype: ({ type }) => type,
  resourcegroup: ({ id }) => resourceGroupOf(id) ?? ''
}

/** `name`, `resourceType` or `resourceGroup eq '…'`, joined by `and`: what `az` finds a vault's group by, for example. */
function readFilter(filter: string | null): (resource: ResourceSummary) => boolean {
  if (filter === null || filter.trim() === '') return () => true
  const conditions = filter.split(/ and /i).map((text) => {
    const [, name = '', value = ''] = /^\s*(\w+) eq '([^']*)'\s*$/.exec(text) ?? []
    const member = members[name.toLowerCase()]
    if (member === undefined) {
      throw new ServiceError(501, 'NotImplemented', `not implemented: $filter ${filter.slice(0, 100)}`)
    }
    return { member, value }
  })
  return (resource) => conditions.every(({ member, value }) => same(member(resource), value))
}

const same = (a: string, b: string): boolean => a.toLowerCase() === b.toLowerCase()
