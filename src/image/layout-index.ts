import { ImageError } from './image-error.js'
import { parseManifest, quote, type Descriptor } from './manifest.js'
import { formatReference, parseReference, type ImageReference } from './reference.js'

/** Annotations by which an entry of an index.json is named. */
export const refNameAnnotation = 'org.opencontainers.image.ref.name'
export const imageNameAnnotation = 'io.containerd.image.name'

/** Reads an index.json (OCI image-spec image-layout.md). */
export function parseLayoutIndex(bytes: Uint8Array, label: string): readonly Descriptor[] {
  const index = parseManifest(bytes, undefined, label)
  if (index.kind !== 'index') throw new ImageError('image.malformed', `${label} is not an index`)
  return index.manifests
}

/**
 * Picks the entry that a name means. The full name (`io.containerd.image.name`) decides before the
 * short one (`…ref.name`: a tag, or the whole name), and an entry without any name is taken only when
 * it is the sole one. Two entries that fit and differ are refused: the first is no better guess than
 * the second.
 */
export function selectByName(entries: readonly Descriptor[], reference: string, label: string): Descriptor {
  const wanted = parseReference(reference)
  const unnamed = entries.filter(({ annotations }) => annotations[imageNameAnnotation] === undefined)
  const byName = entries.filter(({ annotations }) => sameName(annotations[imageNameAnnotation], wanted))
  const byTag = unnamed.filter(({ annotations }) => sameShortName(annotations[refNameAnnotation], wanted))
  const sole = entries.length === 1 && entries.every((entry) => !isNamed(entry)) ? entries : []
  const fitting = [byName, byTag, sole].find(({ length }) => length > 0) ?? []
  const [first] = fitting
  if (first === undefined) throw notInLayout(entries, reference, label)
  if (fitting.some(({ digest }) => digest !== first.digest)) {
    throw new ImageError('image.malformed', `${label} holds several images that are all named ${quote(reference)}`, {
      next: ['name the image by digest: repository@sha256:<64 hex>']
    })
  }
  return first
}

export function notInLayout(entries: readonly Descriptor[], reference: string, label: string): ImageError {
  const names = entries.map(
    ({ annotations, digest }) => annotations[imageNameAnnotation] ?? annotations[refNameAnnotation] ?? digest
  )
  return new ImageError('image.not-found', `${label} holds no image ${quote(reference)}`, {
    why: names.length === 0 ? 'it is empty' : `it holds ${names.slice(0, 10).map(quote).join(', ')}`
  })
}

function sameName(text: string | undefined, wanted: ImageReference): boolean {
  if (text === undefined) return false
  try {
    return formatReference(parseReference(text)) === formatReference(wanted)
  } catch {
    // A name that is no reference cannot be the one that was asked for.
    return false
  }
}

function sameShortName(text: string | undefined, wanted: ImageReference): boolean {
  return text !== undefined && (text === wanted.tag || (text.includes('/') && sameName(text, wanted)))
}

function isNamed({ annotations }: Descriptor): boolean {
  return annotations[imageNameAnnotation] !== undefined || annotations[refNameAnnotation] !== undefined
}
