import { isJsonObject } from '../base/json.js'
import { UserError } from '../base/user-error.js'
import { ProgramError, runProgram } from './run-program.js'

export interface RegistryLogin {
  readonly username: string
  readonly secret: string
}

/** It may have to wait for somebody to unlock a key ring. */
const timeoutMs = 60_000

/**
 * Asks one of Docker's credential helpers (`docker-credential-<helper> get`) for the login to a server;
 * undefined when it has none. The server goes in by standard input, and nothing of the answer ever
 * goes into an error.
 */
export async function runCredentialHelper(
  helper: string,
  server: string,
  signal?: AbortSignal
): Promise<RegistryLogin | undefined> {
  // The name comes from a file and becomes the name of a program: no folder may be in it.
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(helper)) throw unusable('of that name', 'its name is not a plain word')
  const program = `docker-credential-${helper}`
  try {
    const { stdout } = await runProgram(program, { arguments: ['get'], input: server, timeoutMs, signal })
    return parseLogin(stdout, program)
  } catch (error) {
    if (!(error instanceof ProgramError)) throw error
    // The protocol's only way to say "none": these words and a failure.
    if (/credentials not found/i.test(error.tail.join('\n'))) return undefined
    throw unusable(program, error.message)
  }
}

function parseLogin(stdout: string, program: string): RegistryLogin | undefined {
  let value: unknown
  try {
    value = JSON.parse(stdout)
  } catch {
    throw unusable(program, 'its answer is not JSON')
  }
  const username = isJsonObject(value) ? value['Username'] : undefined
  const secret = isJsonObject(value) ? value['Secret'] : undefined
  if (typeof username !== 'string' || typeof secret !== 'string') throw unusable(program, 'its answer has no login')
  return secret === '' ? undefined : { username, secret }
}

function unusable(program: string, why: string): UserError {
  return new UserError('machine', 'registry.credential-helper', `the credential helper ${program} cannot be used`, {
    why,
    next: ['docker login <registry>', 'correct credsStore and credHelpers in ~/.docker/config.json']
  })
}
