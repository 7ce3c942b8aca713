import { createHash } from 'node:crypto'
import { concatBytes } from '../base/bytes.js'
import { parseOciDigest, type OciDigest } from '../base/digest.js'
import { ImageError } from './image-error.js'

export interface Expected {
  readonly digest: OciDigest
  /** In bytes; undefined where the format does not say. */
  readonly size: number | undefined
  /** What it is, for the message: `layer 2 of ghcr.io/…`. */
  readonly label: string
}

/**
 * Passes bytes through and throws at the end unless they are the expected ones. A stream that is
 * longer than expected ends at once, so that a hostile source cannot go on for ever.
 */
export async function* verifiedStream(
  source: AsyncIterable<Uint8Array>,
  { digest, size, label }: Expected
): AsyncGenerator<Uint8Array, void, undefined> {
  const hash = createHash('sha256')
  let received = 0
  for await (const chunk of source) {
    received += chunk.length
    if (size !== undefined && received > size) throw mismatch(label, `${size} bytes`, 'more')
    hash.update(chunk)
    yield chunk
  }
  if (size !== undefined && received !== size) throw mismatch(label, `${size} bytes`, `${received} bytes`)
  const actual = parseOciDigest(`sha256:${hash.digest('hex')}`, label)
  if (actual !== digest) throw mismatch(label, digest, actual)
}

/** Collects a whole stream; throws `image.too-large` as soon as it exceeds `limit` bytes. */
export async function collect(source: AsyncIterable<Uint8Array>, limit: number, label: string): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let received = 0
  for await (const chunk of source) {
    received += chunk.length
    if (received > limit) throw tooLarge(label, limit)
    chunks.push(chunk)
  }
  return concatBytes(...chunks)
}

/** Passes bytes through and throws `image.too-large` when there are more than `limit`. */
export async function* limited(
  source: AsyncIterable<Uint8Array>,
  limit: number,
  label: string
): AsyncGenerator<Uint8Array, void, undefined> {
  let received = 0
  for await (const chunk of source) {
    received += chunk.length
    if (received > limit) throw tooLarge(label, limit)
    yield chunk
  }
}

export function tooLarge(label: string, limit: number): ImageError {
  return new ImageError('image.too-large', `${label} is larger than ${limit} bytes`)
}

function mismatch(label: string, expected: string, actual: string): ImageError {
  return new ImageError(
    'image.digest-mismatch',
    `${label} is not what its digest says: expected ${expected}, got ${actual}`,
    {
      why: 'the bytes were damaged or replaced after the digest was recorded'
    }
  )
}
