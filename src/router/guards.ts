import { Connections } from './connections.js'
import { Pool } from './pool.js'
import { RateLimiter } from './rate-limiter.js'
import type { Limits } from './settings.js'

/** What keeps callers from taking more than their part of the router. */
export interface Guards {
  /** All calls of the provider API, by address: an own key or none costs the provider, and opening costs the router. */
  readonly addressRate: RateLimiter
  /** Calls that use the router's provider keys. */
  readonly callRate: RateLimiter
  /** Attestations with a nonce: each costs a report and a call to the attestation service. */
  readonly evidenceRate: RateLimiter
  readonly calls: Pool
  readonly attestations: Pool
  /** Bytes of bodies and of sealed answers that are held whole. */
  readonly buffers: Pool
  readonly connections: Connections
}

/** A caller may hold several bodies of the largest size, but not all memory. */
const partOfBuffers = 1 / 4

export function createGuards(limits: Limits, nowMs: () => number): Guards {
  const buffersPerCaller = Math.max(limits.bufferedBytes * partOfBuffers, 2 * limits.bodyBytes)
  return {
    addressRate: new RateLimiter(limits.allCallsPerMinute, nowMs),
    callRate: new RateLimiter(limits.callsPerMinute, nowMs),
    evidenceRate: new RateLimiter(limits.evidencePerMinute, nowMs),
    calls: new Pool(limits.concurrentCalls, limits.callsPerCaller),
    attestations: new Pool(8, 2),
    buffers: new Pool(limits.bufferedBytes, buffersPerCaller),
    connections: new Connections(new Pool(maximumConnections(limits), maximumConnections(limits) / 2))
  }
}

/** Room for connections that wait for their next call, and for probes of the platform. */
export const maximumConnections = ({ concurrentCalls }: Limits): number => Math.max(128, 2 * concurrentCalls)
