import { randomUUID } from 'node:crypto'
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import type { Readable } from 'node:stream'
import type { SealedHead } from '../seal/node/ehbp.js'
import { addressGroup, type Caller } from './access.js'
import { CallerGoneError } from './body.js'
import type { CallerConnection } from './forward.js'
import type { RoutedForm } from './multipart.js'
import { type Problem, type ProblemCode, retryLater } from './problem.js'
import type { RouterContext } from './context.js'
import type { Destination } from './credentials.js'
import type { Peer } from './egress.js'
import type { BaseUrl, Provider } from './providers.js'
import type { RouterKeys } from './released-key.js'
import { PlainReply, type Reply, type ReplyHeaders } from './reply.js'

/** Where a call goes once that is known. */
export interface Target {
  readonly provider: Provider
  readonly base: BaseUrl
  /** Path behind the base path, with a slash at its beginning. */
  readonly path: string
  /** Whether the caller names the provider's own path: that may be any part of the account. */
  readonly wholeApi: boolean
  /** As the provider calls it; `undefined` if the call names none. */
  readonly model: string | undefined
  /**
   * Makes the body for this provider, where the call's was read whole; else its stream is passed on. Made when it is
   * needed, because each may be a copy of megabytes. Throws a `Problem` if the provider cannot take the call.
   */
  readonly body: (() => Buffer) | undefined
  /** For a provider whose answers have another form than the caller asked for. */
  readonly wrap?: (reply: Reply) => Reply
}

/** A request that turned out to be sealed, once something of it was opened. */
export interface Opened {
  /** The keys that were in use; a refresh may replace them while the call runs. */
  readonly keys: RouterKeys
  /** Of the sealed body as it came, up to now. */
  measure(): { readonly sha256: string; readonly bytes: number }
}

/** A server that was sent the request. */
export interface Upstream {
  readonly provider: string
  readonly origin: string
  readonly model: string | undefined
  readonly spkiSha256: string | undefined
}

/** What the log line of a call says. Nothing that a caller or a provider has written goes in here. */
export interface CallRecord {
  route: string
  provider?: string
  sealed?: 'envelope' | 'ehbp' | 'ehbp-extended'
  upstreamStatus?: number
  /** Requests to providers, where there was more than one. */
  attempts?: number
  firstByteMs?: number
  bytesIn: number
  outcome: ProblemCode | 'ok' | 'caller_gone' | 'caller_stalled' | 'upstream_broke_off'
}

/** One request and what the steps of the pipeline have found out about it. */
export class Call implements CallerConnection {
  readonly id = randomUUID()
  readonly startedAt = performance.now()
  /** What the caller asks for; a sealed request may carry another method than it travels with. */
  method: string
  readonly path: string
  /** The headers that count: of a sealed request with the extension, those that it protects. */
  headers: IncomingHttpHeaders
  /** How the request is sealed, by its headers; nothing has been opened yet. */
  seal: SealedHead | undefined
  opened: Opened | undefined
  /** The caller's address, or the network of one customer that it is in. */
  readonly address: string
  /** With its question mark; empty if there is none. */
  query: string
  readonly plain: PlainReply
  readonly record: CallRecord = { route: 'unmatched', bytesIn: 0, outcome: 'ok' }
  /** Another kind of reply once the request turns out to be sealed. */
  reply: Reply
  caller: Caller | undefined
  /** The whole body, where it is JSON that has to be looked into. */
  body: Buffer | undefined
  /** A form whose model is known; what comes behind it is still on its way. */
  form: RoutedForm | undefined
  /** The body as it comes, with its length if that is known. */
  stream: { readonly body: Readable; readonly length: number | undefined } | undefined
  /** Where the call goes, and where it goes instead if it fails there. */
  targets: readonly Target[] = []
  /** The targets for which there is a key, with it. */
  destinations: readonly Destination[] = []
  /** In the order in which the request went to them. */
  readonly upstreams: Upstream[] = []
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
    this.headers = request.headers
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

  /** Length of the body that goes to the provider, where it is known: what is opened has another length. */
  get plainLength(): number | undefined {
    const length = this.request.headers['content-length']
    return this.seal === undefined && length !== undefined ? Number(length) : undefined
  }

  /** Notes that the request went to this server; an attempt to the same one again is no other one. */
  addUpstream({ provider, base, model }: Pick<Target, 'provider' | 'base' | 'model'>, { spkiSha256 }: Peer): void {
    const upstream = { provider: provider.name, origin: base.origin, model, spkiSha256 }
    const last = this.upstreams.at(-1)
    if (last === undefined || JSON.stringify(last) !== JSON.stringify(upstream)) this.upstreams.push(upstream)
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

  /** Gives back bytes that were counted by `hold` and are not kept any more. */
  release(bytes: number): void {
    if (this.#closed) return
    this.context.buffers.give(this.#holder, bytes)
    this.#held -= bytes
  }

  #fixedHeaders(): ReplyHeaders {
    const stopping = this.context.state.stage === 'stopping' ? { connection: 'close' } : {}
    return { 'x-confrouter-request-id': this.id, ...stopping }
  }

  /** Answers with one JSON document, sealed if the request was. */
  json(status: number, value: unknown): void {
    if (this.reply === this.plain) {
      this.plain.json(status, value)
      return
    }
    this.reply.start(status, { 'content-type': 'application/json; charset=utf-8' })
    this.reply.write(Buffer.from(JSON.stringify(value)))
    this.reply.end()
  }

  /** Answers with an error, or breaks off if the answer has begun. */
  fail(problem: Problem): void {
    this.record.outcome = problem.code
    if (this.reply.started) this.reply.breakOff()
    else this.reply.problem(problem)
  }
}
