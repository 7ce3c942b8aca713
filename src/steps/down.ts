import { deleteAttestationProvider } from '../azure/attestation.js'
import { deleteContainerGroup } from '../azure/container-group.js'
import { deleteIdentity } from '../azure/identity.js'
import { deleteVault, getVault, purgeVault } from '../azure/key-vault.js'
import { deleteResourceGroup, getResourceGroup, isResourceGroupEmpty } from '../azure/resource-group.js'
import { deleteRoleAssignment } from '../azure/roles.js'
import { UserError } from '../base/user-error.js'
import { interrupted } from './graph.js'
import type { Run } from './run.js'

/** One thing that `down` will delete. */
export interface Deletion {
  readonly id: string
  readonly title: string
  /** Says why if it is kept after all. */
  run(): Promise<{ readonly deleted: boolean; readonly says: string }>
}

/** A recorded resource id, taken apart: what is deleted is what was made, whatever the configuration says by now. */
interface Recorded {
  readonly id: string
  readonly type: string
  readonly resourceGroup: string
  readonly name: string
}

/** In this order nothing is deleted that something else still needs. */
const order = [
  'containergroups',
  'roleassignments',
  'userassignedidentities',
  'vaults',
  'attestationproviders',
  'resourcegroups'
]

/**
 * What `down` will delete, in order: exactly what `up` recorded as its own. A resource group goes last
 * and only if it is empty by then, because others may have put something into it.
 *
 * @throws UserError with fault `config` if a vault is to be purged that cannot be, before anything is deleted
 */
export async function deletions(run: Run, options: { readonly purge: boolean }): Promise<readonly Deletion[]> {
  const { created } = run.state.get()
  refuseForeign(run, created)
  const recorded = created.map(parseResourceId).sort((a, b) => order.indexOf(a.type) - order.indexOf(b.type))
  return Promise.all(recorded.map((resource) => deletionOf(run, resource, options.purge)))
}

/**
 * The state is a file that others may write to, and this list is what gets deleted: nothing outside of the
 * deployment's own resource group was ever made by `up`.
 */
function refuseForeign({ azure, config, state }: Run, created: readonly string[]): void {
  const own = `/subscriptions/${azure.subscriptionId}/resourceGroups/${config.resourceGroup}`.toLowerCase()
  const foreign = created.filter((id) => id.toLowerCase() !== own && !id.toLowerCase().startsWith(`${own}/`))
  if (foreign.length === 0) return
  throw new UserError(
    'machine',
    'state.foreign',
    `the state records as made by \`up\` what is not of this deployment: ${foreign.join(', ')}`,
    {
      why: `everything that it makes is in resource group "${config.resourceGroup}"; nothing was deleted`,
      next: [`look at ${state.directory}/state.json`, 'set subscription and resourceGroup to those of the deployment']
    }
  )
}

/** What is there under the names of the configuration although nothing is recorded as made from here. */
export async function unrecorded(run: Run): Promise<string | undefined> {
  const { resourceGroup } = run.config
  const exists = await getResourceGroup(run.azure, resourceGroup)
  return exists === undefined ? undefined : `resource group "${resourceGroup}"`
}

/** Deletes one after the other. What is gone is forgotten at once, so that the same command continues after a kill. */
export async function deleteAll(
  run: Run,
  list: readonly Deletion[],
  progress: { start(id: string): void; done(id: string, text: string): void; fail(id: string, text: string): void }
): Promise<readonly { readonly title: string; readonly deleted: boolean }[]> {
  const outcomes: { title: string; deleted: boolean }[] = []
  for (const deletion of list) {
    if (run.signal.aborted) throw interrupted()
    progress.start(deletion.id)
    try {
      const { deleted, says } = await deletion.run()
      await run.state.update((state) => ({ ...state, created: state.created.filter((id) => id !== deletion.id) }))
      outcomes.push({ title: deletion.title, deleted })
      progress.done(deletion.id, says)
    } catch (error) {
      progress.fail(deletion.id, error instanceof Error ? error.message : String(error))
      throw error
    }
  }
  // The image and the sidecar's pin are no cloud resources: the next `up` goes on with them.
  await run.state.update(({ version, name, cloud, created, image, sidecar }) => ({
    version,
    name,
    cloud,
    created,
    ...(image === undefined ? {} : { image }),
    ...(sidecar === undefined ? {} : { sidecar })
  }))
  return outcomes
}

async function deletionOf(run: Run, resource: Recorded, purge: boolean): Promise<Deletion> {
  const { azure } = run
  const { id, type, resourceGroup, name } = resource
  const deletion = (title: string, work: () => Promise<void>, says = 'deleted'): Deletion => ({
    id,
    title,
    run: () => work().then(() => ({ deleted: true, says }))
  })
  switch (type) {
    case 'containergroups':
      return deletion(`container group "${name}"`, () => deleteContainerGroup(azure, resourceGroup, name))
    case 'roleassignments':
      return deletion(`role assignment ${name}`, () => deleteRoleAssignment(azure, id))
    case 'userassignedidentities':
      return deletion(`identity "${name}"`, () => deleteIdentity(azure, resourceGroup, name))
    case 'attestationproviders':
      return deletion(`attestation provider "${name}"`, () => deleteAttestationProvider(azure, resourceGroup, name))
    case 'vaults':
      return vaultDeletion(run, resource, purge)
    case 'resourcegroups':
      return {
        id,
        title: `resource group "${name}"`,
        async run() {
          if (!(await isResourceGroupEmpty(azure, name))) {
            return { deleted: false, says: 'kept: it holds resources that `up` did not make' }
          }
          await deleteResourceGroup(azure, name)
          return { deleted: true, says: 'deleted' }
        }
      }
    default:
      throw new UserError('machine', 'state.damaged', `the state records a resource of an unknown kind: ${id}`, {
        next: [`look at ${run.state.directory}/state.json`]
      })
  }
}

async function vaultDeletion(run: Run, { id, resourceGroup, name }: Recorded, purge: boolean): Promise<Deletion> {
  const vault = await getVault(run.azure, resourceGroup, name)
  const location = vault?.location ?? run.config.location
  if (purge && vault?.purgeProtection === true) {
    throw new UserError('config', 'keyvault.purge-protected', `key vault "${name}" cannot be purged`, {
      why: `it was made with purge protection, which nobody can take off; deleted, it can be recovered for ${vault.retentionDays} days`,
      next: ['confrouter down   (without --purge)']
    })
  }
  const until = new Date(run.now().getTime() + (vault?.retentionDays ?? 90) * 86_400_000).toISOString().slice(0, 10)
  const fate = purge ? 'purged, which cannot be undone' : `recoverable until ${until}`
  return {
    id,
    title: `key vault "${name}" (${fate})`,
    async run() {
      await deleteVault(run.azure, resourceGroup, name)
      if (purge) await purgeVault(run.azure, name, location)
      return { deleted: true, says: purge ? 'deleted and purged' : `deleted; ${fate}` }
    }
  }
}

function parseResourceId(id: string): Recorded {
  const parts = id.split('/')
  const resourceGroup = parts[4] ?? ''
  return { id, type: (parts.at(-2) ?? '').toLowerCase(), resourceGroup, name: parts.at(-1) ?? '' }
}
