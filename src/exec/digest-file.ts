import { UserError } from '../base/user-error.js'
import { ProgramError, runProgram } from './run-program.js'

const timeoutMs = 10_000

/**
 * Lends `write` an empty temporary file and returns the text it holds afterwards.
 *
 * Podman and Buildah report a digest only into a file, and a pipe does not do: Node gives its children
 * sockets, which cannot be opened by name. This folder runs programs and touches no files itself, so the
 * file is made, read and removed by the tools that every system with Podman or Buildah has.
 */
export async function withDigestFile(
  signal: AbortSignal | undefined,
  write: (file: string) => Promise<unknown>
): Promise<string> {
  const file = (await tool('mktemp', [], signal)).trimEnd()
  try {
    await write(file)
    return await tool('cat', ['--', file], signal)
  } finally {
    // Also after an abort, so without the signal.
    await tool('rm', ['-f', '--', file], undefined)
  }
}

async function tool(program: string, args: readonly string[], signal: AbortSignal | undefined): Promise<string> {
  try {
    return (await runProgram(program, { arguments: args, timeoutMs, signal })).stdout
  } catch (error) {
    if (!(error instanceof ProgramError)) throw error
    throw new UserError('machine', 'builder.no-temporary-file', 'a temporary file for the digest cannot be used', {
      next: ['check that TMPDIR is a folder that can be written to'],
      cause: error
    })
  }
}
