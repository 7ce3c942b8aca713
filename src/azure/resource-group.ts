import { isAbsent, toUserError } from './errors.js'
import type { AzureSession } from './session.js'

export interface ResourceGroup {
  readonly id: string
  readonly name: string
  readonly location: string
}

export async function getResourceGroup(azure: AzureSession, name: string): Promise<ResourceGroup | undefined> {
  const client = await azure.resources()
  try {
    const group = await client.resourceGroups.get(name, { abortSignal: azure.signal })
    return { id: group.id ?? '', name: group.name ?? name, location: group.location }
  } catch (error) {
    if (isAbsent(error)) return undefined
    throw toUserError(error, `resource group "${name}"`)
  }
}

/** Call only when the group is absent: a PUT on an existing one clears its tags. */
export async function createResourceGroup(azure: AzureSession, name: string, location: string): Promise<ResourceGroup> {
  const client = await azure.resources()
  try {
    const group = await client.resourceGroups.createOrUpdate(name, { location }, { abortSignal: azure.signal })
    return { id: group.id ?? '', name: group.name ?? name, location: group.location }
  } catch (error) {
    throw toUserError(error, `resource group "${name}"`)
  }
}

/** True if nothing is left in the group, so that deleting it deletes nothing of anybody else's. */
export async function isResourceGroupEmpty(azure: AzureSession, name: string): Promise<boolean> {
  const client = await azure.resources()
  try {
    for await (const _resource of client.resources.listByResourceGroup(name, { abortSignal: azure.signal }))
      return false
    return true
  } catch (error) {
    throw toUserError(error, `resource group "${name}"`)
  }
}

export async function deleteResourceGroup(azure: AzureSession, name: string): Promise<void> {
  const client = await azure.resources()
  try {
    await client.resourceGroups.beginDeleteAndWait(name, {
      abortSignal: azure.signal,
      updateIntervalInMs: azure.environment.pollIntervalMs
    })
  } catch (error) {
    if (!isAbsent(error)) throw toUserError(error, `resource group "${name}"`, azure.takeFailedOperation())
  }
}
