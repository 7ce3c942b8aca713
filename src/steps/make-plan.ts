import type { Plan } from '../plan/plan.js'
import { findUpgrade } from './find-upgrade.js'
import type { Run, Step } from './run.js'
import { surveySteps } from './survey.js'
import { observeTrust, trustDeltas } from './trust-chain.js'

/**
 * What `up` would do and what would be trusted afterwards, as far as both are known before the first change.
 * Changes nothing. The same cloud and the same configuration give the same plan, byte for byte.
 */
export async function makePlan(run: Run, steps: readonly Step[]): Promise<Plan> {
  const { config, azure } = run
  // The smoke test calls the router and a provider: it changes nothing and is no part of a plan.
  const { list, results } = await surveySteps(
    run,
    steps.filter(({ id }) => id !== 'smoke')
  )
  const observed = await observeTrust(run, results)
  const upgrade = findUpgrade(run, results, observed)
  return {
    version: 1,
    deployment: {
      name: config.name,
      cloud: config.cloud,
      subscription: azure.subscriptionId,
      resourceGroup: config.resourceGroup,
      location: config.location
    },
    strategy: upgrade?.strategy ?? null,
    changes: list.flatMap(({ id, action, reason, properties }) =>
      action === 'none' ? [] : [{ resource: id, action, reason, properties }]
    ),
    unchanged: list.flatMap(({ id, action }) => (action === 'none' ? [id] : [])),
    trustChanges: trustDeltas(observed, { list, results, isWidened: upgrade?.isWidened === true })
  }
}
