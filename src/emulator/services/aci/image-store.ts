import type { Sha256Hex } from '../../../base/digest.js'
import { type ImageConfig, ImageError, imageFacts, openLayoutImage } from '../../../image/index.js'
import type { LayerSource } from './rootfs.js'

/** An image as the platform pulls it: pinned, with what a policy calls it by. */
export interface PulledImage {
  /** The reference with the digest that it stands for, as events show it. */
  readonly pinned: string
  readonly config: ImageConfig
  /** Lowest first. */
  readonly layers: readonly PulledLayer[]
}

interface PulledLayer extends LayerSource {
  readonly rootHash: Sha256Hex
}

/** The registry does not have the image, or has it damaged. */
export class InaccessibleImage extends Error {
  override readonly name = 'InaccessibleImage'
}

export interface ImageStore {
  /** Throws `InaccessibleImage` if there is no such image. */
  require(reference: string): Promise<void>
  /** Also reads the layers and computes their root hashes. */
  pull(reference: string, signal: AbortSignal): Promise<PulledImage>
}

/**
 * Images of an OCI layout directory, which stands for every registry. Root hashes are remembered by
 * diff id in `cacheFile`: a layer's bytes are checked against that digest again whenever they are read.
 */
export function createImageStore(layout: string, cacheFile: string): ImageStore {
  return {
    require: async (reference) => {
      await accessible(openLayoutImage(layout, reference))
    },
    pull: async (reference, signal) => {
      const image = await accessible(openLayoutImage(layout, reference))
      const facts = await accessible(imageFacts(image, { cacheFile, signal }))
      return {
        pinned: `${repositoryOf(reference)}@${image.digest}`,
        config: image.config,
        layers: image.layers.map((layer, index) => ({
          rootHash: rootHashAt(facts.layers, index),
          open: () => layer.open()
        }))
      }
    }
  }
}

async function accessible<T>(opening: Promise<T>): Promise<T> {
  try {
    return await opening
  } catch (error) {
    if (error instanceof ImageError) throw new InaccessibleImage(error.problem, { cause: error })
    throw error
  }
}

function rootHashAt(rootHashes: readonly Sha256Hex[], index: number): Sha256Hex {
  const rootHash = rootHashes[index]
  if (rootHash === undefined) throw new TypeError(`layer ${index} has no root hash`)
  return rootHash
}

function repositoryOf(reference: string): string {
  const [withoutDigest = reference] = reference.split('@')
  return withoutDigest.replace(/:[^/:]+$/, '')
}
