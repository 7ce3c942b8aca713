import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ociDigest } from '../../../src/base/digest.js'

export interface TestDescriptor {
  mediaType: string
  digest: string
  size: number
  annotations?: Record<string, string>
  platform?: { os: string; architecture: string }
}

export const types = {
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  index: 'application/vnd.oci.image.index.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar'
}

/** Content-addressed blobs, from which layouts and registries of tests are made, broken ones included. */
export class Blobs {
  readonly content = new Map<string, Buffer>()

  add(mediaType: string, content: unknown): TestDescriptor {
    const bytes = content instanceof Uint8Array ? Buffer.from(content) : Buffer.from(JSON.stringify(content))
    const digest = ociDigest(bytes)
    this.content.set(digest, bytes)
    return { mediaType, digest, size: bytes.length }
  }

  /** An image for a platform; returns the descriptor of its manifest. */
  image(
    layers: readonly { tar: Uint8Array; blob?: Uint8Array; mediaType?: string }[],
    { architecture = 'amd64', manifest = {} }: { architecture?: string; manifest?: Record<string, unknown> } = {}
  ): TestDescriptor {
    const config = this.add(types.config, {
      architecture,
      os: 'linux',
      config: { Cmd: [architecture] },
      rootfs: { type: 'layers', diff_ids: layers.map(({ tar }) => ociDigest(tar)) }
    })
    const descriptors = layers.map(({ tar, blob, mediaType }) => this.add(mediaType ?? types.layer, blob ?? tar))
    return {
      ...this.add(types.manifest, {
        schemaVersion: 2,
        mediaType: types.manifest,
        config,
        layers: descriptors,
        ...manifest
      }),
      platform: { os: 'linux', architecture }
    }
  }

  index(manifests: readonly unknown[], more: Record<string, unknown> = {}): TestDescriptor {
    return this.add(types.index, { schemaVersion: 2, mediaType: types.index, manifests, ...more })
  }

  /** Writes all blobs and an index.json with these entries. */
  writeLayout(folder: string, entries: readonly unknown[]): string {
    mkdirSync(join(folder, 'blobs', 'sha256'), { recursive: true })
    for (const [digest, bytes] of this.content) writeFileSync(blobFile(folder, digest), bytes)
    writeFileSync(join(folder, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
    writeFileSync(join(folder, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: entries }))
    return folder
  }
}

export function blobFile(folder: string, digest: string): string {
  return join(folder, 'blobs', 'sha256', digest.slice('sha256:'.length))
}
