import type { IncomingHttpHeaders } from 'node:http'
import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Dispatcher } from 'undici'
import { BodyTooLargeError } from './read-at-most.js'
import { responseHeaders } from './headers.js'
import { Problem, type ProblemCode } from './problem.js'
import type { Reply } from './reply.js'

export interface UpstreamRequest {
  readonly dispatcher: Dispatcher
  readonly origin: string
  readonly method: Dispatcher.HttpMethod
  /** Path and query. */
  readonly path: string
  readonly headers: Record<string, string>
  readonly body: Buffer | Readable | null
}

export interface ForwardResult {
  readonly outcome: 'ok' | 'caller_gone' | 'caller_stalled' | 'upstream_broke_off'
  readonly upstreamStatus: number
  /** From the dispatch to the upstream's status line. */
  readonly firstByteMs: number
}

/** Fires when the caller's connection is gone; `forward` then aborts the upstream call. */
export interface CallerConnection {
  readonly gone: boolean
  onGone(listener: () => void): void
}

/**
 * Sends one request and passes the answer on as it comes, with back-pressure and without a buffer.
 * Below `fetch` on purpose: the cost of a call is mostly the cost of its streams.
 *
 * Throws a `Problem` if the provider gave no answer. Once it has, a failure breaks the reply off and
 * is told in the result, because then nothing true can be said to the caller any more.
 */
export async function forward(
  request: UpstreamRequest,
  reply: Reply,
  caller: CallerConnection,
  idleMs: number
): Promise<ForwardResult> {
  const startedAt = performance.now()
  const first = new Passage(reply, caller, idleMs)
  try {
    return await first.run(request)
  } catch (error) {
    // A connection that was never made has sent nothing, so any call may be repeated once.
    if (first.sent || !neverConnected(error) || isStream(request.body) || caller.gone) throw problemOf(error)
  }
  await sleep(100)
  try {
    const result = await new Passage(reply, caller, idleMs).run(request)
    return { ...result, firstByteMs: performance.now() - startedAt }
  } catch (error) {
    throw problemOf(error)
  }
}

class Passage implements Dispatcher.DispatchHandler {
  readonly #startedAt = performance.now()
  #controller: Dispatcher.DispatchController | undefined
  #stop: 'caller_gone' | 'caller_stalled' | undefined
  #sent = false
  #status = 0
  #firstByteMs = 0
  #stalled: NodeJS.Timeout | undefined
  #resolve: (result: ForwardResult) => void = () => undefined
  #reject: (error: Error) => void = () => undefined

  constructor(
    private readonly reply: Reply,
    private readonly caller: CallerConnection,
    private readonly idleMs: number
  ) {}

  /** Whether the request may have reached a provider, wholly or in part. */
  get sent(): boolean {
    return this.#sent
  }

  run({ dispatcher, ...options }: UpstreamRequest): Promise<ForwardResult> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
      this.caller.onGone(() => this.#abort('caller_gone'))
      dispatcher.dispatch(options, this)
    })
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    this.#sent = true
    if (this.caller.gone) this.#abort('caller_gone')
  }

  onResponseStart(_: Dispatcher.DispatchController, status: number, headers: IncomingHttpHeaders): void {
    // 1xx: the final status is still to come.
    if (status < 200) return
    this.#status = status
    this.#firstByteMs = performance.now() - this.#startedAt
    this.reply.start(status, responseHeaders(headers))
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#write(controller, chunk)) return
    controller.pause()
    // Nothing else limits a caller that keeps its connection open and reads nothing.
    this.#stalled = setTimeout(() => this.#abort('caller_stalled'), this.idleMs)
    this.reply.onDrain(() => {
      clearTimeout(this.#stalled)
      controller.resume()
    })
  }

  onResponseEnd(): void {
    try {
      this.reply.end()
    } catch (error) {
      this.#reject(error as Error)
      return
    }
    this.#finish('ok')
  }

  onResponseError(_: Dispatcher.DispatchController, error: Error): void {
    if (this.#stop === undefined && !this.reply.started) {
      clearTimeout(this.#stalled)
      this.#reject(error)
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

  #finish(outcome: ForwardResult['outcome']): void {
    clearTimeout(this.#stalled)
    this.#resolve({ outcome, upstreamStatus: this.#status, firstByteMs: this.#firstByteMs })
  }
}

const isStream = (body: UpstreamRequest['body']): boolean => body !== null && !Buffer.isBuffer(body)

const connectionCodes = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH'])

/** The codes alone do not say it: a route can also be lost under a connection that is open. */
function neverConnected(error: unknown): boolean {
  const { code, syscall } = detailsOf(error)
  if (code === 'UND_ERR_CONNECT_TIMEOUT') return true
  return connectionCodes.has(code) && (syscall === 'connect' || syscall === 'getaddrinfo')
}

function problemOf(error: unknown): Problem {
  if (error instanceof Problem) return error
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
