import { randomUUID } from 'node:crypto'
import { open, rename, rm, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { fileError } from './file-content.js'

/**
 * Writes a file under another name in `folder`, which is on the same file system, and gives it its own once all
 * of it is on the disk. Whatever ends this early (a full disk, an error of the content, an abort) leaves nothing.
 * Throws an `ImageError` `image.file` for what the file system refuses, and what the content throws as it is.
 *
 * Not `write-file-atomic`: that takes a write of a part, which a nearly full disk answers with, for one of the whole.
 */
export async function writeAtomically(path: string, folder: string, content: AsyncIterable<Uint8Array>): Promise<void> {
  const partial = join(folder, `.confrouter-${randomUUID()}.partial`)
  try {
    await writeStream(partial, content)
    await onFile('rename', partial, rename(partial, path))
  } finally {
    await rm(partial, { force: true })
  }
}

async function writeStream(path: string, content: AsyncIterable<Uint8Array>): Promise<void> {
  const file = await onFile('create', path, open(path, 'wx'))
  try {
    for await (const chunk of content) await onFile('write', path, writeWhole(file, chunk))
    await onFile('write', path, file.sync())
  } finally {
    await file.close()
  }
}

async function writeWhole(file: FileHandle, chunk: Uint8Array): Promise<void> {
  for (let written = 0; written < chunk.length;) {
    written += (await file.write(chunk, written)).bytesWritten
  }
}

async function onFile<T>(action: string, path: string, work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (cause) {
    throw fileError(action, path, cause)
  }
}
