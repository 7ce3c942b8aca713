import type { OciDigest, Sha256Hex } from '../base/digest.js'
import { canonicalJson } from '../base/json.js'
import { UserError } from '../base/user-error.js'
import type { PublicTemplate } from './template-shape.js'

/**
 * What `release.json` says: from which source which image was built, and which policy, by its hash in
 * HOST_DATA, was made of it. `docs/release.md` describes each field.
 */
export type Release = CompleteRelease | BuiltRelease

/** As `confrouter policy` writes it: everything from the source to the host data. */
export interface CompleteRelease extends ReleaseOfImage {
  /** The one that the policy was made from, without what is secret and what the policy does not depend on. */
  readonly template: PublicTemplate
  readonly policy: ReleasedPolicy
  /** SHA-256 of `policy.text`. */
  readonly hostData: Sha256Hex
}

/** As `confrouter build` writes it, before there is a policy. */
export interface BuiltRelease extends ReleaseOfImage {
  readonly template: null
  readonly policy: null
  readonly hostData: null
}

interface ReleaseOfImage {
  readonly version: 1
  readonly source: ReleaseSource
  readonly image: ReleaseImage
  /** One entry for each image of the group, in the order of its containers; of the router's alone before there is a policy. */
  readonly layers: readonly ImageLayers[]
}

/** Null is "not known", never a guess. */
export interface ReleaseSource {
  /** URL that can be cloned, without credentials. */
  readonly repository: string | null
  /** 40 lower-case hex characters. */
  readonly commit: string | null
  /** True if image or policy may hold something that the commit does not; null exactly where there is no commit to differ from. */
  readonly dirty: boolean | null
  readonly version: string | null
}

export interface ReleaseImage {
  /** `REPOSITORY@sha256:…`, as the template has it. */
  readonly reference: string
  /** The one in the reference. */
  readonly digest: OciDigest
  /** Null for an image that was not built here. */
  readonly builder: Builder | null
  /** What a native build put the router on, with its digest; absent for an image of any other kind. */
  readonly base?: string | undefined
}

export const builders = ['native', 'docker', 'podman', 'buildah'] as const
export type Builder = (typeof builders)[number]

export interface ImageLayers {
  /** As the template has it. */
  readonly image: string
  /** SHA-256 of each uncompressed layer, lowest first. */
  readonly diffIds?: readonly OciDigest[] | undefined
  /** dm-verity root hash of each layer, lowest first. */
  readonly rootHashes: readonly Sha256Hex[]
}

export interface ReleasedPolicy {
  /** `api_version` of the text. */
  readonly api: string
  /** What made the text: this package, or `az confcom`. */
  readonly engine: 'native' | 'az'
  /** To the byte: `hostData` is its hash. */
  readonly text: string
}

/** The one text of a release: members in alphabetical order, two spaces, a newline at the end. */
export function encodeRelease(release: Release): string {
  return `${JSON.stringify(JSON.parse(canonicalJson(release)), null, 2)}\n`
}

/** Throws a `UserError` `release-file.incomplete` for a release that has no policy yet. */
export function requireComplete(release: Release): CompleteRelease {
  if (release.policy !== null) return release
  throw new UserError('config', 'release-file.incomplete', 'the release has no policy, so no host data', {
    why: 'it was written by `confrouter build`, before there was a policy',
    next: ['confrouter policy   (writes the whole release.json)']
  })
}
