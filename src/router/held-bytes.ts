const blockBytes = 64 * 1024

/**
 * Keeps bytes in blocks: what comes byte by byte must not cost an object for each, and what is long
 * is never copied a second time to make room for more.
 */
export class HeldBytes {
  #length = 0
  readonly #blocks: Buffer[] = []
  /** The end of the last block. */
  #free: Buffer = Buffer.alloc(0)

  get length(): number {
    return this.#length
  }

  add(chunk: Buffer): void {
    for (let rest = chunk; rest.length > 0;) {
      if (this.#free.length === 0) {
        this.#free = Buffer.allocUnsafe(Math.max(rest.length, Math.min(this.#length, blockBytes)))
        this.#blocks.push(this.#free)
      }
      const copied = rest.copy(this.#free)
      this.#free = this.#free.subarray(copied)
      this.#length += copied
      rest = rest.subarray(copied)
    }
  }

  /** The bytes from `start` to the one before `end`, in pieces. */
  *pieces(start: number, end: number): Generator<Buffer> {
    let offset = 0
    for (const block of this.#blocks) {
      const piece = block.subarray(Math.max(0, start - offset), Math.max(0, end - offset))
      if (piece.length > 0) yield piece
      offset += block.length
    }
  }
}
