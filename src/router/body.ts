import type { IncomingMessage } from 'node:http'
import { Transform, type TransformCallback } from 'node:stream'
import { Problem } from './problem.js'

export class BodyTooLargeError extends Error {
  override readonly name = 'BodyTooLargeError'
  readonly code = 'BODY_TOO_LARGE'

  constructor(limit: number) {
    super(`the body is larger than ${limit} bytes`)
  }
}

export const hasBody = ({ headers }: IncomingMessage): boolean =>
  headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0

/** Reads a whole body. Throws a `Problem` with code `body_too_large`, as early as it is known. */
export function readBody(request: IncomingMessage, limit: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const tooLarge = () => new Problem('body_too_large', new BodyTooLargeError(limit).message)
    if (Number(request.headers['content-length'] ?? 0) > limit) {
      reject(tooLarge())
      return
    }
    const chunks: Buffer[] = []
    let bytes = 0
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes > limit) {
        // What still comes is thrown away by the server, so that the caller can read the answer.
        request.removeAllListeners('data')
        request.resume()
        reject(tooLarge())
        return
      }
      chunks.push(chunk)
    })
    request.once('end', () => resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks)))
    request.once('close', () => reject(new CallerGoneError()))
  })
}

/** The caller's connection ended while its request was still coming; there is nobody to answer. */
export class CallerGoneError extends Error {
  override readonly name = 'CallerGoneError'
}

/** Passes a body through with back-pressure, and fails with a `BodyTooLargeError` when it grows too long. */
export class LimitedBody extends Transform {
  bytes = 0

  constructor(
    request: IncomingMessage,
    private readonly limit: number
  ) {
    super()
    // Not `pipeline`: on a failure it would destroy the request, and with it the connection on which
    // the caller is to be told about the failure.
    request.once('close', () => {
      if (!request.complete) this.destroy(new CallerGoneError())
    })
    this.once('close', () => {
      request.unpipe(this)
      request.resume()
    })
    request.pipe(this)
  }

  override _transform(chunk: Buffer, _: BufferEncoding, done: TransformCallback): void {
    this.bytes += chunk.length
    if (this.bytes > this.limit) done(new BodyTooLargeError(this.limit))
    else done(null, chunk)
  }
}
