import type { IncomingHttpHeaders } from 'node:http'
import type { Readable } from 'node:stream'
import type { Dispatcher } from 'undici'
import type { Peer, PeerOptions } from './egress.js'
import { BodyTooLargeError } from './read-at-most.js'
import { responseHeaders } from './headers.js'
import { Problem, type ProblemCode } from './problem.js'
import type { Reply } from './reply.js'

export interface UpstreamRequest {
  readonly dispatcher: Dispatcher
  readonly origin: string
  readonly method: string
  /** Path and query. */
  readonly path: string
  readonly headers: Record<string, string>
  readonly body: Buffer | Readable | null
}

export interface Forwarded {
  readonly outcome: 'ok' | 'caller_gone' | 'caller_stalled' | 'upstream_broke_off'
  readonly upstreamStatus: number
  /** From the dispatch to the upstream's status line. */
  readonly firstByteMs: number
}

/** The answer was not wanted, and nothing of it was passed on. */
export interface Declined {
  readonly outcome: 'declined'
  readonly upstreamStatus: number
  readonly headers: IncomingHttpHeaders
}

/** The provider gave no answer. */
export class UpstreamError extends Error {
  override readonly name = 'UpstreamError'

  constructor(
    /** What the caller is told. */
    readonly problem: Problem,
    /** Whether the request may have reached the provider, wholly or in part. */
    readonly sent: boolean
  ) {
    super(problem.code)
  }
}

/** Fires when the caller's connection is gone; `forward` then aborts the upstream call. */
export interface CallerConnection {
  readonly gone: boolean
  onGone(listener: () => void): void
}

export interface ForwardOptions {
  /** Longest time that the caller may read nothing. */
  readonly idleMs: number
  /** Asked before anything is passed on; true for an answer that the caller is not to get. */
  readonly declines?: (status: number, headers: IncomingHttpHeaders) => boolean
  /** Changes the provider's headers before they are passed on. Throws a `Problem` to refuse the answer. */
  readonly adapt?: (status: number, headers: IncomingHttpHeaders) => IncomingHttpHeaders
  /** The request is on its way to this server: from now on it may have what the caller sent. */
  readonly onSend?: (peer: Peer) => void
}

/**
 * Sends one request and passes the answer on as it comes, with back-pressure and without a buffer.
 * Below `fetch` on purpose: the cost of a call is mostly the cost of its streams.
 *
 * Throws an `UpstreamError` if the provider gave no answer, and the `Problem` of a reply that cannot
 * take it. Once the reply has begun, a failure breaks it off and is told in the result, because then
 * nothing true can be said to the caller any more.
 */
export function forward(
  request: UpstreamRequest,
  reply: Reply,
  caller: CallerConnection,
  options: ForwardOptions
): Promise<Forwarded | Declined> {
  return new Passage(reply, caller, options).run(request)
}

/** A declined answer is read to its end within these bounds, so that its connection can be used again. */
const longestDeclined = 64 * 1024
const longestDeclinedMs = 1000

/** RFC 9110 section 6.4.1: whatever length their headers speak of, there is no body. */
const withoutBody = new Set([204, 304])

class Passage implements Dispatcher.DispatchHandler {
  readonly #startedAt = performance.now()
  #controller: Dispatcher.DispatchController | undefined
  #stop: 'caller_gone' | 'caller_stalled' | undefined
  #sent = false
  #peer: Peer | undefined
  #status = 0
  #firstByteMs = 0
  #stalled: NodeJS.Timeout | undefined
  #declined: { length: number; readonly timer: NodeJS.Timeout } | undefined
  /** The answer is passed on; whatever comes now is not of it. */
  #isOver = false
  #resolve: (result: Forwarded | Declined) => void = () => undefined
  #reject: (error: Error) => void = () => undefined

  constructor(
    private readonly reply: Reply,
    private readonly caller: CallerConnection,
    private readonly options: ForwardOptions
  ) {}

