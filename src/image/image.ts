import type { OciDigest } from '../base/digest.js'
import type { Watch } from './transfer.js'

/**
 * How the image wants to be run, under the members' own names (OCI image-spec config.md). A member
 * that is absent, null, or an empty text or list in the document is `undefined` here: the
 * specification gives all of these one meaning.
 */
export interface ImageConfig {
  readonly Entrypoint: readonly string[] | undefined
  readonly Cmd: readonly string[] | undefined
  /** `NAME=value`, in the image's order. */
  readonly Env: readonly string[] | undefined
  readonly WorkingDir: string | undefined
  readonly User: string | undefined
  readonly StopSignal: string | undefined
  readonly Labels: Readonly<Record<string, string>>
  /** `8080/tcp`, sorted. */
  readonly ExposedPorts: readonly string[]
}

export interface ImageLayer {
  /** Of the stored blob. In a docker-archive, which names layers by path, the same as `diffId`. */
  readonly digest: OciDigest
  /** Of the uncompressed tar. */
  readonly diffId: OciDigest
  readonly mediaType: string
  /** Of the stored blob, in bytes. */
  readonly size: number
  /**
   * The uncompressed tar. Blob digest, size and diff id are checked by the end of the stream, and it
   * throws an `ImageError` when one is wrong; nothing may be concluded from a stream left early.
   *
   * @param watch is told how much of the stored blob has been read
   */
  open(watch?: Watch): AsyncIterable<Uint8Array>
  /** The blob as it is stored, compressed or not. Digest and size are checked by the end of the stream. */
  openBlob(watch?: Watch): AsyncIterable<Uint8Array>
}

/** What a policy is made from. */
export interface ImageContent {
  /** The reference it was opened by, as it was given. */
  readonly reference: string
  readonly config: ImageConfig
  /** In the order in which they are stacked, lowest first. */
  readonly layers: readonly ImageLayer[]
}

export interface Image extends ImageContent {
  /** Of the manifest for linux/amd64. */
  readonly digest: OciDigest
}

export interface ArchiveImage extends ImageContent {
  /** Undefined when only `docker save` of before version 25 made the archive: it then has no manifest. */
  readonly digest: OciDigest | undefined
}
