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
  try {
    let position = offset
    let left = size ?? Number.POSITIVE_INFINITY
    while (left > 0) {
      // A fresh buffer each time: the consumer may keep a chunk while the next one is read.
      const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(Math.min(chunkBytes, left)), {
        position
      })
      if (bytesRead === 0) return
      position += bytesRead
      left -= bytesRead
      yield buffer.subarray(0, bytesRead)
    }
  } catch (cause) {
    throw fileError('read', path, cause)
  } finally {
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
