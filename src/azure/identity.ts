import { UserError } from '../base/user-error.js'
import { isAbsent, toUserError } from './errors.js'
import type { AzureSession } from './session.js'

/** A user-assigned managed identity. */
export interface Identity {
  readonly id: string
  readonly clientId: string
  readonly principalId: string
}

export async function getIdentity(
  azure: AzureSession,
  resourceGroup: string,
  name: string
): Promise<Identity | undefined> {
  const client = await azure.identities()
  try {
    return describe(
      await client.userAssignedIdentities.get(resourceGroup, name, { abortSignal: azure.signal }),
      azure,
      resourceGroup,
      name
    )
  } catch (error) {
    if (isAbsent(error)) return undefined
    throw toUserError(error, `identity "${name}"`)
  }
}

/** Repeatable: the same name keeps its principal. */
export async function createIdentity(
  azure: AzureSession,
  resourceGroup: string,
  name: string,
  location: string
): Promise<Identity> {
  const client = await azure.identities()
  try {
    const created = await client.userAssignedIdentities.createOrUpdate(
      resourceGroup,
      name,
      { location },
      { abortSignal: azure.signal }
    )
    return describe(created, azure, resourceGroup, name)
  } catch (error) {
    throw toUserError(error, `identity "${name}"`)
  }
}

export async function deleteIdentity(azure: AzureSession, resourceGroup: string, name: string): Promise<void> {
  const client = await azure.identities()
  try {
    await client.userAssignedIdentities.delete(resourceGroup, name, { abortSignal: azure.signal })
  } catch (error) {
    if (!isAbsent(error)) throw toUserError(error, `identity "${name}"`)
  }
}

/**
 * The id is built here and not taken from the answer: Azure returns it with `resourcegroups` in
 * lower case, and it goes into the template, whose bytes must not depend on that.
 */
function describe(
  identity: { clientId?: string; principalId?: string },
  azure: AzureSession,
  resourceGroup: string,
  name: string
): Identity {
  const { clientId, principalId } = identity
  if (clientId === undefined || principalId === undefined) {
    throw new UserError('cloud', 'azure.error', `identity "${name}" has no principal yet`, {
      next: ['run the same command again']
    })
  }
  const id = `/subscriptions/${azure.subscriptionId}/resourceGroups/${resourceGroup}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/${name}`
  return { id, clientId, principalId }
}
