import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, it } from '@jest/globals'

const folders: string[] = []

/** A folder that is gone when the tests of the file are through. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'confrouter-image-'))
  folders.push(folder)
  return folder
}

afterAll(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

/** Runs the block when all programs are installed; otherwise one skipped test names those that are not. */
export function describeWith(programs: readonly string[], name: string, block: () => void): void {
  const absent = programs.filter((program) => !isInstalled(program))
  if (absent.length === 0) {
    describe(name, block)
    return
  }
  describe(name, () => {
    it.skip(`is not run: ${absent.join(', ')} not installed (apt-get install ${absent.join(' ')})`, () => undefined)
  })
}

function isInstalled(program: string): boolean {
  try {
    execFileSync('which', [program], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

export async function bytesOf(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks)
}

export const vectors = join(import.meta.dirname, '..', '..', 'vectors', 'images')
