export class BodyTooLargeError extends Error {
  override readonly name = 'BodyTooLargeError'
  readonly code = 'BODY_TOO_LARGE'

  constructor(limit: number) {
    super(`the body is larger than ${limit} bytes`)
  }
}

/** Reads at most `limit` bytes; throws a `BodyTooLargeError` if there are more. */
export async function readAtMost(chunks: AsyncIterable<Uint8Array>, limit: number): Promise<Buffer> {
  const collected = new Collector(limit)
  for await (const chunk of chunks) collected.add(chunk)
  return collected.bytes
}

/** Collects chunks up to `limit` bytes. */
export class Collector {
  #buffer: Buffer = Buffer.alloc(0)
  #length = 0

  constructor(private readonly limit: number) {}

  /** The bytes so far. */
  get bytes(): Buffer {
    return this.#buffer.subarray(0, this.#length)
  }

  add(chunk: Uint8Array): void {
    const length = this.#length + chunk.length
    if (length > this.limit) throw new BodyTooLargeError(this.limit)
    if (this.#length === 0) {
      // Most bodies come in one piece, which then is not copied.
      this.#buffer = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    } else {
      // One growing buffer and no list: a body that comes byte by byte must not cost an object for each.
      if (length > this.#buffer.length) this.#grow(length)
      this.#buffer.set(chunk, this.#length)
    }
    this.#length = length
  }

  #grow(length: number): void {
    const grown = Buffer.allocUnsafe(Math.min(this.limit, Math.max(2 * length, 16 * 1024)))
    this.#buffer.copy(grown, 0, 0, this.#length)
    this.#buffer = grown
  }
}
