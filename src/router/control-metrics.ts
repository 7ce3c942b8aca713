import { counter, gauge, type Lines, type MetricFamily, Tally } from './metric-family.js'
import type { RouterState } from './router-state.js'

/** What is counted of the router's own work: once for a router, however many processes serve. */
export class ControlMetrics {
  readonly #releases = new Tally(['ok'])
  readonly #collections = new Tally(['ok'])
  #releasedAtMs: number | undefined
  #collectedAtMs: number | undefined

  /** `steadyMs` never goes back, so that ages do not jump with the clock of the machine. */
  constructor(private readonly steadyMs: () => number) {}

  keyReleased(): void {
    this.#releases.add('ok')
    this.#releasedAtMs = this.steadyMs()
  }

  keyRefused(code: string): void {
    this.#releases.add(code)
  }

  evidenceCollected(): void {
    this.#collections.add('ok')
    this.#collectedAtMs = this.steadyMs()
  }

  evidenceFailed(code: string): void {
    this.#collections.add(code)
  }

  report({ stage }: Pick<RouterState, 'stage'>, secretsVersion: number | undefined): MetricFamily[] {
    return [
      gauge('confrouter_ready', '1 if the router is ready, else 0.', [[{}, stage === 'ready' ? 1 : 0]]),
      counter('confrouter_key_releases_total', 'Attempts to release the key.', this.#releases.lines('code')),
      gauge(
        'confrouter_key_age_seconds',
        'Since the key was released, also if it was the same one again.',
        this.#age(this.#releasedAtMs)
      ),
      counter(
        'confrouter_evidence_total',
        'Attempts to make evidence without a nonce.',
        this.#collections.lines('code')
      ),
      gauge(
        'confrouter_evidence_age_seconds',
        'Since the evidence without a nonce was made.',
        this.#age(this.#collectedAtMs)
      ),
      gauge(
        'confrouter_secrets_version',
        'Version of the sealed secrets in use.',
        secretsVersion === undefined ? [] : [[{}, secretsVersion]]
      )
    ]
  }

  #age(atMs: number | undefined): Lines {
    return atMs === undefined ? [] : [[{}, (this.steadyMs() - atMs) / 1000]]
  }
}
