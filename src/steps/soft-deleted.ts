import { getDeletedVault, getVault } from '../azure/key-vault.js'
import { getDeletedKey, getKey } from '../azure/vault-key.js'
import { UserError } from '../base/user-error.js'
import { resourceId } from './created.js'
import type { Run } from './run.js'

/** What to do with a deleted vault or key that still owns the name that is wanted. */
export type SoftDeletedChoice = 'recover' | 'purge'

export interface SoftDeleted {
  readonly kind: 'key vault' | 'key'
  readonly name: string
  /** Member of the configuration that gives another name, and its variable. */
  readonly setting: string
  readonly variable: string
  /** Until when it can be recovered, and owns its name unless it is purged. */
  readonly until: Date | undefined
  /** It was of this very deployment, so that recovering it brings it back here. */
  readonly ours: boolean
  readonly purgeable: boolean
}

/**
 * Deleted things whose names this deployment wants. Looks only: what cannot be seen yet, for want of a
 * vault or of a role, is left to the steps.
 */
export async function softDeletedNames(run: Run): Promise<readonly SoftDeleted[]> {
  const { keyVault, resourceGroup, location } = run.config
  const vault = await getVault(run.azure, resourceGroup, keyVault.name)
  if (vault !== undefined) return softDeletedKey(run, vault.vaultUri)
  const deleted = await getDeletedVault(run.azure, keyVault.name, location)
  if (deleted === undefined) return []
  return [
    {
      kind: 'key vault',
      name: keyVault.name,
      setting: 'keyVault.name',
      variable: 'CONFROUTER_KEY_VAULT_NAME',
      until: deleted.scheduledPurgeDate,
      ours: deleted.vaultId.toLowerCase() === resourceId(run, 'Microsoft.KeyVault/vaults', keyVault.name).toLowerCase(),
      purgeable: !deleted.purgeProtection
    }
  ]
}

async function softDeletedKey(run: Run, vaultUri: string): Promise<readonly SoftDeleted[]> {
  // A role that is on its way is the key step's to wait for.
  const azure = { ...run.azure, environment: { ...run.azure.environment, roleWaitSeconds: 0, nameWaitSeconds: 0 } }
  const access = { azure, vaultUri, onWait: () => undefined }
  const { name } = run.config.key
  try {
    if ((await getKey(access, name)) !== undefined) return []
    const deleted = await getDeletedKey(access, name)
    if (deleted === undefined) return []
    const { scheduledPurgeDate: until, purgeProtection } = deleted
    const about = { setting: 'key.name', variable: 'CONFROUTER_KEY_NAME', ours: true }
    return [{ kind: 'key', name, ...about, until, purgeable: !purgeProtection }]
  } catch (error) {
    if (error instanceof UserError && error.fault !== 'interrupted') return []
    throw error
  }
}

/** What the deleted thing is and until when, in one sentence. */
export function describeSoftDeleted({ kind, name, until, ours }: SoftDeleted): string {
  const date = until === undefined ? '' : ` until ${until.toISOString().slice(0, 10)}`
  return `${kind} "${name}" was deleted${ours ? '' : ' by another deployment'} and owns its name${date}`
}
