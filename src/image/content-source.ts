import type { Descriptor } from './manifest.js'

/**
 * Where the content of an image lies: a layout, an archive, a registry. It need not check what it
 * delivers; whoever reads compares digests (`verifiedStream`).
 */
export interface ContentSource {
  /** For messages: a folder, a file, a registry with its repository. */
  readonly location: string
  openManifest(descriptor: Descriptor): AsyncIterable<Uint8Array>
  openBlob(descriptor: Descriptor): AsyncIterable<Uint8Array>
}
