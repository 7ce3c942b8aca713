import { readFile, stat } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { isJsonObject } from '../base/json.js'
import { UserError } from '../base/user-error.js'
import { type ImageContent, ImageError, imageFacts, openArchiveImage, openLayoutImage } from '../image/index.js'
import type { ImageFacts } from '../policy/index.js'

export interface ImageSources {
  /** A tar file, the folder of an OCI layout, or a JSON file that maps references to either; see docs/policy.md. */
  readonly tar: string | undefined
  /** Opens what is in no tar. */
  readonly openRegistryImage: (reference: string) => Promise<ImageContent>
  readonly note: (text: string) => void
  readonly warn: (text: string) => void
  /** Whether to name layers without entries for parent directories, to which older hosts give other root hashes. */
  readonly warnMissingParents?: boolean
  readonly signal: AbortSignal
}

/** What a policy has to know of each image: read from the tars where they hold it, and from its registry where not. */
export async function readImages(
  references: readonly string[],
  sources: ImageSources
): Promise<ReadonlyMap<string, ImageFacts>> {
  const open = await opener(sources)
  const images = new Map<string, ImageFacts>()
  for (const reference of references) {
    const facts = await imageFacts(await open(reference), { signal: sources.signal })
    if (sources.warnMissingParents === true) for (const warning of facts.warnings) sources.warn(warning)
    images.set(reference, facts)
  }
  return images
}

async function opener(sources: ImageSources): Promise<(reference: string) => Promise<ImageContent>> {
  const { tar, note, openRegistryImage } = sources
  if (tar === undefined) return openRegistryImage
  if (!tar.endsWith('.json')) return (reference) => openHere(tar, reference).catch(notHere(tar, reference, sources))
  const places = await readMap(tar)
  return (reference) => {
    const place = places.get(reference)
    if (place !== undefined) return openHere(place, reference)
    note(`${reference} is not in ${tar}: reading it from its registry`)
    return openRegistryImage(reference).catch(nowhere(tar, reference))
  }
}

async function openHere(path: string, reference: string): Promise<ImageContent> {
  const isFolder = await stat(path).then(
    (entry) => entry.isDirectory(),
    () => false
  )
  return isFolder ? openLayoutImage(path, reference) : openArchiveImage(path, reference)
}

/** An archive that lacks the image, or cannot prove its digest, is not where it comes from. */
function notHere(tar: string, reference: string, { note, openRegistryImage }: ImageSources) {
  return async (error: unknown): Promise<ImageContent> => {
    if (!(error instanceof ImageError) || !['image.not-found', 'image.unpinnable'].includes(error.code)) throw error
    note(`${error.problem}: reading it from its registry`)
    return openRegistryImage(reference).catch(nowhere(tar, reference))
  }
}

function nowhere(tar: string, reference: string) {
  return (cause: unknown): never => {
    if (!(cause instanceof UserError)) throw cause
    // Whose fault it is stays the registry's word: it may be unreachable today, or want a login.
    throw new UserError(cause.fault, cause.code, `${reference} is not in ${tar}, and ${cause.problem}`, {
      why: cause.why,
      next: cause.next,
      cause: cause.cause
    })
  }
}

/** Paths are relative to the map, so that both can move together. */
async function readMap(file: string): Promise<ReadonlyMap<string, string>> {
  const map = await readJsonFile(file)
  return new Map(
    Object.entries(map).map(([reference, place]) => {
      if (typeof place === 'string') return [reference, resolve(dirname(file), place)]
      throw notOfForm(file, `the entry for ${JSON.stringify(reference.slice(0, 200))} is not a path`)
    })
  )
}

/** Reads a JSON object; throws a `UserError` that names the file. */
export async function readJsonFile(file: string): Promise<ReturnType<typeof parseObject>> {
  return parseObject(file, await readTextFile(file))
}

/** Reads a file that was named on the command line; throws a `UserError` that names it. */
export async function readTextFile(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    const isMissing = (error as NodeJS.ErrnoException).code === 'ENOENT'
    throw new UserError('usage', 'usage.file-unreadable', `${file} cannot be read`, {
      why: isMissing ? 'there is no such file' : undefined,
      cause: error
    })
  }
}

/** The object that a text is the JSON of. */
export function parseObject(file: string, text: string) {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw notOfForm(file, 'it is not JSON', cause)
  }
  if (!isJsonObject(value)) throw notOfForm(file, 'it is not a JSON object')
  return value
}

function notOfForm(file: string, why: string, cause?: unknown): UserError {
  return new UserError('config', 'policy.file', `${file} is not a file of the expected form`, {
    why,
    next: ['docs/policy.md has the form of each file'],
    cause
  })
}
