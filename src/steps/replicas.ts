import { type ContainerGroup, getContainerGroup, stopContainerGroup } from '../azure/container-group.js'
import { setTimeout as sleep } from 'node:timers/promises'
import { forgetCreated } from './created.js'
import { removeReplica, deployGroup, type GroupTarget } from './group-deployment.js'
import { hostDataOfGroup, outputOfGroup } from './group-output.js'
import { requireOwn } from './own-groups.js'
import { requireInPlace } from './places.js'
import { checkReplica } from './replica-health.js'
import type { Note, ReplicaOutput, Results, Run } from './run.js'

/** Those of these groups that are there. */
export async function findGroups(run: Run, names: readonly string[]): Promise<readonly ContainerGroup[]> {
  const groups = await Promise.all(names.map((name) => getContainerGroup(run.azure, run.config.resourceGroup, name)))
  return groups.filter((group) => group !== undefined)
}

/** Where those of these groups are reached that are there and have an address. */
export async function replicaOutputs(run: Run, names: readonly string[]): Promise<readonly ReplicaOutput[]> {
  const groups = await findGroups(run, names)
  return groups.flatMap((group) => (group.ip === undefined ? [] : [outputOfGroup(run, group)]))
}

/**
 * Deploys one group beside the first one under the same template and waits until it is ready and its evidence holds
 * for the same key. A group of this deployment that has this name and another policy is deleted first; anybody else's
 * is left alone, and is an error.
 */
export async function deployReplica(
  run: Run,
  results: Results,
  target: GroupTarget,
  note: Note
): Promise<ReplicaOutput> {
  const { name } = target.place
  const before = await getContainerGroup(run.azure, run.config.resourceGroup, name)
  if (before !== undefined) requireOwn(run, before)
  const isAnother =
    before !== undefined && (hostDataOfGroup(before) !== target.hostData || before.provisioningState === 'Failed')
  if (isAnother) await removeReplica(run, name, note)
  else if (before !== undefined) requireInPlace(run, before, target.place)
  const { output } = await deployGroup(run, { ...target, isReplica: true }, note)
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
