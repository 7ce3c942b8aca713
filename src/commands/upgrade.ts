import type { PhaseReport, Run, RunResults, WantedUpgrade } from '../steps/index.js'
import type { App, Session } from './app.js'

/** What an upgrade did, for the result. */
export interface UpgradeDone {
  readonly results: RunResults
  readonly upgrade: {
    readonly strategy: WantedUpgrade['strategy']
    readonly from: string
    readonly to: string
    readonly phases: readonly PhaseReport[]
  }
}

/**
 * Moves from the group that serves to the one that is wanted, if there is one to move from. An unfinished
 * upgrade to the same measurement goes on; one to another is finished if its group serves already, and taken
 * back if it does not.
 */
export async function upgradeIfNeeded(
  app: App,
  session: Session,
  results: RunResults
): Promise<UpgradeDone | undefined> {
  const { findUpgrade, isAnybodyServing, observeTrust } = await import('../steps/index.js')
  const { run } = session
  // Asked first: before there is a group, the key may have to be waited for, and its own step shows that.
  if (!(await isAnybodyServing(run))) return undefined
  await settle(app, session, results)
  const observed = await observeTrust(run, results, (text) => app.terminal.info(text))
  const wanted = findUpgrade(run, results, observed)
  if (wanted?.to === undefined) return undefined
  return carryOut(app, session, results, { ...wanted, to: wanted.to }, { direction: 'upgrade' })
}

/** Runs the phases, and says what stays open if one of them fails. */
export async function carryOut(
  app: App,
  session: Session,
  results: RunResults,
  upgrade: WantedUpgrade & { readonly to: NonNullable<WantedUpgrade['to']> },
  how: { readonly direction: 'upgrade' | 'rollback'; readonly reason?: string }
): Promise<UpgradeDone> {
  const { runUpgrade, upgradePhases } = await import('../steps/index.js')
  const { run } = session
  const all = upgradePhases(upgrade.strategy)
  const next = run.state.get().upgrade?.phase
  const from = Math.max(
    0,
    all.findIndex(({ id }) => id === next)
  )
  const progress = app.terminal.progress(
    `confrouter ${how.direction} · ${upgrade.strategy} · ${upgrade.from.group} → ${upgrade.to.group}`,
    all.slice(from)
  )
  try {
    const done = await runUpgrade(run, results, { upgrade, ...how, progress })
    const { strategy } = upgrade
    return {
      results: done.results,
      upgrade: { strategy, from: upgrade.from.hostData, to: upgrade.to.hostData, phases: done.phases }
    }
  } catch (error) {
    progress.close()
    warnOfWindow(app, run)
    throw error
  } finally {
    progress.close()
  }
}

function warnOfWindow(app: App, run: Run): void {
  const { upgrade } = run.state.get()
  if (upgrade === undefined) return
  const flag = run.simulated ? ' --local' : ''
  app.terminal.warn(
    `the upgrade window is open at phase "${upgrade.phase}": the key may be released to ${upgrade.from.hostData} and to ` +
      `${upgrade.to.hostData}; confrouter up${flag} goes on, confrouter rollback${flag} --reason TEXT takes it back`
  )
}

/** Deals with an unfinished upgrade to something else than what is wanted now. */
async function settle(app: App, session: Session, results: RunResults): Promise<void> {
  const { abandonUpgrade, groupNameFor, pendingUpgrade, redirectUpgrade } = await import('../steps/index.js')
  const { run } = session
  const pending = await pendingUpgrade(run)
  const wanted = results.get('policy').hostData
  if (pending === undefined || pending.upgrade.to.hostData === wanted) return
  const { upgrade, state } = pending
  switch (state) {
    case 'moved':
      app.terminal.info(`finishing the ${upgrade.direction} to ${upgrade.to.hostData}, which serves already`)
      await carryOut(app, session, results, { ...upgrade, isWidened: true }, { direction: upgrade.direction })
      return
    case 'open':
      app.terminal.info(`taking back the unfinished ${upgrade.direction} to ${upgrade.to.hostData}`)
      await abandonUpgrade(run, results, upgrade, undefined, (text) => app.terminal.info(text))
      return
    case 'between': {
      const { name } = run.config.containerGroup
      const group = upgrade.strategy === 'replace' ? upgrade.to.group : groupNameFor(name, wanted)
      await redirectUpgrade(run, upgrade, { group, hostData: wanted }, { direction: 'upgrade' })
    }
  }
}
