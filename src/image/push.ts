import type { OciDigest } from '../base/digest.js'
import { ImageError } from './image-error.js'
import { openLayoutBlob, openLayoutImage, readLayoutBlob } from './layout.js'
import {
  maxDocumentBytes,
  mediaTypes,
  optionalText,
  parseJsonObject,
  parseManifest,
  type Descriptor
} from './manifest.js'
import { parseReference } from './reference.js'
import type { RegistryImageOptions } from './registry.js'
import { createRegistryClient, type RegistryClient } from './registry-client.js'

export interface PushOptions extends RegistryImageOptions {
  /** The OCI layout directory that holds the image. */
  readonly layout: string
  /** Says which blob is being sent. */
  readonly note?: ((text: string) => void) | undefined
}

/**
 * Copies the image that `reference` names in a layout to the registry that it names, and returns the
 * digest under which it is there: the one that it has in the layout, since no byte changes. Blobs that
 * the registry has already are not sent again (OCI distribution-spec 1.1, "Pushing Manifests").
 */
export async function pushLayoutImage(options: PushOptions): Promise<{ digest: OciDigest }> {
  const { layout, reference } = options
  const { registry, repository, tag } = parseReference(reference)
  const { digest } = await openLayoutImage(layout, reference)
  const label = `the manifest of ${reference}`
  const document = await readLayoutBlob(layout, { digest, size: undefined }, maxDocumentBytes, label)
  const manifest = parseManifest(document, undefined, label)
  const blobs = manifest.kind === 'image' ? [manifest.config, ...manifest.layers] : []

  const client = createRegistryClient({ ...options, registry, repository, actions: 'pull,push' })
  for (const [index, blob] of blobs.entries()) {
    const sending = () =>
      options.note?.(`pushing blob ${index + 1} of ${blobs.length}, ${(blob.size / 1e6).toFixed(1)} MB`)
    await pushBlob(client, layout, blob, { label: `blob ${blob.digest} of ${reference}`, sending })
  }
  // The manifest is last: a registry refuses one whose blobs it does not have.
  const mediaType = optionalText(parseJsonObject(document, label), 'mediaType', label) ?? mediaTypes.ociManifest
  const headers = { 'content-type': mediaType }
  const put = { method: 'PUT', headers, body: document, accept: [201], label } as const
  const answer = await client.send(`/manifests/${tag ?? digest}`, put)
  await answer.discard()
  const stored = answer.headers.get('docker-content-digest') ?? digest
  if (stored !== digest) {
    throw new ImageError('registry.failed', `${registry} stored ${label} under another digest`, {
      why: `expected ${digest}, got ${stored.slice(0, 80)}`
    })
  }
  return { digest }
}

async function pushBlob(
  client: RegistryClient,
  layout: string,
  blob: Descriptor,
  { label, sending }: { readonly label: string; readonly sending: () => void }
): Promise<void> {
  const head = await client.send(`/blobs/${blob.digest}`, { method: 'HEAD', accept: [200, 404], label })
  await head.discard()
  if (head.status === 200) return
  sending()
  // Read once before, so that nothing damaged is sent, and checked again as it is sent.
  const open = () => openLayoutBlob(layout, blob, label)
  for await (const piece of open()) void piece
  const session = await client.send('/blobs/uploads/', { method: 'POST', accept: [202], label })
  await session.discard()
  const location = session.headers.get('location')
  if (location === null) throw new ImageError('registry.failed', `the registry opened no upload for ${label}`)
  const headers = { 'content-type': 'application/octet-stream' }
  const put = { method: 'PUT', headers, body: { size: blob.size, open }, accept: [201], label } as const
  const answer = await client.sendUpload(location, blob.digest, put)
  await answer.discard()
}
