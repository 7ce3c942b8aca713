import type { OutgoingHttpHeader, ServerResponse } from 'node:http'
import process from 'node:process'
import { TLSSocket } from 'node:tls'
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

/** Small enough that also a slow caller reads one within the time that it may stall. */
const sliceBytes = 64 * 1024

/** An answer as it is, chunk by chunk. */
export class PlainReply implements Reply {
  bytesOut = 0
  readonly #fixed: Record<string, string | string[]>
  #isChunked = false
  #trailers: ReplyHeaders = {}
  #stalled: NodeJS.Timeout | undefined

  /**
   * `fixed` goes into every answer. After `idleMs` in which the caller has read nothing of an answer
   * that is complete, `onStall` is called and the connection broken.
   */
  constructor(
    private readonly response: ServerResponse,
    fixed: ReplyHeaders,
    private readonly idleMs: number,
    private readonly onStall: () => void
  ) {
    this.#fixed = { ...fixed }
    response.once('finish', () => clearTimeout(this.#stalled))
    response.once('close', () => clearTimeout(this.#stalled))
  }

  /** Adds headers that go into every answer. */
  always(headers: ReplyHeaders): void {
    Object.assign(this.#fixed, headers)
  }

  get started(): boolean {
    return this.response.headersSent
  }

  start(status: number, headers: ReplyHeaders): void {
    this.response.writeHead(status, this.#withFixed(headers))
    if (headers['content-length'] !== undefined) return
    // The answer may be a stream whose first event is far away; the caller should know the status by
    // then. What comes in the same turn travels with the header, as it does where there is a length.
    const { socket } = this.response
    socket?.cork()
    this.response.flushHeaders()
    process.nextTick(() => socket?.uncork())
    // Node frames a chunk in four pieces, which costs as much as all that the router does with an event.
    this.#isChunked = this.response.chunkedEncoding
    this.response.chunkedEncoding = false
  }

  write(chunk: Uint8Array): boolean {
    this.bytesOut += chunk.length
    if (chunk.length === 0) return true
    return this.response.write(this.#isChunked ? chunked(chunk) : chunk)
  }

  /** Sent behind the answer, where its form has a place for them: HTTP/1.1 without a length. */
  addTrailers(trailers: ReplyHeaders): void {
    this.#trailers = trailers
  }

  onDrain(resume: () => void): void {
    this.response.once('drain', resume)
  }

  end(): void {
    if (this.#isChunked) this.response.end(lastChunk(this.#trailers))
    else this.response.end()
    this.#limitStall()
  }

  breakOff(): void {
    // To HTTP/1.0 the end of the connection is the end of the answer; a reset alone says that it is none.
    const { req, socket } = this.response
    if (req.httpVersion === '1.0' && socket !== null && !(socket instanceof TLSSocket)) socket.resetAndDestroy()
    this.response.destroy()
  }

  problem(problem: Problem): void {
    this.json(problem.status, problem, problem.headers)
  }

  /** Answers with one JSON document. */
  json(status: number, value: unknown, headers: ReplyHeaders = {}): void {
    const body = Buffer.from(JSON.stringify(value))
    this.bytesOut += body.length
    this.response.writeHead(
      status,
      this.#withFixed({
        'content-type': 'application/json; charset=utf-8',
        'cache-control': 'no-store',
        ...headers,
        'content-length': String(body.length)
      })
    )
    this.#sendFrom(body, 0)
  }

  /** Names and values in turns: what Node would make of an object, in half the time. */
  #withFixed(headers: ReplyHeaders): OutgoingHttpHeader[] {
    const list: OutgoingHttpHeader[] = []
    for (const name of Object.keys(headers)) {
      const value = headers[name]
      if (value !== undefined && this.#fixed[name] === undefined) list.push(name, value)
    }
    for (const name of Object.keys(this.#fixed)) list.push(name, this.#fixed[name] ?? '')
    return list
  }

  /** In slices, because only a whole write shows that bytes have moved. */
  #sendFrom(body: Buffer, start: number): void {
    let at = start
    while (at + sliceBytes < body.length) {
      const more = this.response.write(body.subarray(at, at + sliceBytes))
      at += sliceBytes
      if (more) continue
      this.response.once('drain', () => this.#sendFrom(body, at))
      this.#limitStall()
      return
    }
    this.response.end(body.subarray(at))
    this.#limitStall()
  }

  #limitStall(): void {
    clearTimeout(this.#stalled)
    if (this.response.writableFinished || this.response.closed) return
    // An answer that waits behind another one on its connection has no socket yet.
    if (this.response.socket === null) {
      this.response.once('socket', () => this.#limitStall())
      return
    }
    this.#stalled = setTimeout(() => {
      this.onStall()
      this.response.destroy()
    }, this.idleMs)
  }
}

/** RFC 9112 section 7.1: one chunk, in one piece, so that it is one write. */
function chunked(chunk: Uint8Array): Uint8Array {
  const size = `${chunk.length.toString(16)}\r\n`
  const framed = Buffer.allocUnsafe(size.length + chunk.length + 2)
  framed.write(size, 0, 'latin1')
  framed.set(chunk, size.length)
  framed.write('\r\n', framed.length - 2, 'latin1')
  return framed
}

/** RFC 9112 section 7.1.2. */
function lastChunk(trailers: ReplyHeaders): string {
  const lines = Object.entries(trailers).map(([name, value]) => `${name}: ${String(value)}\r\n`)
  return `0\r\n${lines.join('')}\r\n`
}
