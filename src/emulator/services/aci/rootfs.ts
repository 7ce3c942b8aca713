import { constants } from 'node:fs'
import { copyFile, link, lstat, mkdir, open, readdir, readlink, rm, symlink, writeFile } from 'node:fs/promises'
import { join, posix } from 'node:path'
import { readTar, type TarEntry } from '../../../layers/index.js'
import { containedLinkTarget, ContainedPathError, followInside } from './contained-path.js'

/** One layer's uncompressed tar; reading it to its end verifies it. */
export interface LayerSource {
  open(): AsyncIterable<Uint8Array>
}

export interface ExtractionLimits {
  readonly maxEntries: number
  /** Bytes of all files together. */
  readonly maxBytes: number
}

/** ACI takes images of up to 15 GB. */
const defaultLimits: ExtractionLimits = { maxEntries: 500_000, maxBytes: 15 * 1024 ** 3 }

const whiteoutPrefix = '.wh.'
const opaqueMarker = '.wh..wh..opq'

/**
 * Unpacks layers, lowest first, into the empty directory `root`. Nothing is written outside of it,
 * whatever names and links the layers hold: the host is not protected by a chroot here.
 *
 * Owners, device nodes and extended attributes are left out, since an ordinary user runs the
 * emulator; set-user-id bits are taken away.
 */
export async function extractLayers(
  layers: readonly LayerSource[],
  root: string,
  signal: AbortSignal,
  limits: ExtractionLimits = defaultLimits
): Promise<void> {
  await mkdir(root, { recursive: true, mode: 0o700 })
  const usage = { entries: 0, bytes: 0 }
  for (const layer of layers) {
    const extraction = new LayerExtraction(root, usage, limits)
    const source = untilTheEnd(layer.open())
    for await (const entry of readTar(source.bytes)) {
      signal.throwIfAborted()
      await extraction.add(entry)
    }
    // A tar reader stops at the end of the archive; the layer's digest is checked at the end of its bytes.
    await source.drain()
  }
}

class LayerExtraction {
  /** Paths that this layer wrote, with their parents: its whiteouts remove what lies below, not these. */
  readonly #written = new Set<string>()

  constructor(
    private readonly root: string,
    private readonly usage: { entries: number; bytes: number },
    private readonly limits: ExtractionLimits
  ) {}

  async add(entry: TarEntry): Promise<void> {
    if (++this.usage.entries > this.limits.maxEntries) throw new ContainedPathError('the image has too many files')
    if (entry.kind === 'global-header') return
    const path = posix.normalize(`/${entry.path}`).replace(/(.)\/$/, '$1')
    const name = posix.basename(path)
    if (path === '/') return
    const parent = await followInside(this.root, posix.dirname(path), { followLast: true, createDirectories: true })
    if (name === opaqueMarker) return this.#clear(parent.inside)
    if (name.startsWith(whiteoutPrefix))
      return this.#remove(posix.join(parent.inside, name.slice(whiteoutPrefix.length)))
    this.#remember(posix.join(parent.inside, name))
    await this.#create(entry, parent.inside, join(parent.onHost, name))
  }

  async #create(entry: TarEntry, directory: string, target: string): Promise<void> {
    const existing = await lstat(target).catch(() => undefined)
    if (existing && !(existing.isDirectory() && entry.kind === 'directory')) await rm(target, { recursive: true })
    switch (entry.kind) {
      case 'directory':
        // Whoever runs the emulator must be able to write into it and to delete it again.
        if (!existing?.isDirectory()) await mkdir(target, { mode: (entry.mode & 0o777) | 0o700 })
        return
      case 'file':
        return this.#writeFile(entry, target)
      case 'symbolic-link':
        return symlink(containedLinkTarget(directory, entry.linkPath), target)
      case 'hard-link':
        return this.#hardLink(entry.linkPath, target)
      case 'character-device':
      case 'block-device':
      case 'fifo':
        // Making one needs privileges or makes no sense without the container's own kernel.
        return
      case 'global-header':
        return
      default:
        return entry.kind satisfies never
    }
  }

  async #writeFile(entry: TarEntry, target: string): Promise<void> {
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW
    const file = await open(target, flags, (entry.mode & 0o777) | 0o600)
    try {
      for await (const bytes of entry.data) {
        this.usage.bytes += bytes.length
        if (this.usage.bytes > this.limits.maxBytes) throw new ContainedPathError('the image is too large')
        await file.writeFile(bytes)
      }
    } finally {
      await file.close()
    }
  }

  async #hardLink(linkPath: string, target: string): Promise<void> {
    const source = await followInside(this.root, linkPath, { followLast: false })
    const status = source.exists ? await lstat(source.onHost) : undefined
    if (status?.isSymbolicLink()) await symlink(await readlink(source.onHost), target)
    else if (status?.isFile()) await link(source.onHost, target).catch(() => copyFile(source.onHost, target))
    else throw new ContainedPathError(`a hard link points to nothing: ${linkPath}`)
  }

  #remember(path: string): void {
    for (let each = path; each !== '/'; each = posix.dirname(each)) this.#written.add(each)
  }

  async #remove(path: string): Promise<void> {
    if (this.#written.has(path)) {
      const status = await lstat(join(this.root, path)).catch(() => undefined)
      if (status?.isDirectory()) await this.#clear(path)
      return
    }
    await rm(join(this.root, path), { recursive: true, force: true })
  }

  /** Empties a directory of what lower layers put there. */
  async #clear(directory: string): Promise<void> {
    for (const name of await readdir(join(this.root, directory))) await this.#remove(posix.join(directory, name))
  }
}

/** Hands out bytes without letting the reader close the source, so that the rest can be read after it. */
function untilTheEnd(bytes: AsyncIterable<Uint8Array>): { bytes: AsyncIterable<Uint8Array>; drain(): Promise<void> } {
  const source = bytes[Symbol.asyncIterator]()
  return {
    bytes: { [Symbol.asyncIterator]: () => ({ next: () => source.next() }) },
    drain: async () => {
      while (!(await source.next()).done);
    }
  }
}

/** Ends the search for a package.json that decides how a script is loaded: an image cannot see what is above its root. */
export async function endPackageScope(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 })
  await writeFile(join(directory, 'package.json'), '{}\n')
}
