import { setTimeout as sleep } from 'node:timers/promises'
import { sha256Hex } from '../base/digest.js'
import { canonicalJson } from '../base/json.js'
import type { EmulatorRequest, EmulatorResponse, Handler } from './http.js'

/** What goes wrong on purpose. Read from a file by `emulator start --faults`; docs/emulator.md has examples. */
export interface FaultPlan {
  readonly requests: readonly RequestFault[]
  readonly kill?: KillFault | undefined
}

/** Requests that are answered otherwise than the service would. */
export interface RequestFault {
  /** `*` is any. */
  readonly method: string
  /** Of the request, without case; `*` stands for one segment or a part of one, `**` for any number. */
  readonly path: string
  /** The first request that it hits, counted from 1 among those that match; 1 if left out. */
  readonly from?: number
  /** How many it hits from then on; 1 if left out, 0 for all. */
  readonly times?: number
  /** Waits so long before anything else happens. */
  readonly delayMs?: number
  /** Sent in place of the service's own answer, which then does nothing. */
  readonly answer?: FaultAnswer
  /** Breaks the connection off instead of answering; the service has done nothing. */
  readonly hangUp?: boolean
}

export interface FaultAnswer {
  readonly status: number
  /** `{origin}` in a value becomes the `https://127.0.0.1:PORT` that was asked. */
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: unknown
}

export const killMoments = ['before', 'torn', 'unrenamed', 'after'] as const

/** Ends the emulator as `kill -9` would, at one write of its state. */
export interface KillFault {
  /** Which write since its start, counted from 1. */
  readonly write: number
  /**
   * `before` anything of it is on disk, with a `torn` half of the text in the temporary file, with the whole text in
   * it and the file not yet `unrenamed`, or `after` it.
   */
  readonly moment: (typeof killMoments)[number]
}

export interface Faults {
  /** A service behind the faults. */
  around(handler: Handler): Handler
}

export const noFaults: FaultPlan = { requests: [] }

/** Tells one plan from another; empty for none. */
export function faultsMark(plan: FaultPlan): string {
  return plan.requests.length === 0 && plan.kill === undefined ? '' : sha256Hex(canonicalJson(plan))
}

/** Counts requests over all listeners, so that a plan says "the second PUT of a vault" wherever the vault is. */
export function createFaults({ requests }: FaultPlan, log?: (line: string) => void): Faults {
  const counted = requests.map((fault) => ({ fault, pattern: patternOf(fault.path), seen: 0 }))

  /** Faults are tried in order; each that matches counts the request, and the first that is due decides. */
  function due(request: EmulatorRequest): RequestFault | undefined {
    if (isChallenge(request)) return undefined
    let found: RequestFault | undefined
    for (const entry of counted) {
      const { method, from = 1, times = 1 } = entry.fault
      if ((method !== '*' && method !== request.method) || !entry.pattern.test(request.path)) continue
      entry.seen++
      const isDue = entry.seen >= from && (times === 0 || entry.seen < from + times)
      if (isDue) found ??= entry.fault
    }
    return found
  }

  return {
    around: (handler) => async (request) => {
      const fault = due(request)
      if (fault === undefined) return handler(request)
      log?.(`fault: ${fault.method} ${fault.path}`)
      if (fault.delayMs !== undefined) await sleep(fault.delayMs, undefined, { signal: request.signal })
      if (fault.hangUp === true) return { status: 200, body: brokenStream() }
      return fault.answer === undefined ? handler(request) : answerOf(fault.answer, request)
    }
  }
}

/** The first call of a Key Vault client has no token and only asks where to get one: it is part of every call. */
function isChallenge({ path, headers }: EmulatorRequest): boolean {
  return headers.authorization === undefined && /^\/(deleted)?keys(\/|$)/.test(path)
}

function answerOf({ status, headers, body }: FaultAnswer, { origin }: EmulatorRequest): EmulatorResponse {
  const filled = Object.entries(headers ?? {}).map(([name, value]) => [
    name.toLowerCase(),
    value.replaceAll('{origin}', origin)
  ])
  return { status, ...(headers === undefined ? {} : { headers: Object.fromEntries(filled) as never }), body }
}

async function* brokenStream(): AsyncGenerator<Uint8Array> {
  throw new Error('the fault plan breaks this connection off')
}

function patternOf(path: string): RegExp {
  const source = path
    .split(/(\*\*|\*)/)
    .map((part) => (part === '**' ? '.*' : part === '*' ? '[^/]*' : part.replace(/[\\^$.+?()[\]{}|]/g, '\\$&')))
    .join('')
  return new RegExp(`^${source}$`, 'i')
}
