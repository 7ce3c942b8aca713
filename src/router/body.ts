import type { IncomingMessage } from 'node:http'
import { Transform, type TransformCallback } from 'node:stream'
import { Problem } from './problem.js'
import { BodyTooLargeError, Collector } from './read-at-most.js'

/** The caller's connection ended while its request was still coming; there is nobody to answer. */
export class CallerGoneError extends Error {
  override readonly name = 'CallerGoneError'
}

export const hasBody = ({ headers }: IncomingMessage): boolean =>
  headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0

/** Turns the bytes of a body into those that it stands for, piece by piece; its errors end the body. */
export interface BodyDecoder {
  push(chunk: Uint8Array): readonly Uint8Array[]
  /** The body is complete. */
  end(): void
}

export interface BodyLimits {
  readonly bytes: number
  /** Longest wait for the next bytes. */
  readonly idleMs: number
}

export const bodyTooLarge = (limit: number): Problem =>
  new Problem('body_too_large', new BodyTooLargeError(limit).message)

/** The rest of the body may come at any time, so the connection is of no further use. */
const bodyStalled = (): Problem =>
  new Problem('request_timeout', 'the body did not come in time', { headers: { connection: 'close' } })

/** A body that is held has to come within this time, however steadily it trickles: 20 MB at half a megabit. */
const longestWholeBodyMs = 300_000

/**
 * Reads a whole body; `hold` is told of all bytes before they are kept, and throws to refuse them.
 * Throws a `Problem` with code `body_too_large`, as early as it is known, or `request_timeout`, and
 * what `decoder` throws.
 */
export function readBody(
  request: IncomingMessage,
  { bytes, idleMs }: BodyLimits,
  hold: (bytes: number) => void,
  decoder?: BodyDecoder
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    if (Number(request.headers['content-length'] ?? 0) > bytes) {
      reject(bodyTooLarge(bytes))
      return
    }
    const collected = new Collector(bytes)
    let isWhole = false
    const late = setTimeout(() => fail(bodyStalled()), longestWholeBodyMs)
    const fail = (error: unknown) => {
      clearTimeout(idle)
      clearTimeout(late)
      // What still comes is thrown away by the server, so that the caller can read the answer.
      request.removeAllListeners('data')
      request.resume()
      reject(error instanceof BodyTooLargeError ? bodyTooLarge(bytes) : (error as Error))
    }
    const idle = setTimeout(() => fail(bodyStalled()), idleMs)
    request.on('data', (chunk: Buffer) => {
      idle.refresh()
      try {
        hold(chunk.length)
        if (decoder === undefined) collected.add(chunk)
        else for (const piece of decoder.push(chunk)) collected.add(piece)
      } catch (error) {
        fail(error)
      }
    })
    request.once('end', () => {
      try {
        decoder?.end()
      } catch (error) {
        fail(error)
        return
      }
      isWhole = true
      clearTimeout(idle)
      clearTimeout(late)
      resolve(collected.bytes)
    })
    request.once('close', () => {
      clearTimeout(idle)
      clearTimeout(late)
      // Every request closes, and an error is costly to make.
      if (!isWhole) reject(new CallerGoneError())
    })
  })
}

/**
 * Passes a body through with back-pressure. Fails with a `BodyTooLargeError` when it grows too long,
 * and with a `Problem` when it stalls.
 */
export class LimitedBody extends Transform {
  bytes = 0
  readonly #idle: NodeJS.Timeout

  constructor(
    request: IncomingMessage,
    private readonly limits: BodyLimits,
    private readonly decoder?: BodyDecoder
  ) {
    super()
    // A body that waits for a slow provider, or has come already, is not the caller's fault.
    this.#idle = setTimeout(() => {
      if (this.writableNeedDrain || this.writableEnded) this.#idle.refresh()
      else this.destroy(bodyStalled())
    }, limits.idleMs)
    // Not `pipeline`: on a failure it would destroy the request, and with it the connection on which
    // the caller is to be told about the failure.
    request.once('close', () => {
      if (!request.complete) this.destroy(new CallerGoneError())
    })
    this.once('close', () => {
      clearTimeout(this.#idle)
      request.unpipe(this)
      request.resume()
    })
    request.pipe(this)
  }

  override _transform(chunk: Buffer, _: BufferEncoding, done: TransformCallback): void {
    this.#idle.refresh()
    this.bytes += chunk.length
    if (this.bytes > this.limits.bytes) {
      done(new BodyTooLargeError(this.limits.bytes))
      return
    }
    if (this.decoder === undefined) {
      done(null, chunk)
      return
    }
    try {
      for (const piece of this.decoder.push(chunk)) this.push(piece)
      done()
    } catch (error) {
      done(error as Error)
    }
  }

  /** All of the caller's body has come; what the provider does with it is limited elsewhere. */
  override _flush(done: TransformCallback): void {
    clearTimeout(this.#idle)
    try {
      this.decoder?.end()
      done()
    } catch (error) {
      done(error as Error)
    }
  }
}
