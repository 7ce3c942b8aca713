import type { RoleAccess } from '../entra/access.js'
import type { ResourceGroups } from './resource-groups.js'
import { resourceGroupId } from './resource-id.js'
import { param, type Route } from './route.js'

/** What the caller may do in a resource group: one entry for each role that counts there. */
export function permissionRoutes({
  subscriptionId,
  groups,
  access
}: {
  readonly subscriptionId: string
  readonly groups: Pick<ResourceGroups, 'require'>
  readonly access: Pick<RoleAccess, 'rolesAt'>
}): Route[] {
  return [
    {
      method: 'GET',
      pattern: '/subscriptions/{subscription}/resourcegroups/{group}/providers/Microsoft.Authorization/permissions',
      action: 'Microsoft.Authorization/permissions/read',
      handle: async (request) => {
        const { name } = groups.require(param(request, 'group'))
        const roles = access.rolesAt(request.principal, resourceGroupId(subscriptionId, name))
        const value = roles.map(({ actions, notActions, dataActions }) => ({
          actions,
          notActions,
          dataActions,
          notDataActions: []
        }))
        return { status: 200, body: { value } }
      }
    }
  ]
}
