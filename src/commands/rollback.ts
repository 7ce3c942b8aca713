import { Command, Option } from 'commander'
import { UserError } from '../base/user-error.js'
import type { Generation, RunResults, SecretChange, StepId, UpgradeState } from '../steps/index.js'
import type { App, Execute, Session } from './app.js'
import { approveChanges } from './approval.js'
import { type ApprovalOptions, type SharedOptions, withApproval, withDeployment } from './options.js'
import { withStrategy } from './plan.js'
import { carryOut, takeBack, type UpgradeDone } from './upgrade.js'

type RollbackOptions = SharedOptions & ApprovalOptions & { readonly reason?: string; readonly abandon?: boolean }

/** What there was to go back from, and what was done. */
interface Rollback {
  readonly from: string
  readonly to: string
  /** Whether an unfinished upgrade was taken back, and nothing had to be deployed. */
  readonly closedWindow: boolean
  /** Whether it went on with one that was begun before. */
  readonly resumed: boolean
  /** Host data that the key is released to now, as the vault says. */
  readonly releasedTo: readonly string[]
  readonly reason: string
  readonly secretsChanged: readonly SecretChange[]
  readonly phases: readonly object[]
}

export function rollbackCommand(execute: Execute): Command {
  const command = withStrategy(
    withApproval(
      withDeployment(
        new Command('rollback').description(
          'go back to the deployment before this one, take back an upgrade that is not finished, or go on with a rollback'
        ),
        'confrouter rollback --reason "answers are cut short"'
      )
    )
  )
    .addOption(new Option('--reason <text>', 'why, for whoever reads the history of the pin'))
    .addOption(new Option('--abandon', 'take back what is open, also an unfinished rollback, and go back to nothing'))
  return command.action(
    execute<RollbackOptions>('rollback', async (app, options) => {
      const session = await app.open('rollback', options, 'write')
      try {
        const done = await rollBack(app, session, options)
        const { endpoint } = session.run.state.get()
        app.terminal.result({
          human: inWords(done, endpoint),
          json: {
            schemaVersion: 1,
            ok: true,
            command: 'rollback',
            cloud: session.run.config.cloud,
            simulated: session.run.simulated,
            ...done,
            ...(endpoint === undefined ? {} : { endpoint })
          }
        })
      } finally {
        await session.close()
      }
    })
  )
}

/** A change of what is trusted that nobody can explain later is none that anybody should make. */
async function reasonFor(app: App, { reason }: RollbackOptions): Promise<string> {
  if (reason !== undefined && reason.trim() !== '') return reason.trim()
  return app.terminal.askText({ question: 'Why is this rolled back?', flag: '--reason <text>' })
}

async function rollBack(app: App, session: Session, options: RollbackOptions): Promise<Rollback> {
  const { pendingUpgrade, rollbackTarget } = await import('../steps/index.js')
  const { run } = session
  const pending = await pendingUpgrade(run)
  if (options.abandon === true) {
    if (pending?.state !== 'open') throw cannotAbandon(pending?.upgrade)
    return abandon(app, session, pending.upgrade, await reasonFor(app, options))
  }
  // Whoever repeats the command means the same: to go on to where the first one was going.
  if (pending?.upgrade.direction === 'rollback') return goOn(app, session, pending.upgrade, options)
  if (pending?.state === 'open') return abandon(app, session, pending.upgrade, await reasonFor(app, options))
  const reason = await reasonFor(app, options)
  const results = await prepare(app, session, ['roles', 'attestation', 'signing-key'])
  const { active } = run.state.get()
  const isBetween = pending?.state === 'between'
  const target = isBetween && active !== undefined ? active : rollbackTarget(run)
  const secretsChanged = await secretsOf(app, session, results, target)
  const done = await goBackTo(app, session, results, { target, reason, isBetween })
  return { ...outcomeOf(done), closedWindow: false, resumed: false, reason, secretsChanged }
}

/** Nothing is sealed: the old group goes on with what it has, and closing a window waits for no provider key. */
async function abandon(app: App, session: Session, upgrade: UpgradeState, reason: string): Promise<Rollback> {
  const results = await prepare(app, session, ['roles', 'attestation'])
  const { releasedTo } = await takeBack(app, session, results, upgrade, reason)
  const [from, to] = [upgrade.to.hostData, upgrade.from.hostData]
  return { from, to, closedWindow: true, resumed: false, releasedTo, reason, secretsChanged: [], phases: [] }
}

/** Goes on with a rollback that was interrupted, for the reason that it was begun for. */
async function goOn(app: App, session: Session, upgrade: UpgradeState, options: RollbackOptions): Promise<Rollback> {
  const { policyOfGeneration, requireTakesSecrets, targetOfOpen } = await import('../steps/index.js')
  const { run } = session
  const reason = upgrade.reason ?? (await reasonFor(app, options))
  app.terminal.info(
    `going on with the rollback to ${upgrade.to.hostData}, begun ${upgrade.openedAt}; next phase: ${upgrade.phase}`
  )
  const results = await prepare(app, session, ['roles', 'attestation', 'signing-key'])
  const target = targetOfOpen(run, upgrade)
  const policy = await policyOfGeneration(run, target)
  const isDeployed = upgrade.built !== undefined
  if (!isDeployed) requireTakesSecrets(run, results, policy)
  results.add('policy', policy, { id: 'policy', action: 'none', seconds: 0 })
  if (upgrade.release?.approved !== policy.releasePolicy) await approveTarget(app, session, results)
  const secretsChanged = isDeployed ? [] : await secretsOf(app, session, results, target)
  const wanted = { ...upgrade, isWidened: true }
  const how = { direction: 'rollback' as const, reason }
  const done = await carryOut(app, asItWasTested(session, target), results, wanted, how)
  return { ...outcomeOf(done), closedWindow: false, resumed: true, reason, secretsChanged }
}

