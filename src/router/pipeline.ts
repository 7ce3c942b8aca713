import type { Call } from './call.js'
import {
  admit,
  authorize,
  chooseKey,
  openSealedBody,
  passOn,
  readJsonBody,
  refuseLongBody,
  refusePlain,
  takeSlot,
  targetByModel,
  targetByPath
} from './steps.js'

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
 * 4. `readJsonBody`: within its limit.
 * 5. `openSealedBody`: from here on, answers and errors are sealed as well.
 * 6. `refusePlain`: where the configuration demands sealing.
 * 7. `targetByModel`: the provider, and the body as the provider wants it.
 * 8. `chooseKey`: the caller's own key or the router's, the latter within the rate limit. Late,
 *    because a call that would be refused anyway should not count.
 * 9. `passOn`: the provider's answer as it comes.
 */
export const modelPipeline: readonly Step[] = [
  admit,
  authorize,
  takeSlot,
  readJsonBody,
  openSealedBody,
  refusePlain,
  targetByModel,
  chooseKey,
  passOn
]

/** `/providers/{name}/*`: the path names the provider, and the body is passed through unread. */
export const providerPipeline: readonly Step[] = [
  admit,
  authorize,
  takeSlot,
  refusePlain,
  targetByPath,
  refuseLongBody,
  chooseKey,
  passOn
]

/** Runs the steps in order. Without `await` where a step is synchronous: most are, on the hot path. */
export async function runPipeline(call: Call, steps: readonly Step[]): Promise<void> {
  for (const step of steps) {
    const pending = step(call)
    if (pending !== undefined) await pending
  }
}
