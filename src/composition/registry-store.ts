import { stat } from 'node:fs/promises'
import {
  type Image,
  ImageError,
  openArchiveImage,
  openLayoutImage,
  openRegistryImage,
  pushLayoutImage
} from '../image/index.js'
import type { ImageStore } from '../steps/index.js'
import { dockerCredentials } from './docker-credentials.js'

interface RegistryStoreOptions {
  /** Where native builds are put together before they are pushed. */
  readonly layout: string
  /** OCI layout or archive that has the base; the registry that its reference names if undefined. */
  readonly baseFrom: string | undefined
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly signal: AbortSignal
}

/** Images at their registries, with the credentials that docker has on this machine. */
export function registryStore(options: RegistryStoreOptions): Omit<ImageStore, 'hashCache'> {
  const { layout, baseFrom, environment, signal } = options
  const credentials = dockerCredentials(environment, signal)
  const open = (reference: string) => openRegistryImage({ reference, fetch, credentials, signal })
  return {
    layout,
    open,
    openBase: (reference) => (baseFrom === undefined ? open(reference) : openFrom(baseFrom, reference)),
    publish: async (reference, note) => {
      await pushLayoutImage({ layout, reference, fetch, credentials, signal, note })
    }
  }
}

/** A folder is a layout, a file an archive. Either has to prove the digest. */
async function openFrom(path: string, reference: string): Promise<Image> {
  const found = await stat(path).catch((cause: unknown) => {
    throw new ImageError('image.not-found', `${path} does not exist`, {
      why: 'image.baseFrom names it as the layout or archive of the base',
      cause
    })
  })
  if (found.isDirectory()) return openLayoutImage(path, reference)
  const { digest, ...image } = await openArchiveImage(path, reference)
  // It refuses a reference with a digest where there is none, so this cannot happen.
  if (digest === undefined) throw new ImageError('image.unpinnable', `${path} cannot prove the digest of ${reference}`)
  return { ...image, digest }
}
