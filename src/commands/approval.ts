import { UserError } from '../base/user-error.js'
import { type Plan, planHash } from '../plan/plan.js'
import { renderPlan } from '../plan/render-plan.js'
import type { RunResults, SoftDeleted, Step, TrustChange } from '../steps/index.js'
import type { App, Session } from './app.js'
import type { SharedOptions } from './options.js'
import { readPlan, requireSamePlan, titlesOf, wantedHostData } from './plan.js'
import { goingForward } from './upgrade.js'

/** What was approved, by its hash: the acts that follow are these and no others. */
export interface Approval {
  readonly planSha256: string
}

/**
 * Asks what becomes of a deleted vault or key that owns the name which is wanted. `--soft-deleted` answers; `--yes`
 * answers with what loses nothing, which the plan then shows.
 */
async function chooseSoftDeleted(app: App, session: Session, options: Pick<SharedOptions, 'yes'>): Promise<void> {
  if (session.softDeleted !== undefined || options.yes === true) return
  const { describeSoftDeleted, softDeletedNames } = await import('../steps/index.js')
  for (const found of await softDeletedNames(session.run)) {
    const answers = [...(found.ours ? ['recover'] : []), ...(found.purgeable ? ['purge'] : []), 'name']
    const answer = await app.terminal.askText({
      question: [
        describeSoftDeleted(found),
        ...(found.ours ? ['  recover  bring it back with what is in it'] : []),
        ...(found.purgeable ? ['  purge    delete it and what is in it for good, which cannot be undone'] : []),
        '  name     leave it and use another name',
        `Type ${answers.join(', ').replace(/, ([^,]*)$/, ' or $1')}:`
      ].join('\n'),
      flag: '--soft-deleted recover'
    })
    if (!answers.includes(answer) || answer === 'name') throw otherName(found, answer)
    session.softDeleted = answer === 'purge' ? 'purge' : 'recover'
  }
}

function otherName({ kind, name, setting, variable }: SoftDeleted, answer: string): UserError {
  const said = answer === 'name' ? `${kind} "${name}" is left as it is` : `"${answer}" is none of the answers`
  return new UserError('user', 'user.declined', `${said}; nothing was changed`, {
    next: [`set ${setting} to another name in confrouter.yaml`, `${variable}=OTHER_NAME confrouter up`]
  })
}

/**
 * Shows what would be done and asks once. Nothing is asked if nothing would change, and nothing on loopback.
 * With a plan from a file, what would be done now has to be what that plan says, on every cloud. An answer
 * holds for the plan that was shown: what moved while somebody was thinking stops the run.
 */
export async function approvePlan(
  app: App,
  session: Session,
  options: Pick<SharedOptions, 'yes'> & { readonly plan?: string },
  steps: readonly Step[]
): Promise<Approval | undefined> {
  const approved = options.plan === undefined ? undefined : await readPlan(options.plan)
  if (approved === undefined && !session.asks) return undefined
  if (session.asks && steps.some(({ id }) => id === 'vault')) await chooseSoftDeleted(app, session, options)
  const { makePlan } = await import('../steps/index.js')
  const plan = await makePlan(session.run, steps)
  const approval = { planSha256: planHash(plan) }
  if (approved !== undefined) {
    requireSamePlan(approved, plan, `confrouter plan --out ${options.plan}`)
    app.terminal.info(`what would be done is the plan of ${options.plan}, sha256:${approval.planSha256}`)
    return approval
  }
  if (plan.changes.length === 0) return approval
  const details = [...(await goingForward(session, wantedHostData(plan))), renderPlan(plan, titlesOf(steps))].join('\n')
  if (options.yes === true) {
    app.terminal.info(details)
    return approval
  }
  // Shown with the question, so that `--quiet` cannot hide what is being approved.
  if (!(await app.terminal.confirm({ question: 'Make these changes?', details, flag: '--yes' }))) {
    throw new UserError('user', 'user.declined', 'declined: nothing was changed')
  }
  await requireUnmoved(session, steps, plan)
  return approval
}

async function requireUnmoved(session: Session, steps: readonly Step[], approved: Plan): Promise<void> {
  const { makePlan } = await import('../steps/index.js')
  requireSamePlan(approved, await makePlan(session.run, steps), 'run the same command again')
}

/**
 * A change of who can obtain the key is shown with old and new value and approved apart: neither `--yes` nor a
 * plan covers it. The first deployment of a name changes no trust.
 */
export async function approveTrust(
  app: App,
  session: Session,
  results: RunResults,
  approval?: Approval
): Promise<void> {
  if (!session.asks) return
  const { trustChanges } = await import('../steps/index.js')
  const changes = await trustChanges(session.run, results, (text) => app.terminal.info(text))
  await approveChanges(app, session, changes, approval)
}

/** The same for changes that are known already. */
export async function approveChanges(
  app: App,
  session: Session,
  changes: readonly TrustChange[],
  approval?: Approval
): Promise<void> {
  const open = changes.filter((change) => !session.isAccepted(change))
  if (!session.asks || open.length === 0) return
  const approved = await app.terminal.confirm({
    question: 'From now on the key is released by the new values only. Approve?',
    details: [
      '',
      '  trust changes',
      ...changes.map(({ what, from, to }) => `    ${what}\n      ${from}\n   →  ${to}`),
      ...(approval === undefined ? [] : [`    of plan sha256:${approval.planSha256}`]),
      ''
    ].join('\n'),
    flag: open.map(flagFor).join(' ')
  })
  if (!approved) {
    throw new UserError('user', 'user.declined', 'declined: the key was not changed; what was made before stays')
  }
  open.forEach((change) => session.accept(change))
}

/** The flag that approves a change in a pipeline, with the value it approves. */
export function flagFor({ what, to }: TrustChange): string {
  return what === 'attestation authority'
    ? `--accept-authority ${to}`
    : `--accept-host-data ${what === 'host data' ? to : 'HEX'}`
}
