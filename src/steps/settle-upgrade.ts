import { type ContainerGroup, getContainerGroup } from '../azure/container-group.js'
import { UserError } from '../base/user-error.js'
import { forgetCreated } from './created.js'
import { authorityOf } from './digest-chain.js'
import type { RunResults } from './graph.js'
import { removeGroup } from './group-deployment.js'
import { hostDataOfGroup, outputOfGroup } from './group-output.js'
import { sendBack, takeLabelsBack } from './move-label.js'
import { addressesOf, publish, trustOf } from './published.js'
import { bindKey, changesBetween, pinsOf, vaultAccess } from './release-key.js'
import { othersOf, stemOf } from './places.js'
import { removeReplicas, replicaOutputs } from './replicas.js'
import type { Note, Run, TrustChange } from './run.js'
import type { Generation, UpgradeState } from './state.js'
import { isAfterMove, keyOf, noteOpened, upgradePhases } from './upgrade.js'
import { isWithin, narrowedPolicy, releasePolicyFor } from './upgrade-window.js'

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
  if (isAfterMove(upgrade) || isBuilt(upgrade, active)) return { state: 'moved', upgrade }
  return { state: (await oldGroup(run, upgrade)) === undefined ? 'between' : 'open', upgrade }
}

/** Killed in the middle of the move: what was built is recorded as what serves. The same measurement of before is not. */
function isBuilt({ built }: UpgradeState, active: Generation | undefined): boolean {
  return built !== undefined && active?.hostData === built.hostData && active.deployedAt === built.deployedAt
}

async function oldGroup(run: Run, { from }: UpgradeState): Promise<ContainerGroup | undefined> {
  const group = await getContainerGroup(run.azure, run.config.resourceGroup, from.group)
  return group !== undefined && hostDataOfGroup(group) === from.hostData ? group : undefined
}

/** How the key is closed on the old measurement again. */
export interface Closing {
  readonly policy: string
  /** Empty where closing only takes away, and so nobody has to be asked. */
  readonly approve: readonly TrustChange[]
}

/**
 * The release policy of the old group alone. If the key does not accept it any more - somebody has bound the key to the
 * new measurement before the upgrade began - it has to be let in again, which is a change of trust. Changes nothing.
 * Throws `upgrade.no-key` or `rollback.no-policy`.
 */
export async function closingOf(run: Run, results: RunResults, upgrade: UpgradeState, note: Note): Promise<Closing> {
  const { from, release } = upgrade
  const { releasePolicy: now } = await keyOf(run, results, note)
  const own = releasePolicyFor(await measuredOld(run, upgrade))
  // As a program of before wrote it: to keep that lets in nobody.
  const before = narrowedPolicy(release?.before, from.hostData)
  const known = [own, before].filter((each) => each !== undefined)
  const policy = known.find((each) => isWithin(each, now)) ?? known[0]
  if (policy === undefined) {
    throw new UserError(
      'machine',
      'rollback.no-policy',
      `the release policy of group "${from.group}" is not known: nothing was changed`,
      {
        why: `neither a kept template nor the key says under which attestation service host data ${from.hostData} was released`,
        next: ['confrouter status --trust', 'confrouter up']
      }
    )
  }
  return { policy, approve: isWithin(policy, now) ? [] : changesBetween(now, policy) }
}

/** The old group's measurement, and the attestation service that it goes to: as recorded, else as it runs. */
async function measuredOld(run: Run, upgrade: UpgradeState) {
  const { hostData } = upgrade.from
  const { active } = run.state.get()
  if (active?.hostData === hostData && active.authority !== undefined) return { hostData, authority: active.authority }
  const group = await oldGroup(run, upgrade)
  return { hostData, authority: group === undefined ? undefined : authorityOf(group) }
}

/**
 * Closes the window of an upgrade that has moved nothing: callers are sent to the old group again, the key is released
 * to it alone, the new group goes, and the old one takes back the label if it has given it up.
 *
 * @returns what the key is released to now, as it was read back
 */
export async function abandonUpgrade(
  run: Run,
  results: RunResults,
  upgrade: UpgradeState,
  { closing, reason }: { readonly closing: Closing; readonly reason: string | undefined },
  note: Note
): Promise<{ readonly releasedTo: readonly string[]; readonly keyOpenedTo: readonly string[] | undefined }> {
  const { from, to, strategy, release } = upgrade
  for (const change of closing.approve) await run.approveTrust(change)
  const key = await keyOf(run, results, note)
  await noteOpened(run, upgrade, key, [release?.before, closing.policy], note)
  if (strategy === 'blue-green' && upgrade.phase === 'move') await sendBack(run, upgrade, note)
  await rewind(run, strategy)
  const bound = await bindKey(run, vaultAccess(run, results, note), key, closing.policy, [])
  const releasedTo = pinsOf(bound.releasePolicy ?? '')
  note(`the key is released to ${releasedTo.join(' and ')} only`)
  if (to.group !== stemOf(from)) {
    await removeReplicas(run, othersOf(run, to), note)
    await removeGroup(run, to.group, note)
    await forgetCreated(run, to.group)
  }
  const { active } = run.state.get()
  if (active?.group === from.group) await takeLabelsBack(run, active, note)
  const output = await publishOld(run, upgrade)
  const { keyOpenedTo } = run.state.get().upgrade ?? {}
  await run.state.update(({ upgrade: _closed, deployed, ...state }) => ({
    ...state,
    // What the old group was deployed with, so that it is not taken for one with other keys.
    ...(active === undefined
      ? deployed === undefined
        ? {}
        : { deployed }
      : { deployed: { hostData: active.hostData } }),
    ...(output === undefined ? {} : { endpoint: output.endpoint }),
    history: [
      ...(state.history ?? []),
      {
        at: run.now().toISOString(),
        what: 'rollback' as const,
        from: to.hostData,
        to: from.hostData,
        reason: reason ?? 'another deployment is wanted by now',
        ...(keyOpenedTo === undefined ? {} : { keyOpenedTo })
      }
    ].slice(-50)
  }))
  return { releasedTo, keyOpenedTo }
}

/** From here on the new group is being taken away: whatever goes on after a kill has to begin with it again. */
async function rewind(run: Run, strategy: UpgradeState['strategy']): Promise<void> {
  const first = upgradePhases(strategy)[0]
  await run.state.update(({ upgrade, ...state }) => {
    if (upgrade === undefined || first === undefined) return state
    const { built: _gone, ...open } = upgrade
    return { ...state, upgrade: { ...open, phase: first.id } }
  })
}

/** Tells callers of the old group and of nothing else. */
async function publishOld(run: Run, upgrade: UpgradeState) {
  const group = await oldGroup(run, upgrade)
  if (group?.ip === undefined) return undefined
  const { hostData } = upgrade.from
  const measured = { hostData, authority: authorityOf(group) }
  const replicas = await replicaOutputs(run, othersOf(run, upgrade.from))
  const output = { ...outputOfGroup(run, group), replicas }
  await publish(run, trustOf(run, [measured]), addressesOf(measured, output))
  return output
}

/** Aims an open upgrade at another measurement, from its first phase on. */
export async function redirectUpgrade(
  run: Run,
  upgrade: UpgradeState,
  to: { readonly group: string; readonly hostData: string },
  more: Pick<UpgradeState, 'direction'> & { readonly reason?: string }
): Promise<void> {
  const { built: _other, failure: _before, reason: _why, ...rest } = upgrade
  const { regions } = run.config.containerGroup
  await run.state.update((state) => ({
    ...state,
    upgrade: { ...rest, ...more, to: { ...to, regions }, phase: 'widen' }
  }))
}
