import { setImmediate } from 'node:timers/promises'
import type { ByteReader } from '../byte-reader.js'
import { quoted, type ByteString } from '../byte-string.js'
import { LayerError } from '../layer-error.js'
import type { Fragment } from './sparse.js'

const blockBytes = 512
const zeros = new Uint8Array(65_536)
/** 16 MiB of a hole, some milliseconds of hashing. */
const holePiecesPerTurn = 256

/** The bytes that follow a header: what is left of them, and the padding up to a block. */
export class EntryData {
  private left: number
  private readonly padding: number
  private closed = false

  constructor(
    private readonly reader: ByteReader,
    length: number
  ) {
    this.left = length
    this.padding = (blockBytes - (length % blockBytes)) % blockBytes
  }

  get remaining(): number {
    return this.left
  }

  /** All of the bytes, once. */
  all(): AsyncIterable<Uint8Array> {
    return new ReadableOnce(() => this.chunks())
  }

  /** Up to `limit` of the bytes, as they come. Throws `tar-truncated`. */
  async *chunks(limit = this.left): AsyncGenerator<Uint8Array, void, void> {
    let wanted = Math.min(limit, this.left)
    this.checkOpen()
    while (wanted > 0) {
      const chunk = this.takeNow(wanted) ?? (await this.takeSome(wanted))
      wanted -= chunk.length
      yield chunk
      this.checkOpen()
    }
  }

  /** Up to `limit` of the bytes if that many are here already. */
  takeNow(limit = this.left): Uint8Array | undefined {
    const chunk = this.reader.takeNow(limit)
    if (chunk !== undefined) this.left -= chunk.length
    return chunk
  }

  /** At least one and at most `limit` of the bytes, which must not be all read. Throws `tar-truncated`. */
  async takeSome(limit = this.left): Promise<Uint8Array> {
    const chunk = await this.reader.takeSome(limit)
    if (chunk === undefined) throw endsInData()
    this.left -= chunk.length
    return chunk
  }

  async readExactly(length: number): Promise<Uint8Array> {
    if (length > this.left) throw endsInData()
    const bytes = await this.reader.take(length)
    if (bytes.length < length) throw endsInData()
    this.left -= length
    return bytes
  }

  /** Skips what nobody read, if all of it is here already. */
  discardNow(): boolean {
    const length = this.left + this.padding
    if (length > 0 && this.reader.takeNow(length) === undefined) return false
    this.closed = true
    this.left = 0
    return true
  }

  /** Skips what nobody read. An archive that ends inside the padding is complete. */
  async discard(): Promise<void> {
    this.closed = true
    const left = this.left
    this.left = 0
    if ((await this.reader.skip(left)) < left) throw endsInData()
    await this.reader.skip(this.padding)
  }

  /** Reading late must not look like reading an empty file, or take bytes of another one. */
  private checkOpen(): void {
    if (this.closed) throw new Error('the data of a tar entry must be read before the next entry is asked for')
  }
}

/** The source cannot be rewound: a second reading must not look like an empty file. */
export class ReadableOnce implements AsyncIterable<Uint8Array> {
  private taken = false

  constructor(private readonly contents: () => AsyncGenerator<Uint8Array, void, void>) {}

  [Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, void> {
    if (this.taken) throw new Error('the data of a tar entry can be read only once')
    this.taken = true
    return this.contents()
  }
}

/**
 * The contents of a sparse file, holes filled with zeros. Throws `tar-sparse-data` if the archive
 * holds fewer or more bytes than the map accounts for.
 */
export async function* fragmentedData(
  data: EntryData,
  fragments: readonly Fragment[],
  size: number,
  path: ByteString
): AsyncGenerator<Uint8Array, void, void> {
  let position = 0
  for (const { offset, length } of fragments) {
    yield* hole(offset - position)
    if (length > data.remaining) throw doesNotMatch(path, 'fewer')
    yield* data.chunks(length)
    position = offset + length
  }
  yield* hole(size - position)
  if (data.remaining > 0) throw doesNotMatch(path, 'more')
}

/** A hole costs the archive nothing and no I/O waits for it, so without turns nothing could interrupt one of terabytes. */
async function* hole(length: number): AsyncGenerator<Uint8Array, void, void> {
  let pieces = 0
  for (let left = length; left > 0; left -= zeros.length) {
    if (++pieces % holePiecesPerTurn === 0) await setImmediate()
    yield left < zeros.length ? zeros.subarray(0, left) : zeros
  }
}

function doesNotMatch(path: ByteString, relation: 'fewer' | 'more'): LayerError {
  return new LayerError('tar-sparse-data', `sparse file ${quoted(path)} has ${relation} bytes than its map says`)
}

function endsInData(): LayerError {
  return new LayerError('tar-truncated', 'the tar ends inside the data of an entry')
}
