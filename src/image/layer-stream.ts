import type { OciDigest } from '../base/digest.js'
import { UserError } from '../base/user-error.js'
import { decompressLayer, LayerError } from '../layers/index.js'
import { ImageError } from './image-error.js'
import { limited, tooLarge, verifiedStream } from './verified-stream.js'

/** Confidential container groups take images of up to 15 GB; a layer beyond that is a decompression bomb. */
export const maxLayerBytes = 16 * 1024 ** 3

interface LayerIdentity {
  /** Of the blob. */
  readonly digest: OciDigest
  /** Of the uncompressed tar; equal to `digest` for a blob that is not compressed. */
  readonly diffId: OciDigest
  /** Of the blob, in bytes. */
  readonly size: number
  readonly label: string
}

/** Uncompresses a layer blob and checks size, digest and diff id by the end of the stream. */
export function openLayer(
  content: AsyncIterable<Uint8Array>,
  { digest, diffId, size, label }: LayerIdentity
): AsyncGenerator<Uint8Array, void, undefined> {
  const blob = verifiedStream(content, { digest, size, label })
  return digest === diffId ? limited(blob, maxLayerBytes, label) : uncompressed(blob, diffId, label)
}

/** The same for a layer of a docker-archive, which has only a diff id and may be compressed all the same. */
export function openDockerLayer(
  content: AsyncIterable<Uint8Array>,
  { diffId, label }: Pick<LayerIdentity, 'diffId' | 'label'>
): AsyncGenerator<Uint8Array, void, undefined> {
  return uncompressed(content, diffId, label)
}

async function* uncompressed(
  blob: AsyncIterable<Uint8Array>,
  diffId: OciDigest,
  label: string
): AsyncGenerator<Uint8Array, void, undefined> {
  const watched = new WatchedStream(blob)
  const tar = decompressLayer(watched, { maxBytes: maxLayerBytes })
  try {
    yield* verifiedStream(tar, { digest: diffId, size: undefined, label: `the uncompressed ${label}` })
  } catch (error) {
    if (watched.failed) throw watched.failure
    if (error instanceof UserError) throw error
    if (error instanceof LayerError && error.code === 'expansion-limit') throw tooLarge(label, maxLayerBytes)
    throw new ImageError('image.malformed', `${label} cannot be decompressed`, { cause: error })
  }
  // A decompressor may stop at the end of its format; what follows was then neither read nor hashed.
  if (!watched.ended) throw new ImageError('image.malformed', `${label} has data after its compressed end`)
}

/** Remembers how a stream ended, so that a fault of the source is not taken for one of its reader. */
class WatchedStream implements AsyncIterable<Uint8Array> {
  ended = false
  failed = false
  failure: unknown

  constructor(private readonly source: AsyncIterable<Uint8Array>) {}

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      yield* this.source
      this.ended = true
    } catch (error) {
      this.failed = true
      this.failure = error
      throw error
    }
  }
}
