import type { Call, Target } from './call.js'
import { isFromPage } from './cross-origin.js'
import { Problem, retryLater } from './problem.js'

export interface TargetKey {
  /** What to send to the provider; `undefined` if it wants none. */
  readonly key: string | undefined
  /** Whether it is the router's and not the caller's own. */
  readonly isRouters: boolean
}

/** A target with the key for it. */
export interface Destination extends Target, TargetKey {}

/**
 * Chooses the key for each place where the call may go: the caller's own first, else the router's,
 * within the rate limit. A fallback for which there is no key is left out; without one for the
 * first place the call is refused. Throws a `Problem`.
 */
export async function chooseKeys(call: Call): Promise<void> {
  const [first, ...others] = call.targets
  if (first === undefined) throw new Error('the pipeline has not chosen a provider')
  const destinations: Destination[] = [{ ...first, ...keyFor(call, first) }]
  for (const target of others) {
    // The caller's own key is of the provider that the caller named, and is shown to no other.
    if (call.caller?.ownKey !== undefined && target.provider !== first.provider) continue
    try {
      destinations.push({ ...target, ...keyFor(call, target) })
    } catch (error) {
      // That place is not open to this caller, which is no failure of the call.
      if (!(error instanceof Problem)) throw error
    }
  }
  if (call.caller !== undefined && destinations.some(({ isRouters }) => isRouters)) {
    const waitSeconds = await call.context.callRate.take(call.caller.identity)
    if (waitSeconds > 0) throw retryLater('rate_limited', 'too many requests in this minute', waitSeconds)
  }
  call.destinations = destinations
}

export function keyFor(call: Call, { provider, wholeApi }: Pick<Target, 'provider' | 'wholeApi'>): TargetKey {
  const { caller, context } = call
  if (caller === undefined) return { key: undefined, isRouters: false }
  const { ownKey } = caller
  if (provider.auth === 'none') {
    // A server of a private network must not answer to any page that somebody of it has open.
    if (provider.allowPrivate && ownKey === undefined && context.settings.access.mode === 'open')
      refusePages(call, provider)
    return { key: undefined, isRouters: false }
  }
  if (ownKey !== undefined) {
    if (ownKey.provider !== undefined && ownKey.provider !== provider.name) {
      throw new Problem(
        'key_of_another_provider',
        `the sealed key is for "${ownKey.provider}" alone, and this call goes to "${provider.name}"`
      )
    }
    return { key: ownKey.text, isRouters: false }
  }
  const key = context.state.providerKeys.get(provider.name)
  if (key === undefined) {
    throw new Problem(
      'missing_api_key',
      `this router has no key for "${provider.name}"; send your own as "Authorization: Bearer …"`
    )
  }
  if (context.settings.access.mode === 'open') refuseToPay(call, provider, wholeApi)
  return { key, isRouters: true }
}

/** What the router's own keys are not for, where anybody may use them. */
function refuseToPay(call: Call, { name, accountAccess }: Target['provider'], wholeApi: boolean): void {
  if (wholeApi && !accountAccess) {
    throw new Problem(
      'own_key_required',
      `without a key of your own only calls of models are open to you, not the account behind "${name}"; send your key as "Authorization: Bearer …"`
    )
  }
  refusePages(call, { name })
}

function refusePages(call: Call, { name }: Pick<Target['provider'], 'name'>): void {
  if (isFromPage(call)) {
    throw new Problem(
      'own_key_required',
      `pages in a browser may not use what this router has for "${name}"; send a key of your own as "Authorization: Bearer …"`
    )
  }
}
