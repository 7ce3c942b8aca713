/**
 * Who has to act on an error. It picks the exit code, so that a pipeline can tell "retry" from
 * "stop" without reading text (docs/errors.md, exit codes).
 */
export type Fault = 'bug' | 'usage' | 'config' | 'machine' | 'cloud' | 'evidence' | 'user' | 'interrupted'

const exitCodes = {
  bug: 1,
  usage: 2,
  config: 3,
  machine: 4,
  cloud: 5,
  evidence: 6,
  user: 7,
  interrupted: 130
} as const satisfies Record<Fault, number>

export interface UserErrorDetails {
  /** One sentence: the cause, when the problem line does not say it. */
  readonly why?: string | undefined
  /** Commands or edits that a person can paste, best first. */
  readonly next?: readonly string[] | undefined
  /** The service's request id, for a support ticket. */
  readonly requestId?: string | undefined
  readonly cause?: unknown
  /** Members for the JSON document beside `error`, such as the checks that were made. */
  readonly report?: Readonly<Record<string, unknown>> | undefined
}

/**
 * The only error a person is expected to meet. `code` is stable and documented in docs/errors.md;
 * `problem` begins in lower case, has no full stop and contains the wrong value and its place.
 */
export class UserError extends Error {
  override readonly name = 'UserError'
  readonly why: string | undefined
  readonly next: readonly string[]
  readonly requestId: string | undefined
  readonly report: Readonly<Record<string, unknown>>

  constructor(
    readonly fault: Fault,
    readonly code: string,
    readonly problem: string,
    details: UserErrorDetails = {}
  ) {
    super(problem, details.cause === undefined ? undefined : { cause: details.cause })
    this.why = details.why
    this.next = details.next ?? []
    this.requestId = details.requestId
    this.report = details.report ?? {}
  }

  get exitCode(): number {
    return exitCodes[this.fault]
  }
}
