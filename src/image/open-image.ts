import type { OciDigest } from '../base/digest.js'
import { parseConfigDocument, maxConfigBytes } from './config-document.js'
import type { ContentSource } from './content-source.js'
import type { ImageLayer, Image } from './image.js'
import { ImageError } from './image-error.js'
import { notInLayout, selectByName } from './layout-index.js'
import { openLayer } from './layer-stream.js'
import { isIndexType, malformed, maxDocumentBytes, parseManifest, type Descriptor, type Manifest } from './manifest.js'
import { parseReference } from './reference.js'
import { watched, type Watch } from './transfer.js'
import { collect, tooLarge, verifiedStream } from './verified-stream.js'

/** An index may point to an index (containerd and BuildKit write that); nobody needs a third level. */
const maxIndexDepth = 3
/** What a search by digest may read: layouts of build caches hold hundreds of indexes, of some kilobytes. */
const maxSearchedIndexes = 1000
const maxSearchedBytes = 64 * 1024 * 1024

/**
 * Opens the image that a reference means among the entries of a layout's index. A digest in the
 * reference decides alone, wherever in nested indexes it stands; otherwise the name does.
 */
export async function openIndexedImage(
  source: ContentSource,
  entries: readonly Descriptor[],
  reference: string
): Promise<Image> {
  const { digest } = parseReference(reference)
  const label = `the index of ${source.location}`
  const root =
    digest === undefined
      ? selectByName(entries, reference, label)
      : await findByDigest(source, entries, digest, maxIndexDepth, { visited: new Set(), bytes: 0 })
  if (root === undefined) throw notInLayout(entries, reference, label)
  return openImage(source, reference, root)
}

/** Follows a descriptor to the image for linux/amd64 and reads its documents, each checked against its digest. */
export async function openImage(source: ContentSource, reference: string, root: Descriptor): Promise<Image> {
  const { descriptor, manifest } = await resolveManifest(source, reference, root, maxIndexDepth)
  const label = `the config of ${reference}`
  const bytes = await readVerified(source.openBlob(manifest.config), manifest.config, maxConfigBytes, label)
  const { config, diffIds } = parseConfigDocument(bytes, label)
  if (diffIds.length !== manifest.layers.length) {
    throw malformed(label, `has ${diffIds.length} diff ids for ${manifest.layers.length} layers`)
  }
  const layers = manifest.layers.map((layer, index) =>
    imageLayer(source, layer, diffIds[index], `layer ${index} of ${reference}`)
  )
  return { reference, digest: descriptor.digest, config, layers }
}

/** Reads a whole small blob that must have the descriptor's size and digest. */
async function readVerified(
  content: AsyncIterable<Uint8Array>,
  { digest, size }: Descriptor,
  limit: number,
  label: string
): Promise<Uint8Array> {
  if (size > limit) throw tooLarge(label, limit)
  return collect(verifiedStream(content, { digest, size, label }), limit, label)
}

interface Search {
  /** Indexes that were read: an index that many others name is read once. */
  readonly visited: Set<OciDigest>
  bytes: number
}

async function findByDigest(
  source: ContentSource,
  entries: readonly Descriptor[],
  digest: OciDigest,
  depth: number,
  search: Search
): Promise<Descriptor | undefined> {
  const direct = entries.find((entry) => entry.digest === digest)
  if (direct !== undefined || depth === 0) return direct
  for (const entry of entries.filter(({ mediaType }) => isIndexType(mediaType))) {
    if (search.visited.has(entry.digest)) continue
    search.visited.add(entry.digest)
    search.bytes += entry.size
    if (search.visited.size > maxSearchedIndexes || search.bytes > maxSearchedBytes) {
      throw malformed(source.location, `has more indexes than are searched for ${digest}`)
    }
    const label = `the index ${entry.digest} of ${source.location}`
    const bytes = await readVerified(source.openManifest(entry), entry, maxDocumentBytes, label)
    const nested = parseManifest(bytes, entry.mediaType, label)
    const found =
      nested.kind === 'index' ? await findByDigest(source, nested.manifests, digest, depth - 1, search) : undefined
    if (found !== undefined) return found
  }
  return undefined
}

interface Resolved {
  readonly descriptor: Descriptor
  readonly manifest: Extract<Manifest, { kind: 'image' }>
}

async function resolveManifest(
  source: ContentSource,
  reference: string,
  descriptor: Descriptor,
  depth: number
): Promise<Resolved> {
  if (depth === 0) throw malformed(reference, 'has indexes in indexes in indexes')
  const label = `the manifest of ${reference}`
  const bytes = await readVerified(source.openManifest(descriptor), descriptor, maxDocumentBytes, label)
  const manifest = parseManifest(bytes, descriptor.mediaType, label)
  if (manifest.kind === 'image') return { descriptor, manifest }
  return resolveManifest(source, reference, choosePlatform(manifest.manifests, reference), depth - 1)
}

/**
 * The first entry for linux/amd64, as Docker and containerd choose. An entry without a platform is
 * taken only when it is the sole one, or when it is an index and may hold the platform inside.
 */
function choosePlatform(manifests: readonly Descriptor[], reference: string): Descriptor {
  const images = manifests.filter(({ platform }) => platform?.os !== 'unknown')
  const exact = images.find(({ platform }) => platform?.os === 'linux' && platform.architecture === 'amd64')
  const nested = images.find(({ platform, mediaType }) => platform === undefined && isIndexType(mediaType))
  const [sole] = images.length === 1 && images[0]?.platform === undefined ? images : []
  const chosen = exact ?? nested ?? sole
  if (chosen === undefined) {
    const offered = images.map(({ platform }) => (platform ? `${platform.os}/${platform.architecture}` : 'no platform'))
    throw new ImageError('image.unsupported', `${reference} has no image for linux/amd64`, {
      why: `it offers ${offered.slice(0, 20).join(', ') || 'nothing'}`
    })
  }
  return chosen
}

function imageLayer(
  source: ContentSource,
  descriptor: Descriptor,
  diffId: OciDigest | undefined,
  label: string
): ImageLayer {
  if (diffId === undefined) throw malformed(label, 'has no diff id')
  const { digest, mediaType, size } = descriptor
  const stored = (watch: Watch | undefined) => watched(source.openBlob(descriptor), watch)
  return {
    digest,
    diffId,
    mediaType,
    size,
    open: (watch) => openLayer(stored(watch), { digest, diffId, size, label }),
    openBlob: (watch) => verifiedStream(stored(watch), { digest, size, label })
  }
}
