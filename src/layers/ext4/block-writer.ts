import { LayerError } from '../layer-error.js'
import { blockBytes, firstDataBlock } from './format.js'

/**
 * Receives each block of the image once, most of them in ascending order. The bytes are valid during
 * the call only.
 */
export type BlockSink = (index: number, block: Uint8Array) => void

/** Cuts what is written into blocks and numbers them. */
export class BlockWriter {
  private index = firstDataBlock
  private readonly partial = Buffer.alloc(blockBytes)
  private filled = 0

  constructor(
    private readonly sink: BlockSink,
    private readonly maxBlocks: number
  ) {}

  /** The block that the next bytes go to, if no block is begun. */
  get next(): number {
    return this.index
  }

  write(bytes: Uint8Array): void {
    let at = 0
    if (this.filled > 0) {
      at = Math.min(bytes.length, blockBytes - this.filled)
      this.partial.set(bytes.subarray(0, at), this.filled)
      this.filled += at
      if (this.filled < blockBytes) return
      this.filled = 0
      this.emit(this.partial)
    }
    for (; at + blockBytes <= bytes.length; at += blockBytes) this.emit(bytes.subarray(at, at + blockBytes))
    this.filled = bytes.length - at
    if (this.filled > 0) this.partial.set(bytes.subarray(at))
  }

  /** Fills a block that is begun with zeros. */
  align(): void {
    if (this.filled === 0) return
    this.partial.fill(0, this.filled)
    this.filled = 0
    this.emit(this.partial)
  }

  /** Leaves out a block, for {@link place} to write later. */
  reserve(): number {
    this.checkSpace()
    return this.index++
  }

  /** Throws `image-too-large` before `bytes` are produced that could not be written. */
  checkRoom(bytes: number): void {
    if (this.index + Math.ceil(bytes / blockBytes) > this.maxBlocks) throw this.tooLarge()
  }

  place(index: number, block: Uint8Array): void {
    this.sink(index, block)
  }

  private emit(block: Uint8Array): void {
    this.checkSpace()
    this.sink(this.index++, block)
  }

  private checkSpace(): void {
    if (this.index >= this.maxBlocks) throw this.tooLarge()
  }

  private tooLarge(): LayerError {
    return new LayerError('image-too-large', `the file system is larger than ${this.maxBlocks * blockBytes} bytes`)
  }
}
