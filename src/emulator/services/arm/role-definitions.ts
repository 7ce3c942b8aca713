import { ServiceError } from '../../http.js'
import { allRoles, findRole, type RoleDefinition, roleDefinitionId } from './roles.js'
import { param, type Route } from './route.js'

/** The built-in roles that the emulator evaluates. Custom roles do not exist here. */
export function roleDefinitionRoutes(subscriptionId: string): Route[] {
  const describe = (role: RoleDefinition) => ({
    id: roleDefinitionId(subscriptionId, role.guid),
    name: role.guid,
    type: 'Microsoft.Authorization/roleDefinitions',
    properties: {
      roleName: role.roleName,
      type: 'BuiltInRole',
      description: role.description,
      assignableScopes: ['/'],
      permissions: [
        { actions: role.actions, notActions: role.notActions, dataActions: role.dataActions, notDataActions: [] }
      ]
    }
  })
  return [
    {
      method: 'GET',
      pattern: '{scope}/providers/Microsoft.Authorization/roleDefinitions',
      action: 'Microsoft.Authorization/roleDefinitions/read',
      handle: async (request) => {
        const wanted = readFilter(request.query.get('$filter'))
        return { status: 200, body: { value: allRoles().filter(wanted).map(describe) } }
      }
    },
    {
      method: 'GET',
      pattern: '{scope}/providers/Microsoft.Authorization/roleDefinitions/{name}',
      action: 'Microsoft.Authorization/roleDefinitions/read',
      handle: async (request) => {
        const name = param(request, 'name')
        const role = findRole(name)
        if (!role) throw roleNotFound(name)
        return { status: 200, body: describe(role) }
      }
    }
  ]
}

export function roleNotFound(id: string): ServiceError {
  const guid = (id.split('/').at(-1) ?? '').replaceAll('-', '').slice(0, 60)
  return new ServiceError(
    404,
    'RoleDefinitionDoesNotExist',
    `The specified role definition with ID '${guid}' does not exist.`
  )
}

function readFilter(filter: string | null): (role: RoleDefinition) => boolean {
  if (filter === null || filter === '' || filter === 'atScopeAndBelow()') return () => true
  const name = /^roleName eq '([^']*)'$/i.exec(filter)?.[1]
  if (name === undefined) {
    throw new ServiceError(
      501,
      'NotImplemented',
      `not implemented: the filter ${filter.slice(0, 100)} on role definitions`
    )
  }
  return ({ roleName }) => roleName.toLowerCase() === name.toLowerCase()
}
