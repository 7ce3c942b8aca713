import { getContainerGroup } from '../azure/container-group.js'
import { getKey } from '../azure/vault-key.js'
import { forgetCreated } from './created.js'
import type { RunResults } from './graph.js'
import { removeGroup } from './group-deployment.js'
import { hostDataOfGroup, outputOfGroup } from './group-output.js'
import { addressesOf, publish, trustOf } from './published.js'
import { bindKey, vaultAccess } from './release-key.js'
import { recordedGroups } from './places.js'
import { removeReplicas, replicaOutputs } from './replicas.js'
import type { Note, Run } from './run.js'
import type { UpgradeState } from './state.js'
import { narrowedPolicy } from './upgrade-window.js'

/** What the names of all groups of one side of an upgrade begin with. */
function stemOf({ stem, group }: { readonly stem?: string; readonly group: string }): string {
  return stem ?? group
}

/** The groups of one side of an upgrade that were made here, but for its first one. */
export function othersOf(run: Run, side: { readonly stem?: string; readonly group: string }): readonly string[] {
  return recordedGroups(run, stemOf(side)).filter((name) => name !== side.group)
}

/** How far an upgrade has come that was left unfinished. */
export type Pending =
  /** Nothing was moved: the old group serves, and the new one can be taken away again. */
  | 'open'
  /** The new group serves: it can only be finished, or gone back from. */
  | 'moved'
  /** The old group is deleted and the new one does not serve yet. */
  | 'between'

export async function pendingUpgrade(run: Run): Promise<{ state: Pending; upgrade: UpgradeState } | undefined> {
  const { upgrade, active } = run.state.get()
  if (upgrade === undefined) return undefined
  if (active?.hostData === upgrade.to.hostData) return { state: 'moved', upgrade }
  if (upgrade.strategy === 'blue-green') return { state: 'open', upgrade }
  const group = await getContainerGroup(run.azure, run.config.resourceGroup, upgrade.from.group)
  const isOld = group !== undefined && hostDataOfGroup(group) === upgrade.from.hostData
  return { state: isOld ? 'open' : 'between', upgrade }
}

/**
 * Closes the window of an upgrade that has moved nothing: the new group goes, and the key is released to the
 * old measurement alone. Nobody is asked, because nobody gets anything that they did not have.
 */
export async function abandonUpgrade(
  run: Run,
  results: RunResults,
  upgrade: UpgradeState,
  reason: string | undefined,
  note: Note
): Promise<void> {
  const { from, to } = upgrade
  const { resourceGroup, key: wanted } = run.config
  if (to.group !== stemOf(from)) {
    await removeReplicas(run, othersOf(run, to), note)
    await removeGroup(run, to.group, note)
    await forgetCreated(run, to.group)
  }
  const key = await getKey(vaultAccess(run, results, note), wanted.name)
  const closed = narrowedPolicy(key?.releasePolicy, from.hostData)
  if (key !== undefined && closed !== undefined) {
    note(`the key is released to ${from.hostData} only`)
    await bindKey(run, vaultAccess(run, results, note), key, closed, [])
  }
  const { active } = run.state.get()
  const group = await getContainerGroup(run.azure, resourceGroup, from.group)
  if (active !== undefined && group?.ip !== undefined) {
    const replicas = await replicaOutputs(run, othersOf(run, from))
    await publish(run, trustOf(run, [active]), addressesOf(active, { ...outputOfGroup(run, group), replicas }))
  }
  await run.state.update(({ upgrade: _closed, deployed, ...state }) => ({
    ...state,
    // What the old group was deployed with, so that it is not taken for one with other keys.
    ...(active === undefined
      ? deployed === undefined
        ? {}
        : { deployed }
      : { deployed: { hostData: active.hostData } }),
    history: [
      ...(state.history ?? []),
      {
        at: run.now().toISOString(),
        what: 'rollback' as const,
        from: to.hostData,
        to: from.hostData,
        reason: reason ?? 'another deployment is wanted by now'
      }
    ].slice(-50)
  }))
}

/** Aims an upgrade whose old group is gone at another measurement, from its first phase on. */
export async function redirectUpgrade(
  run: Run,
  upgrade: UpgradeState,
  to: { readonly group: string; readonly hostData: string },
  more: Pick<UpgradeState, 'direction'> & { readonly reason?: string }
): Promise<void> {
  const { built: _other, failure: _before, ...rest } = upgrade
  const { regions } = run.config.containerGroup
  await run.state.update((state) => ({
    ...state,
    upgrade: { ...rest, ...more, to: { ...to, regions }, phase: 'widen' }
  }))
}
