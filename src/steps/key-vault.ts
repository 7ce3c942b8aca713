import {
  createVault,
  type DeletedVault,
  getDeletedVault,
  getVault,
  purgeVault,
  type Vault,
  vaultNameProblem
} from '../azure/key-vault.js'
import { diffProperties } from '../plan/properties.js'
import type { Config } from '../config/index.js'
import { UserError } from '../base/user-error.js'
import { recordCreated, resourceId } from './created.js'
import type { Step } from './run.js'

/**
 * Premium vault with RBAC authorization. Purge protection and retention can never be changed once
 * set, so a difference is refused, not "fixed". A soft-deleted vault of ours is recovered, or purged if that is
 * what was chosen; one of anybody else's is a taken name unless it is purged.
 */
export const keyVaultStep: Step<'vault'> = {
  id: 'vault',
  title: 'key vault',
  needs: ['resource-group'],
  async observe(run) {
    const { keyVault, resourceGroup, location } = run.config
    const vault = await getVault(run.azure, resourceGroup, keyVault.name)
    if (vault !== undefined) {
      refuseDifferences(vault, run.config)
      return { action: 'none', output: vault }
    }
    const deleted = await getDeletedVault(run.azure, keyVault.name, location)
    const id = resourceId(run, 'Microsoft.KeyVault/vaults', keyVault.name)
    const purge = deleted !== undefined && run.softDeleted() === 'purge'
    if (deleted !== undefined && purge && deleted.purgeProtection) throw cannotPurge(keyVault.name, deleted)
    if (deleted !== undefined && !purge && deleted.vaultId.toLowerCase() !== id.toLowerCase())
      throw softDeleted(keyVault.name, deleted)
    if (deleted === undefined) {
      const problem = await vaultNameProblem(run.azure, keyVault.name)
      if (problem !== undefined) throw nameTaken(keyVault.name, problem)
    }
    return {
      action: 'create',
      reason:
        deleted === undefined
          ? `creating "${keyVault.name}"`
          : purge
            ? `purging the deleted vault "${keyVault.name}", which cannot be undone, and creating it anew`
            : `recovering the deleted vault "${keyVault.name}"`,
      properties: diffProperties(deleted === undefined ? {} : { state: 'deleted' }, {
        ...(deleted === undefined ? {} : { state: purge ? 'purged and created anew' : 'recovered' }),
        name: keyVault.name,
        location,
        sku: 'premium',
        authorization: 'RBAC',
        purgeProtection: String(keyVault.purgeProtection),
        retentionDays: String(keyVault.retentionDays)
      }),
      async apply(note) {
        if (purge) {
          note('purging the deleted vault')
          await purgeVault(run.azure, keyVault.name, location)
        }

        const { tenantId } = await run.azure.caller()
        await recordCreated(run, id)
        await createVault(run.azure, {
          resourceGroup,
          name: keyVault.name,
          location,
          tenantId,
          retentionDays: keyVault.retentionDays,
          purgeProtection: keyVault.purgeProtection,
          recover: deleted !== undefined && !purge
        })
        const created = await getVault(run.azure, resourceGroup, keyVault.name)
        if (created === undefined) {
          throw new UserError('cloud', 'azure.error', `key vault "${keyVault.name}" was created and is not there`, {
            next: ['run the same command again']
          })
        }
        refuseDifferences(created, run.config)
        return created
      }
    }
  }
}

function refuseDifferences(vault: Vault, config: Config): void {
  const wanted = config.keyVault
  const differences = [
    ...(vault.premium ? [] : ['its SKU is standard, and only a premium vault releases keys']),
    ...(vault.rbacAuthorization ? [] : ['it uses access policies instead of RBAC authorization']),
    ...(vault.purgeProtection === wanted.purgeProtection
      ? []
      : [`its purge protection is ${vault.purgeProtection}, wanted ${wanted.purgeProtection}`]),
    ...(vault.retentionDays === wanted.retentionDays
      ? []
      : [`its retention is ${vault.retentionDays} days, wanted ${wanted.retentionDays}`])
  ]
  if (differences.length === 0) return
  throw new UserError(
    'config',
    'keyvault.different',
    `key vault "${wanted.name}" is not as configured: ${differences.join('; ')}`,
    {
      why: 'purge protection and retention cannot be changed once set, and the others are not changed under somebody’s feet',
      next: [
        'set keyVault in confrouter.yaml to what the vault is',
        'set keyVault.name to another name in confrouter.yaml'
      ]
    }
  )
}

function softDeleted(name: string, deleted: DeletedVault): UserError {
  const until = deleted.scheduledPurgeDate?.toISOString().slice(0, 10)
  return new UserError('cloud', 'keyvault.soft-deleted', `key vault "${name}" cannot be created`, {
    why: `a deleted vault (${deleted.vaultId}) still owns the name${until === undefined ? '' : ` until ${until}`}`,
    next: [
      'set keyVault.name to another name in confrouter.yaml',
      `az keyvault recover --name ${name}`,
      ...(deleted.purgeProtection ? [] : ['confrouter up --soft-deleted purge   (cannot be undone)'])
    ]
  })
}

function cannotPurge(name: string, deleted: DeletedVault): UserError {
  return new UserError('config', 'keyvault.purge-protected', `the deleted key vault "${name}" cannot be purged`, {
    why: `it was made with purge protection, which nobody can take off; it ends by itself on ${deleted.scheduledPurgeDate?.toISOString().slice(0, 10) ?? 'its date'}`,
    next: ['confrouter up --soft-deleted recover', 'set keyVault.name to another name in confrouter.yaml']
  })
}

function nameTaken(name: string, problem: string): UserError {
  return new UserError('cloud', 'keyvault.name-taken', `key vault "${name}" cannot be created: the name is taken`, {
    why: problem,
    next: ['set keyVault.name to another name in confrouter.yaml']
  })
}
