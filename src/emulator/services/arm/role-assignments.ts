import { Fields } from '../../body.js'
import { type EmulatorResponse, jsonBody, ServiceError } from '../../http.js'
import type { Collection } from '../../store.js'
import type { RoleAccess, RoleAssignment } from '../entra/access.js'
import { isWithin, resourceKey } from './resource-id.js'
import { roleNotFound } from './role-definitions.js'
import { findRole, roleDefinitionId } from './roles.js'
import { type ArmRequest, param, type Route } from './route.js'

export interface RoleAssignmentsOptions {
  readonly subscriptionId: string
  readonly tenantId: string
  readonly assignments: Collection<RoleAssignment>
  /** Throws a 404 in the resource's own words if there is nothing with this id. */
  readonly requireScope: (scope: string) => void
  readonly isPrincipal: (objectId: string) => boolean
  readonly access: Pick<RoleAccess, 'mayAssign'>
  readonly clock: () => Date
}

const guid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i
const writeAction = 'Microsoft.Authorization/roleAssignments/write'
const deleteAction = 'Microsoft.Authorization/roleAssignments/delete'
const principalTypes = ['User', 'Group', 'ServicePrincipal', 'ForeignGroup', 'Device']

/**
 * Role assignments. A PUT is not idempotent across names: the same principal, role and scope under
 * another GUID is a conflict.
 */
export function roleAssignmentRoutes(options: RoleAssignmentsOptions): Route[] {
  const { assignments } = options
  const one = '{scope}/providers/Microsoft.Authorization/roleAssignments/{name}'
  return [
    {
      method: 'PUT',
      pattern: one,
      action: writeAction,
      handle: (request) => put(request, options)
    },
    {
      method: 'GET',
      pattern: one,
      action: 'Microsoft.Authorization/roleAssignments/read',
      handle: async (request) => {
        const assignment = assignments.get(resourceKey(request.path))
        if (assignment) return { status: 200, body: describe(assignment) }
        const name = param(request, 'name').slice(0, 60)
        throw new ServiceError(404, 'RoleAssignmentNotFound', `The role assignment '${name}' is not found.`)
      }
    },
    {
      method: 'GET',
      pattern: '{scope}/providers/Microsoft.Authorization/roleAssignments',
      action: 'Microsoft.Authorization/roleAssignments/read',
      handle: async (request) => {
        const wanted = readFilter(request.query.get('$filter'), param(request, 'scope'))
        return { status: 200, body: { value: assignments.values().filter(wanted).map(describe) } }
      }
    },
    {
      method: 'DELETE',
      pattern: one,
      action: deleteAction,
      handle: async (request) => {
        const assignment = assignments.get(resourceKey(request.path))
        if (!assignment) return { status: 204 }
        requireMayAssign(request, deleteAction, assignment.roleDefinitionId, options)
        await assignments.delete(resourceKey(request.path))
        return { status: 200, body: describe(assignment) }
      }
    }
  ]
}

/** Ends the assignments at and below a scope, because the resource that they hung on has ended. */
export async function removeAssignments(assignments: Collection<RoleAssignment>, scope: string): Promise<void> {
  for (const [key, assignment] of assignments.entries()) {
    if (isWithin(assignment.scope, scope)) await assignments.delete(key)
  }
}

async function put(request: ArmRequest, options: RoleAssignmentsOptions): Promise<EmulatorResponse> {
  const { assignments } = options
  const [scope, name] = [param(request, 'scope'), param(request, 'name')]
  if (!guid.test(name)) {
    throw new ServiceError(
      400,
      'InvalidRoleAssignmentId',
      `The role assignment ID '${name.slice(0, 60)}' is not valid. The role assignment ID must be a GUID.`
    )
  }
  options.requireScope(scope)
  const wanted = readAssignment(request, options)
  requireMayAssign(request, writeAction, wanted.roleDefinitionId, options)
  const known = assignments.get(resourceKey(request.path))
  if (known) {
    if (known.principalId !== wanted.principalId || known.roleDefinitionId !== wanted.roleDefinitionId) {
      throw new ServiceError(
        400,
        'RoleAssignmentUpdateNotPermitted',
        'Tenant ID, application ID, principal ID, and scope are not allowed to be updated.'
      )
    }
    return { status: 201, body: describe(known) }
  }
  const same = assignments
    .values()
    .find(
      (other) =>
        other.principalId === wanted.principalId &&
        other.roleDefinitionId === wanted.roleDefinitionId &&
        resourceKey(other.scope) === resourceKey(scope)
    )
  if (same) {
    throw new ServiceError(
      409,
      'RoleAssignmentExists',
      `The role assignment already exists. The ID of the existing role assignment is ${same.name.replaceAll('-', '')}.`
    )
  }
  const now = options.clock().toISOString()
  const assignment: RoleAssignment = {
    ...wanted,
    id: `${scope}/providers/Microsoft.Authorization/roleAssignments/${name}`,
    name: name.toLowerCase(),
    scope,
    createdBy: request.principal.objectId,
    createdOn: now,
    updatedOn: now
  }
  await assignments.set(resourceKey(request.path), assignment)
  return { status: 201, body: describe(assignment) }
}

