import { UserError } from '../base/user-error.js'
import type { RunResults, SoftDeleted, Step, TrustChange } from '../steps/index.js'
import type { App, Session } from './app.js'
import type { SharedOptions } from './options.js'

const signs = { create: '+', update: '~', replace: '±', none: '=', unknown: '?' } as const

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

/** Shows what would be done and asks once. Nothing is asked if nothing would change. */
export async function approvePlan(
  app: App,
  session: Session,
  options: Pick<SharedOptions, 'yes'>,
  steps: readonly Step[]
): Promise<void> {
  if (!session.asks) return
  if (steps.some(({ id }) => id === 'vault')) await chooseSoftDeleted(app, session, options)
  const { surveySteps } = await import('../steps/index.js')
  const { list } = await surveySteps(
    session.run,
    steps.filter(({ id }) => id !== 'smoke')
  )
  if (list.every(({ action }) => action === 'none')) return
  const { config, azure } = session.run
  const plan = [
    `confrouter plan · ${config.name} · ${config.cloud} · subscription ${azure.subscriptionId} · ${config.location}`,
    '',
    ...list.map(({ action, title, reason }) => `  ${signs[action]} ${title.padEnd(22)} ${reason}`),
    ''
  ].join('\n')
  if (options.yes === true) {
    app.terminal.info(plan)
    return
  }
  // Shown with the question, so that `--quiet` cannot hide what is being approved.
  if (await app.terminal.confirm({ question: 'Make these changes?', details: plan, flag: '--yes' })) return
  throw new UserError('user', 'user.declined', 'declined: nothing was changed')
}

/**
 * A change of who can obtain the key is shown with old and new value and approved apart: `--yes` does
 * not cover it. The first deployment of a name changes no trust.
 */
export async function approveTrust(app: App, session: Session, results: RunResults): Promise<void> {
  if (!session.asks) return
  const { trustChanges } = await import('../steps/index.js')
  const changes = await trustChanges(session.run, results, (text) => app.terminal.info(text))
  await approveChanges(app, session, changes)
}

async function approveChanges(app: App, session: Session, changes: readonly TrustChange[]): Promise<void> {
  const open = changes.filter((change) => !session.isAccepted(change))
  if (open.length === 0) return
  const approved = await app.terminal.confirm({
    question: 'From now on the key is released by the new values only. Approve?',
    details: [
      '',
      '  trust changes',
      ...changes.map(({ what, from, to }) => `    ${what}\n      ${from}\n   →  ${to}`),
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
