import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { equalBytes } from '../base/bytes.js'
import { ociDigest, type OciDigest } from '../base/digest.js'
import { utf8 } from '../base/encoding.js'
import { canonicalJson, type Json, type JsonObject } from '../base/json.js'
import { writeAtomically } from './atomic-file.js'
import { fileError, isMissing, readExtent } from './file-content.js'
import { ImageError } from './image-error.js'
import { blobPath, checkLayout, layoutMarker } from './layout.js'
import { imageNameAnnotation, parseLayoutIndex } from './layout-index.js'
import { withLayoutLock } from './layout-lock.js'
import { mediaTypes, parseJsonObject, type Descriptor, type Platform } from './manifest.js'
import { verifiedStream } from './verified-stream.js'

export interface LayoutEntry extends Descriptor {
  readonly platform: Platform
}

const emptyIndex = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [] }

/**
 * Stores blobs and names an image in an OCI layout, which is created if absent. Blobs that exist are
 * read and compared, not trusted; a damaged one is written again. Returns whether anything changed.
 *
 * The index is written last, so that it never names what is not there. Each file appears whole or not
 * at all, and writers of one layout wait for each other, since the index is read, changed and written.
 */
export async function writeToLayout(
  layoutDir: string,
  blobs: readonly Uint8Array[],
  entry: LayoutEntry
): Promise<boolean> {
  await makeFolder(join(layoutDir, 'blobs', 'sha256'))
  return withLayoutLock(layoutDir, async () => {
    let changed = false
    for (const blob of blobs) {
      if (await writeIfDifferent(layoutDir, blobPath(layoutDir, ociDigest(blob)), blob)) changed = true
    }
    if (await writeIndexEntry(layoutDir, entry)) changed = true
    return changed
  })
}

/** A blob that comes from elsewhere and may be too large for memory. */
export interface StreamedBlob {
  readonly digest: OciDigest
  /** In bytes. */
  readonly size: number
  /** Throws by its end unless the bytes are those of digest and size. */
  open(): AsyncIterable<Uint8Array>
}

/**
 * Stores a blob in a layout, which is created if absent; returns false if it is there and whole. It has its
 * name only once it is known to be right.
 */
export async function storeBlob(layoutDir: string, blob: StreamedBlob): Promise<boolean> {
  const path = blobPath(layoutDir, blob.digest)
  if (await isStored(path, blob)) return false
  await makeFolder(join(layoutDir, 'blobs', 'sha256'))
  await writeAtomically(path, layoutDir, blob.open())
  return true
}

/** Read and compared, as every blob; the source is asked only for what is missing or damaged. */
async function isStored(path: string, { digest, size }: StreamedBlob): Promise<boolean> {
  try {
    const content = readExtent(path, { offset: 0, size: size + 1 })
    for await (const chunk of verifiedStream(content, { digest, size, label: path })) void chunk
    return true
  } catch (error) {
    if (error instanceof ImageError && replaceable.has(error.code)) return false
    throw error
  }
}

const replaceable: ReadonlySet<string> = new Set(['image.not-found', 'image.digest-mismatch'])

async function writeIndexEntry(layoutDir: string, entry: LayoutEntry): Promise<boolean> {
  const path = join(layoutDir, 'index.json')
  const present = await readIfPresent(path)
  if (present !== undefined) await checkLayout(layoutDir)
  const marked = await writeIfDifferent(layoutDir, join(layoutDir, 'oci-layout'), utf8.encode(layoutMarker))
  const index = indexWith(entry, present ?? utf8.encode(canonicalJson(emptyIndex)), path)
  const written = await writeIfDifferent(layoutDir, path, utf8.encode(canonicalJson(index)))
  return marked || written
}

/** Replaces the entry of the same name, and keeps every other one as it was written, unknown members included. */
function indexWith(entry: LayoutEntry, before: Uint8Array, path: string): JsonObject {
  const named = parseLayoutIndex(before, path)
  const document = parseJsonObject(before, path)
  const raw = Array.isArray(document['manifests']) ? (document['manifests'] as readonly Json[]) : []
  const name = entry.annotations[imageNameAnnotation]
  const others = raw.filter((_, place) => named[place]?.annotations[imageNameAnnotation] !== name)
  const { mediaType, digest, size, platform, annotations } = entry
  return { ...document, manifests: [...others, { mediaType, digest, size, platform: { ...platform }, annotations }] }
}

async function writeIfDifferent(layoutDir: string, path: string, bytes: Uint8Array): Promise<boolean> {
  const present = await readIfPresent(path)
  if (present !== undefined && equalBytes(present, bytes)) return false
  await writeAtomically(path, layoutDir, once(bytes))
  return true
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  yield bytes
}

async function readIfPresent(path: string): Promise<Uint8Array | undefined> {
  try {
    return await readFile(path)
  } catch (cause) {
    if (isMissing(cause)) return undefined
    throw fileError('read', path, cause)
  }
}

async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true })
  } catch (cause) {
    throw fileError('create', path, cause)
  }
}
