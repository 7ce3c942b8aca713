/** A whole number that the router can be configured with: the range that it accepts, and what it takes when it is told nothing. */
export interface RouterNumber {
  /** Variable of the router. */
  readonly variable: string
  readonly min: number
  readonly max: number
  /** Absent where it follows from another value. */
  readonly unset?: number
  /** What it counts, for messages: `a whole number of seconds`. */
  readonly what: string
  readonly says: string
}

const bytes = 'a whole number of bytes'
const calls = 'a whole number of calls'
const callsPerMinute = 'a whole number of calls per minute'
const seconds = 'a whole number of seconds'

/**
 * `router.*`. The ranges are the router's own (`src/router/settings.ts`, which this folder may not
 * import; a test compares them): a value that it would refuse is found before anything is deployed.
 */
export const routerNumbers = {
  workers: {
    variable: 'CONFROUTER_WORKERS',
    min: 1,
    max: 64,
    unset: 1,
    what: 'a whole number of processes',
    says: 'Processes that serve; more than one use more than one CPU core.'
  },
  retries: {
    variable: 'CONFROUTER_RETRIES',
    min: 0,
    max: 5,
    unset: 1,
    what: 'a whole number of tries',
    says: 'How often a call that failed before its first byte is tried again at the same provider.'
  },
  retrySeconds: {
    variable: 'CONFROUTER_RETRY_SECONDS',
    min: 0,
    max: 60,
    unset: 2,
    what: seconds,
    says: 'Longest Retry-After of a provider that is waited for.'
  },
  replaySeconds: {
    variable: 'CONFROUTER_REPLAY_SECONDS',
    min: 1,
    max: 3600,
    unset: 60,
    what: seconds,
    says: 'How long a sealed request with a time stamp can be sent, and is remembered so that it is taken once.'
  },
  keyRefreshSeconds: {
    variable: 'KEY_REFRESH_SECONDS',
    min: 1,
    max: 86_400,
    unset: 600,
    what: seconds,
    says: 'How often the key is released anew.'
  }
} as const satisfies Record<string, RouterNumber>

/** `router.limits.*`. */
export const routerLimits = {
  bodyBytes: {
    variable: 'CONFROUTER_MAX_BODY_BYTES',
    min: 1024,
    max: 1024 ** 3,
    unset: 20 * 1024 ** 2,
    what: bytes,
    says: 'Longest body that is read as a whole.'
  },
  uploadBytes: {
    variable: 'CONFROUTER_MAX_UPLOAD_BYTES',
    min: 1024,
    max: 9_999_999_999,
    unset: 512 * 1024 ** 2,
    what: bytes,
    says: 'Longest body that is passed through as a stream.'
  },
  bufferedBytes: {
    variable: 'CONFROUTER_MAX_BUFFERED_BYTES',
    min: 1024,
    max: 9_999_999_999,
    unset: 512 * 1024 ** 2,
    what: bytes,
    says: 'Bodies and sealed answers held in memory, of all calls together.'
  },
  concurrentCalls: {
    variable: 'CONFROUTER_MAX_CONCURRENT_CALLS',
    min: 1,
    max: 100_000,
    unset: 2000,
    what: calls,
    says: 'Calls at the same time.'
  },
  callsPerCaller: {
    variable: 'CONFROUTER_MAX_CALLS_PER_CALLER',
    min: 1,
    max: 100_000,
    what: calls,
    says: 'Calls of one caller at the same time. Default: a tenth of concurrentCalls.'
  },
  callsPerMinute: {
    variable: 'CONFROUTER_CALLS_PER_MINUTE',
    min: 1,
    max: 1_000_000,
    unset: 600,
    what: callsPerMinute,
    says: 'All calls of one address, whoever’s key they use; access.rateLimitPerMinute is for those that use the router’s.'
  },
  evidencePerMinute: {
    variable: 'CONFROUTER_EVIDENCE_PER_MINUTE',
    min: 1,
    max: 100_000,
    unset: 60,
    what: callsPerMinute,
    says: 'Requests of one caller for fresh evidence.'
  },
  firstByteSeconds: {
    variable: 'CONFROUTER_FIRST_BYTE_SECONDS',
    min: 1,
    max: 3600,
    unset: 300,
    what: seconds,
    says: 'Longest wait for a provider’s status.'
  },
  idleSeconds: {
    variable: 'CONFROUTER_IDLE_SECONDS',
    min: 1,
    max: 3600,
    unset: 120,
    what: seconds,
    says: 'Longest wait between two chunks of an answer, and for a caller that does not read.'
  },
  requestIdleSeconds: {
    variable: 'CONFROUTER_REQUEST_IDLE_SECONDS',
    min: 1,
    max: 3600,
    unset: 30,
    what: seconds,
    says: 'Longest wait for the next bytes of a request’s body.'
  },
  shutdownSeconds: {
    variable: 'CONFROUTER_SHUTDOWN_SECONDS',
    min: 0,
    max: 3600,
    unset: 30,
    what: seconds,
    says: 'How long calls may finish when the router is stopped.'
  }
} as const satisfies Record<string, RouterNumber>
