import { UserError } from '../base/user-error.js'
import type { PhaseReport, Run, RunResults, UpgradeState, WantedUpgrade, waysOn } from '../steps/index.js'
import type { App, Session } from './app.js'
import { approveChanges } from './approval.js'

/** What an upgrade did, for the result. */
export interface UpgradeDone {
  readonly results: RunResults
  /** Host data that the key is released to now, as the vault says. */
  readonly releasedTo: readonly string[]
  readonly upgrade: {
    readonly strategy: WantedUpgrade['strategy']
    readonly from: string
    readonly to: string
    readonly phases: readonly PhaseReport[]
  }
}

/**
 * Whoever goes back does so because what is configured is bad: `up` would go forward to exactly that, and the
 * rollback has not even ended. Throws `rollback.open`.
 */
export function refuseOpenRollback({ run }: Session): void {
  const { upgrade } = run.state.get()
  if (upgrade?.direction !== 'rollback') return
  const flag = run.simulated ? ' --local' : ''
  throw new UserError('user', 'rollback.open', openRollback(upgrade), {
    why: '`up` goes forward to what is configured here, and a rollback away from that is not finished',
    next: [
      `confrouter rollback${flag} --reason TEXT   (goes on with it)`,
      `confrouter rollback${flag} --abandon --reason TEXT   (takes it back)`
    ]
  })
}

function openRollback({ to, openedAt, phase, reason }: UpgradeState): string {
  return `a rollback to ${to.hostData} is open since ${openedAt}, next phase: ${phase}${reason === undefined ? '' : ` (reason: ${reason})`}`
}

/** What is to be said before `up` goes to these host data: that somebody went back from them, or is about to. */
export async function goingForward({ run }: Session, hostData: string | undefined): Promise<readonly string[]> {
  const { wentBackFrom } = await import('../steps/index.js')
  const { upgrade } = run.state.get()
  if (upgrade?.direction === 'rollback')
    return [`${openRollback(upgrade)}: \`up\` refuses until it is finished or taken back`]
  const back = wentBackFrom(run, hostData)
  if (back === undefined) return []
  const { at, to, reason } = back
  return [
    `this goes forward again to ${hostData ?? ''}: somebody went back from there to ${to} on ${at}` +
      (reason === undefined ? '' : ` (reason: ${reason})`)
  ]
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
  const { pinsOf, runUpgrade, upgradePhases, waysOn } = await import('../steps/index.js')
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
      releasedTo: pinsOf(done.results.get('key').releasePolicy ?? ''),
      upgrade: { strategy, from: upgrade.from.hostData, to: upgrade.to.hostData, phases: done.phases }
    }
  } catch (error) {
    progress.close()
    warnOfWindow(app, run, waysOn)
    throw error
  } finally {
    progress.close()
  }
}

function warnOfWindow(app: App, run: Run, ways: typeof waysOn): void {
  const { upgrade } = run.state.get()
  if (upgrade === undefined) return
  const { on, back } = ways(upgrade)
  const onLoopback = (command: string) => (run.simulated ? command.replace(/^confrouter \S+/, '$& --local') : command)
  app.terminal.warn(
    `the ${upgrade.direction} window is open at phase "${upgrade.phase}": the key may be released to ${upgrade.from.hostData} and to ` +
      `${upgrade.to.hostData}; ${onLoopback(on)} goes on, ${onLoopback(back)} takes it back`
  )
}

/** Deals with an unfinished upgrade to something else than what is wanted now. */
async function settle(app: App, session: Session, results: RunResults): Promise<void> {
  const { groupNameFor, pendingUpgrade, redirectUpgrade } = await import('../steps/index.js')
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
      await takeBack(app, session, results, upgrade, undefined)
      return
    case 'between': {
      const { name } = run.config.containerGroup
      const isReplaced = upgrade.strategy === 'replace'
      const group = isReplaced ? upgrade.to.group : groupNameFor(name, wanted)
      // Beside an old group that is gone, the new one is what there is to come from.
      const open = isReplaced ? upgrade : { ...upgrade, from: upgrade.to }
      await redirectUpgrade(run, open, { group, hostData: wanted }, { direction: 'upgrade' })
    }
  }
}

/**
 * Takes back what was not moved yet. Where the old group has to be let in to the key again, that is asked before anything
 * is changed; whom somebody else let in meanwhile is an error when all is done.
 */
export async function takeBack(
  app: App,
  session: Session,
  results: RunResults,
  upgrade: UpgradeState,
  reason: string | undefined
): Promise<{ readonly releasedTo: readonly string[] }> {
  const { abandonUpgrade, closingOf, keyOpened } = await import('../steps/index.js')
  const { run } = session
  const note = (text: string) => app.terminal.info(text)
  const closing = await closingOf(run, results, upgrade, note)
  await approveChanges(app, session, closing.approve)
  const { releasedTo, keyOpenedTo } = await abandonUpgrade(run, results, upgrade, { closing, reason }, note)
  if (keyOpenedTo !== undefined) throw keyOpened(run, keyOpenedTo)
  return { releasedTo }
}
