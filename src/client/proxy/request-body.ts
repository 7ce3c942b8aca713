import type { IncomingMessage } from 'node:http'
import { concatBytes } from '../../base/bytes.js'
import { CallerLeft, ProxyProblem } from './failures.js'

export interface BodyLimits {
  /** A longer one is refused. */
  readonly bodyBytes: number
  /** A body up to this length is held, so that it can be sealed a second time if the router has a new key. */
  readonly heldBytes: number
  /** Longest time that a caller may send nothing of a body that it has begun. */
  readonly idleMs: number
}

export interface IncomingBody {
  readonly body: Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array> | undefined
  /** Bytes that have come so far. */
  readonly bytes: () => number
  /** What ended a stream, if it was not its end. */
  readonly failure: () => unknown
}

/**
 * Takes the body of a request: whole if it is short, else as a stream that is read as it is sent on. Throws
 * a `ProxyProblem` for one that is too long, too slow, or not to be there, and `CallerLeft`.
 */
export async function readBody(request: IncomingMessage, limits: BodyLimits): Promise<IncomingBody> {
  const { 'content-length': length, 'transfer-encoding': coding } = request.headers
  const isEmpty = coding === undefined && Number(length ?? 0) === 0
  if (isEmpty) return { body: undefined, bytes: () => 0, failure: () => undefined }
  if (request.method === 'GET') throw problem(400, 'unexpected_body', 'a GET request has no body')
  if (Number(length ?? 0) > limits.bodyBytes) throw tooLarge(limits)

  const reader = new BodyReader(request, limits)
  const held: Uint8Array[] = []
  while (reader.bytes <= limits.heldBytes) {
    const piece = await reader.next()
    if (piece === undefined) return { body: concatBytes(...held), bytes: () => reader.bytes, failure: () => undefined }
    held.push(piece)
  }
  return { body: streamOf(held, reader), bytes: () => reader.bytes, failure: () => reader.failure }
}

function streamOf(begun: readonly Uint8Array[], reader: BodyReader): ReadableStream<Uint8Array> {
  const waiting = [...begun]
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const piece = waiting.shift() ?? (await reader.next())
        if (piece === undefined) controller.close()
        else controller.enqueue(piece)
      }
    },
    { highWaterMark: 0 }
  )
}

/** The pieces of a body, within limits. Reads no more than it is asked for, so that a slow router slows the caller down. */
class BodyReader {
  bytes = 0
  failure: unknown

  constructor(
    private readonly request: IncomingMessage,
    private readonly limits: BodyLimits
  ) {}

  /** `undefined` at the end. */
  async next(): Promise<Uint8Array | undefined> {
    try {
      const piece = await this.#read()
      this.bytes += piece?.length ?? 0
      if (this.bytes > this.limits.bodyBytes) throw tooLarge(this.limits)
      return piece
    } catch (error) {
      this.failure = error
      throw error
    }
  }

  async #read(): Promise<Uint8Array | undefined> {
    const { request } = this
    for (;;) {
      const piece = request.read() as Buffer | null
      if (piece !== null) return piece
      if (request.readableEnded) return undefined
      if (request.destroyed) throw new CallerLeft('the caller broke off its request')
      await somethingHappens(request, this.limits.idleMs)
    }
  }
}

const events = ['readable', 'end', 'error', 'close'] as const

function somethingHappens(request: IncomingMessage, idleMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer)
      for (const name of events) request.off(name, happened)
    }
    const happened = (): void => {
      stop()
      resolve()
    }
    const timer = setTimeout(() => {
      stop()
      reject(problem(408, 'request_timeout', `nothing more of the body came for ${idleMs / 1000} seconds`))
    }, idleMs)
    for (const name of events) request.once(name, happened)
  })
}

const problem = (status: number, code: string, message: string): ProxyProblem =>
  new ProxyProblem({ status, code, message, headers: { 'x-should-retry': 'false' } })

const tooLarge = ({ bodyBytes }: BodyLimits): ProxyProblem =>
  problem(413, 'body_too_large', `the body is longer than the ${bodyBytes} bytes that this proxy takes`)
