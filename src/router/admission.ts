import { identifyCaller, readCredential } from './access.js'
import type { Call } from './call.js'
import { Problem, retryLater } from './problem.js'
import { openSealedCredential } from './sealed-credential.js'

/** The first steps of a pipeline: what is decided before anything of a body is read. */

export async function admit(call: Call): Promise<void> {
  const { state, addressRate } = call.context
  if (state.stage === 'stopping') throw retryLater('stopping', 'the router is stopping', 1)
  if (state.active === undefined) {
    throw retryLater(
      'not_ready',
      `the router is not ready yet (stage "${state.stage}"); see /readyz`,
      state.difficulty?.nextAttemptInSeconds ?? 1
    )
  }
  const waitSeconds = await addressRate.take(call.address)
  if (waitSeconds > 0) throw retryLater('rate_limited', 'too many requests of this address in this minute', waitSeconds)
}

export async function authorize(call: Call): Promise<void> {
  const { access } = call.context.settings
  const credential = await openSealedCredential(call, readCredential(call.headers))
  call.caller = identifyCaller(credential, call.request.socket.remoteAddress, access)
}

export function takeSlot(call: Call): void {
  const leave = call.context.calls.enter(call.caller?.identity ?? call.address)
  if (leave === undefined)
    throw retryLater('overloaded', 'the router has as many calls as it takes, of all callers or of this one', 1)
  call.onClose(leave)
}

/** After this, whatever the caller sends in the open has been turned away where that is not allowed. */
export function refusePlain(call: Call): void {
  if (call.context.settings.encryption === 'required' && call.record.sealed === undefined) {
    throw new Problem(
      'encryption_required',
      'this router takes sealed requests only; its keys are at /.well-known/hpke-keys and /v1/crypto/jwk, to be trusted after its evidence is verified'
    )
  }
}
