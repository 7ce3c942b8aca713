import { randomBytes, randomUUID } from 'node:crypto'
import type { RoleAssignment } from './services/entra/access.js'
import { ownerRole, roleDefinitionId } from './services/arm/roles.js'
import type { Store } from './store.js'

/** The ids of one emulated tenant; made once. */
export interface DirectoryIdentity {
  readonly tenantId: string
  readonly subscriptionId: string
  readonly clientId: string
  readonly clientSecret: string
  readonly operatorObjectId: string
}

/** Opens the tenant that the store holds, or makes one whose operator owns the subscription. */
export async function openDirectoryIdentity(store: Store): Promise<DirectoryIdentity> {
  const collection = store.collection<DirectoryIdentity>('directory')
  const known = collection.get('current')
  if (known) return known
  const made: DirectoryIdentity = {
    tenantId: randomUUID(),
    subscriptionId: randomUUID(),
    clientId: randomUUID(),
    clientSecret: randomBytes(30).toString('base64url'),
    operatorObjectId: randomUUID()
  }
  // The assignment first: a kill in between must not leave an operator without rights.
  const assignment = ownership(made)
  await store.collection<RoleAssignment>('role-assignments').set(assignment.id.toLowerCase(), assignment)
  await collection.set('current', made)
  return made
}

/** Dated long ago, so that it counts at once whatever the propagation delay. */
function ownership({ subscriptionId, operatorObjectId }: DirectoryIdentity): RoleAssignment {
  const scope = `/subscriptions/${subscriptionId}`
  const name = randomUUID()
  const longAgo = new Date(0).toISOString()
  return {
    id: `${scope}/providers/Microsoft.Authorization/roleAssignments/${name}`,
    name,
    scope,
    roleDefinitionId: roleDefinitionId(subscriptionId, ownerRole),
    principalId: operatorObjectId,
    principalType: 'ServicePrincipal',
    description: null,
    createdBy: operatorObjectId,
    createdOn: longAgo,
    updatedOn: longAgo
  }
}
