import { ReplayGuard, type ReplayVerdict } from '../seal/node/replay-guard.js'
import { Connections } from './connections.js'
import { Pool } from './pool.js'
import { RateLimiter } from './rate-limiter.js'
import type { Limits } from './settings.js'

/** Counts calls by caller. */
export interface Rate {
  /** Takes one call. Gives 0, or the seconds until there is one to take. */
  take(caller: string): number | Promise<number>
}

/** Tells sealed requests from those that were sent before. */
export interface Replays {
  check(encapsulatedKey: Uint8Array, timeMs: number): ReplayVerdict | Promise<ReplayVerdict>
}

/** What all processes of one router count together. */
export interface SharedGuards {
  /** All calls of the provider API, by address: an own key or none costs the provider, and opening costs the router. */
  readonly addressRate: Rate
  /** Calls that use the router's provider keys. */
  readonly callRate: Rate
  /** Attestations with a nonce: each costs a report and a call to the attestation service. */
  readonly evidenceRate: Rate
  readonly replays: Replays
}

/** What keeps callers from taking more than their part of the router. */
export interface Guards extends SharedGuards {
  readonly calls: Pool
  readonly attestations: Pool
  /** Bytes of bodies and of sealed answers that are held whole. */
  readonly buffers: Pool
  readonly connections: Connections
}

export interface Clocks {
  /** Milliseconds since any moment; never goes back. */
  readonly steadyMs: () => number
  /** Unix time in milliseconds, as far as this machine knows it. */
  readonly unixMs: () => number
}

export const systemClocks: Clocks = { steadyMs: () => performance.now(), unixMs: () => Date.now() }

/** A caller may hold several bodies of the largest size, but not all memory. */
const partOfBuffers = 1 / 4

/** Sealed requests that are remembered: some thousand in each second of the window, and 30 MB. */
const rememberedRequests = 200_000

/** The same, where the counting is done: the answer is there at once. */
export interface LocalGuards extends SharedGuards {
  readonly addressRate: RateLimiter
  readonly callRate: RateLimiter
  readonly evidenceRate: RateLimiter
  readonly replays: { check(encapsulatedKey: Uint8Array, timeMs: number): ReplayVerdict }
}

export function createLocalGuards(limits: Limits, { steadyMs, unixMs }: Clocks): LocalGuards {
  const replays = new ReplayGuard({ windowMs: limits.replayMs, maximumEntries: rememberedRequests })
  return {
    addressRate: new RateLimiter(limits.allCallsPerMinute, steadyMs),
    callRate: new RateLimiter(limits.callsPerMinute, steadyMs),
    evidenceRate: new RateLimiter(limits.evidencePerMinute, steadyMs),
    replays: { check: (encapsulatedKey, timeMs) => replays.check(encapsulatedKey, timeMs, unixMs()) }
  }
}

/** What one of `workers` processes may hold; its limits are already those of a part. */
export function createGuards(limits: Limits, shared: SharedGuards, workers: number): Guards {
  const buffersPerCaller = Math.max(limits.bufferedBytes * partOfBuffers, 2 * limits.bodyBytes)
  return {
    ...shared,
    calls: new Pool(limits.concurrentCalls, limits.callsPerCaller),
    attestations: new Pool(part(8, workers), part(2, workers)),
    buffers: new Pool(limits.bufferedBytes, buffersPerCaller),
    connections: new Connections(new Pool(maximumConnections(limits), maximumConnections(limits) / 2))
  }
}

/** Room for connections that wait for their next call, and for probes of the platform. */
export const maximumConnections = ({ concurrentCalls }: Limits): number => Math.max(128, 2 * concurrentCalls)

/**
 * The limits of one of `workers` processes. What is held is divided: a connection, with its calls and
 * their bytes, is in one process. What is counted in time is counted for all together.
 */
export function limitsOfWorker(limits: Limits, workers: number): Limits {
  return {
    ...limits,
    concurrentCalls: part(limits.concurrentCalls, workers),
    callsPerCaller: part(limits.callsPerCaller, workers),
    bufferedBytes: Math.max(part(limits.bufferedBytes, workers), limits.bodyBytes)
  }
}

const part = (whole: number, workers: number): number => Math.ceil(whole / workers)
