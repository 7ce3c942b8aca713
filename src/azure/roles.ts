import { hasCode, isAbsent, toUserError } from './errors.js'
import { patiently } from './patience.js'
import type { AzureSession } from './session.js'

/** Built-in role definitions; the ids are the same in every tenant and cloud. */
export const roles = {
  'Key Vault Administrator': '00482a5a-887f-4fb3-b363-3b7fe8e74483',
  'Key Vault Crypto Officer': '14b46e9e-c2b7-41b4-b07b-48a6ebf60603',
  'Key Vault Crypto Service Release User': '08bbd89e-9f13-488c-ac41-acfcb10c90ab'
} as const

export type RoleName = keyof typeof roles

export interface RoleAssignment {
  readonly scope: string
  readonly principalId: string
  readonly principalType: 'User' | 'ServicePrincipal'
  readonly role: RoleName
}

/** The assignment's resource id if the principal has the role at this scope, or above it where that is as good. */
export async function findRoleAssignment(
  azure: AzureSession,
  wanted: RoleAssignment,
  where: 'exactly' | 'here-or-above'
): Promise<string | undefined> {
  const client = await azure.authorization()
  try {
    const assignments = client.roleAssignments.listForScope(wanted.scope, {
      filter: `principalId eq '${wanted.principalId}'`,
      abortSignal: azure.signal
    })
    for await (const assignment of assignments) {
      const sameRole = assignment.roleDefinitionId?.toLowerCase().endsWith(roles[wanted.role]) ?? false
      if (sameRole && covers(assignment.scope, wanted.scope, where) && assignment.principalId === wanted.principalId)
        return assignment.id
    }
    return undefined
  } catch (error) {
    if (isAbsent(error)) return undefined
    throw toUserError(error, `role assignments on ${wanted.scope}`)
  }
}

function covers(scope: string | undefined, wanted: string, where: 'exactly' | 'here-or-above'): boolean {
  const [has, needs] = [scope?.toLowerCase() ?? '', wanted.toLowerCase()]
  if (has === needs) return true
  return where === 'here-or-above' && (has === '/' || needs.startsWith(`${has.replace(/\/$/, '')}/`)) && has !== ''
}

/**
 * Creates the assignment under `name`. Success also if the same assignment exists under another
 * name. A principal that the directory does not show yet is waited for.
 */
export async function createRoleAssignment(azure: AzureSession, wanted: RoleAssignment, name: string): Promise<void> {
  const client = await azure.authorization()
  const create = () =>
    client.roleAssignments.create(
      wanted.scope,
      name,
      {
        roleDefinitionId: `/subscriptions/${azure.subscriptionId}/providers/Microsoft.Authorization/roleDefinitions/${roles[wanted.role]}`,
        principalId: wanted.principalId,
        principalType: wanted.principalType
      },
      { abortSignal: azure.signal }
    )
  try {
    await patiently(azure, azure.onWait, create, (error) =>
      hasCode(error, 'PrincipalNotFound')
        ? {
            reason: 'waiting for the directory to show the new identity',
            seconds: azure.environment.directoryWaitSeconds
          }
        : undefined
    )
  } catch (error) {
    if (hasCode(error, 'RoleAssignmentExists')) return
    throw toUserError(error, `role "${wanted.role}" for ${wanted.principalId}`)
  }
}

export async function deleteRoleAssignment(azure: AzureSession, id: string): Promise<void> {
  const client = await azure.authorization()
  try {
    await client.roleAssignments.deleteById(id, { abortSignal: azure.signal })
  } catch (error) {
    if (!isAbsent(error)) throw toUserError(error, 'role assignment')
  }
}
