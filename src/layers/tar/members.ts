import { ByteReader, type ByteSource } from '../byte-reader.js'
import type { TarEntry } from './entry.js'
import { readEntry } from './reader.js'

/** A tar that need not be read in order. */
export interface TarFile {
  /** In bytes. */
  readonly size: number
  /** `length` bytes from `position` on, or fewer where the file ends before. */
  read(position: number, length: number): Promise<Uint8Array>
}

/** An entry without its contents, and where they are. */
export interface TarMember extends Omit<TarEntry, 'data'> {
  /** Where the contents begin, `size` bytes in one piece unless the member is sparse. */
  readonly offset: number
  readonly isSparse: boolean
}

/** Headers are read with a few of what follows them, which saves a call for each small member. */
const pieceBytes = 4096

/**
 * The members of a tar, read as `readTar` reads them, in a time that depends on their number and not
 * on the size of their contents, which are skipped. Throws a `LayerError` with a `tar-…` code.
 */
export async function* readTarMembers(file: TarFile): AsyncGenerator<TarMember, void, void> {
  const source = new FileSource(file)
  const reader = new ByteReader(source)
  for (;;) {
    const next = await readEntry(reader)
    if (next === undefined) return
    const { data: _, ...described } = next.entry
    yield { ...described, offset: source.position - reader.buffered, isSparse: next.isSparse }
    await next.data.discard()
  }
}

class FileSource implements ByteSource {
  position = 0

  constructor(private readonly file: TarFile) {}

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    return { next: () => this.next() }
  }

  skip(length: number): number {
    const skipped = Math.min(length, this.file.size - this.position)
    this.position += skipped
    return skipped
  }

  private async next(): Promise<IteratorResult<Uint8Array>> {
    const value = await this.file.read(this.position, Math.min(pieceBytes, this.file.size - this.position))
    this.position += value.length
    return value.length === 0 ? { done: true, value: undefined } : { done: false, value }
  }
}
