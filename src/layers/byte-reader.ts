export interface ByteSource extends AsyncIterable<Uint8Array> {
  /** Leaves out up to `length` bytes without reading them, and returns how many there were. */
  skip?(length: number): number
}

const none = new Uint8Array(0)

/**
 * Takes exact numbers of bytes from a source that comes in pieces of any size. What it returns are
 * views into those pieces where possible: valid, and not to be written to, for as long as the source
 * leaves its pieces alone.
 */
export class ByteReader {
  private readonly source: AsyncIterator<Uint8Array>
  private piece: Uint8Array = none
  private ended = false

  constructor(private readonly origin: ByteSource) {
    this.source = origin[Symbol.asyncIterator]()
  }

  /** Bytes that the source has given and nobody has taken. */
  get buffered(): number {
    return this.piece.length
  }

  /** The next byte if it is here already. */
  peek(): number | undefined {
    return this.piece[0]
  }

  /** `length` bytes if they are here already: saves the turn of the event loop that a promise costs. */
  takeNow(length: number): Uint8Array | undefined {
    return this.piece.length >= length ? this.cut(length) : undefined
  }

  /** `length` bytes, or fewer if the source ends before. */
  async take(length: number): Promise<Uint8Array> {
    const whole = this.takeNow(length)
    if (whole !== undefined) return whole
    const parts: Uint8Array[] = []
    let missing = length
    while (missing > 0) {
      const part = await this.takeSome(missing)
      if (part === undefined) break
      parts.push(part)
      missing -= part.length
    }
    return parts.length === 1 && parts[0] ? parts[0] : Buffer.concat(parts)
  }

  /** Between 1 and `limit` bytes, whatever comes without copying; undefined at the end. */
  async takeSome(limit: number): Promise<Uint8Array | undefined> {
    if (this.piece.length === 0 && !(await this.pull())) return undefined
    return this.cut(Math.min(limit, this.piece.length))
  }

  /** Drops up to `length` bytes and returns how many there were. */
  async skip(length: number): Promise<number> {
    let missing = length
    while (missing > 0) {
      if (this.piece.length === 0 && this.origin.skip !== undefined) return length - missing + this.origin.skip(missing)
      const part = this.takeNow(missing) ?? (await this.takeSome(missing))
      if (part === undefined) break
      missing -= part.length
    }
    return length - missing
  }

  /** Tells the source that nobody will read on, so that it can release what it holds. */
  async close(): Promise<void> {
    if (this.ended) return
    this.ended = true
    this.piece = none
    await this.source.return?.()
  }

  private cut(length: number): Uint8Array {
    const head = this.piece.subarray(0, length)
    this.piece = this.piece.subarray(length)
    return head
  }

  private async pull(): Promise<boolean> {
    while (!this.ended) {
      const next = await this.source.next()
      if (next.done === true) {
        this.ended = true
      } else if (next.value.length > 0) {
        this.piece = next.value
        return true
      }
    }
    return false
  }
}
