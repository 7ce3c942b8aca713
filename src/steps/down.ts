import { deleteAttestationProvider } from '../azure/attestation.js'
import { deleteContainerGroup } from '../azure/container-group.js'
import { deleteIdentity } from '../azure/identity.js'
import { deleteVault, getDeletedVault, purgeVault } from '../azure/key-vault.js'
import { deleteResourceGroup, isResourceGroupEmpty } from '../azure/resource-group.js'
import { deleteRoleAssignment } from '../azure/roles.js'
import { UserError } from '../base/user-error.js'
import { resourceGroupId, resourceId, wasCreated } from './created.js'
import { interrupted } from './graph.js'
import type { Run } from './run.js'

export interface Deletion {
  readonly id: string
  readonly title: string
  /** Returns what happened, for example `deleted`. */
  run(): Promise<string>
}

/**
 * What `down` will delete, in order: only what `up` recorded as its own. A resource group goes last
 * and only if it is empty by then, because others may have put something into it.
 */
export function deletions(run: Run, options: { readonly purge: boolean }): readonly Deletion[] {
  const { config, azure, state } = run
  const { resourceGroup, containerGroup, keyVault, identity, attestation, location } = config
  const mine = (type: string, name: string) => wasCreated(state, resourceId(run, type, name))
  const list: Deletion[] = []
  const add = (id: string, title: string, work: () => Promise<string | void>) =>
    list.push({ id, title, run: async () => (await work()) ?? 'deleted' })

  if (mine('Microsoft.ContainerInstance/containerGroups', containerGroup.name)) {
    add('deploy', `container group "${containerGroup.name}"`, () =>
      deleteContainerGroup(azure, resourceGroup, containerGroup.name)
    )
  }
  const assignments = state.get().created.filter((id) => /\/roleAssignments\/[^/]+$/i.test(id))
  if (assignments.length > 0) {
    add('roles', 'role assignments', async () => {
      for (const id of assignments) await deleteRoleAssignment(azure, id)
    })
  }
  if (mine('Microsoft.ManagedIdentity/userAssignedIdentities', identity.name)) {
    add('identity', `identity "${identity.name}"`, () => deleteIdentity(azure, resourceGroup, identity.name))
  }
  if (mine('Microsoft.KeyVault/vaults', keyVault.name)) {
    add('vault', `key vault "${keyVault.name}"`, () => deleteAndMaybePurge(run, options.purge))
  }
  const provider = attestation.name
  if (provider !== undefined && mine('Microsoft.Attestation/attestationProviders', provider)) {
    add('attestation', `attestation provider "${provider}"`, () =>
      deleteAttestationProvider(azure, resourceGroup, provider)
    )
  }
  if (wasCreated(state, resourceGroupId(run))) {
    add('resource-group', `resource group "${resourceGroup}" in ${location}`, async () => {
      if (!(await isResourceGroupEmpty(azure, resourceGroup))) return 'kept: it holds resources that `up` did not make'
      await deleteResourceGroup(azure, resourceGroup)
      return 'deleted'
    })
  }
  return list
}

/** Deletes one after the other and forgets what was recorded once all of it is gone. */
export async function deleteAll(
  run: Run,
  list: readonly Deletion[],
  progress: { start(id: string): void; done(id: string, text: string): void; fail(id: string, text: string): void }
): Promise<void> {
  for (const deletion of list) {
    if (run.signal.aborted) throw interrupted()
    progress.start(deletion.id)
    try {
      progress.done(deletion.id, await deletion.run())
    } catch (error) {
      progress.fail(deletion.id, error instanceof Error ? error.message : String(error))
      throw error
    }
  }
  // The image and the sidecar's pin are no cloud resources: the next `up` goes on with them.
  await run.state.update(({ version, name, cloud, image, sidecar }) => ({
    version,
    name,
    cloud,
    created: [],
    ...(image === undefined ? {} : { image }),
    ...(sidecar === undefined ? {} : { sidecar })
  }))
}

async function deleteAndMaybePurge(run: Run, purge: boolean): Promise<string> {
  const { keyVault, resourceGroup, location } = run.config
  await deleteVault(run.azure, resourceGroup, keyVault.name)
  const deleted = await getDeletedVault(run.azure, keyVault.name, location)
  const until = deleted?.scheduledPurgeDate?.toISOString().slice(0, 10)
  if (!purge || deleted === undefined) return `deleted; can be recovered${until === undefined ? '' : ` until ${until}`}`
  if (deleted.purgeProtection) {
    throw new UserError(
      'cloud',
      'keyvault.purge-protected',
      `key vault "${keyVault.name}" cannot be purged${until === undefined ? '' : ` before ${until}`}`,
      {
        why: 'it was made with purge protection, which nobody can take off; it is deleted and can be recovered until then',
        next: ['confrouter down   (without --purge)']
      }
    )
  }
  await purgeVault(run.azure, keyVault.name, location)
  return 'deleted and purged'
}
