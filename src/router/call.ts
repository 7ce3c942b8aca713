import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { addressGroup, type Caller } from './access.js'
import { CallerGoneError } from './body.js'
import type { CallerConnection } from './forward.js'
import { type Problem, type ProblemCode, retryLater } from './problem.js'
import type { Provider } from './providers.js'
import { PlainReply, type Reply, type ReplyHeaders } from './reply.js'
import type { RouterContext } from './context.js'

/** Where a call goes once that is known. */
export interface Target {
  readonly provider: Provider
  /** Path behind the provider's base path, with a slash at its beginning. */
  readonly path: string
  /** Whether the caller names the provider's own path: that may be any part of the account. */
  readonly wholeApi: boolean
}

/** What the log line of a call says. Nothing that a caller or a provider has written goes in here. */
export interface CallRecord {
  route: string
  provider?: string
  sealed?: 'envelope'
  upstreamStatus?: number
  firstByteMs?: number
  bytesIn: number
  outcome: ProblemCode | 'ok' | 'caller_gone' | 'caller_stalled' | 'upstream_broke_off'
}

/** One request and what the steps of the pipeline have found out about it. */
export class Call implements CallerConnection {
  readonly id = randomUUID()
  readonly startedAt = performance.now()
  readonly method: string
  readonly path: string
  /** The caller's address, or the network of one customer that it is in. */
  readonly address: string
  /** With its question mark; empty if there is none. */
  readonly query: string
  readonly plain: PlainReply
  readonly record: CallRecord = { route: 'unmatched', bytesIn: 0, outcome: 'ok' }
  /** Another kind of reply once the request turns out to be sealed. */
  reply: Reply
  caller: Caller | undefined
  /** The whole body, unless it is passed through as a stream. */
  body: Buffer | undefined
  target: Target | undefined
  /** The key to send to the provider; `undefined` if it wants none. */
  providerKey: string | undefined
  /** Whether `providerKey` is the router's and not the caller's own. */
  usesRouterKey = false
  #closed = false
  #held = 0
  #holder = ''
  readonly #closers: (() => void)[] = []

  constructor(
    readonly context: RouterContext,
    readonly request: IncomingMessage,
    readonly response: ServerResponse
  ) {
    const url = request.url ?? ''
    const question = url.indexOf('?')
    this.method = request.method ?? ''
    this.path = question === -1 ? url : url.slice(0, question)
    this.query = question === -1 ? '' : url.slice(question)
    this.address = addressGroup(request.socket.remoteAddress)
    this.plain = new PlainReply(response, this.#fixedHeaders(), context.settings.limits.idleMs, () => {
      if (this.record.outcome === 'ok') this.record.outcome = 'caller_stalled'
    })
    this.reply = this.plain
    response.once('close', () => this.close())
  }

  /** Whether the connection ended before the answer did. */
  get gone(): boolean {
    return this.#closed && !this.response.writableFinished
  }

  onGone(listener: () => void): void {
    this.onClose(() => {
      if (this.gone) listener()
    })
  }

  /** Calls back when the answer or the connection has ended, whichever is first. */
  onClose(listener: () => void): void {
    if (this.#closed) listener()
    else this.#closers.push(listener)
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    if (this.#held > 0) this.context.buffers.give(this.#holder, this.#held)
    for (const listener of this.#closers.splice(0)) listener()
  }

  /**
   * Counts bytes that this call keeps in memory until it closes. Throws a `Problem` with code
   * `overloaded` if the router, or this caller, holds as much as it may.
   */
  hold(bytes: number): void {
    if (this.#closed) throw new CallerGoneError()
    if (this.#held === 0) this.#holder = this.caller?.identity ?? this.address
    if (!this.context.buffers.take(this.#holder, bytes)) {
      throw retryLater('overloaded', 'the router holds as many bytes as it can', 1)
    }
    this.#held += bytes
  }

  #fixedHeaders(): ReplyHeaders {
    const stopping = this.context.state.stage === 'stopping' ? { connection: 'close' } : {}
    return { 'x-confrouter-request-id': this.id, ...stopping }
  }

  /** Answers with an error, or breaks off if the answer has begun. */
  fail(problem: Problem): void {
    this.record.outcome = problem.code
    if (this.reply.started) this.reply.breakOff()
    else this.reply.problem(problem)
  }
}
