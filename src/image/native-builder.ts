import { ociDigest, type OciDigest } from '../base/digest.js'
import { utf8 } from '../base/encoding.js'
import { canonicalJson } from '../base/json.js'
import { parseConfigDocument } from './config-document.js'
import type { Image, ImageLayer } from './image.js'
import { ImageError } from './image-error.js'
import { imageNameAnnotation, refNameAnnotation } from './layout-index.js'
import { storeBlob, writeToLayout, type LayoutEntry } from './layout-writer.js'
import { layerTar, type LayerFile } from './layer-tar.js'
import { mediaTypes, quote } from './manifest.js'
import { formatReference, parseReference } from './reference.js'
import { progressBar, type Watch } from './transfer.js'

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

/** What an image is put on: its layers lie below, and what its config says holds unless the new one says otherwise. */
export interface NativeBase {
  /** With its digest; tag and digest go into the labels `org.opencontainers.image.base.*`. */
  readonly reference: string
  readonly image: Image
}

export interface NativeRecipe {
  /** `repository:tag` */
  readonly reference: string
  readonly files: readonly LayerFile[]
  readonly config: NativeImageConfig
  /** Absent for an image that has nothing but these files. */
  readonly base?: NativeBase | undefined
}

export interface NativeImage extends NativeRecipe {
  /** An OCI layout directory; created if absent. */
  readonly layout: string
  /** Shows how far the fetching of the base's layers is. */
  readonly note?: ((text: string) => void) | undefined
  readonly signal?: AbortSignal | undefined
}

export interface ComposedImage {
  /** It lies nowhere: its own layer is in memory, and those of the base are where the base is. */
  readonly image: Image
  /** Layer, config and manifest, in this order. */
  readonly blobs: readonly Uint8Array[]
}

export interface BuiltImage {
  /** Of the manifest. */
  readonly digest: OciDigest
  /** Of manifest, config and layers together, in bytes. */
  readonly size: number
  /** False when the layout held exactly this image under this name already. */
  readonly changed: boolean
}

/** OCI documents have to name a creation time, and the real one would change the digest. */
const created = '1970-01-01T00:00:00Z'

/**
 * Builds an image for linux/amd64 without any daemon, one layer on a base or on nothing, and stores it in
 * an OCI layout. The same input gives the same digest on every machine. Layers of the base that the layout
 * has are not fetched again.
 *
 * Several builds into one layout may run at once. Throws an `ImageError`.
 */
export async function buildNativeImage({ layout, note, signal, ...recipe }: NativeImage): Promise<BuiltImage> {
  const { image, blobs } = composeNativeImage(recipe)
  const manifest = blobs.at(-1) ?? new Uint8Array(0)
  const name = parseReference(recipe.reference)
  const baseLayers = recipe.base?.image.layers ?? []
  for (const [index, layer] of baseLayers.entries()) {
    signal?.throwIfAborted()
    const watch = progressBar(`base layer ${index + 1} of ${baseLayers.length}`, layer.size, note ?? (() => undefined))
    await storeBlob(layout, { digest: layer.digest, size: layer.size, open: () => layer.openBlob(watch) })
  }
  const entry: LayoutEntry = {
    mediaType: mediaTypes.ociManifest,
    digest: image.digest,
    size: manifest.length,
    platform: { architecture: 'amd64', os: 'linux' },
    annotations: { [imageNameAnnotation]: formatReference(name), [refNameAnnotation]: name.tag ?? '' }
  }
  const changed = await writeToLayout(layout, blobs, entry)
  const size = [...blobs.map(({ length }) => length), ...baseLayers.map((layer) => layer.size)]
  return { digest: entry.digest, size: size.reduce((total, bytes) => total + bytes, 0), changed }
}

/**
 * Makes the documents of an image and writes nothing. Of a base only its documents are read.
 *
 * The new layer is not compressed: what a compressor writes depends on the version of zlib, so on the
 * version of Node, while the tar depends on nothing. Registries and hosts may compress it on the way; the
 * root hash is that of the tar in any case. Layers of the base stay as they are, byte for byte.
 */
