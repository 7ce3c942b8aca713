import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/**
 * Lends `write` the name of a temporary file and returns the text it holds afterwards; empty if it was
 * not written. Podman and Buildah report a digest only into a file, and a pipe does not do: Node gives
 * its children sockets, which cannot be opened by name.
 */
export async function withDigestFile(write: (file: string) => Promise<unknown>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'confrouter-'))
  const file = join(folder, 'digest')
  try {
    await write(file)
    return await readFile(file, 'utf8').catch(() => '')
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
