import { join } from 'node:path'
import type { OciDigest } from '../base/digest.js'
import type { ContentSource } from './content-source.js'
import { readExtent } from './file-content.js'
import type { Image } from './image.js'
import { parseLayoutIndex } from './layout-index.js'
import {
  malformed,
  maxDocumentBytes,
  optionalText,
  parseJsonObject,
  quote,
  unsupported,
  type Descriptor
} from './manifest.js'
import { openIndexedImage } from './open-image.js'
import { collect, verifiedStream } from './verified-stream.js'

export const layoutMarker = '{"imageLayoutVersion":"1.0.0"}'

/**
 * Opens an image in an OCI layout directory (OCI image-spec image-layout.md).
 *
 * `reference` is `repo:tag`, `repo@sha256:…` or `repo:tag@sha256:…`; with a digest the names in the
 * layout do not matter. Only files under `blobs/sha256` whose names are digests are ever opened.
 */
export async function openLayoutImage(layoutDir: string, reference: string): Promise<Image> {
  await checkLayout(layoutDir)
  return openIndexedImage(layoutSource(layoutDir), await readLayoutIndex(layoutDir), reference)
}

/** The entries of a layout's index.json. */
async function readLayoutIndex(layoutDir: string): Promise<readonly Descriptor[]> {
  const path = join(layoutDir, 'index.json')
  return parseLayoutIndex(await readSmallFile(path), path)
}

/** Throws unless the folder is an OCI layout of version 1. */
export async function checkLayout(layoutDir: string): Promise<void> {
  const path = join(layoutDir, 'oci-layout')
  checkLayoutMarker(await readSmallFile(path), path)
}

/** Throws unless the bytes of an `oci-layout` name version 1. */
export function checkLayoutMarker(bytes: Uint8Array, label: string): void {
  const version = optionalText(parseJsonObject(bytes, label), 'imageLayoutVersion', label)
  if (version === undefined) throw malformed(label, 'names no layout version')
  if (version !== '1.0.0') throw unsupported(label, `has the layout version ${quote(version)}`)
}

export function blobPath(layoutDir: string, digest: OciDigest): string {
  return join(layoutDir, 'blobs', 'sha256', digest.slice('sha256:'.length))
}

/** Reads a blob whole and checks its digest, and its size where that is known. */
export async function readLayoutBlob(
  layoutDir: string,
  { digest, size }: { readonly digest: OciDigest; readonly size: number | undefined },
  limit: number,
  label: string
): Promise<Uint8Array> {
  const content = readExtent(blobPath(layoutDir, digest), { offset: 0, size: limit + 1 })
  return collect(verifiedStream(content, { digest, size, label }), limit, label)
}

/** Streams a blob, and throws at its end unless it has this digest and size. */
export function openLayoutBlob(
  layoutDir: string,
  { digest, size }: Descriptor,
  label: string
): AsyncIterable<Uint8Array> {
  return verifiedStream(readExtent(blobPath(layoutDir, digest), { offset: 0, size: size + 1 }), { digest, size, label })
}

function layoutSource(layoutDir: string): ContentSource {
  const openBlob = ({ digest, size }: Descriptor) =>
    // One byte more than it should have, so that a file that grew is noticed and not cut to fit.
    readExtent(blobPath(layoutDir, digest), { offset: 0, size: size + 1 })
  return { location: layoutDir, openManifest: openBlob, openBlob }
}

function readSmallFile(path: string): Promise<Uint8Array> {
  return collect(readExtent(path, { offset: 0, size: undefined }), maxDocumentBytes, path)
}
