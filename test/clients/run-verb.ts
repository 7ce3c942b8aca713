import { PassThrough } from 'node:stream'
import { type Command, CommanderError } from 'commander'
import type { App, Execute } from '../../src/commands/app.js'
import { routerTransport } from '../../src/composition/router-transport.js'
import { createTerminal } from '../../src/terminal/index.js'
import type { Cleanup } from '../unit/router/harness.js'

export interface VerbRun {
  readonly stdout: () => string
  readonly stderr: () => string
  readonly interrupt: () => void
  readonly exitCode: Promise<number>
}

/** Runs a verb as the program does, in this process; `cleanup` interrupts it and waits for its end. */
export function runVerb(
  cleanup: Cleanup,
  verb: (execute: Execute) => Command,
  argv: readonly string[],
  {
    fetch,
    deployment
  }: Pick<Awaited<ReturnType<App['verification']>>, 'fetch'> &
    Partial<Pick<Awaited<ReturnType<App['verification']>>, 'deployment'>>
): VerbRun {
  const texts = { stdout: '', stderr: '' }
  const stream = (name: keyof typeof texts): PassThrough =>
    new PassThrough().on('data', (piece: Buffer) => (texts[name] += piece.toString()))
  const [stdout, stderr] = [stream('stdout'), stream('stderr')]
  const interruption = new AbortController()
  let exitCode = 0
  const execute: Execute = (name, act) => async (options) => {
    const flags = options as { readonly json?: boolean; readonly verbose?: boolean; readonly quiet?: boolean }
    const terminal = createTerminal({
      stdin: new PassThrough(),
      stdout,
      stderr,
      environment: {},
      json: flags.json ?? false,
      quiet: flags.quiet ?? false,
      verbose: flags.verbose ?? false,
      color: false,
      input: false
    })
    const verification = async () => ({ ...routerTransport(fetch), deployment })
    const app = { terminal, signal: interruption.signal, verification } as unknown as App
    await act(app, options).catch((error: unknown) => (exitCode = terminal.failure(error, { command: name })))
  }
  const ended = verb(execute)
    .exitOverride()
    .configureOutput({ writeErr: () => undefined })
    .parseAsync([...argv], { from: 'user' })
    .then(
      () => exitCode,
      (error: unknown) => {
        if (error instanceof CommanderError) return 2
        throw error
      }
    )
  cleanup.add(async () => {
    interruption.abort()
    await ended
  })
  return {
    stdout: () => texts.stdout,
    stderr: () => texts.stderr,
    interrupt: () => interruption.abort(),
    exitCode: ended
  }
}
