import type { Access, Principal } from '../../access.js'
import type { Collection } from '../../store.js'
import { isWithin } from '../arm/resource-id.js'
import { findRole, type RoleDefinition } from '../arm/roles.js'
import type { TokenIssuer } from './token-issuer.js'

export interface RoleAssignment {
  readonly id: string
  readonly name: string
  readonly scope: string
  readonly roleDefinitionId: string
  readonly principalId: string
  readonly principalType: string
  readonly description: string | null
  readonly createdBy: string
  readonly createdOn: string
  readonly updatedOn: string
}

export interface AccessOptions {
  readonly tokens: Pick<TokenIssuer, 'verify'>
  readonly assignments: Pick<Collection<RoleAssignment>, 'values'>
  readonly clock: () => Date
  /** How long a new assignment counts for nothing, as in Azure, where it is seconds to minutes. */
  readonly rbacDelaySeconds: number
}

/** The authority of the emulated directory, with what the role assignments themselves need besides. */
export interface RoleAccess extends Access {
  /**
   * Whether the caller may create or delete an assignment of this role at `scope`. A delegated
   * administrator may hand out its own list and nothing else, or it could make itself an owner.
   */
  mayAssign(principal: Principal, action: string, scope: string, roleGuid: string): boolean
  /** The roles that count for the caller at `scope`. */
  rolesAt(principal: Principal, scope: string): readonly RoleDefinition[]
}

/** Roles granted at a scope or above it, as Azure RBAC evaluates them: allowed if one assignment allows it. */
export function createAccess(options: AccessOptions): RoleAccess {
  function rolesAt(principal: Principal, scope: string): RoleDefinition[] {
    const effectiveUntil = options.clock().getTime() - options.rbacDelaySeconds * 1000
    return options.assignments
      .values()
      .filter(
        (assignment) =>
          assignment.principalId === principal.objectId &&
          Date.parse(assignment.createdOn) <= effectiveUntil &&
          isWithin(scope, assignment.scope)
      )
      .map(({ roleDefinitionId }) => findRole(roleDefinitionId))
      .filter((role) => role !== undefined)
  }
  const grantingRoles = (principal: Principal, need: Need, scope: string) =>
    rolesAt(principal, scope).filter((role) => grants(role, need))

  return {
    rolesAt,
    async authenticate(authorization, audience) {
      const [, token] = /^Bearer ([A-Za-z0-9._~+/=-]{1,16384})$/i.exec(authorization ?? '') ?? []
      if (!token) return undefined
      const verified = await options.tokens.verify(token)
      if (!verified || withoutSlash(verified.audience) !== withoutSlash(audience)) return undefined
      const { objectId, tenantId, clientId } = verified
      return { objectId, tenantId, clientId }
    },
    isAllowed: (principal, need, scope) => grantingRoles(principal, need, scope).length > 0,
    mayAssign: (principal, action, scope, roleGuid) =>
      grantingRoles(principal, { action }, scope).some(
        ({ assignableRoles }) => assignableRoles === undefined || assignableRoles.includes(roleGuid)
      )
  }
}

type Need = Parameters<Access['isAllowed']>[1]

function grants(role: RoleDefinition, need: Need): boolean {
  return 'action' in need
    ? matchesAny(role.actions, need.action) && !matchesAny(role.notActions, need.action)
    : matchesAny(role.dataActions, need.dataAction)
}

function matchesAny(patterns: readonly string[], action: string): boolean {
  return patterns.some((pattern) => matches(pattern.toLowerCase(), action.toLowerCase()))
}

/** `*` stands for any text, slashes too. */
function matches(pattern: string, action: string): boolean {
  const parts = pattern.split('*').map((part) => part.replace(/[.\\^$+?()[\]{}|]/g, '\\$&'))
  return new RegExp(`^${parts.join('.*')}$`).test(action)
}

/** Resources are named with and without a trailing slash: `https://vault.azure.net/`. */
function withoutSlash(audience: string): string {
  return audience.replace(/\/+$/, '')
}
