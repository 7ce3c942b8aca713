import { parseOciDigest, type OciDigest } from '../base/digest.js'
import { ImageError } from './image-error.js'

/**
 * The name of an image, taken apart. `registry` is the name as people write it (`docker.io`, not the
 * host that serves it). At least one of `tag` and `digest` is present.
 */
export interface ImageReference {
  readonly registry: string
  readonly repository: string
  readonly tag: string | undefined
  readonly digest: OciDigest | undefined
}

// github.com/distribution/reference, "Grammar".
const maxRepositoryLength = 255
const maxReferenceLength = 1024
const registryPattern =
  /^(?:[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9-]*[A-Za-z0-9])(?:\.(?:[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9-]*[A-Za-z0-9]))*(?::[0-9]{1,5})?$/
const registryAddressPattern = /^\[[0-9a-fA-F:]+\](?::[0-9]{1,5})?$/
const componentPattern = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/
const tagPattern = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/

/**
 * Reads `[registry/]repository[:tag][@sha256:…]` with Docker's defaults: `docker.io`, `library/` for
 * a single name there, and `latest` when neither tag nor digest is given.
 *
 * Throws an `ImageError` `image.reference`. Only SHA-256 digests are accepted: the whole chain is built on them.
 */
export function parseReference(text: string): ImageReference {
  if (text.length > maxReferenceLength) throw refused(text, `is longer than ${maxReferenceLength} characters`)
  const at = text.indexOf('@')
  const named = at === -1 ? text : text.slice(0, at)
  const digest = at === -1 ? undefined : digestOf(text, text.slice(at + 1))
  const slash = named.indexOf('/')
  // A colon before the first slash is a port; only one after the last slash separates a tag.
  const colon = named.indexOf(':', named.lastIndexOf('/') + 1)
  const path = colon === -1 ? named : named.slice(0, colon)
  const tag = colon === -1 ? undefined : named.slice(colon + 1)
  if (tag !== undefined && !tagPattern.test(tag)) throw refused(text, 'has a tag that is not a valid tag')

  const first = slash === -1 ? '' : path.slice(0, slash)
  const hasRegistry = first === 'localhost' || /[.:A-Z[]/.test(first)
  const registry = hasRegistry ? canonicalRegistry(text, first) : 'docker.io'
  const rest = hasRegistry ? path.slice(slash + 1) : path
  const repository = registry === 'docker.io' && !rest.includes('/') ? `library/${rest}` : rest
  for (const component of rest.split('/')) {
    if (!componentPattern.test(component)) {
      throw refused(text, 'needs a repository of lower-case letters, digits and single separators between slashes')
    }
  }
  if (repository.length > maxRepositoryLength) {
    throw refused(text, `has a repository longer than ${maxRepositoryLength} characters`)
  }
  return { registry, repository, tag: tag ?? (digest === undefined ? 'latest' : undefined), digest }
}

/** The canonical text: always with registry, `repo:tag`, `repo@digest` or `repo:tag@digest`. */
export function formatReference({ registry, repository, tag, digest }: ImageReference): string {
  return `${registry}/${repository}${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`
}

function digestOf(text: string, digest: string): OciDigest {
  try {
    return parseOciDigest(digest, 'the digest')
  } catch (cause) {
    throw refused(text, 'has a digest that is not "sha256:" and 64 lower-case hex characters', cause)
  }
}

function canonicalRegistry(text: string, registry: string): string {
  if (!registryPattern.test(registry) && !registryAddressPattern.test(registry)) {
    throw refused(text, 'has a registry that is no host name, address or host:port')
  }
  return registry === 'index.docker.io' || registry === 'registry-1.docker.io' ? 'docker.io' : registry
}

function refused(text: string, problem: string, cause?: unknown): ImageError {
  return new ImageError('image.reference', `image reference ${JSON.stringify(text.slice(0, 200))} ${problem}`, {
    next: ['write it as registry/repository:tag or registry/repository@sha256:<64 hex>'],
    cause
  })
}
