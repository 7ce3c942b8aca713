import { randomUUID } from 'node:crypto'
import { link, open, readFile, readlink, rename, rm, stat, type FileHandle } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { errorCode, fileError } from './file-content.js'
import { ImageError } from './image-error.js'

interface LockTimes {
  /** How long to wait for another build. */
  readonly patienceMs: number
  /** The age at which a lock is taken for left behind, a multiple of the time after which it is renewed. */
  readonly staleMs: number
  readonly renewMs: number
}

const defaultTimes: LockTimes = { patienceMs: 90_000, staleMs: 60_000, renewMs: 10_000 }
const pollMs = 20

interface Lock {
  readonly file: FileHandle
  /** What is in the file: tells our lock from that of whoever took it over. */
  readonly token: string
}

/**
 * Runs `work` while no other process or call works on this layout. The lock is renewed while the work
 * goes on; one whose process is gone from this machine, or that was not renewed for a minute, is taken over.
 */
export async function withLayoutLock<Result>(
  layoutDir: string,
  work: () => Promise<Result>,
  times: Partial<LockTimes> = {}
): Promise<Result> {
  const path = join(layoutDir, '.confrouter.lock')
  const { patienceMs, staleMs, renewMs } = { ...defaultTimes, ...times }
  const lock = await acquire(path, patienceMs, staleMs)
  const renewal = setInterval(renew, renewMs, lock.file)
  try {
    return await work()
  } finally {
    clearInterval(renewal)
    await release(path, lock)
  }
}

async function acquire(path: string, patienceMs: number, staleMs: number): Promise<Lock> {
  const place = await placeOfProcesses()
  const token = `${place} ${process.pid} ${randomUUID()}`
  for (let waitedMs = 0; ; waitedMs += pollMs) {
    const file = await tryCreate(path, token)
    if (file !== undefined) return { file, token }
    await removeStale(path, staleMs, place)
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

async function tryCreate(path: string, token: string): Promise<FileHandle | undefined> {
  let file: FileHandle | undefined
  try {
    // `wx` creates the file or fails: the file system decides between two that come at once.
    file = await open(path, 'wx')
    await file.writeFile(token)
    return file
  } catch (cause) {
    if (errorCode(cause) === 'EEXIST') return undefined
    await file?.close()
    if (file !== undefined) await rm(path, { force: true })
    throw fileError('lock', path, cause)
  }
}

/**
 * Moves a lock that nobody renews out of the way. Of two that try at once, one can have moved away the
 * fresh lock of the other, and then puts it back.
 */
async function removeStale(path: string, staleMs: number, place: string): Promise<void> {
  const aside = `${path}.${randomUUID()}`
  try {
    if (!(await isStale(path, staleMs, place))) return
    await rename(path, aside)
    if (!(await isStale(aside, staleMs, place))) await link(aside, path)
  } catch {
    // Released or taken in the meantime; the next attempt to create it tells.
  } finally {
    await rm(aside, { force: true })
  }
}

async function isStale(path: string, staleMs: number, place: string): Promise<boolean> {
  if (Date.now() - (await stat(path)).mtimeMs > staleMs) return true
  const [, where, pid] = /^(\S+) (\d+) /.exec(await readFile(path, 'utf8')) ?? []
  return where === place && !isRunning(Number(pid))
}

/**
 * Where process numbers mean what they mean here: on this machine and, in a container, in its name space. A number
 * that has gone to another process only makes the lock wait to grow old.
 */
async function placeOfProcesses(): Promise<string> {
  const names = await readlink('/proc/self/ns/pid').catch(() => 'one')
  return encodeURIComponent(`${hostname()} ${names}`)
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // Somebody else's is running all the same.
    return errorCode(error) !== 'ESRCH'
  }
}

/** Through the open file, so that it never renews the lock of another. */
function renew(file: FileHandle): void {
  const now = new Date()
  // A lock that cannot be renewed is lost at worst, which the file system tells when the index is written.
  file.utimes(now, now).catch(() => undefined)
}

/** Leaves alone a lock that was taken over, as when this machine slept for longer than a lock lives. */
async function release(path: string, { file, token }: Lock): Promise<void> {
  await file.close()
  const present = await readFile(path, 'utf8').catch(() => undefined)
  if (present === token) await rm(path, { force: true })
}
