import { parseOciDigest, type OciDigest } from '../base/digest.js'
import { isJsonObject } from '../base/json.js'
import { listMembers, type ArchiveMember } from './archive-members.js'
import { maxConfigBytes, parseConfigDocument } from './config-document.js'
import type { ContentSource } from './content-source.js'
import { openForReading, readExtent } from './file-content.js'
import type { ArchiveImage, ImageLayer } from './image.js'
import { ImageError } from './image-error.js'
import { openDockerLayer } from './layer-stream.js'
import { checkLayoutMarker } from './layout.js'
import { parseLayoutIndex } from './layout-index.js'
import { malformed, maxDocumentBytes, mediaTypes, parseJson, quote, type Descriptor } from './manifest.js'
import { openIndexedImage } from './open-image.js'
import { formatReference, parseReference } from './reference.js'
import { watched, type Watch } from './transfer.js'
import { collect, verifiedStream } from './verified-stream.js'

/**
 * Opens an image in a tar file: an OCI archive, what `docker save` writes, or both at once (Docker 25
 * and later), in which case the OCI half is taken because it has digests.
 *
 * Members are read in place by their exact names and nothing is extracted. The file may be deleted
 * once the layers have been read, not before. A reference with a digest needs an OCI archive: the
 * older format has no manifest, so nothing in it could be compared with the digest.
 */
export async function openArchiveImage(tarFile: string, reference: string): Promise<ArchiveImage> {
  const archive = await openArchive(tarFile)
  if (archive.has('index.json')) {
    checkLayoutMarker(await archive.read('oci-layout', maxDocumentBytes), `oci-layout in ${tarFile}`)
    const index = await archive.read('index.json', maxDocumentBytes)
    const entries = parseLayoutIndex(index, `index.json in ${tarFile}`)
    return openIndexedImage(ociSource(archive), entries, reference)
  }
  if (archive.has('manifest.json')) return openDockerArchive(archive, reference)
  throw new ImageError('image.unsupported', `${tarFile} is neither an OCI archive nor one that "docker save" wrote`, {
    why: 'it has no index.json and no manifest.json'
  })
}

interface Archive {
  readonly path: string
  has(name: string): boolean
  sizeOf(name: string): number
  open(name: string): AsyncIterable<Uint8Array>
  read(name: string, limit: number): Promise<Uint8Array>
}

async function openArchive(path: string): Promise<Archive> {
  const file = await openForReading(path)
  const members = await listMembers(file, path).finally(() => file.close())
  const extentOf = (name: string) => memberExtent(members, name, path)
  const open = (name: string) => readExtent(path, extentOf(name))
  return {
    path,
    has: (name) => members.has(name),
    sizeOf: (name) => extentOf(name).size,
    open,
    read: (name, limit) => collect(open(name), limit, `${quote(name)} in ${path}`)
  }
}

/** `docker save` before version 25 writes a layer that occurs twice as a link: one step is followed. */
function memberExtent(members: ReadonlyMap<string, ArchiveMember>, name: string, path: string) {
  const named = members.get(name)
  const member = named?.kind === 'link' ? members.get(named.target) : named
  if (member === undefined) throw malformed(path, `has no member ${quote(name)}`)
  if (member.kind === 'ambiguous') throw malformed(path, `has two members named ${quote(name)}`)
  if (member.kind === 'unusual') throw malformed(path, `stores ${quote(name)} in a way that readers disagree on`)
  if (member.kind === 'link') throw malformed(path, `has a link ${quote(name)} that leads to another link`)
  return member
}

function ociSource(archive: Archive): ContentSource {
  const openBlob = ({ digest }: Descriptor) => archive.open(`blobs/sha256/${digest.slice('sha256:'.length)}`)
  return { location: archive.path, openManifest: openBlob, openBlob }
}

