import { createReadStream } from 'node:fs'
import type { Sha256Hex } from '../base/digest.js'
import { UserError } from '../base/user-error.js'
import { ImageError } from '../image/index.js'
import { decompressLayer, fileSystemHash, LayerError } from '../layers/index.js'

/** Node's own 64 KiB cost a quarter of the time for a layer of some size. */
const pieceBytes = 256 * 1024

export interface LayerFileHash {
  readonly file: string
  /** dm-verity root hash, as a policy lists it. */
  readonly rootHash: Sha256Hex
  /** Directories that have something in them and no entry of their own; long lists are cut. */
  readonly implicitParents: readonly string[]
}

/**
 * The root hash of one layer: a tar, plain or compressed with gzip or zstd.
 *
 * @throws {UserError} `usage.file-unreadable`, or `image.layer` for a file that is no layer which a host can mount
 */
export async function rootHashOf(file: string, signal: AbortSignal): Promise<LayerFileHash> {
  try {
    const content = createReadStream(file, { highWaterMark: pieceBytes })
    const { rootHash, implicitParents } = await fileSystemHash(decompressLayer(content), { signal })
    return { file, rootHash, implicitParents }
  } catch (cause) {
    signal.throwIfAborted()
    if (cause instanceof LayerError) {
      throw new ImageError('image.layer', `${file} cannot become a file system: ${cause.message}`, { cause })
    }
    if (!isSystemError(cause)) throw cause
    throw new UserError('usage', 'usage.file-unreadable', `${file} cannot be read`, { cause })
  }
}

function isSystemError(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'syscall' in error
}
