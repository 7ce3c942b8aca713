import { UserError } from '../base/user-error.js'
import type { RunResults, Step } from '../steps/index.js'
import type { App, Session } from './app.js'
import type { SharedOptions } from './options.js'

const signs = { create: '+', update: '~', replace: '±', none: '=', unknown: '?' } as const

/** Shows what would be done and asks once. Nothing is asked if nothing would change. */
export async function approvePlan(
  app: App,
  session: Session,
  options: SharedOptions,
  steps: readonly Step[]
): Promise<void> {
  if (!session.asks) return
  const { surveySteps } = await import('../steps/index.js')
  const { list } = await surveySteps(session.run, steps)
  const planned = list.filter(({ id }) => id !== 'smoke')
  if (planned.every(({ action }) => action === 'none')) return
  const { config } = session.run
  app.terminal.info(
    `confrouter plan · ${config.name} · ${config.cloud} · subscription ${session.run.azure.subscriptionId} · ${config.location}\n`
  )
  for (const { action, title, reason } of planned) app.terminal.info(`  ${signs[action]} ${title.padEnd(22)} ${reason}`)
  app.terminal.info('')
  if (options.yes === true) return
  const answer = await app.terminal.confirm({ question: 'Make these changes?', flag: '--yes' })
  if (!answer) throw declined()
}

/**
 * A change of what the key is released to is shown with old and new value and approved apart: `--yes`
 * does not cover it. The first deployment of a name changes no trust.
 */
export async function approveTrust(app: App, session: Session, results: RunResults): Promise<void> {
  if (!session.asks) return
  const { hostData } = results.get('policy')
  const { currentKeyPins } = await import('../steps/index.js')
  const pins = await currentKeyPins(session.run, results, (text) => app.terminal.info(text))
  if (pins === undefined || pins.includes(hostData)) return
  app.terminal.info('\n  trust changes')
  app.terminal.info(`    host data        ${pins.join(', ') || '(none)'}`)
  app.terminal.info(`                  →  ${hostData}\n`)
  const answer = await app.terminal.confirm({
    question: 'From now on the key is released to the new host data and no longer to the old. Approve?',
    flag: `--accept-host-data ${hostData}`
  })
  if (!answer) throw declined()
  session.acceptHostData(hostData)
}

export function declined(): UserError {
  return new UserError('user', 'user.declined', 'declined: nothing was changed')
}
