import { ociDigest, type OciDigest } from '../base/digest.js'
import type { ContentSource } from './content-source.js'
import type { Image } from './image.js'
import { ImageError } from './image-error.js'
import { malformed, maxDocumentBytes, mediaTypes, quote, type Descriptor } from './manifest.js'
import { openImage } from './open-image.js'
import { parseReference } from './reference.js'
import type { CredentialSource } from './registry-auth.js'
import { createRegistryClient, maxAttempts, type RegistryClient } from './registry-client.js'
import { TransientError } from './registry-transport.js'
import { collect } from './verified-stream.js'

export interface RegistryImageOptions {
  /** `repo:tag`, `repo@sha256:…` or `repo:tag@sha256:…`, with Docker's defaults. */
  readonly reference: string
  readonly fetch: typeof globalThis.fetch
  readonly credentials?: CredentialSource | undefined
  readonly signal?: AbortSignal | undefined
  /** Defaults to true for loopback addresses only, as in Docker. */
  readonly plainHttp?: boolean | undefined
  /** Waits between attempts; tests pass their own. */
  readonly wait?: ((milliseconds: number) => Promise<void>) | undefined
}

const manifestTypes = [
  mediaTypes.ociIndex,
  mediaTypes.dockerList,
  mediaTypes.ociManifest,
  mediaTypes.dockerManifest
].join(', ')

/**
 * Opens an image in a registry (OCI distribution-spec 1.1). Of an index it takes linux/amd64. Every
 * document and blob is hashed while it arrives; with a digest in the reference nothing has to be
 * believed of the registry, and without one only which digest the tag has.
 */
export async function openRegistryImage(options: RegistryImageOptions): Promise<Image> {
  const { registry, repository, tag, digest } = parseReference(options.reference)
  const client = createRegistryClient({ ...options, registry, repository, actions: 'pull' })
  const source = registrySource(client, `${registry}/${repository}`)
  const { root, bytes } = await fetchRoot(client, digest ?? tag ?? 'latest', digest, options.reference)
  return openImage(withKnownManifest(source, root.digest, bytes), options.reference, root)
}

interface Root {
  readonly root: Descriptor
  readonly bytes: Uint8Array
}

/** The document that the reference names: its digest is that of its bytes, and has to be the pinned one. */
async function fetchRoot(
  client: RegistryClient,
  name: string,
  pinned: OciDigest | undefined,
  reference: string
): Promise<Root> {
  const label = `manifest ${quote(reference)}`
  const { headers, bytes } = await readManifest(client, name, label)
  const digest = ociDigest(bytes)
  const claimed = pinned ?? headers.get('docker-content-digest') ?? digest
  if (claimed !== digest) {
    throw new ImageError('image.digest-mismatch', `the registry sent another manifest for ${quote(reference)}`, {
      why: `expected ${claimed.slice(0, 80)}, got ${digest}`
    })
  }
  const mediaType = headers.get('content-type')?.split(';')[0]?.trim()
  if (mediaType === undefined || mediaType === '') throw malformed(label, 'came without a media type')
  return { root: { mediaType, digest, size: bytes.length, annotations: {}, platform: undefined }, bytes }
}

/** A document without a digest cannot be continued where it broke off: it could be another one by then. */
async function readManifest(
  client: RegistryClient,
  name: string,
  label: string
): Promise<{ headers: Headers; bytes: Uint8Array }> {
  for (let attempt = 0; ; attempt++) {
    const request = { accept: [200], headers: { accept: manifestTypes }, label }
    const answer = await client.send(`/manifests/${name}`, request)
    try {
      return { headers: answer.headers, bytes: await collect(answer.body(), maxDocumentBytes, label) }
    } catch (error) {
      if (attempt + 1 >= maxAttempts || !(error instanceof TransientError)) throw error
      await client.backOff(attempt)
    }
  }
}

function withKnownManifest(source: ContentSource, digest: OciDigest, bytes: Uint8Array): ContentSource {
  return {
    ...source,
    openManifest: (descriptor) => (descriptor.digest === digest ? once(bytes) : source.openManifest(descriptor))
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  yield bytes
}

function registrySource(client: RegistryClient, location: string): ContentSource {
  return {
    location,
    openManifest: ({ digest, mediaType }) =>
      resumable(client, `/manifests/${digest}`, { accept: mediaType }, `manifest ${digest} of ${location}`),
    openBlob: ({ digest }) => resumable(client, `/blobs/${digest}`, {}, `blob ${digest} of ${location}`)
  }
}

/** Streams a document; when the connection breaks, goes on where it broke (RFC 9110 section 14). */
async function* resumable(
  client: RegistryClient,
  path: string,
  headers: Readonly<Record<string, string>>,
  label: string
): AsyncGenerator<Uint8Array, void, undefined> {
  let received = 0
  for (let attempt = 0; ; attempt++) {
    try {
      const range = received === 0 ? {} : { range: `bytes=${received}-` }
      const answer = await client.send(path, { accept: [200, 206], headers: { ...headers, ...range }, label })
      // A registry without ranges begins again; what we have is skipped. A wrong range fails the digest.
      let skip = answer.status === 206 ? 0 : received
      for await (const chunk of answer.body()) {
        const fresh = chunk.subarray(Math.min(skip, chunk.length))
        skip -= chunk.length - fresh.length
        if (fresh.length === 0) continue
        received += fresh.length
        yield fresh
      }
      return
    } catch (error) {
      if (attempt + 1 >= maxAttempts || !(error instanceof TransientError)) throw error
      await client.backOff(attempt)
    }
  }
}