function readAssignment(
  request: ArmRequest,
  options: RoleAssignmentsOptions
): Pick<RoleAssignment, 'roleDefinitionId' | 'principalId' | 'principalType' | 'description'> {
  const properties = Fields.of(jsonBody(request)).object('properties')
  if (properties.has('condition')) {
    throw new ServiceError(501, 'NotImplemented', 'not implemented: role assignments with conditions')
  }
  const roleId = properties.string('roleDefinitionId')
  if (!isRoleDefinitionId(roleId, options.subscriptionId)) {
    throw new ServiceError(400, 'BadRequestFormat', 'The request was incorrectly formatted.')
  }
  const role = findRole(roleId)
  if (!role) throw roleNotFound(roleId)
  const principalId = properties.string('principalId').toLowerCase()
  if (!guid.test(principalId)) {
    throw new ServiceError(400, 'InvalidPrincipalId', `A valid principal ID must be provided for role assignment.`)
  }
  if (!options.isPrincipal(principalId)) {
    throw new ServiceError(
      400,
      'PrincipalNotFound',
      `Principal ${principalId.replaceAll('-', '')} does not exist in the directory ${options.tenantId}. Check that you have the correct principal ID. If you are creating this principal and then immediately assigning a role, this error might be related to a replication delay. In this case, set the role assignment principalType property to a value, such as ServicePrincipal, User, or Group.  See https://aka.ms/docs-principaltype`
    )
  }
  const principalType = properties.optionalString('principalType') ?? 'ServicePrincipal'
  if (!principalTypes.includes(principalType)) {
    throw new ServiceError(
      400,
      'InvalidPrincipalType',
      `The principal type '${principalType.slice(0, 40)}' is not valid.`
    )
  }
  // Every principal of this directory is an application or a managed identity.
  if (principalType !== 'ServicePrincipal') {
    throw new ServiceError(
      400,
      'UnmatchedPrincipalType',
      `The principal '${principalId.replaceAll('-', '')}' has type 'ServicePrincipal', which is different from the specified principal type '${principalType}'.`
    )
  }
  return {
    roleDefinitionId: roleDefinitionId(options.subscriptionId, role.guid),
    principalId,
    principalType,
    description: properties.optionalString('description') ?? null
  }
}

/** The whole id, of this subscription or of none; the GUID alone is refused. */
function isRoleDefinitionId(id: string, subscriptionId: string): boolean {
  const [, subscription, name] =
    /^(?:\/subscriptions\/([^/]+))?\/providers\/Microsoft\.Authorization\/roleDefinitions\/([^/]+)$/i.exec(id) ?? []
  if (name === undefined || !guid.test(name)) return false
  return subscription === undefined || subscription.toLowerCase() === subscriptionId
}

function requireMayAssign(
  request: ArmRequest,
  action: string,
  roleDefinition: string,
  { access }: RoleAssignmentsOptions
): void {
  const { clientId, objectId } = request.principal
  const role = findRole(roleDefinition)?.guid ?? ''
  if (access.mayAssign(request.principal, action, request.path, role)) return
  throw new ServiceError(
    403,
    'AuthorizationFailed',
    `The client '${clientId}' with object id '${objectId}' has permission to perform action '${action}' over scope '${request.path}'; however, the condition on its role assignment does not allow the role '${role}'.`
  )
}

function describe(assignment: RoleAssignment): unknown {
  return {
    properties: {
      roleDefinitionId: assignment.roleDefinitionId,
      principalId: assignment.principalId,
      principalType: assignment.principalType,
      scope: assignment.scope,
      condition: null,
      conditionVersion: null,
      createdOn: assignment.createdOn,
      updatedOn: assignment.updatedOn,
      createdBy: assignment.createdBy,
      updatedBy: assignment.createdBy,
      delegatedManagedIdentityResourceId: null,
      description: assignment.description
    },
    id: assignment.id,
    type: 'Microsoft.Authorization/roleAssignments',
    name: assignment.name
  }
}

/** A list shows assignments at the scope, above it and below it, unless the filter says `atScope()`. */
function readFilter(filter: string | null, scope: string): (assignment: RoleAssignment) => boolean {
  const terms = (filter ?? '')
    .split(/ and /i)
    .map((term) => term.trim())
    .filter(Boolean)
  const tests = terms.map((term): ((assignment: RoleAssignment) => boolean) => {
    if (/^atScope\(\)$/i.test(term)) return (assignment) => isWithin(scope, assignment.scope)
    const principal = /^(?:principalId eq '([^']*)'|assignedTo\('([^']*)'\))$/i.exec(term)
    const objectId = (principal?.[1] ?? principal?.[2])?.toLowerCase()
    if (objectId !== undefined) return ({ principalId }) => principalId === objectId
    throw new ServiceError(
      501,
      'NotImplemented',
      `not implemented: the filter ${term.slice(0, 100)} on role assignments`
    )
  })
  return (assignment) =>
    (isWithin(scope, assignment.scope) || isWithin(assignment.scope, scope)) && tests.every((test) => test(assignment))
}
