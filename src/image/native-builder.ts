import { ociDigest, type OciDigest } from '../base/digest.js'
import { utf8 } from '../base/encoding.js'
import { canonicalJson } from '../base/json.js'
import { ImageError } from './image-error.js'
import { imageNameAnnotation, refNameAnnotation } from './layout-index.js'
import { writeToLayout, type LayoutEntry } from './layout-writer.js'
import { layerTar, type LayerFile } from './layer-tar.js'
import { mediaTypes, quote } from './manifest.js'
import { formatReference, parseReference } from './reference.js'

export interface NativeImageConfig {
  readonly entrypoint: readonly string[]
  readonly cmd?: readonly string[]
  /** `NAME=value`; the order is kept. */
  readonly env?: readonly string[]
  readonly workingDir?: string
  /** `uid:gid`, numeric, so that the image needs no passwd file. */
  readonly user?: string
  readonly labels?: Readonly<Record<string, string>>
  /** `8080/tcp` */
  readonly exposedPorts?: readonly string[]
  /** `SIGTERM` */
  readonly stopSignal?: string
}

export interface NativeImage {
  /** An OCI layout directory; created if absent. */
  readonly layout: string
  /** `repository:tag` */
  readonly reference: string
  readonly files: readonly LayerFile[]
  readonly config: NativeImageConfig
}

export interface BuiltImage {
  /** Of the manifest. */
  readonly digest: OciDigest
  /** Of manifest, config and layer together, in bytes. */
  readonly size: number
  /** False when the layout held exactly this image under this name already. */
  readonly changed: boolean
}

/** OCI documents have to name a creation time, and the real one would change the digest. */
const created = '1970-01-01T00:00:00Z'

/**
 * Builds an image of one layer for linux/amd64 without any daemon and stores it in an OCI layout.
 * The same input gives the same digest on every machine.
 *
 * The layer is stored uncompressed: what a compressor writes depends on the version of zlib, so on
 * the version of Node, while the tar depends on nothing. Registries and hosts may compress it on the
 * way; the root hash is that of the tar in any case.
 *
 * Several builds into one layout may run at once. Throws an `ImageError`.
 */
export async function buildNativeImage({ layout, reference, files, config }: NativeImage): Promise<BuiltImage> {
  const name = parseReference(reference)
  if (name.tag === undefined || name.digest !== undefined) {
    throw new ImageError('image.reference', `an image to be built needs a tag and no digest, got ${quote(reference)}`)
  }
  const layer = layerTar(files)
  const configDocument = utf8.encode(canonicalJson(configOf(config, ociDigest(layer))))
  const manifest = utf8.encode(canonicalJson(manifestOf(configDocument, layer)))
  const entry: LayoutEntry = {
    mediaType: mediaTypes.ociManifest,
    digest: ociDigest(manifest),
    size: manifest.length,
    platform: { architecture: 'amd64', os: 'linux' },
    annotations: { [imageNameAnnotation]: formatReference(name), [refNameAnnotation]: name.tag }
  }
  const changed = await writeToLayout(layout, [layer, configDocument, manifest], entry)
  return { digest: entry.digest, size: layer.length + configDocument.length + manifest.length, changed }
}

function configOf(config: NativeImageConfig, diffId: OciDigest): unknown {
  checkConfig(config)
  return {
    architecture: 'amd64',
    os: 'linux',
    created,
    config: {
      Entrypoint: config.entrypoint,
      Cmd: config.cmd,
      Env: config.env,
      WorkingDir: config.workingDir,
      User: config.user,
      Labels: config.labels,
      ExposedPorts: config.exposedPorts && Object.fromEntries(config.exposedPorts.map((port) => [port, {}])),
      StopSignal: config.stopSignal
    },
    rootfs: { type: 'layers', diff_ids: [diffId] },
    history: [{ created, created_by: 'confrouter' }]
  }
}

function checkConfig({ entrypoint, env = [], workingDir, user, exposedPorts = [] }: NativeImageConfig): void {
  // The policy compares the command as a whole, and the host's enforcer refuses a container without one.
  if (entrypoint.length === 0 || entrypoint[0] === '') throw refused('an image needs an entrypoint')
  if (workingDir !== undefined && !workingDir.startsWith('/')) {
    throw refused(`the working directory must be absolute, got ${quote(workingDir)}`)
  }
  if (user !== undefined && !/^[0-9]{1,10}(?::[0-9]{1,10})?$/.test(user)) {
    throw refused(`the user must be numeric, uid or uid:gid, got ${quote(user)}`)
  }
  for (const variable of env) {
    // Not shown: what was meant as a value may be a secret.
    if (variable.indexOf('=') < 1)
      throw refused(`an environment variable is written NAME=value, and one has no name or no value`)
  }
  for (const port of exposedPorts) {
    if (!/^[1-9][0-9]{0,4}\/(?:tcp|udp)$/.test(port))
      throw refused(`an exposed port is written 8080/tcp, got ${quote(port)}`)
  }
}

function manifestOf(config: Uint8Array, layer: Uint8Array): unknown {
  return {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config: { mediaType: mediaTypes.ociConfig, digest: ociDigest(config), size: config.length },
    layers: [{ mediaType: mediaTypes.ociLayer, digest: ociDigest(layer), size: layer.length }]
  }
}

function refused(problem: string): ImageError {
  return new ImageError('image.content', problem)
}
