import type { IncomingMessage } from 'node:http'
import { CallerLeft, ProxyProblem } from './failures.js'
import type { HeldBytes } from './held-bytes.js'

export interface BodyLimits {
  /** A longer one is refused. */
  readonly bodyBytes: number
  /** A body up to this length is held, so that it can be sealed a second time if the router has a new key. */
  readonly heldBytes: number
  /** Longest time that a caller may send nothing of a body that it has begun. */
  readonly idleMs: number
}

export interface IncomingBody {
  /** Gives it away, once, so that nothing here holds it for as long as its answer lasts. */
  readonly take: () => Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array> | undefined
  /** To be called when the head of the answer has come: from then on less is held of a whole body. */
  readonly answered: () => void
  /** Bytes that have come so far. */
  readonly bytes: () => number
  /** What ended a stream, if it was not its end. */
  readonly failure: () => unknown
}

/**
 * How often a whole body is in memory until its answer begins: what a second sealing would be made of, its sealed
 * frames, these joined, and what Node's `fetch` makes of them for itself.
 */
const copiesWhileSent = 4
/** Node's `fetch` keeps what it has sent until the answer has ended. */
const copiesWhileAnswered = 1

/**
 * Takes the body of a request: whole if it is short, else as a stream that is read as it is sent on. Throws
 * a `ProxyProblem` for one that is too long, too slow, or not to be there, and `CallerLeft`.
 */
export async function readBody(
  request: IncomingMessage,
  limits: BodyLimits,
  /** Counts what is held of it; the caller releases it. */
  budget: HeldBytes
): Promise<IncomingBody> {
  const { 'content-length': length, 'transfer-encoding': coding } = request.headers
  const isEmpty = coding === undefined && Number(length ?? 0) === 0
  if (isEmpty) return { take: () => undefined, answered: () => undefined, bytes: () => 0, failure: () => undefined }
  if (request.method === 'GET') throw problem(400, 'unexpected_body', 'a GET request has no body')
  if (Number(length ?? 0) > limits.bodyBytes) throw tooLarge(limits)

  const reader = new BodyReader(request, limits)
  const held: Uint8Array[] = []
  while (reader.bytes <= limits.heldBytes) {
    const piece = await reader.next()
    if (piece === undefined) return wholeBody(joined(held, reader.bytes), budget)
    budget.add(copiesWhileSent * piece.length)
    held.push(piece)
  }
  // Of a stream there is never more in memory than what has been held of it by now, and that once.
  budget.release((copiesWhileSent - 1) * reader.bytes)
  const body = streamOf(held, reader, budget)
  return { take: () => body, answered: () => undefined, bytes: () => reader.bytes, failure: () => reader.failure }
}

function wholeBody(whole: Uint8Array<ArrayBuffer>, budget: HeldBytes): IncomingBody {
  const { length } = whole
  let body: Uint8Array<ArrayBuffer> | undefined = whole
  return {
    take: () => {
      const given = body
      body = undefined
      return given
    },
    answered: () => budget.release((copiesWhileSent - copiesWhileAnswered) * length),
    bytes: () => length,
    failure: () => undefined
  }
}

/** Not by spreading: a body may come in more pieces than a function takes arguments. */
function joined(pieces: readonly Uint8Array[], length: number): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(length)
  let offset = 0
  for (const piece of pieces) {
    whole.set(piece, offset)
    offset += piece.length
  }
  return whole
}

/** What was held is let go as it is sent. */
function streamOf(begun: readonly Uint8Array[], reader: BodyReader, budget: HeldBytes): ReadableStream<Uint8Array> {
  const waiting = [...begun]
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const first = waiting.shift()
        if (first !== undefined) budget.release(first.length)
        const piece = first ?? (await reader.next())
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
