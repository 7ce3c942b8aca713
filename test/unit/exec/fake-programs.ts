import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { afterEach, beforeEach } from '@jest/globals'

/**
 * Puts a folder of small shell scripts in front of PATH. Each call of one is recorded with its
 * arguments, one a line; `body` then decides what it prints and how it ends.
 */
export class FakePrograms {
  readonly folder = mkdtempSync(join(tmpdir(), 'confrouter-exec-'))
  private readonly log = join(this.folder, 'calls')

  add(program: string, body: string): void {
    const path = join(this.folder, program)
    const record = `{ printf '%s' '${program}'; for a in "$@"; do printf '\\t%s' "$a"; done; printf '\\n'; } >> '${this.log}'`
    writeFileSync(path, `#!/bin/sh\n${record}\n${body}\n`)
    chmodSync(path, 0o755)
  }

  /** Program and arguments of each call, in order. */
  get calls(): readonly (readonly string[])[] {
    try {
      return readFileSync(this.log, 'utf8')
        .trimEnd()
        .split('\n')
        .map((line) => line.split('\t'))
    } catch {
      return []
    }
  }
}

/** The tools that the scripts and the digest file need; engines that are really installed stay out of sight. */
const tools = ['sh', 'cat', 'rm', 'mktemp', 'sleep', 'head', 'yes']

/** A fresh folder for each test, which is then all of PATH. */
export function useFakePrograms(): { readonly current: FakePrograms } {
  const holder: { current: FakePrograms } = { current: undefined as never }
  const path = process.env['PATH'] ?? ''
  beforeEach(() => {
    holder.current = new FakePrograms()
    for (const tool of tools) symlinkSync(locate(tool, path), join(holder.current.folder, tool))
    process.env['PATH'] = holder.current.folder
  })
  afterEach(() => {
    process.env['PATH'] = path
    rmSync(holder.current.folder, { recursive: true, force: true })
  })
  return holder
}

function locate(tool: string, path: string): string {
  const found = path
    .split(delimiter)
    .map((folder) => join(folder, tool))
    .find((file) => existsSync(file))
  if (found === undefined) throw new Error(`${tool} is not on PATH`)
  return found
}
