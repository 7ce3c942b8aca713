import type { ServerResponse } from 'node:http'
import type { Problem } from './problem.js'

export type ReplyHeaders = Readonly<Record<string, string | string[]>>

/**
 * Where an answer goes. The forwarding code knows this interface alone, so that a sealed answer is
 * another kind of reply and no other kind of forwarding.
 */
export interface Reply {
  /** Whether the caller has a status already, so that an error can be told by breaking off alone. */
  readonly started: boolean
  /** Bytes of answer bodies handed to the connection. */
  readonly bytesOut: number
  start(status: number, headers: ReplyHeaders): void
  /** False asks the producer to stop until `onDrain` calls back. */
  write(chunk: Uint8Array): boolean
  onDrain(resume: () => void): void
  end(): void
  /** The answer cannot be completed: the caller must see a broken connection, never a clean end. */
  breakOff(): void
  /** Answers with an error; only before `start`. */
  problem(problem: Problem): void
}

/** An answer as it is, chunk by chunk. */
export class PlainReply implements Reply {
  bytesOut = 0

  /** `fixed` goes into every answer. */
  constructor(
    private readonly response: ServerResponse,
    private readonly fixed: ReplyHeaders
  ) {}

  get started(): boolean {
    return this.response.headersSent
  }

  start(status: number, headers: ReplyHeaders): void {
    this.response.writeHead(status, { ...headers, ...this.fixed })
    // Without a length the answer may be a stream whose first event is far away; the caller should
    // know the status by then. With a length the header travels with the first bytes.
    if (headers['content-length'] === undefined) this.response.flushHeaders()
  }

  write(chunk: Uint8Array): boolean {
    this.bytesOut += chunk.length
    return this.response.write(chunk)
  }

  onDrain(resume: () => void): void {
    this.response.once('drain', resume)
  }

  end(): void {
    this.response.end()
  }

  breakOff(): void {
    this.response.destroy()
  }

  problem(problem: Problem): void {
    this.json(problem.status, problem, problem.headers)
  }

  /** Answers with one JSON document. */
  json(status: number, value: unknown, headers: ReplyHeaders = {}): void {
    const body = Buffer.from(JSON.stringify(value))
    this.bytesOut += body.length
    this.response.writeHead(status, {
      'content-type': 'application/json; charset=utf-8',
      'cache-control': 'no-store',
      ...headers,
      ...this.fixed,
      'content-length': String(body.length)
    })
    this.response.end(body)
  }
}
