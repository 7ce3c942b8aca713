import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Caller } from './access.js'
import type { CallerConnection } from './forward.js'
import type { Problem, ProblemCode } from './problem.js'
import type { Provider } from './providers.js'
import { PlainReply, type Reply, type ReplyHeaders } from './reply.js'
import type { RouterContext } from './context.js'

/** Where a call goes once that is known. */
export interface Target {
  readonly provider: Provider
  /** Path behind the provider's base path, with a slash at its beginning. */
  readonly path: string
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
    this.plain = new PlainReply(response, this.#fixedHeaders())
    this.reply = this.plain
  }

  /** Whether the connection ended before the answer did. */
  get gone(): boolean {
    return this.response.closed && !this.response.writableFinished
  }

  onGone(listener: () => void): void {
    this.response.once('close', () => {
      if (this.gone) listener()
    })
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
