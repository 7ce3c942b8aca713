import type { CcePolicy } from '../policy/index.js'
import type { Note, Run, RunResults, StepId } from '../steps/index.js'
import type { App, Session } from './app.js'
import type { SharedOptions } from './options.js'

/**
 * Opens the deployment for a look, reads what a policy is made from, and hands it on. Of Azure only names and addresses
 * are asked for; nothing is created, changed or written.
 */
export async function withGenerated<T>(
  app: App,
  options: SharedOptions,
  use: (run: Run, results: RunResults, note: Note) => Promise<T>
): Promise<T> {
  return withSession(app, options, async (session) => {
    const { runSteps, withNeeds } = await import('../steps/index.js')
    const steps = withNeeds(['policy']).filter(({ id }) => id !== 'policy')
    const progress = app.terminal.progress('confrouter policy', steps)
    const asTheyAre = new Set<StepId>(['resource-group', 'attestation', 'vault', 'identity'])
    try {
      const results = await runSteps(session.run, steps, {
        progress,
        observeOnly: new Set<StepId>(['image']),
        asTheyAre
      })
      return await use(session.run, results, (text) => app.terminal.debug(text))
    } finally {
      progress.close()
    }
  })
}

/** The policy of this source, made in memory. */
export function generatedPolicy(app: App, options: SharedOptions): Promise<CcePolicy> {
  return withGenerated(app, options, policyOf)
}

/** As `generatedPolicy`, where the deployment is open. */
export async function policyOf(run: Run, results: RunResults, note: Note): Promise<CcePolicy> {
  const { parseCcePolicy } = await import('../policy/index.js')
  const { derivePolicy } = await import('../steps/write-policy.js')
  return parseCcePolicy((await derivePolicy(run, results, note)).texts.policy)
}

/** Opens the deployment for a look, and closes it whatever happens. */
export async function withSession<T>(
  app: App,
  options: SharedOptions,
  use: (session: Session) => Promise<T>
): Promise<T> {
  const session = await app.open('policy', options, 'read')
  try {
    return await use(session)
  } finally {
    await session.close()
  }
}
