import type { OciDigest, Sha256Hex } from '../base/digest.js'
import { fileSystemHash, LayerError } from '../layers/index.js'
import type { ImageConfig, ImageContent, ImageLayer } from './image.js'
import { ImageError } from './image-error.js'
import { maxLayerBytes } from './layer-stream.js'
import { quote } from './manifest.js'
import { addToRootHashCache, readRootHashCache, type LayerFacts } from './root-hash-cache.js'
import { progressBar } from './transfer.js'

export interface ImageFactsOptions {
  /**
   * A file that remembers root hashes by diff id. It has to be as safe from strangers as the policy
   * itself: whoever can write it decides which layers the policy allows.
   */
  readonly cacheFile?: string | undefined
  readonly signal?: AbortSignal | undefined
  /** Shows how far the reading of a layer is. */
  readonly note?: ((text: string) => void) | undefined
}

/** What a policy has to know of an image. */
export interface ImageFacts {
  readonly config: ImageConfig
  /** dm-verity root hashes, lowest layer first. */
  readonly layers: readonly Sha256Hex[]
  /** Sentences for people, none of which makes the hashes wrong. */
  readonly warnings: readonly string[]
}

/** A file system holds the files of its layer, which a sparse one has without their bytes, and its own tables. */
const maxFileSystemBytes = maxLayerBytes + 1024 ** 3

/** Computes the root hash of every layer, each distinct layer once, and checks all digests on the way. */
export async function imageFacts(image: ImageContent, options: ImageFactsOptions = {}): Promise<ImageFacts> {
  const known =
    options.cacheFile === undefined ? new Map<OciDigest, LayerFacts>() : await readRootHashCache(options.cacheFile)
  const computed = new Map<OciDigest, LayerFacts>()
  const facts: LayerFacts[] = []
  for (const [index, layer] of image.layers.entries()) {
    options.signal?.throwIfAborted()
    const label = `layer ${index} of ${image.reference}`
    const found =
      known.get(layer.diffId) ??
      computed.get(layer.diffId) ??
      (await computeFacts(layer, label, { ...options, place: `layer ${index + 1} of ${image.layers.length}` }))
    if (!known.has(layer.diffId)) computed.set(layer.diffId, found)
    facts.push(found)
  }
  if (options.cacheFile !== undefined && computed.size > 0) await addToRootHashCache(options.cacheFile, computed)
  return {
    config: image.config,
    layers: facts.map(({ rootHash }) => rootHash),
    warnings: facts.flatMap(({ implicitParents }, index) =>
      implicitParentsWarning(image.reference, index, implicitParents)
    )
  }
}

async function computeFacts(
  layer: ImageLayer,
  label: string,
  { signal, note, place }: ImageFactsOptions & { readonly place: string }
): Promise<LayerFacts> {
  try {
    const watch = note === undefined ? undefined : progressBar(`measuring ${place}`, layer.size, note)
    // All of it is read, and by the end of that the stream has checked that it is the tar of the diff id.
    const { rootHash, implicitParents } = await fileSystemHash(layer.open(watch), {
      maxImageBytes: maxFileSystemBytes,
      signal
    })
    return { rootHash, implicitParents }
  } catch (error) {
    if (!(error instanceof LayerError)) throw error
    throw new ImageError('image.layer', `${label} cannot become a file system: ${error.message}`, { cause: error })
  }
}

function implicitParentsWarning(reference: string, index: number, directories: readonly string[]): readonly string[] {
  if (directories.length === 0) return []
  const some = directories.slice(0, 3).map(quote).join(', ')
  return [
    `layer ${index} of ${reference} has no entry of its own for ${some}${directories.length > 3 ? ' and more' : ''}: ` +
      'older hosts give such a layer another root hash and refuse it'
  ]
}
