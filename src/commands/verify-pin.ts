import { readFile } from 'node:fs/promises'
import { UserError } from '../base/user-error.js'
import type { Comparison, Coverage, Depth } from '../release/index.js'
import type { VerificationAccess } from './app.js'
import { unreadable } from './file-input.js'

/** Where the host data that is accepted can come from, beside the caller. */
export interface PinOptions {
  /** File of a published release. */
  readonly release?: string
  /** Whether that is built again from the source before it is believed. */
  readonly rebuild?: boolean
  /** Reference of a published image, pinned by digest. */
  readonly image?: string
  /** File with an ARM template that names the image. */
  readonly template?: string
}

export interface Pin {
  readonly hostData: readonly string[]
  /** In words. */
  readonly origin: string
  /** What was made again, and is the same. */
  readonly comparisons: readonly Comparison[]
  /** Of a release: which of its parts were held against something, and which were not. */
  readonly release?: { readonly file: string; readonly coverage: Coverage } | undefined
}

/**
 * Works out which host data a release or an image has: `undefined` if neither was named. Throws a
 * {@link UserError}, of fault `evidence` if the release says something else than what it was made from.
 */
export async function pinnedBy(
  { release, rebuild, image, template }: PinOptions,
  access: VerificationAccess,
  options: { readonly signal: AbortSignal; readonly note: (text: string) => void }
): Promise<Pin | undefined> {
  if (release === undefined && image === undefined) return undefined
  const { openImage, packageFolder } = access
  const work = { openImage, packageFolder, ...options }
  return release === undefined
    ? pinnedByTemplate(image ?? '', template, work)
    : pinnedByRelease(release, { rebuild: rebuild === true, image }, work)
}

type Work = Pick<VerificationAccess, 'openImage' | 'packageFolder'> & {
  readonly signal: AbortSignal
  readonly note: (text: string) => void
}

async function pinnedByRelease(
  file: string,
  { rebuild, image }: { readonly rebuild: boolean; readonly image: string | undefined },
  work: Work
): Promise<Pin> {
  const { checkRelease, coverageOf, parseRelease, rebuildRelease, regeneratePolicy, requireComplete } =
    await import('../release/index.js')
  const release = requireComplete(parseRelease(await read(file)))
  const contradictions = checkRelease(release)
  if (contradictions.length > 0) {
    throw new UserError('evidence', 'release-file.contradictory', `${file} contradicts itself: ${contradictions[0]}`, {
      why: contradictions.length === 1 ? undefined : `and ${contradictions.slice(1).join('; ')}`
    })
  }
  const pinAt = (depth: Depth, origin: string, comparisons: readonly Comparison[]): Pin => ({
    hostData: [release.hostData],
    origin: `the host data of ${file}${origin}`,
    comparisons,
    release: { file, coverage: coverageOf(release, depth) }
  })
  if (image !== undefined) {
    requireFirst(image, [release.image.reference], file)
    const comparisons = requireSame(file, await regeneratePolicy(release, work))
    return pinAt('images', ', made again from its images', comparisons)
  }
  if (!rebuild) return pinAt('file', '', [])
  const comparisons = requireSame(file, await rebuildRelease(release, work))
  return pinAt('source', `, built again from source commit ${release.source.commit}`, comparisons)
}

async function pinnedByTemplate(image: string, file: string | undefined, work: Work): Promise<Pin> {
  if (file === undefined) {
    throw new UserError('usage', 'usage.conflict', '--image alone does not say how the image is run', {
      why: 'the policy is made of the image and of the template that starts it',
      next: ['--image REFERENCE --template template.json', '--image REFERENCE --release release.json']
    })
  }
  const { policiesOfTemplate } = await import('../release/index.js')
  const { images, hostData } = await policiesOfTemplate(await read(file), work)
  requireFirst(image, images, file)
  return {
    hostData,
    origin: `the policy of ${file}, whose commands and variables are believed, with its published images`,
    comparisons: []
  }
}

/** The router's container is the first; an image that lies idle in another one says nothing. */
function requireFirst(image: string, images: readonly string[], file: string): void {
  if (images[0] === image) return
  throw new UserError('evidence', 'verify.other-image', `${file} does not run the image ${image}`, {
    why: `it runs ${images.join(', ')}`
  })
}

function requireSame(file: string, comparisons: readonly Comparison[]): readonly Comparison[] {
  const first = comparisons.find(({ same }) => !same)
  if (first === undefined) return comparisons
  const { what, expected, actual } = first
  throw new UserError('evidence', 'reproduce.different', `${file} is not what it was made from: ${what} differs`, {
    why: `the release has ${expected}, and what was made again ${actual}`,
    report: { comparisons }
  })
}

async function read(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    throw unreadable(file, error)
  }
}
