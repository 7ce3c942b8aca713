import { type ContainerGroup, getContainerGroup, stopContainerGroup } from '../azure/container-group.js'
import { setTimeout as sleep } from 'node:timers/promises'
import { maximumReplicas } from '../config/index.js'
import { forgetCreated, resourceId } from './created.js'
import { removeReplica, deployGroup, type GroupTarget } from './group-deployment.js'
import { endpointsOfGroup, hostDataOfGroup } from './group-output.js'
import { withLabel } from './group-template.js'
import { checkReplica } from './replica-health.js'
import type { Note, ReplicaOutput, Results, Run } from './run.js'

/** Of a container group, in characters. */
const longestName = 63

/**
 * The name of a group beside the first one: that one's name, and from 2 on a number. A name that has no room for it
 * loses its last characters.
 */
export function replicaName(first: string, number: number): string {
  const end = `-${number}`
  return `${first.slice(0, longestName - end.length).replace(/-+$/, '')}${end}`
}

/** The names of the groups that the configuration wants beside the first one. */
export function wantedReplicas(run: Pick<Run, 'config'>, first: string): readonly string[] {
  return numbered(first, run.config.containerGroup.replicas)
}

/** The names of the groups beside the first one that were made here, wanted or not: no other one is ever deleted. */
export function recordedReplicas(run: Pick<Run, 'config' | 'azure' | 'state'>, first: string): readonly string[] {
  const created = new Set(run.state.get().created.map((id) => id.toLowerCase()))
  return numbered(first, maximumReplicas).filter((name) =>
    created.has(resourceId(run, 'Microsoft.ContainerInstance/containerGroups', name).toLowerCase())
  )
}

/** Those that the configuration does not want any more. */
export function surplusReplicas(run: Pick<Run, 'config' | 'azure' | 'state'>, first: string): readonly string[] {
  const wanted = wantedReplicas(run, first)
  return recordedReplicas(run, first).filter((name) => !wanted.includes(name))
}

/** Where those of these groups are reached that are there and have an address. */
export async function replicaOutputs(run: Run, names: readonly string[]): Promise<readonly ReplicaOutput[]> {
  const groups = await Promise.all(names.map((name) => getContainerGroup(run.azure, run.config.resourceGroup, name)))
  return groups.flatMap((group) => (group?.ip === undefined ? [] : [replicaOutput(run, group)]))
}

export function replicaOutput(run: Pick<Run, 'config'>, group: ContainerGroup): ReplicaOutput {
  return { ...endpointsOfGroup(run, group), group: group.name, hostData: hostDataOfGroup(group) ?? '(no policy)' }
}

/**
 * Deploys one group beside the first one under the same template, without its label, and waits until it is ready and
 * its evidence holds for the same key. A group of this name that has another policy is deleted first.
 */
export async function deployReplica(
  run: Run,
  results: Results,
  target: GroupTarget,
  note: Note
): Promise<ReplicaOutput> {
  const before = await getContainerGroup(run.azure, run.config.resourceGroup, target.group)
  const isStranger =
    before !== undefined && (hostDataOfGroup(before) !== target.hostData || before.provisioningState === 'Failed')
  if (isStranger) await removeReplica(run, target.group, note)
  const template = withLabel(target.template, undefined)
  const { output } = await deployGroup(run, { ...target, template, isReplica: true }, note)
  await checkReplica(run, results, output, note)
  return output
}

/**
 * Deploys several side by side. One that fails keeps none of the others from being waited for.
 *
 * @returns those that serve, and the first failure
 */
export async function deployReplicas(
  run: Run,
  results: Results,
  targets: readonly GroupTarget[],
  note: Note
): Promise<{ readonly serving: readonly ReplicaOutput[]; readonly failure: { readonly error: unknown } | undefined }> {
  const outcomes = await Promise.allSettled(targets.map((target) => deployReplica(run, results, target, note)))
  const failed = outcomes.find((outcome) => outcome.status === 'rejected')
  return {
    serving: outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : [])),
    failure: failed === undefined ? undefined : { error: failed.reason }
  }
}

/** Stops groups that callers are no longer told of, so that calls that they have begun end, and deletes them. */
export async function retireReplicas(run: Run, names: readonly string[], note: Note): Promise<void> {
  if (names.length === 0) return
  const { drainSeconds } = run.config.upgrade
  note(`callers have ${drainSeconds} s to leave ${names.join(', ')}`)
  await sleep(drainSeconds * 1000, undefined, { signal: run.signal })
  await stopReplicas(run, names)
  await removeReplicas(run, names, note)
}

export async function stopReplicas(run: Run, names: readonly string[]): Promise<void> {
  await Promise.all(names.map((name) => stopContainerGroup(run.azure, run.config.resourceGroup, name)))
}

/** Deletes groups, and forgets that they were made here. */
export async function removeReplicas(run: Run, names: readonly string[], note: Note): Promise<void> {
  await Promise.all(
    names.map(async (name) => {
      await removeReplica(run, name, note)
      await forgetCreated(run, name)
    })
  )
}

function numbered(first: string, last: number): readonly string[] {
  return Array.from({ length: Math.max(0, last - 1) }, (_, index) => replicaName(first, index + 2))
}
