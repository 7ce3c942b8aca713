import { UserError } from '../base/user-error.js'
import type { PropertyChange } from '../plan/properties.js'
import { RunResults } from './graph.js'
import type { Action, Run, Step, StepId } from './run.js'

/** What one step would do. `unknown` waits for a step before it, or could not be looked at. */
export interface Survey {
  readonly id: StepId
  readonly title: string
  readonly action: Action | 'unknown'
  readonly reason: string
  readonly properties: readonly PropertyChange[]
}

/**
 * Looks at every step and changes nothing: what `up` would do, as far as it can be known before the
 * first change, and what `status` shows. A step whose result is known before it is done stands for it, so
 * that those after it are looked at too. One that cannot be looked at does not hide the others.
 */
export async function surveySteps(
  run: Run,
  steps: readonly Step[]
): Promise<{ list: readonly Survey[]; results: RunResults }> {
  const results = new RunResults()
  const looks = new Map<StepId, Promise<Survey>>()
  for (const step of steps) looks.set(step.id, look(step))
  return { list: await Promise.all(looks.values()), results }

  async function look(step: Step): Promise<Survey> {
    const about = { id: step.id, title: step.title, properties: [] }
    for (const id of step.needs) await looks.get(id)
    const missing = step.needs.filter((id) => !results.has(id))
    if (missing.length > 0) return { ...about, action: 'unknown', reason: `known after ${missing.join(', ')}` }
    try {
      const finding = await step.observe(run, results, () => undefined)
      if (finding.action === 'none') {
        results.add(step.id, finding.output, { id: step.id, action: 'none', seconds: 0 })
        return { ...about, action: 'none', reason: finding.did ?? finding.says ?? 'unchanged' }
      }
      if (finding.planned !== undefined) {
        results.add(step.id, finding.planned, { id: step.id, action: finding.action, seconds: 0 })
      }
      return { ...about, action: finding.action, reason: finding.reason, properties: finding.properties ?? [] }
    } catch (error) {
      if (!(error instanceof UserError) || error.fault === 'interrupted') throw error
      return { ...about, action: 'unknown', reason: error.problem }
    }
  }
}
