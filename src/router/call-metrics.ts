import type { Call, CallRecord } from './call.js'
import type { RouterContext } from './context.js'
import type { Rate, SharedGuards } from './guards.js'
import { counter, Distribution, gauge, histogram, type Labels, type MetricFamily, Tally } from './metric-family.js'
import { knownMethod } from './request-log.js'

/** Seconds. Calls of models take from a fraction of one to minutes. */
const durationBounds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300]

/** Outcomes that say that something sealed could not be opened. */
const sealFailures: readonly CallRecord['outcome'][] = [
  'bad_encrypted_payload',
  'bad_sealed_request',
  'bad_sealed_key',
  'invalid_envelope',
  'invalid_response_key',
  'stale_key'
]

const replayRefusals: readonly CallRecord['outcome'][] = ['request_expired', 'request_replayed']

/** Calls that have everything in common that is counted apart. */
interface Series {
  readonly labels: Labels
  readonly outcome: CallRecord['outcome']
  readonly route: RouteTotals
  readonly provider: ProviderTotals | undefined
  readonly upstreamStatus: number | undefined
  calls: number
}

interface RouteTotals {
  readonly seconds: Distribution
  bytesIn: number
  bytesOut: number
}

interface ProviderTotals {
  readonly firstByteSeconds: Distribution
  retries: number
  fallbacks: number
}

/**
 * Counts calls. Every label has few values, all of them ours: patterns of routes, configured names,
 * codes. Here and not in prom-client, whose counters cost a microsecond each: one look-up finds all that
 * a call adds to, and whatever can be derived from the counts is derived when somebody asks.
 */
export class CallMetrics {
  readonly #series = new Map<string, Series>()
  readonly #routes = new Map<string, RouteTotals>()
  readonly #providers = new Map<string, ProviderTotals>()
  readonly #refusals = new Tally(['address', 'key', 'evidence'])

  /** Counts a call that is over. */
  add(call: Call): void {
    const { record, response, reply } = call
    const { route, provider, sealed, upstreamStatus, firstByteMs, attempts, outcome } = record
    const status = response.headersSent ? response.statusCode : 0
    const method = knownMethod(call.method)
    const id = `${route} ${method} ${provider} ${status} ${outcome} ${sealed} ${upstreamStatus}`
    const series = this.#series.get(id) ?? this.#begin(id, record, method, status)
    series.calls++
    series.route.seconds.observe((performance.now() - call.startedAt) / 1000)
    series.route.bytesIn += record.bytesIn
    series.route.bytesOut += reply.bytesOut
    if (series.provider === undefined) return
    if (firstByteMs !== undefined) series.provider.firstByteSeconds.observe(firstByteMs / 1000)
    if (attempts === undefined) return
    // One request for each destination, and whatever is more goes to the last one again.
    const places = Math.min(attempts, call.destinations.length)
    series.provider.fallbacks += places - 1
    series.provider.retries += attempts - places
  }

  /** The same guards; what they refuse is counted. */
  watch(shared: SharedGuards): SharedGuards {
    return {
      addressRate: this.#watched(shared.addressRate, 'address'),
      callRate: this.#watched(shared.callRate, 'key'),
      evidenceRate: this.#watched(shared.evidenceRate, 'evidence'),
      replays: shared.replays
    }
  }

