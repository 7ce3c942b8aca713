import { Command, Option } from 'commander'
import type { Generation, RunResults, SecretChange, StepId } from '../steps/index.js'
import type { App, Execute, Session } from './app.js'
import { approveChanges } from './approval.js'
import { type ApprovalOptions, type SharedOptions, withApproval, withDeployment } from './options.js'
import { withStrategy } from './plan.js'
import { carryOut } from './upgrade.js'

type RollbackOptions = SharedOptions & ApprovalOptions & { readonly reason?: string }

/** What there was to go back from, and what was done. */
interface Rollback {
  readonly from: string
  readonly to: string
  /** Whether an unfinished upgrade was taken back, and nothing had to be deployed. */
  readonly closedWindow: boolean
  readonly secretsChanged: readonly SecretChange[]
  readonly phases: readonly object[]
}

export function rollbackCommand(execute: Execute): Command {
  const command = withStrategy(
    withApproval(
      withDeployment(
        new Command('rollback').description(
          'go back to the deployment before this one, or take back an upgrade that is not finished'
        ),
        'confrouter rollback --reason "answers are cut short"'
      )
    )
  ).addOption(new Option('--reason <text>', 'why, for whoever reads the history of the pin'))
  return command.action(
    execute<RollbackOptions>('rollback', async (app, options) => {
      const session = await app.open('rollback', options, 'write')
      try {
        const reason = await reasonFor(app, options)
        const done = await rollBack(app, session, reason)
        const { endpoint } = session.run.state.get()
        app.terminal.result({
          human: inWords(done, reason, endpoint),
          json: {
            schemaVersion: 1,
            ok: true,
            command: 'rollback',
            cloud: session.run.config.cloud,
            simulated: session.run.simulated,
            ...done,
            reason,
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

async function rollBack(app: App, session: Session, reason: string): Promise<Rollback> {
  const { abandonUpgrade, pendingUpgrade, rollbackTarget, secretsChangedSince } = await import('../steps/index.js')
  const { run } = session
  const pending = await pendingUpgrade(run)
  const { active } = run.state.get()
  if (pending?.state === 'open') {
    const { upgrade } = pending
    // Nothing is sealed: the old group goes on with what it has, and closing a window waits for no provider key.
    const results = await prepare(app, session, ['roles', 'attestation'])
    await abandonUpgrade(run, results, upgrade, reason, (text) => app.terminal.info(text))
    return { from: upgrade.to.hostData, to: upgrade.from.hostData, closedWindow: true, secretsChanged: [], phases: [] }
  }
  const results = await prepare(app, session, ['roles', 'attestation', 'signing-key'])
  const target = pending?.state === 'between' && active !== undefined ? active : rollbackTarget(run)
  const secretsChanged = await secretsChangedSince(run, results, target)
  for (const { provider, change } of secretsChanged) {
    app.terminal.warn(
      `the key of provider ${provider} was ${change} since then: the current one is sealed, not that one`
    )
  }
  const done = await goBackTo(app, session, results, target, reason)
  return { ...done, closedWindow: false, secretsChanged }
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
  target: Generation,
  reason: string
): Promise<Pick<Rollback, 'from' | 'to' | 'phases'>> {
  const { groupForRollback, keyChanges, policyOfGeneration, redirectUpgrade, requireTakesSecrets } =
    await import('../steps/index.js')
  const { run } = session
  const policy = await policyOfGeneration(run, target)
  requireTakesSecrets(run, results, policy)
  results.add('policy', policy, { id: 'policy', action: 'none', seconds: 0 })
  const info = (text: string) => app.terminal.info(text)
  await approveChanges(app, session, await keyChanges(run, results, policy.releasePolicy, info))
  const { active, upgrade: pending } = run.state.get()
  const strategy = pending?.strategy ?? run.config.upgrade.strategy
  const to = { group: groupForRollback(run, target, strategy), hostData: target.hostData }
  const from = {
    group: active?.group ?? run.config.containerGroup.name,
    ...(active?.stem === undefined ? {} : { stem: active.stem }),
    hostData: (pending === undefined ? active : pending.to)?.hostData ?? ''
  }
  if (pending !== undefined && active?.hostData !== pending.to.hostData) {
    await redirectUpgrade(run, { ...pending, from }, to, { direction: 'rollback', reason })
  } else if (pending !== undefined) {
    // Its new group serves: what is left of it is the way back.
    await run.state.update(({ upgrade: _moved, ...state }) => state)
  }
  const wanted = { strategy, from, to, isWidened: true }
  const { upgrade } = await carryOut(app, asItWasTested(session, target), results, wanted, {
    direction: 'rollback',
    reason
  })
  return { from: upgrade.from, to: upgrade.to, phases: upgrade.phases }
}

/** It is verified with the model of its own time: the one that is configured now may be what is wrong. */
function asItWasTested(session: Session, { smokeModel }: Generation): Session {
  const { run } = session
  return { ...session, run: { ...run, config: { ...run.config, smoke: { model: smokeModel } } } }
}

function inWords({ from, to, closedWindow, secretsChanged }: Rollback, reason: string, endpoint?: string): string {
  return [
    closedWindow
      ? `took back the unfinished upgrade to ${from}: the key is released to ${to} only`
      : `went back from ${from} to ${to}`,
    `reason: ${reason}`,
    ...(endpoint === undefined ? [] : [`endpoint: ${endpoint}`]),
    secretsChanged.length === 0
      ? 'secrets: the same keys as then'
      : `secrets that differ from then, and are not taken back: ${secretsChanged.map(({ provider, change }) => `${provider} (${change})`).join(', ')}`,
    'the configuration and the source here are not changed: the next `confrouter up` goes forward again'
  ].join('\n')
}
