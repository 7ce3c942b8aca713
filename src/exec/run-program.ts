import { execa, ExecaError } from 'execa'

interface ProgramOptions {
  readonly arguments: readonly string[]
  /** Added to the environment of this process, which is passed on. */
  readonly env?: Readonly<Record<string, string>> | undefined
  /** Closed when absent, so that a program that asks a question fails instead of waiting. */
  readonly input?: string | undefined
  readonly timeoutMs: number
  readonly signal?: AbortSignal | undefined
  /** Each line of both streams as it comes, without control sequences. */
  readonly onLine?: ((line: string) => void) | undefined
  /** Of standard output, in bytes; 1 MiB if not given. */
  readonly maxOutputBytes?: number | undefined
}

export interface ProgramOutput {
  readonly stdout: string
  /** The last lines of both streams, in order. */
  readonly tail: readonly string[]
}

type ProgramFailure = 'missing' | 'timed-out' | 'failed'

/** Says what happened and never which arguments or environment the program had. */
export class ProgramError extends Error {
  override readonly name = 'ProgramError'

  constructor(
    readonly program: string,
    readonly failure: ProgramFailure,
    /** Undefined when it did not exit by itself. */
    readonly exitCode: number | undefined,
    readonly tail: readonly string[]
  ) {
    super(describe(program, failure, exitCode))
  }
}

const defaultMaxOutputBytes = 1024 * 1024
const maxTailLines = 40
const maxLineLength = 2000
const killDelayMs = 5_000

/**
 * Runs a program with an argument array, never through a shell. Rejects with a {@link ProgramError}
 * when it is missing, fails or takes too long, and with the signal's reason when it is aborted.
 */
export async function runProgram(program: string, options: ProgramOptions): Promise<ProgramOutput> {
  const { signal, onLine } = options
  signal?.throwIfAborted()
  const subprocess = execa(program, options.arguments, {
    ...(options.env === undefined ? {} : { env: options.env }),
    ...(options.input === undefined ? { stdin: 'ignore' } : { input: options.input }),
    ...(signal === undefined ? {} : { cancelSignal: signal }),
    timeout: options.timeoutMs,
    forceKillAfterDelay: killDelayMs,
    all: true,
    maxBuffer: { stdout: options.maxOutputBytes ?? defaultMaxOutputBytes },
    // Only standard output is a result; builds write megabytes of progress to the other stream.
    buffer: { stdout: true, stderr: false, all: false },
    reject: false
  })
  const tail: string[] = []
  for await (const raw of subprocess.iterable({ from: 'all' })) {
    const line = plainText(raw)
    tail.push(line)
    if (tail.length > maxTailLines) tail.shift()
    onLine?.(line)
  }
  const result = await subprocess
  signal?.throwIfAborted()
  if (result instanceof ExecaError) throw failureOf(program, result, tail)
  return { stdout: result.stdout, tail }
}

function failureOf(program: string, { code, timedOut, exitCode }: ExecaError, tail: readonly string[]): ProgramError {
  const failure = code === 'ENOENT' ? 'missing' : timedOut ? 'timed-out' : 'failed'
  return new ProgramError(program, failure, exitCode, tail)
}

/** Colours, cursor movement and other control characters could rewrite what is on the terminal. */
function plainText(line: string): string {
  return line
    .replace(/\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|.)|[\x00-\x08\x0a-\x1f\x7f]/g, '')
    .slice(0, maxLineLength)
}

function describe(program: string, failure: ProgramFailure, exitCode: number | undefined): string {
  switch (failure) {
    case 'missing':
      return `${program} is not installed`
    case 'timed-out':
      return `${program} took too long`
    case 'failed':
      return exitCode === undefined ? `${program} was ended by a signal` : `${program} ended with exit code ${exitCode}`
    default:
      return failure satisfies never
  }
}
