import type { ContainerGroup } from '../azure/container-group.js'
import { UserError } from '../base/user-error.js'
import { hostDataOfGroup } from './group-output.js'
import { findDenial } from './denial.js'
import { activeNaming, groupNameBeside } from './generation.js'
import type { RunResults } from './graph.js'
import { pinsOf } from './release-key.js'
import type { Run } from './run.js'
import { type ObservedTrust, observeTrust } from './trust-chain.js'
import { waysOn } from './upgrade-window.js'

/** Where an upgrade goes from: the first group, and what the names of all groups begin with if it is not that one's name. */
interface UpgradeSide {
  readonly group: string
  readonly hostData: string
  readonly stem?: string
}

/** A group that serves and has to give way to one with other host data. */
export interface WantedUpgrade {
  readonly strategy: 'blue-green' | 'replace'
  readonly from: UpgradeSide
  /** Undefined as long as the new host data are not known. */
  readonly to: { readonly group: string; readonly hostData: string } | undefined
  /** Whether the old group may obtain the key now, and so for as long as the upgrade goes on. */
  readonly isWidened: boolean
}

/**
 * Whether `up` has to move from one running group to another. A group that is not there, does not run or was
 * denied has no callers to lose: it is simply deployed again.
 */
export function findUpgrade(run: Run, results: RunResults, { group, key }: ObservedTrust): WantedUpgrade | undefined {
  const pins = key?.releasePolicy === undefined ? [] : pinsOf(key.releasePolicy)
  const pending = run.state.get().upgrade
  if (pending !== undefined) {
    const { strategy, from, to } = pending
    return { strategy, from, to, isWidened: pins.includes(from.hostData) }
  }
  if (group === undefined || !serves(group)) return undefined
  const hostData = hostDataOfGroup(group)
  const wanted = results.has('policy') ? results.get('policy').hostData : undefined
  if (hostData === undefined || hostData === wanted) return undefined
  const { strategy } = run.config.upgrade
  const { name } = run.config.containerGroup
  const { stem } = activeNaming(run)
  return {
    strategy,
    from: { group: group.name, hostData, ...(stem === group.name ? {} : { stem }) },
    to:
      wanted === undefined
        ? undefined
        : { group: strategy === 'replace' ? stem : groupNameBeside(stem, name, wanted), hostData: wanted },
    isWidened: pins.includes(hostData)
  }
}

/**
 * To bind the key to other host data than those of a group that runs takes it from that group at its next start, and
 * nothing shows it until then. `up` does it in the right order. Throws `key.in-use`.
 */
export async function refuseKeyInUse(run: Run, results: RunResults): Promise<void> {
  const { upgrade } = run.state.get()
  const found = upgrade ?? findUpgrade(run, results, await observeTrust(run, results))
  if (found === undefined) return
  const { group, hostData } = found.from
  throw new UserError('machine', 'key.in-use', `the key is not bound anew: group "${group}" needs it as it is`, {
    why:
      upgrade === undefined
        ? `it runs with host data ${hostData}, and bound to ${found.to?.hostData ?? 'others'} alone the key would be refused to it at its next start`
        : `the ${upgrade.direction} to ${upgrade.to.hostData} is open since ${upgrade.openedAt}, and it opens and closes the key itself`,
    next: upgrade === undefined ? ['confrouter up'] : [waysOn(upgrade).on, waysOn(upgrade).back]
  })
}

/** Whether callers may have something to lose. */
function serves(group: ContainerGroup): boolean {
  return group.state === 'Running' && group.provisioningState !== 'Failed' && findDenial(group) === undefined
}
