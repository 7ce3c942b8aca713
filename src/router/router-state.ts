import type { EvidenceDocument } from './evidence.js'
import type { RouterKeys } from './released-key.js'

/** In the order in which they are reached; `stopping` follows a SIGTERM. */
export type Stage = 'starting' | 'sidecar' | 'key' | 'secrets' | 'evidence' | 'ready' | 'stopping'

/** What keeps the present stage from being passed. */
export interface Difficulty {
  readonly code: string
  readonly cause: string
  /** Somebody has to mend a policy, a role or a setting; the router only looks again now and then. */
  readonly final: boolean
  readonly attempts: number
  readonly nextAttemptInSeconds: number
}

/** What the start-up has reached. Written by start-up and refresh alone. */
export interface RouterState {
  stage: Stage
  difficulty: Difficulty | undefined
  /** The key in use; it is replaced as a whole together with the evidence for it. */
  active: { readonly keys: RouterKeys; readonly evidence: EvidenceDocument } | undefined
  /** Provider name to the router's own key for it. */
  providerKeys: ReadonlyMap<string, string>
}

export const createState = (): RouterState => ({
  stage: 'starting',
  difficulty: undefined,
  active: undefined,
  providerKeys: new Map()
})

/**
 * The same state; `changed` is called after everything that is written to it. Not for a process that
 * serves, where it is read in every call.
 */
export const observeState = (state: RouterState, changed: () => void): RouterState =>
  new Proxy(state, {
    set(target, name, value) {
      const isSet = Reflect.set(target, name, value)
      changed()
      return isSet
    }
  })
