import { admit, authorize, refusePlain, takeSlot } from './admission.js'
import { CallerGoneError } from './body.js'
import type { Call } from './call.js'
import { chooseKeys } from './credentials.js'
import { listModels } from './models.js'
import { openEnvelopeBody, openNothing, openStream, readModelBody } from './opening.js'
import { passOn } from './pass-on.js'
import { targetByDefault, targetByModel, targetByModelInPath, targetByOwnModelInPath, targetByPath } from './targets.js'

/** A step answers by throwing a `Problem`, or leaves in the call what the later ones need. */
export type Step = (call: Call) => void | Promise<void>

/**
 * What happens to a call of the provider API, in this order:
 *
 * 1. `admit`: the router is ready and not stopping, and the address within its rate; nothing has
 *    been read.
 * 2. `authorize`: who calls, from the headers. Before the body, so that nobody without a credential
 *    makes the router read or open anything.
 * 3. `takeSlot`: there is room for one more call, of all callers and of this one.
 * 4. `readModelBody`: within its limits, and opened if its frames are sealed; from here on, answers
 *    and errors are sealed as well.
 * 5. `openEnvelopeBody`: the same for the other form of sealing.
 * 6. `refusePlain`: where the configuration demands sealing.
 * 7. `targetByModel`: the provider and the body as the provider wants it, and where else to go.
 * 8. `chooseKeys`: the caller's own key or the router's, the latter within the rate limit. Late,
 *    because a call that would be refused anyway should not count.
 * 9. `passOn`: the provider's answer as it comes.
 */
export const modelPipeline: readonly Step[] = [
  admit,
  authorize,
  takeSlot,
  readModelBody,
  openEnvelopeBody,
  refusePlain,
  targetByModel,
  chooseKeys,
  passOn
]

/** The path says where it goes, and the body is passed through unread. */
const passingThrough = (target: Step): readonly Step[] => [
  admit,
  authorize,
  takeSlot,
  refusePlain,
  target,
  openStream,
  chooseKeys,
  passOn
]

/** `/providers/{name}/*` */
export const providerPipeline = passingThrough(targetByPath)

/** `/v1/files` and whatever else an account holds. */
export const accountPipeline = passingThrough(targetByDefault)

/** `/v1/models/{model}` */
export const modelInfoPipeline: readonly Step[] = [
  admit,
  authorize,
  takeSlot,
  refusePlain,
  openNothing,
  targetByModelInPath,
  chooseKeys,
  passOn
]

/** `/v1/models/{model}` with DELETE */
export const ownModelPipeline = passingThrough(targetByOwnModelInPath)

/** `/v1/models` */
export const modelListPipeline: readonly Step[] = [admit, authorize, takeSlot, refusePlain, openNothing, listModels]

/** Runs the steps in order. Without `await` where a step is synchronous: most are, on the hot path. */
export async function runPipeline(call: Call, steps: readonly Step[]): Promise<void> {
  for (const step of steps) {
    const pending = step(call)
    if (pending === undefined) continue
    await pending
    // A body that nobody sends any more would be waited for.
    if (call.gone) throw new CallerGoneError()
  }
}
