import type { JsonWebKey } from 'node:crypto'
import type { EvidenceDocument } from './evidence.js'
import { readReleasedKey, type RouterKeys } from './released-key.js'
import type { Difficulty, RouterState, Stage } from './router-state.js'

/**
 * The state as JSON, for the workers of the same router. It holds the private key and the providers' keys:
 * it goes over the channel between the processes and nowhere else.
 */
export interface StateSnapshot {
  readonly stage: Stage
  readonly difficulty?: Difficulty | undefined
  /** The key as a private JWK. */
  readonly active?: { readonly key: JsonWebKey; readonly evidence: EvidenceDocument } | undefined
  readonly providerKeys: readonly (readonly [name: string, key: string])[]
}

export function takeSnapshot({ stage, difficulty, active, providerKeys }: RouterState): StateSnapshot {
  return {
    stage,
    difficulty,
    active: active && { key: active.keys.privateKey.export({ format: 'jwk' }), evidence: active.evidence },
    providerKeys: [...providerKeys]
  }
}

/** Makes `state` what the snapshot says, all at once. To be called in the order in which the snapshots were taken. */
export async function applySnapshot(state: RouterState, snapshot: StateSnapshot): Promise<void> {
  const { active } = snapshot
  const next = active && { keys: await keysOf(state, active.key), evidence: active.evidence }
  state.active = next
  state.difficulty = snapshot.difficulty
  state.providerKeys = new Map(snapshot.providerKeys)
  // A process that stops does not start again.
  if (state.stage !== 'stopping') state.stage = snapshot.stage
}

/** Calls that run hold the keys in use, and nearly all snapshots bring the same ones. */
async function keysOf({ active }: RouterState, key: JsonWebKey): Promise<RouterKeys> {
  return active !== undefined && active.keys.publicJwk.n === key.n ? active.keys : readReleasedKey(key)
}
