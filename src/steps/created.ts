import type { Run } from './run.js'
import type { State } from './state.js'

/**
 * Notes that this deployment makes a resource, so that `down` knows what it may delete. Called when
 * the resource was seen to be absent and before it is made: a kill in between leaves a note too many,
 * never a resource that nobody remembers.
 */
export async function recordCreated(run: Pick<Run, 'state'>, id: string): Promise<void> {
  await run.state.update((before) => withCreated(before, id))
}

/**
 * The same for a container group, with its region: so its groups are found when that region is not configured any more.
 */
export async function recordCreatedGroup(
  run: Pick<Run, 'config' | 'azure' | 'state'>,
  { name, location }: { readonly name: string; readonly location: string }
): Promise<void> {
  const id = resourceId(run, 'Microsoft.ContainerInstance/containerGroups', name)
  await run.state.update((before) => {
    const { regions = [] } = before
    return { ...withCreated(before, id), regions: regions.includes(location) ? regions : [...regions, location] }
  })
}

function withCreated(state: State, id: string): State {
  return state.created.some((known) => sameId(known, id)) ? state : { ...state, created: [...state.created, id] }
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
