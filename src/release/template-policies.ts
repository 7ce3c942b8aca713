import { isJsonObject, type Json, type JsonObject } from '../base/json.js'
import { UserError } from '../base/user-error.js'
import { type ImageFacts, parseReference } from '../image/index.js'
import { frames, type FrameVersion } from '../policy/frames.js'
import { deployedPolicy } from './deployed-policy.js'
import { measureImage, type MeasureOptions } from './measure-image.js'

export interface TemplatePolicies {
  /** As the template names them. */
  readonly images: readonly string[]
  /** SHA-256 of the policy text in each version of its frame that this package makes. */
  readonly hostData: readonly string[]
}

/**
 * The policies that a published ARM template gives with its published images, which are read layer by
 * layer. Throws a `UserError` for a template of which there is no policy, and as {@link measureImage} does
 * for an image that cannot be read.
 */
export async function policiesOfTemplate(text: string, options: MeasureOptions): Promise<TemplatePolicies> {
  const template = parseTemplate(text)
  const names = imagesOf(template)
  const images = new Map<string, ImageFacts>()
  names.forEach(requirePinned)
  for (const name of names) images.set(name, (await measureImage(name, options)).facts)
  const versions = Object.keys(frames) as FrameVersion[]
  return { images: names, hostData: versions.map((frame) => deployedPolicy(template, images, frame).hostData) }
}

function parseTemplate(text: string): JsonObject {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw noTemplate('it is not JSON', error)
  }
  if (!isJsonObject(value) || !Array.isArray(value.resources)) throw noTemplate('it has no resources')
  return value
}

/** In the order of the containers, each once. */
function imagesOf({ resources }: JsonObject): readonly string[] {
  const members = (value: Json | undefined, name: string): Json | undefined =>
    isJsonObject(value) ? value[name] : undefined
  const list = (value: Json | undefined): readonly Json[] => (Array.isArray(value) ? (value as readonly Json[]) : [])
  const groups = list(resources).map((resource) => members(resource, 'properties'))
  const containers = groups.flatMap((group) => [
    ...list(members(group, 'containers')),
    ...list(members(group, 'initContainers'))
  ])
  const images = containers.map((container) => members(members(container, 'properties'), 'image'))
  if (images.length === 0 || !images.every((image) => typeof image === 'string')) {
    throw noTemplate('it names no images')
  }
  return [...new Set(images)]
}

function requirePinned(image: string): void {
  let digest: string | undefined
  try {
    digest = parseReference(image).digest
  } catch {
    digest = undefined
  }
  if (digest === undefined) throw noTemplate(`its image ${JSON.stringify(image.slice(0, 200))} pins no digest`)
}

function noTemplate(why: string, cause?: unknown): UserError {
  return new UserError(
    'config',
    'release-file.template',
    'the template is none of a container group with pinned images',
    {
      why,
      next: ['give template.json as `confrouter policy` writes it'],
      ...(cause === undefined ? {} : { cause })
    }
  )
}
