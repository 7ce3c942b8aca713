import { UserError } from '../base/user-error.js'
import { isAbsent, toUserError } from './errors.js'
import type { AzureSession } from './session.js'

export interface Vault {
  readonly id: string
  readonly name: string
  readonly location: string
  /** `https://…`, without a trailing slash. */
  readonly vaultUri: string
  readonly premium: boolean
  readonly rbacAuthorization: boolean
  readonly purgeProtection: boolean
  readonly retentionDays: number
}

export interface DeletedVault {
  /** Resource id that the vault had, and gets back when it is recovered. */
  readonly vaultId: string
  readonly scheduledPurgeDate: Date | undefined
  readonly purgeProtection: boolean
}

export async function getVault(azure: AzureSession, resourceGroup: string, name: string): Promise<Vault | undefined> {
  const client = await azure.vaults()
  try {
    const { id, location, properties } = await client.vaults.get(resourceGroup, name, { abortSignal: azure.signal })
    if (properties.vaultUri === undefined)
      throw new UserError('cloud', 'azure.error', `key vault "${name}" has no URI yet`)
    return {
      id: id ?? '',
      name,
      location: location ?? '',
      vaultUri: properties.vaultUri.replace(/\/$/, ''),
      premium: properties.sku.name === 'premium',
      rbacAuthorization: properties.enableRbacAuthorization === true,
      purgeProtection: properties.enablePurgeProtection === true,
      retentionDays: properties.softDeleteRetentionInDays ?? 90
    }
  } catch (error) {
    if (isAbsent(error)) return undefined
    throw toUserError(error, `key vault "${name}"`)
  }
}

export async function getDeletedVault(
  azure: AzureSession,
  name: string,
  location: string
): Promise<DeletedVault | undefined> {
  const client = await azure.vaults()
  try {
    const { properties } = await client.vaults.getDeleted(name, location, { abortSignal: azure.signal })
    return {
      vaultId: properties?.vaultId ?? '',
      scheduledPurgeDate: properties?.scheduledPurgeDate,
      purgeProtection: properties?.purgeProtectionEnabled === true
    }
  } catch (error) {
    if (isAbsent(error)) return undefined
    throw toUserError(error, `deleted key vault "${name}"`)
  }
}

/** Undefined if the name is free; else Azure's sentence why not. */
export async function vaultNameProblem(azure: AzureSession, name: string): Promise<string | undefined> {
  const client = await azure.vaults()
  try {
    const answer = await client.vaults.checkNameAvailability(
      { name, type: 'Microsoft.KeyVault/vaults' },
      { abortSignal: azure.signal }
    )
    return answer.nameAvailable === true ? undefined : (answer.message ?? answer.reason ?? 'not available')
  } catch (error) {
    throw toUserError(error, `key vault name "${name}"`)
  }
}

export interface WantedVault {
  readonly resourceGroup: string
  readonly name: string
  readonly location: string
  readonly tenantId: string
  readonly retentionDays: number
  readonly purgeProtection: boolean
  /** Bring the soft-deleted vault of this name back instead of making a new one. */
  readonly recover: boolean
}

/** Creates a premium vault with RBAC authorization, or recovers it; 25–35 seconds on Azure. */
export async function createVault(azure: AzureSession, wanted: WantedVault): Promise<void> {
  const client = await azure.vaults()
  try {
    await client.vaults.createOrUpdate(
      wanted.resourceGroup,
      wanted.name,
      {
        location: wanted.location,
        properties: {
          tenantId: wanted.tenantId,
          sku: { family: 'A', name: 'premium' },
          accessPolicies: [],
          enableRbacAuthorization: true,
          enableSoftDelete: true,
          softDeleteRetentionInDays: wanted.retentionDays,
          // "false" is refused by the service: purge protection is either on for good or left out.
          ...(wanted.purgeProtection ? { enablePurgeProtection: true } : {}),
          ...(wanted.recover ? { createMode: 'recover' as const } : {})
        }
      },
      { abortSignal: azure.signal, updateIntervalInMs: azure.environment.pollIntervalMs }
    )
  } catch (error) {
    throw toUserError(error, `key vault "${wanted.name}"`, azure.takeFailedOperation())
  }
}

/** Soft delete: the vault's name stays taken until it is purged. */
export async function deleteVault(azure: AzureSession, resourceGroup: string, name: string): Promise<void> {
  const client = await azure.vaults()
  try {
    await client.vaults.delete(resourceGroup, name, { abortSignal: azure.signal })
  } catch (error) {
    if (!isAbsent(error)) throw toUserError(error, `key vault "${name}"`)
  }
}

/** Cannot be undone. */
export async function purgeVault(azure: AzureSession, name: string, location: string): Promise<void> {
  const client = await azure.vaults()
  try {
    await client.vaults.purgeDeleted(name, location, {
      abortSignal: azure.signal,
      updateIntervalInMs: azure.environment.pollIntervalMs
    })
  } catch (error) {
    if (!isAbsent(error)) throw toUserError(error, `deleted key vault "${name}"`, azure.takeFailedOperation())
  }
}
