import type { ReplayVerdict } from '../seal/node/replay-guard.js'
import type { MetricsReport } from './process-metrics.js'
import type { TlsIdentity } from './self-signed.js'
import type { Ports } from './serving.js'
import type { Environment } from './settings.js'
import type { StateSnapshot } from './state-snapshot.js'

/**
 * What the processes of one router tell each other, as JSON over the channel that Node makes between
 * them. They are the same program, so nothing of it is checked.
 */
export type ToWorker =
  | Begin
  | { readonly kind: 'state'; readonly state: StateSnapshot }
  | Answers
  | { readonly kind: 'get-report'; readonly id: number }
  | { readonly kind: 'metrics'; readonly id: number; readonly text: string }
  /** The worker lets its calls finish and exits: with 0, or with `uncleanExit` if it had to break one off. */
  | { readonly kind: 'stop' }

export type FromWorker =
  | { readonly kind: 'listening'; readonly ports: Ports }
  | Asks
  | { readonly kind: 'report'; readonly id: number; readonly report: MetricsReport }
  | { readonly kind: 'get-metrics'; readonly id: number }

/** The first message to a worker. What is in it is in no argument and in no environment of a worker. */
export interface Begin {
  readonly kind: 'begin'
  /** The router's variables, without those that the primary alone needs. */
  readonly environment: Environment
  readonly tls?: TlsIdentity | undefined
  readonly state: StateSnapshot
}

/** Questions of one tick; each is answered at its place. */
export interface Asks {
  readonly kind: 'asks'
  readonly batch: number
  readonly asks: readonly Ask[]
}

export interface Answers {
  readonly kind: 'answers'
  readonly batch: number
  readonly answers: readonly Answer[]
}

export type Ask =
  | { readonly rate: 'addressRate' | 'callRate' | 'evidenceRate'; readonly caller: string }
  /** The encapsulated key is in base64. */
  | { readonly encapsulatedKey: string; readonly timeMs: number }

/** Seconds to wait, or whether the request was sent before. */
export type Answer = number | ReplayVerdict

export const uncleanExit = 4