  report({ calls, buffers, connections }: Pick<RouterContext, 'calls' | 'buffers' | 'connections'>): MetricFamily[] {
    const series = [...this.#series.values()]
    const byOutcome = (outcomes: readonly CallRecord['outcome'][]): Tally => {
      const tally = new Tally(outcomes)
      for (const one of series) if (outcomes.includes(one.outcome)) tally.add(one.outcome, one.calls)
      return tally
    }
    const answers = new Map<string, [Labels, number]>()
    for (const { labels, upstreamStatus, calls } of series) {
      if (upstreamStatus === undefined) continue
      const { provider = '' } = labels
      const id = `${provider} ${upstreamStatus}`
      answers.set(id, [{ provider, status: upstreamStatus }, calls + (answers.get(id)?.[1] ?? 0)])
    }
    const routes = [...this.#routes].map(([route, totals]) => [{ route }, totals] as const)
    const providers = [...this.#providers].map(([provider, totals]) => [{ provider }, totals] as const)
    return [
      counter(
        'confrouter_requests_total',
        'Requests that are over.',
        series.map(({ labels, calls }) => [labels, calls])
      ),
      histogram(
        'confrouter_request_duration_seconds',
        'From the header of a request to the end of its answer.',
        routes.map(([labels, { seconds }]) => [labels, seconds])
      ),
      counter(
        'confrouter_request_bytes_total',
        'Bytes of bodies of requests.',
        routes.map(([labels, { bytesIn }]) => [labels, bytesIn])
      ),
      counter(
        'confrouter_response_bytes_total',
        'Bytes of bodies of answers.',
        routes.map(([labels, { bytesOut }]) => [labels, bytesOut])
      ),
      counter('confrouter_upstream_answers_total', 'Answers of providers that were passed on.', answers.values()),
      histogram(
        'confrouter_upstream_first_byte_seconds',
        'From the request to a provider to its status line.',
        providers.map(([labels, { firstByteSeconds }]) => [labels, firstByteSeconds])
      ),
      counter(
        'confrouter_retries_total',
        'Requests that were sent to the same provider again.',
        providers.map(([labels, { retries }]) => [labels, retries])
      ),
      counter(
        'confrouter_fallbacks_total',
        'Requests that were sent to another provider or model instead.',
        providers.map(([labels, { fallbacks }]) => [labels, fallbacks])
      ),
      counter(
        'confrouter_seal_failures_total',
        'Sealed requests and keys that could not be opened.',
        byOutcome(sealFailures).lines('code')
      ),
      counter(
        'confrouter_replays_refused_total',
        'Sealed requests that were sent before, or at another time.',
        byOutcome(replayRefusals).lines('code')
      ),
      counter(
        'confrouter_rate_limited_total',
        'Refusals of a rate limit: of an address, of calls with a key of the router, of fresh evidence.',
        this.#refusals.lines('limit')
      ),
      gauge('confrouter_open_connections', 'Connections that are open.', [[{}, connections.size]]),
      gauge('confrouter_open_calls', 'Calls of the provider API that run.', [[{}, calls.inside]]),
      gauge('confrouter_open_streams', 'Answers that have begun and not ended.', [[{}, connections.answering]]),
      gauge('confrouter_held_bytes', 'Bytes of bodies and sealed answers held in memory.', [[{}, buffers.inside]])
    ]
  }

  #begin(id: string, record: CallRecord, method: string, status: number): Series {
    const { route, provider, sealed = 'none', outcome, upstreamStatus } = record
    const series: Series = {
      labels: { route, method, provider: provider ?? 'none', status: status === 0 ? 'none' : status, outcome, sealed },
      outcome,
      route: found(this.#routes, route, () => ({
        seconds: new Distribution(durationBounds),
        bytesIn: 0,
        bytesOut: 0
      })),
      provider:
        provider === undefined
          ? undefined
          : found(this.#providers, provider, () => ({
              firstByteSeconds: new Distribution(durationBounds),
              retries: 0,
              fallbacks: 0
            })),
      upstreamStatus,
      calls: 0
    }
    this.#series.set(id, series)
    return series
  }

  #watched(rate: Rate, limit: string): Rate {
    const count = (waitSeconds: number): number => {
      if (waitSeconds > 0) this.#refusals.add(limit)
      return waitSeconds
    }
    return {
      take: (caller) => {
        const waitSeconds = rate.take(caller)
        return typeof waitSeconds === 'number' ? count(waitSeconds) : waitSeconds.then(count)
      }
    }
  }
}

function found<Value>(map: Map<string, Value>, name: string, make: () => Value): Value {
  const known = map.get(name)
  if (known !== undefined) return known
  const made = make()
  map.set(name, made)
  return made
}
