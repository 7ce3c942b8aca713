import { parseOciDigest, type OciDigest } from '../base/digest.js'
import { utf8 } from '../base/encoding.js'
import { isJsonObject, type JsonObject } from '../base/json.js'
import { ImageError } from './image-error.js'
import { repeatedMember } from './repeated-member.js'

/** Documents of an image: OCI image-spec manifest.md, image-index.md and Docker's manifest v2, schema 2. */

export const mediaTypes = {
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  ociConfig: 'application/vnd.oci.image.config.v1+json',
  ociLayer: 'application/vnd.oci.image.layer.v1.tar',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerConfig: 'application/vnd.docker.container.image.v1+json',
  dockerLayer: 'application/vnd.docker.image.rootfs.diff.tar'
} as const

/** Manifests and indexes are small; registries refuse more than 4 MiB themselves. */
export const maxDocumentBytes = 4 * 1024 * 1024
const maxManifestsInIndex = 1000
const maxLayers = 512

const configTypes: readonly string[] = [mediaTypes.ociConfig, mediaTypes.dockerConfig]
const layerTypes: readonly string[] = [
  mediaTypes.ociLayer,
  `${mediaTypes.ociLayer}+gzip`,
  `${mediaTypes.ociLayer}+zstd`,
  mediaTypes.dockerLayer,
  `${mediaTypes.dockerLayer}.gzip`,
  `${mediaTypes.dockerLayer}.zstd`
]

export interface Descriptor {
  readonly mediaType: string
  readonly digest: OciDigest
  /** In bytes. */
  readonly size: number
  readonly annotations: Readonly<Record<string, string>>
  readonly platform: Platform | undefined
}

export interface Platform {
  readonly os: string
  readonly architecture: string
}

export type Manifest =
  | { readonly kind: 'index'; readonly manifests: readonly Descriptor[] }
  | { readonly kind: 'image'; readonly config: Descriptor; readonly layers: readonly Descriptor[] }

/**
 * Reads a manifest or an index, whichever its media type says. `declared` is the media type of the
 * descriptor or of the response that led here; a document that names another one is refused, since
 * two readers could otherwise see two different images in the same bytes.
 */
export function parseManifest(bytes: Uint8Array, declared: string | undefined, label: string): Manifest {
  const document = parseJsonObject(bytes, label)
  const own = optionalText(document, 'mediaType', label)
  if (own !== undefined && declared !== undefined && own !== declared) {
    throw malformed(label, `says it is ${quote(own)} and was offered as ${quote(declared)}`)
  }
  const mediaType = own ?? declared ?? impliedMediaType(document)
  if (document['schemaVersion'] !== 2) throw unsupported(label, 'is not of schema version 2')
  switch (mediaType) {
    case mediaTypes.ociIndex:
    case mediaTypes.dockerList:
      // The confusion of CVE-2021-41190: one document that is an index to one reader and an image to another.
      if ('config' in document || 'layers' in document) throw malformed(label, 'is an index and an image at once')
      return { kind: 'index', manifests: descriptors(document, 'manifests', maxManifestsInIndex, label) }
    case mediaTypes.ociManifest:
    case mediaTypes.dockerManifest:
      if ('manifests' in document) throw malformed(label, 'is an index and an image at once')
      return imageManifest(document, label)
    default:
      throw unsupported(label, `has the media type ${quote(mediaType)}`)
  }
}

export function isIndexType(mediaType: string): boolean {
  return mediaType === mediaTypes.ociIndex || mediaType === mediaTypes.dockerList
}

export function parseJsonObject(bytes: Uint8Array, label: string): JsonObject {
  const value = parseJson(bytes, label)
  if (!isJsonObject(value)) throw malformed(label, 'is not a JSON object')
  return value
}

/**
 * Refuses members of one name, and of names that differ only in case: engines written in Go take the last
 * of these, and would see another image in the same bytes.
 */
