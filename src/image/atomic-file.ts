import { randomUUID } from 'node:crypto'
import { open, realpath, rename, rm, stat, type FileHandle } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { utf8 } from '../base/encoding.js'
import { fileError, isMissing } from './file-content.js'

/**
 * Writes a file under another name in `folder`, which is on the same file system, and gives it its own once all
 * of it is on the disk. Whatever ends this early (a full disk, an error of the content, an abort) leaves nothing.
 * Throws an `ImageError` `image.file` for what the file system refuses, and what the content throws as it is.
 *
 * Not `write-file-atomic`: that takes a write of a part, which a nearly full disk answers with, for one of the whole.
 */
export async function writeAtomically(path: string, folder: string, content: AsyncIterable<Uint8Array>): Promise<void> {
  const partial = partialIn(folder)
  try {
    await writeStream(partial, content)
    await onFile('rename', partial, rename(partial, path))
  } finally {
    await rm(partial, { force: true })
  }
}

/** A file to be written whole or not at all. */
export interface TextFile {
  readonly path: string
  /** Written as UTF-8. */
  readonly text: string
  /** Permission bits; those of the file that is replaced if not given, else what the umask leaves of 0666. */
  readonly mode?: number | undefined
  /** Whether it must survive a power cut, and not only the end of this process; true if not given. */
  readonly sync?: boolean | undefined
}

/**
 * Writes a text as `writeAtomically` does, beside its place; a symbolic link stays one. Throws an `ImageError`
 * `image.file`, and leaves then what was there.
 */
export async function writeTextAtomically(
  path: string,
  text: string,
  options: Pick<TextFile, 'mode' | 'sync'> = {}
): Promise<void> {
  await writeTextsAtomically([{ path, text, ...options }])
}

/** Several texts that belong together: none gets its name before all are on the disk. */
export async function writeTextsAtomically(files: readonly TextFile[]): Promise<void> {
  const written: { readonly partial: string; readonly path: string }[] = []
  try {
    for (const { path: wanted, text, mode, sync = true } of files) {
      const path = await targetOf(wanted)
      const partial = partialIn(dirname(path))
      written.push({ partial, path })
      await writeStream(partial, once(utf8.encode(text)), { mode: mode ?? (await modeOf(path)), sync })
    }
    for (const { partial, path } of written) await onFile('rename', partial, rename(partial, path))
  } finally {
    for (const { partial } of written) await rm(partial, { force: true })
  }
}

function partialIn(folder: string): string {
  return join(folder, `.confrouter-${randomUUID()}.partial`)
}

/** Where a link leads to, so that the file is replaced and not the link. */
async function targetOf(path: string): Promise<string> {
  try {
    return await realpath(path)
  } catch (cause) {
    if (isMissing(cause)) return path
    throw fileError('open', path, cause)
  }
}

async function modeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).mode & 0o777
  } catch (cause) {
    if (isMissing(cause)) return undefined
    throw fileError('open', path, cause)
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  yield bytes
}

async function writeStream(
  path: string,
  content: AsyncIterable<Uint8Array>,
  { mode, sync }: { readonly mode?: number | undefined; readonly sync: boolean } = { sync: true }
): Promise<void> {
  const file = await onFile('create', path, open(path, 'wx', mode))
  try {
    // What the umask took away from it.
    if (mode !== undefined) await onFile('write', path, file.chmod(mode))
    for await (const chunk of content) await onFile('write', path, writeWhole(file, chunk))
    if (sync) await onFile('write', path, file.sync())
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
