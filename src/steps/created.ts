import type { Run } from './run.js'

/**
 * Notes that this deployment makes a resource, so that `down` knows what it may delete. Called when
 * the resource was seen to be absent and before it is made: a kill in between leaves a note too many,
 * never a resource that nobody remembers.
 */
export async function recordCreated(run: Pick<Run, 'state'>, id: string): Promise<void> {
  await run.state.update((before) => ({
    ...before,
    created: before.created.some((known) => sameId(known, id)) ? before.created : [...before.created, id]
  }))
}

/** Forgets that a group was made here, once it is gone. */
export async function forgetCreated(run: Pick<Run, 'config' | 'azure' | 'state'>, group: string): Promise<void> {
  const gone = resourceId(run, 'Microsoft.ContainerInstance/containerGroups', group).toLowerCase()
  await run.state.update((state) => ({
    ...state,
    created: state.created.filter((id) => id.toLowerCase() !== gone)
  }))
}

/** Resource id inside the deployment's group; `type` is for example `Microsoft.KeyVault/vaults`. */
export function resourceId(run: Pick<Run, 'config' | 'azure'>, type: string, name: string): string {
  return `${resourceGroupId(run)}/providers/${type}/${name}`
}

export function resourceGroupId(run: Pick<Run, 'config' | 'azure'>): string {
  return `/subscriptions/${run.azure.subscriptionId}/resourceGroups/${run.config.resourceGroup}`
}

/** Azure compares resource ids without regard to case and returns some in another case than given. */
function sameId(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase()
}