async function openDockerArchive(archive: Archive, reference: string): Promise<ArchiveImage> {
  if (parseReference(reference).digest !== undefined) {
    throw new ImageError('image.unpinnable', `${archive.path} cannot prove the digest of ${quote(reference)}`, {
      why: 'an archive without index.json has no manifest to which the digest could belong',
      next: ['write the archive with "skopeo copy … oci-archive:<file>" or Docker 25 or later', 'name the image by tag']
    })
  }
  const entry = await dockerEntry(archive, reference)
  const label = `the config of ${reference}`
  const { config, diffIds } = parseConfigDocument(await readDockerConfig(archive, entry.config, label), label)
  if (diffIds.length !== entry.layers.length) {
    throw malformed(label, `has ${diffIds.length} diff ids for ${entry.layers.length} layers`)
  }
  const layers = diffIds.map((diffId, index) =>
    dockerLayer(archive, entry.layers[index] ?? '', diffId, `layer ${index} of ${reference}`)
  )
  return { reference, digest: undefined, config, layers }
}

interface DockerEntry {
  readonly config: string
  readonly layers: readonly string[]
}

/** The entry of manifest.json that carries the name; both sides are compared in their canonical form. */
async function dockerEntry(archive: Archive, reference: string): Promise<DockerEntry> {
  const label = `manifest.json in ${archive.path}`
  const manifest = parseJson(await archive.read('manifest.json', maxDocumentBytes), label)
  if (!Array.isArray(manifest)) throw malformed(label, 'is not a list')
  const entries = manifest.map((item: unknown) => parseDockerEntry(item, label))
  const wanted = formatReference(parseReference(reference))
  const found = entries.find(({ names }) => names.some((name) => canonical(name) === wanted))
  if (found === undefined) {
    const names = entries.flatMap(({ names: tags }) => tags)
    throw new ImageError('image.not-found', `${archive.path} holds no image ${quote(reference)}`, {
      why: names.length === 0 ? 'its images have no names' : `it holds ${names.slice(0, 10).map(quote).join(', ')}`
    })
  }
  return found
}

function parseDockerEntry(value: unknown, label: string): DockerEntry & { readonly names: readonly string[] } {
  if (!isJsonObject(value) || typeof value['Config'] !== 'string') throw malformed(label, 'has an entry without config')
  return {
    config: value['Config'],
    layers: texts(value['Layers'], `the layers in ${label}`),
    names: texts(value['RepoTags'] ?? [], `the names in ${label}`)
  }
}

function texts(value: unknown, label: string): readonly string[] {
  if (!Array.isArray(value)) throw malformed(label, 'are not a list')
  return value.map((item: unknown) => {
    if (typeof item !== 'string') throw malformed(label, 'have an item that is no text')
    return item
  })
}

function canonical(name: string): string | undefined {
  try {
    return formatReference(parseReference(name))
  } catch {
    // `<none>:<none>` and the like: no name that could be asked for.
    return undefined
  }
}

/** The config's member is named after its digest, which is then checked. */
async function readDockerConfig(archive: Archive, name: string, label: string): Promise<Uint8Array> {
  const hex = /(?:^|\/)([0-9a-f]{64})(?:\.json)?$/.exec(name)?.[1]
  if (hex === undefined) return archive.read(name, maxConfigBytes)
  const digest = parseOciDigest(`sha256:${hex}`, label)
  const content = verifiedStream(archive.open(name), { digest, size: archive.sizeOf(name), label })
  return collect(content, maxConfigBytes, label)
}

function dockerLayer(archive: Archive, name: string, diffId: OciDigest, label: string): ImageLayer {
  const size = archive.sizeOf(name)
  const open = (watch: Watch | undefined) => openDockerLayer(watched(archive.open(name), watch), { diffId, label })
  return {
    digest: diffId,
    diffId,
    mediaType: mediaTypes.dockerLayer,
    size,
    open,
    // Known by its diff id alone: the tar is the blob.
    openBlob: open
  }
}
