import { type ChainLink, digestChain } from './digest-chain.js'
import type { Run, Step } from './run.js'
import { type Survey, surveySteps } from './survey.js'
import { observeTrust } from './trust-chain.js'
import { coldStartAnswer, type TrustAnswer, windowAnswer } from './trust-question.js'

/** Everything that `status` shows. */
export interface Look {
  readonly list: readonly Survey[]
  readonly chain: readonly ChainLink[]
  readonly trust: readonly TrustAnswer[]
}

/** Compares what was recorded and what is wanted with what is there. Changes nothing. */
export async function lookAt(run: Run, steps: readonly Step[], wanted: { readonly trust: boolean }): Promise<Look> {
  const { list, results } = await surveySteps(
    run,
    // The smoke test calls a provider: that is `smoke`, not a look.
    steps.filter(({ id }) => id !== 'smoke')
  )
  const observed = await observeTrust(run, results)
  const [chain, coldStart] = await Promise.all([
    digestChain(run, observed),
    wanted.trust ? coldStartAnswer(run, results, observed) : undefined
  ])
  const trust = coldStart === undefined ? [] : [coldStart, windowAnswer(run, observed)]
  return { list, chain, trust }
}