export function parseJson(bytes: Uint8Array, label: string): unknown {
  let text: string
  let value: unknown
  try {
    text = utf8.decode(bytes)
    value = JSON.parse(text)
  } catch (cause) {
    throw malformed(label, 'is not JSON', cause)
  }
  const repeated = repeatedMember(text)
  if (repeated !== undefined) throw malformed(label, `has the member ${quote(repeated)} twice in one object`)
  return value
}

export function malformed(label: string, problem: string, cause?: unknown): ImageError {
  return new ImageError('image.malformed', `${label} ${problem}`, { cause })
}

export function unsupported(label: string, problem: string): ImageError {
  return new ImageError('image.unsupported', `${label} ${problem}`)
}

/** Texts from outside are quoted and cut before they go into a message. */
export function quote(text: string): string {
  return JSON.stringify(text.slice(0, 120))
}

function impliedMediaType(document: JsonObject): string {
  // `mediaType` is optional in OCI documents, and an index.json need not have one.
  return 'manifests' in document ? mediaTypes.ociIndex : mediaTypes.ociManifest
}

function imageManifest(document: JsonObject, label: string): Manifest {
  const config = descriptor(document['config'], `the config of ${label}`)
  const layers = descriptors(document, 'layers', maxLayers, label)
  if (!configTypes.includes(config.mediaType)) {
    throw unsupported(label, `is no container image: its config is ${quote(config.mediaType)}`)
  }
  for (const layer of layers) {
    if (!layerTypes.includes(layer.mediaType)) {
      throw unsupported(label, `has a layer of the media type ${quote(layer.mediaType)}`)
    }
  }
  return { kind: 'image', config, layers }
}

function descriptors(document: JsonObject, member: string, limit: number, label: string): Descriptor[] {
  const list = document[member]
  if (!Array.isArray(list)) throw malformed(label, `has no list ${quote(member)}`)
  if (list.length > limit) throw malformed(label, `has ${list.length} ${member}, more than ${limit}`)
  return list.map((item: unknown, index) => descriptor(item, `${member}[${index}] of ${label}`))
}

function descriptor(value: unknown, label: string): Descriptor {
  if (!isJsonObject(value)) throw malformed(label, 'is not a descriptor')
  const { size } = value
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) {
    throw malformed(label, 'has no size in bytes')
  }
  const mediaType = optionalText(value, 'mediaType', label)
  if (mediaType === undefined) throw malformed(label, 'has no media type')
  return {
    mediaType,
    digest: parseDigest(value['digest'], label),
    size,
    annotations: textMap(value['annotations'], `the annotations of ${label}`),
    platform: platform(value['platform'], label)
  }
}

export function parseDigest(value: unknown, label: string): OciDigest {
  try {
    return parseOciDigest(typeof value === 'string' ? value : '', `the digest of ${label}`)
  } catch (cause) {
    throw malformed(label, 'has no SHA-256 digest', cause)
  }
}

function platform(value: unknown, label: string): Platform | undefined {
  if (value === undefined || value === null) return undefined
  if (!isJsonObject(value) || typeof value['os'] !== 'string' || typeof value['architecture'] !== 'string') {
    throw malformed(label, 'has a platform without os and architecture')
  }
  return { os: value['os'], architecture: value['architecture'] }
}

export function optionalText(object: JsonObject, member: string, label: string): string | undefined {
  const value = object[member]
  if (value === undefined || value === null || value === '') return undefined
  if (typeof value !== 'string') throw malformed(label, `has a ${quote(member)} that is no text`)
  return value
}

export function textMap(value: unknown, label: string): Readonly<Record<string, string>> {
  if (value === undefined || value === null) return {}
  if (!isJsonObject(value)) throw malformed(label, 'are not an object')
  const entries = Object.entries(value).map(([key, text]): [string, string] => {
    if (typeof text !== 'string') throw malformed(label, `have a value for ${quote(key)} that is no text`)
    return [key, text]
  })
  return Object.fromEntries(entries)
}
