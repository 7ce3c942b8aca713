import type { Logger } from 'pino'
import type { CallMetrics } from './call-metrics.js'
import type { Egress } from './egress.js'
import type { EvidenceSource } from './evidence.js'
import type { Guards } from './guards.js'
import type { RouterState } from './router-state.js'
import type { Settings } from './settings.js'

/** What the handlers of calls work with; made once by the composition root. */
export interface RouterContext extends Guards {
  readonly settings: Settings
  readonly state: RouterState
  readonly evidence: EvidenceSource
  readonly egress: Egress
  readonly log: Logger
  /** What is counted of the calls of this process. */
  readonly metrics: CallMetrics
  /** The text of `GET /metrics`, of the whole router. */
  readonly renderMetrics: () => Promise<string>
}