/** What serves already cannot be taken back, only gone back from; and where nothing is open there is nothing to take back. */
function cannotAbandon(upgrade: UpgradeState | undefined): UserError {
  const { direction, to } = upgrade ?? {}
  return upgrade === undefined
    ? new UserError(
        'machine',
        'rollback.nothing-open',
        'no upgrade and no rollback is open: there is nothing to take back',
        {
          next: ['confrouter rollback --reason TEXT   (goes to the deployment before this one)', 'confrouter status']
        }
      )
    : new UserError('machine', 'rollback.moved', `the ${direction} to ${to?.hostData} cannot be taken back any more`, {
        why: 'the group that it came from does not serve any more, or callers are told of the other one',
        next:
          direction === 'rollback'
            ? ['confrouter rollback --reason TEXT   (finishes it; the next `confrouter up` goes forward again)']
            : ['confrouter rollback --reason TEXT', 'confrouter up']
      })
}

async function secretsOf(
  app: App,
  { run }: Session,
  results: RunResults,
  target: Generation
): Promise<readonly SecretChange[]> {
  const { secretsChangedSince } = await import('../steps/index.js')
  const secretsChanged = await secretsChangedSince(run, results, target)
  for (const { provider, change } of secretsChanged) {
    app.terminal.warn(
      `the key of provider ${provider} was ${change} since then: the current one is sealed, not that one`
    )
  }
  return secretsChanged
}

function outcomeOf({ upgrade, releasedTo }: UpgradeDone): Pick<Rollback, 'from' | 'to' | 'phases' | 'releasedTo'> {
  const { from, to, phases } = upgrade
  return { from, to, phases, releasedTo }
}

/** Nothing is built and nothing of the current source is looked at: it may be what is wrong. */
async function prepare(app: App, { run }: Session, ids: readonly StepId[]): Promise<RunResults> {
  const { runSteps, withNeeds } = await import('../steps/index.js')
  const steps = withNeeds(ids)
  const progress = app.terminal.progress('confrouter rollback', steps)
  try {
    return await runSteps(run, steps, { progress, observeOnly: new Set<StepId>(steps.map(({ id }) => id)) })
  } finally {
    progress.close()
  }
}

async function goBackTo(
  app: App,
  session: Session,
  results: RunResults,
  go: { readonly target: Generation; readonly reason: string; readonly isBetween: boolean }
): Promise<UpgradeDone> {
  const { asItIsReached, groupForRollback, policyOfGeneration, redirectUpgrade, requireTakesSecrets } =
    await import('../steps/index.js')
  const { run } = session
  const { target, reason, isBetween } = go
  const policy = await policyOfGeneration(run, target)
  requireTakesSecrets(run, results, policy)
  results.add('policy', policy, { id: 'policy', action: 'none', seconds: 0 })
  await approveTarget(app, session, results)
  const { active, upgrade: pending } = run.state.get()
  const strategy = pending?.strategy ?? run.config.upgrade.strategy
  const to = { group: groupForRollback(run, target, strategy), hostData: target.hostData }
  const from = {
    group: (pending === undefined ? active : pending.to)?.group ?? run.config.containerGroup.name,
    ...(pending !== undefined || active?.stem === undefined ? {} : { stem: active.stem }),
    hostData: (pending === undefined ? active : pending.to)?.hostData ?? ''
  }
  const how = { direction: 'rollback' as const, reason }
  if (pending !== undefined) {
    // In one write, so that a kill leaves the window recorded. Where the old group is gone, nobody is reached yet.
    const open = { ...pending, from: isBetween ? from : await asItIsReached(run, from) }
    await redirectUpgrade(run, open, to, how)
  }
  return carryOut(app, asItWasTested(session, target), results, { strategy, from, to, isWidened: true }, how)
}

async function approveTarget(app: App, session: Session, results: RunResults): Promise<void> {
  const { keyChanges } = await import('../steps/index.js')
  const { releasePolicy } = results.get('policy')
  const info = (text: string) => app.terminal.info(text)
  await approveChanges(app, session, await keyChanges(session.run, results, releasePolicy, info))
}

/** It is verified with the model of its own time: the one that is configured now may be what is wrong. */
function asItWasTested(session: Session, { smokeModel }: Generation): Session {
  const { run } = session
  return { ...session, run: { ...run, config: { ...run.config, smoke: { model: smokeModel } } } }
}

function inWords(done: Rollback, endpoint?: string): string {
  const { from, to, closedWindow, resumed, releasedTo, reason, secretsChanged } = done
  return [
    closedWindow ? `took back what was open: ${to} serves, and ${from} does not` : `went back from ${from} to ${to}`,
    `the key is released to ${releasedTo.join(' and ') || 'nobody'} only`,
    `reason: ${reason}`,
    ...(endpoint === undefined ? [] : [`endpoint: ${endpoint}`]),
    ...(secretsChanged.length > 0
      ? [
          `secrets that differ from then, and are not taken back: ${secretsChanged.map(({ provider, change }) => `${provider} (${change})`).join(', ')}`
        ]
      : resumed
        ? []
        : ['secrets: the same keys as then']),
    'the configuration and the source here are not changed: the next `confrouter up` goes to what they say'
  ].join('\n')
}