  run({ dispatcher, ...options }: UpstreamRequest): Promise<Forwarded | Declined> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
      this.caller.onGone(() => this.#abort('caller_gone'))
      const withPeer: typeof options & PeerOptions = { ...options, onPeer: (peer) => (this.#peer = peer) }
      dispatcher.dispatch(withPeer, this)
    })
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    this.#sent = true
    if (this.#peer !== undefined) this.options.onSend?.(this.#peer)
    if (this.caller.gone) this.#abort('caller_gone')
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number, headers: IncomingHttpHeaders): void {
    // 1xx: the final status is still to come.
    if (status < 200) return
    this.#status = status
    this.#firstByteMs = performance.now() - this.#startedAt
    if (this.options.declines?.(status, headers) === true) {
      this.#decline(controller, headers)
      return
    }
    try {
      this.reply.start(status, responseHeaders(this.options.adapt?.(status, headers) ?? headers))
    } catch (error) {
      controller.abort(error as Error)
      return
    }
    if (withoutBody.has(status)) this.#end()
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#declined !== undefined) {
      this.#declined.length += chunk.length
      if (this.#declined.length > longestDeclined) controller.abort(new Error('declined'))
      return
    }
    if (this.#isOver) return
    if (this.#write(controller, chunk)) return
    controller.pause()
    // Nothing else limits a caller that keeps its connection open and reads nothing.
    this.#stalled = setTimeout(() => this.#abort('caller_stalled'), this.options.idleMs)
    this.reply.onDrain(() => {
      clearTimeout(this.#stalled)
      controller.resume()
    })
  }

  onResponseEnd(): void {
    if (this.#declined !== undefined) clearTimeout(this.#declined.timer)
    else if (!this.#isOver) this.#end()
  }

  onResponseError(_: Dispatcher.DispatchController, error: Error): void {
    if (this.#declined !== undefined) {
      clearTimeout(this.#declined.timer)
      return
    }
    if (this.#isOver) return
    if (this.#stop === undefined && !this.reply.started) {
      clearTimeout(this.#stalled)
      this.#reject(
        error instanceof Problem ? error : new UpstreamError(problemOf(error), this.#sent || !neverConnected(error))
      )
      return
    }
    this.reply.breakOff()
    this.#finish(this.#stop ?? 'upstream_broke_off')
  }

  /** A reply that cannot take the answer throws a `Problem`, which then is the answer. */
  #write(controller: Dispatcher.DispatchController, chunk: Buffer): boolean {
    try {
      return this.reply.write(chunk)
    } catch (error) {
      controller.abort(error as Error)
      return true
    }
  }

  #abort(reason: 'caller_gone' | 'caller_stalled'): void {
    this.#stop ??= reason
    this.#controller?.abort(new Error(reason))
  }

  /** What comes of the answer is not waited for: it may come slowly, or never. */
  #decline(controller: Dispatcher.DispatchController, headers: IncomingHttpHeaders): void {
    const timer = setTimeout(() => controller.abort(new Error('declined')), longestDeclinedMs)
    this.#declined = { length: 0, timer }
    this.#resolve({ outcome: 'declined', upstreamStatus: this.#status, headers })
  }

  #end(): void {
    this.#isOver = true
    try {
      this.reply.end()
    } catch (error) {
      this.#reject(error as Error)
      return
    }
    this.#finish('ok')
  }

  #finish(outcome: Forwarded['outcome']): void {
    clearTimeout(this.#stalled)
    this.#resolve({ outcome, upstreamStatus: this.#status, firstByteMs: this.#firstByteMs })
  }
}

const connectionCodes = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH'])

/** The codes alone do not say it: a route can also be lost under a connection that is open. */
function neverConnected(error: unknown): boolean {
  const { code, syscall } = detailsOf(error)
  if (code === 'UND_ERR_CONNECT_TIMEOUT') return true
  return connectionCodes.has(code) && (syscall === 'connect' || syscall === 'getaddrinfo')
}

function problemOf(error: unknown): Problem {
  if (error instanceof BodyTooLargeError) return new Problem('body_too_large', error.message)
  const { code } = detailsOf(error)
  if (code === 'EGRESS_PRIVATE') {
    return failure('egress_refused', 'has a private address, which its configuration does not allow')
  }
  if (code === 'UND_ERR_HEADERS_TIMEOUT') return failure('upstream_timeout', 'did not answer in time')
  if (neverConnected(error)) return failure('upstream_unreachable', 'cannot be reached')
  return failure('upstream_failed', 'broke off the connection before it answered')
}

const failure = (code: ProblemCode, what: string): Problem => new Problem(code, `the provider ${what}`)

/** With several addresses Node reports one error for each; the first one speaks for all. */
function detailsOf(error: unknown): { code: string; syscall: string } {
  if (error instanceof AggregateError && error.errors.length > 0) return detailsOf(error.errors[0])
  const { code, syscall } = error as { code?: unknown; syscall?: unknown }
  return { code: typeof code === 'string' ? code : '', syscall: typeof syscall === 'string' ? syscall : '' }
}