export function composeNativeImage({ reference, files, config, base }: NativeRecipe): ComposedImage {
  const name = parseReference(reference)
  if (name.tag === undefined || name.digest !== undefined) {
    throw new ImageError('image.reference', `an image to be built needs a tag and no digest, got ${quote(reference)}`)
  }
  const tar = layerTar(files)
  const layers = [...(base?.image.layers ?? []).map(inOciTerms), layerInMemory(tar)]
  const configDocument = utf8.encode(
    canonicalJson(configOf(base === undefined ? config : onBase(config, base), layers))
  )
  const manifest = utf8.encode(canonicalJson(manifestOf(configDocument, layers)))
  return {
    image: {
      reference,
      digest: ociDigest(manifest),
      config: parseConfigDocument(configDocument, `the config of ${reference}`).config,
      layers
    },
    blobs: [tar, configDocument, manifest]
  }
}

function layerInMemory(tar: Uint8Array): ImageLayer {
  const digest = ociDigest(tar)
  const open = async function* (watch?: Watch) {
    watch?.(tar.length)
    yield tar
  }
  return { digest, diffId: digest, mediaType: mediaTypes.ociLayer, size: tar.length, open, openBlob: open }
}

/** The same bytes under the name that an OCI manifest has for them: some readers take no mixture. */
function inOciTerms(layer: ImageLayer): ImageLayer {
  const { mediaType } = layer
  if (!mediaType.startsWith(mediaTypes.dockerLayer)) return layer
  const compression = mediaType.slice(mediaTypes.dockerLayer.length).replace('.', '+')
  return { ...layer, mediaType: `${mediaTypes.ociLayer}${compression}` }
}

/**
 * What the image says for itself wins. Labels by which the base describes itself (`org.opencontainers.image.*`)
 * would be wrong here, so they are left out; so are its command, which belongs to its entrypoint, and what
 * container groups do not use: volumes, health check, shell, triggers.
 */
function onBase(config: NativeImageConfig, { reference, image }: NativeBase): NativeImageConfig {
  const { digest, ...name } = parseReference(reference)
  if (digest === undefined) {
    throw new ImageError('image.reference', `a base is named by its digest, got ${quote(reference)}`, {
      why: 'a tag may move, and the image would be another one on the next machine'
    })
  }
  const inherited = image.config
  const labels = Object.entries(inherited.Labels).filter(([label]) => !label.startsWith(annotationPrefix))
  return {
    entrypoint: config.entrypoint,
    ...present({
      cmd: config.cmd,
      env: mergeEnvironment(inherited.Env ?? [], config.env ?? []),
      workingDir: config.workingDir ?? inherited.WorkingDir,
      user: config.user ?? inherited.User,
      stopSignal: config.stopSignal ?? inherited.StopSignal
    }),
    labels: {
      ...Object.fromEntries(labels),
      ...config.labels,
      [`${annotationPrefix}base.name`]: formatReference({ ...name, digest: undefined }),
      [`${annotationPrefix}base.digest`]: digest
    },
    exposedPorts: [...new Set([...inherited.ExposedPorts, ...(config.exposedPorts ?? [])])].sort()
  }
}

const annotationPrefix = 'org.opencontainers.image.'

function mergeEnvironment(inherited: readonly string[], own: readonly string[]): readonly string[] {
  const nameOf = (variable: string) => variable.slice(0, variable.indexOf('='))
  const replaced = new Set(own.map(nameOf))
  return [...inherited.filter((variable) => !replaced.has(nameOf(variable))), ...own]
}

function present<T extends object>(values: T): { readonly [Key in keyof T]?: Exclude<T[Key], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    readonly [Key in keyof T]?: Exclude<T[Key], undefined>
  }
}

function configOf(config: NativeImageConfig, layers: readonly ImageLayer[]): unknown {
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
    rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
    // One entry for each layer, as readers expect; how the base came to be is written in the base.
    history: layers.map((_, index) => ({ created, created_by: index < layers.length - 1 ? 'base' : 'confrouter' }))
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

function manifestOf(config: Uint8Array, layers: readonly ImageLayer[]): unknown {
  return {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config: { mediaType: mediaTypes.ociConfig, digest: ociDigest(config), size: config.length },
    layers: layers.map(({ mediaType, digest, size }) => ({ mediaType, digest, size }))
  }
}

function refused(problem: string): ImageError {
  return new ImageError('image.content', problem)
}
