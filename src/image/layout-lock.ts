import { open, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { errorCode, fileError } from './file-content.js'
import { ImageError } from './image-error.js'

/** The work under the lock takes milliseconds for a router and a few seconds for a very large layer. */
const staleMs = 60_000
const defaultPatienceMs = 90_000
const pollMs = 20

/**
 * Runs `work` while no other process or call works on this layout. A lock older than a minute was left
 * by a process that died, and is taken over.
 */
export async function withLayoutLock<Result>(
  layoutDir: string,
  work: () => Promise<Result>,
  patienceMs = defaultPatienceMs
): Promise<Result> {
  const path = join(layoutDir, '.confrouter.lock')
  await acquire(path, patienceMs)
  try {
    return await work()
  } finally {
    await rm(path, { force: true })
  }
}

async function acquire(path: string, patienceMs: number): Promise<void> {
  for (let waitedMs = 0; ; waitedMs += pollMs) {
    if (await tryCreate(path)) return
    if (await isStale(path)) await rm(path, { force: true })
    if (waitedMs >= patienceMs) {
      throw new ImageError(
        'image.layout-locked',
        `another build has held ${path} for more than ${patienceMs / 1000} s`,
        {
          next: [`rm ${path}   (only when no other build runs)`]
        }
      )
    }
    await new Promise((resolve) => setTimeout(resolve, pollMs))
  }
}

async function tryCreate(path: string): Promise<boolean> {
  try {
    // `wx` creates the file or fails: the file system decides between two that come at once.
    await (await open(path, 'wx')).close()
    return true
  } catch (cause) {
    if (errorCode(cause) === 'EEXIST') return false
    throw fileError('lock', path, cause)
  }
}

async function isStale(path: string): Promise<boolean> {
  try {
    return Date.now() - (await stat(path)).mtimeMs > staleMs
  } catch {
    // Released in the meantime; the next attempt to create it tells.
    return false
  }
}
