import type { Logger } from 'pino'
import type { Egress } from './egress.js'
import type { EvidenceSource } from './evidence.js'
import type { Gate } from './gate.js'
import type { RateLimiter } from './rate-limiter.js'
import type { RouterState } from './router-state.js'
import type { Settings } from './settings.js'

/** What the handlers of calls work with; made once by the composition root. */
export interface RouterContext {
  readonly settings: Settings
  readonly state: RouterState
  readonly evidence: EvidenceSource
  readonly egress: Egress
  readonly log: Logger
  /** Calls that use the router's provider keys. */
  readonly callRate: RateLimiter
  /** Attestations with a nonce: each costs a report and a call to the attestation service. */
  readonly evidenceRate: RateLimiter
  readonly calls: Gate
  readonly attestations: Gate
}
