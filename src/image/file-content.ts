import { open, type FileHandle } from 'node:fs/promises'
import { dirname } from 'node:path'
import { ImageError } from './image-error.js'

const chunkBytes = 256 * 1024

interface Extent {
  readonly offset: number
  /** In bytes; undefined for "to the end of the file". */
  readonly size: number | undefined
}

/** Streams a part of a file, which is opened by the first read and closed in every case. */
export async function* readExtent(path: string, { offset, size }: Extent): AsyncGenerator<Uint8Array, void, undefined> {
  const file = await openForReading(path)
  const end = offset + (size ?? Number.POSITIVE_INFINITY)
  // A fresh buffer each time: the consumer may keep a chunk while the next one is read.
  const readAt = (position: number) => file.read(Buffer.allocUnsafe(Math.min(chunkBytes, end - position)), { position })
  let ahead: ReturnType<typeof readAt> | undefined
  try {
    let position = offset
    ahead = position < end ? readAt(position) : undefined
    while (ahead !== undefined) {
      const { bytesRead, buffer } = await ahead
      if (bytesRead === 0) return
      position += bytesRead
      // One chunk ahead: it is read while the consumer works on this one.
      ahead = position < end ? readAt(position) : undefined
      // Whoever waits for it learns of its failure; a consumer that stops here does not wait.
      ahead?.catch(() => undefined)
      yield buffer.subarray(0, bytesRead)
    }
  } catch (cause) {
    throw fileError('read', path, cause)
  } finally {
    // Also waits for what is being read.
    await file.close()
  }
}

export async function openForReading(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'r')
  } catch (cause) {
    throw isMissing(cause)
      ? new ImageError('image.not-found', `${path} does not exist`, { cause })
      : fileError('open', path, cause)
  }
}

export function fileError(action: string, path: string, cause: unknown): ImageError {
  const isFull = ['ENOSPC', 'EDQUOT'].includes(errorCode(cause) ?? '')
  const advice = isFull ? { why: 'no space is left there', next: [`df -h ${dirname(path)}`] } : {}
  return new ImageError('image.file', `cannot ${action} ${path}`, { ...advice, cause })
}

export function isMissing(error: unknown): boolean {
  const code = errorCode(error)
  return code === 'ENOENT' || code === 'ENOTDIR'
}

/** The system's code of an error of `node:fs`. */
export function errorCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}
