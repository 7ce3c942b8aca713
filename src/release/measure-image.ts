import { UserError } from '../base/user-error.js'
import { type Image, ImageError, type ImageFacts, imageFacts } from '../image/index.js'

export interface MeasureOptions {
  /** Opens a published image by a reference with its digest, from a registry or a layout. */
  readonly openImage: (reference: string) => Promise<Image>
  readonly signal?: AbortSignal | undefined
  /** Says what is being done, for progress. */
  readonly note?: ((text: string) => void) | undefined
}

/** What a published image is found to be made of. */
export interface MeasuredImage {
  readonly facts: ImageFacts
  /** SHA-256 of each uncompressed layer, lowest first. */
  readonly diffIds: readonly string[]
}

/**
 * Reads every layer of an image that is named by its digest. Whatever is wrong with it, nothing was compared
 * yet: it is for this machine or for the registry to mend, and no verdict. So it throws a `UserError` of
 * fault `cloud` (`reproduce.image-missing` and what a registry answers) or `machine`
 * (`reproduce.image-unreadable` and others).
 */
export async function measureImage(
  reference: string,
  { openImage, signal, note }: MeasureOptions
): Promise<MeasuredImage> {
  note?.(`measuring ${reference}`)
  try {
    const image = await openImage(reference)
    const facts = await imageFacts(image, { signal })
    return { facts, diffIds: image.layers.map(({ diffId }) => diffId) }
  } catch (error) {
    throw couldNotCheck(reference, error)
  }
}

/** What an image that could not be opened or read means for whoever compares. */
export function couldNotCheck(reference: string, error: unknown): unknown {
  if (error instanceof ImageError && error.code === 'image.not-found') {
    return new UserError('cloud', 'reproduce.image-missing', `the image ${reference} is not published`, {
      why: error.problem,
      next: ['ask its publisher for the image, or for where it is now'],
      cause: error
    })
  }
  if (error instanceof UserError && (error.fault === 'config' || error.fault === 'usage')) {
    return new UserError('machine', 'reproduce.image-unreadable', `the image ${reference} could not be measured`, {
      why: error.problem,
      next: error.next,
      cause: error
    })
  }
  return error
}
