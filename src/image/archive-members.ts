import type { FileHandle } from 'node:fs/promises'
import { LayerError, readTarMembers, type TarFile, type TarMember } from '../layers/index.js'
import { ImageError } from './image-error.js'
import { malformed } from './manifest.js'
import { tooLarge } from './verified-stream.js'

/** A member of a tar file: where its bytes lie, or where it points. */
export type ArchiveMember =
  | { readonly kind: 'file'; readonly offset: number; readonly size: number }
  | { readonly kind: 'link'; readonly target: string }
  /** Two members of one name: which one is meant depends on the reader, so neither is used. */
  | { readonly kind: 'ambiguous' }
  /** Sparse, or of a type that readers take for different things. */
  | { readonly kind: 'unusual' }

const maxMembers = 100_000

/**
 * Lists the files and links of a tar file by name, without reading their content. Names are keys and
 * nothing else: nothing is ever written, so `..` or an absolute name can harm nobody. A leading `./`
 * is dropped.
 */
export async function listMembers(file: FileHandle, label: string): Promise<ReadonlyMap<string, ArchiveMember>> {
  const members = new Map<string, ArchiveMember>()
  let count = 0
  try {
    for await (const member of readTarMembers(await tarFile(file, label))) {
      if (++count > maxMembers) throw tooLarge(`the member list of ${label}`, maxMembers)
      const listed = archiveMember(member)
      if (listed === undefined) continue
      const name = plainName(member.path)
      members.set(name, members.has(name) ? { kind: 'ambiguous' } : listed)
    }
  } catch (error) {
    if (!(error instanceof LayerError)) throw error
    if (error.code === 'tar-header-too-long') {
      throw new ImageError('image.too-large', `${label}: ${error.message}`, { cause: error })
    }
    throw malformed(label, `is damaged or is no tar file: ${error.message}`, error)
  }
  return members
}

async function tarFile(file: FileHandle, label: string): Promise<TarFile> {
  const { size } = await file.stat()
  const read = async (position: number, length: number) => {
    const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(length), { position })
    return buffer.subarray(0, bytesRead)
  }
  const magic = await read(0, Math.min(2, size))
  if (magic[0] === 0x1f && magic[1] === 0x8b) {
    throw new ImageError('image.unsupported', `${label} is compressed`, { next: [`gunzip -k ${label}`] })
  }
  return { size, read }
}

/** Undefined for what has no contents and leads nowhere. */
function archiveMember({
  kind,
  typeFlag,
  path,
  linkPath,
  size,
  offset,
  isSparse
}: TarMember): ArchiveMember | undefined {
  switch (kind) {
    case 'file':
      return isSparse || !['0', '7', '\0'].includes(typeFlag) ? { kind: 'unusual' } : { kind, offset, size }
    case 'hard-link':
      return { kind: 'link', target: plainName(linkPath) }
    case 'symbolic-link':
      return { kind: 'link', target: resolveLink(plainName(path), linkPath) }
    default:
      return undefined
  }
}

function plainName(path: string): string {
  return path.replace(/^(?:\.\/)+/, '')
}

/** Where a symbolic link points to inside the archive: plain text, resolved without a file system. */
function resolveLink(name: string, target: string): string {
  const parts = name.split('/').slice(0, -1)
  for (const part of target.split('/')) {
    if (part === '..') parts.pop()
    else if (part !== '.' && part !== '') parts.push(part)
  }
  return parts.join('/')
}
