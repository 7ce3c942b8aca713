import { lstat, mkdir, readlink } from 'node:fs/promises'
import { join, posix } from 'node:path'
import { systemCode } from '../../system-error.js'

/** A path that cannot be followed inside a root file system; the message names the path as the image has it. */
export class ContainedPathError extends Error {
  override readonly name = 'ContainedPathError'
}

/** As many as Linux follows in one path. */
const maxSymlinks = 40

export interface ContainedPath {
  /** Absolute inside the root, with every symbolic link followed: `/usr/lib/x`. */
  readonly inside: string
  /** The same on the host. */
  readonly onHost: string
  readonly exists: boolean
}

export interface FollowOptions {
  /** Whether a link in the last place is followed too. */
  readonly followLast: boolean
  /** Creates missing directories on the way; the last component too. */
  readonly createDirectories?: boolean
}

/**
 * Follows a path as a process would for which `root` is `/`: absolute links and `..` stay inside.
 * What lies behind the first missing component is taken literally.
 */
export async function followInside(root: string, path: string, options: FollowOptions): Promise<ContainedPath> {
  const pending = components(path)
  let current: string[] = []
  let links = 0
  let exists = true
  for (let name = pending.shift(); name !== undefined; name = pending.shift()) {
    if (name === '..') {
      current = current.slice(0, -1)
      continue
    }
    const candidate = join(root, ...current, name)
    const status = exists ? await lstatIfPresent(candidate) : undefined
    if (status?.isSymbolicLink() && (pending.length > 0 || options.followLast)) {
      if (++links > maxSymlinks) throw new ContainedPathError(`too many levels of symbolic links: ${path}`)
      const target = await readlink(candidate)
      if (target.startsWith('/')) current = []
      pending.unshift(...components(target))
      continue
    }
    current = [...current, name]
    if (status === undefined) {
      if (options.createDirectories) await mkdir(candidate, { mode: 0o755 })
      else exists = false
    } else if ((pending.length > 0 || options.createDirectories) && !status.isDirectory()) {
      throw new ContainedPathError(`not a directory: /${current.join('/')}`)
    }
  }
  return { inside: `/${current.join('/')}`, onHost: join(root, ...current), exists }
}

/**
 * The text of a link that means inside `root` what `target` means there, but that the host's kernel
 * cannot follow out of it: relative, and with no more `..` than there are directories above it.
 */
export function containedLinkTarget(directoryInside: string, target: string): string {
  const absolute = posix.resolve('/', directoryInside, target)
  return posix.relative(directoryInside, absolute) || '.'
}

function components(path: string): string[] {
  if (path.includes('\0')) throw new ContainedPathError('a path contains a zero byte')
  return path.split('/').filter((name) => name !== '' && name !== '.')
}

async function lstatIfPresent(path: string) {
  try {
    return await lstat(path)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    throw error
  }
}
