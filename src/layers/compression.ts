import { Readable, type TransformOptions } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setImmediate } from 'node:timers/promises'
import { createGunzip, type ZlibOptions } from 'node:zlib'
import { ByteReader } from './byte-reader.js'
import { concatBytes } from '../base/bytes.js'
import { LayerError } from './layer-error.js'
import { decompressZstd, isZstd } from './zstd.js'

export interface DecompressOptions {
  /** What the layer may grow to, in bytes; 16 GiB if not given, more than a container group takes. */
  readonly maxBytes?: number
}

const defaultMaxBytes = 16 * 1024 ** 3
/** Large enough that what each piece costs does not matter beside what its bytes cost. */
const pieceBytes = 256 * 1024
/** How far zlib, which works in a thread of its own, may get ahead of whoever reads. */
const bytesAhead = 1024 ** 2
const bytesPerTurn = 16 * 1024 ** 2

/**
 * The tar of a layer blob. Its first bytes tell gzip (also of several members) and zstd (also of several
 * and of skippable frames); anything else is passed on as it is.
 *
 * Checksums of gzip are verified, those of zstd are not: compare the diff id. Throws `compression` for
 * damaged, short or continued streams, `expansion-limit` before more than `maxBytes` have come out.
 */
export async function* decompressLayer(
  bytes: AsyncIterable<Uint8Array>,
  { maxBytes = defaultMaxBytes }: DecompressOptions = {}
): AsyncGenerator<Uint8Array, void, void> {
  const reader = new ByteReader(bytes)
  try {
    let total = 0
    let turnAt = bytesPerTurn
    for await (const piece of decompress(reader)) {
      total += piece.length
      if (total > maxBytes) {
        throw new LayerError('expansion-limit', `the layer is larger than ${maxBytes} bytes when it is decompressed`)
      }
      // A few bytes of zstd stand for 128 KiB, so one piece of input can keep the event loop for seconds.
      if (total >= turnAt) {
        turnAt = total + bytesPerTurn
        await setImmediate()
      }
      yield piece
    }
  } finally {
    await reader.close()
  }
}

async function* decompress(reader: ByteReader): AsyncGenerator<Uint8Array, void, void> {
  const magic = await reader.take(4)
  const rest = unread(magic, reader)
  if (magic[0] === 0x1f && magic[1] === 0x8b) yield* decompressGzip(rest)
  else if (isZstd(magic)) yield* decompressZstd(new ByteReader(rest))
  else yield* rest
}

async function* unread(head: Uint8Array, reader: ByteReader): AsyncGenerator<Uint8Array, void, void> {
  const next = await reader.takeSome(pieceBytes)
  yield next === undefined ? head : concatBytes(head, next)
  for (let piece = next; piece !== undefined;) {
    piece = await reader.takeSome(pieceBytes)
    if (piece !== undefined) yield piece
  }
}

async function* decompressGzip(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, void> {
  const options: ZlibOptions & TransformOptions = { chunkSize: pieceBytes, highWaterMark: bytesAhead }
  const gunzip = createGunzip(options)
  let fed = 0
  let exhausted = false
  async function* feed() {
    for await (const piece of bytes) {
      fed += piece.length
      yield piece
    }
    exhausted = true
  }
  const feeding = pipeline(Readable.from(feed()), gunzip)
  // Whatever fails here also comes out of the reading side, which is where it is handled.
  feeding.catch(() => undefined)
  try {
    yield* gunzip as AsyncIterable<Uint8Array>
  } catch (error) {
    if (!isZlibError(error)) throw error
    // The one code that zlib has for "no error, and nothing left to go on with".
    const fault =
      error.code === 'Z_BUF_ERROR' ? 'ends too early: some of the layer is missing' : `is not valid: ${error.message}`
    throw new LayerError('compression', `the gzip stream of the layer ${fault}`, { cause: error })
  }
  // zlib takes zeros behind the last member for padding and stops reading.
  if (!exhausted || gunzip.bytesWritten !== fed) {
    throw new LayerError('compression', 'the gzip stream of the layer is followed by other bytes')
  }
}

function isZlibError(error: unknown): error is { readonly code: string; readonly message: string } {
  if (typeof error !== 'object' || error === null || !('code' in error) || !('message' in error)) return false
  return typeof error.code === 'string' && error.code.startsWith('Z_') && typeof error.message === 'string'
}
