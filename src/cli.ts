import { Readable } from 'node:stream'
import { Command, CommanderError } from 'commander'
import { UserError } from './base/user-error.js'
import type { App, Execute } from './commands/app.js'
import { balancerCommand } from './commands/balancer.js'
import { deploymentCommands } from './commands/deployment.js'
import { doctorCommand } from './commands/doctor.js'
import { completionCommand } from './commands/completion.js'
import { downCommand } from './commands/down.js'
import { emulatorCommand } from './commands/emulator.js'
import { initCommand } from './commands/init.js'
import { logsCommand } from './commands/logs.js'
import { planCommand } from './commands/plan.js'
import { proxyCommand } from './commands/proxy.js'
import { rollbackCommand } from './commands/rollback.js'
import { secretsCommand } from './commands/secrets.js'
import { statusCommand } from './commands/status.js'
import { verifyCommand } from './commands/verify.js'
import { createTerminal, openLineDialogue, type Terminal } from './terminal/index.js'
import { writeSummary } from './composition/pipeline-summary.js'
import { packageVersion, pipelineTemplate, starterConfig } from './composition/package-files.js'

export interface Io {
  readonly argv: readonly string[]
  readonly stdin: NodeJS.ReadStream
  readonly stdout: NodeJS.WriteStream
  readonly stderr: NodeJS.WriteStream
  readonly environment: Readonly<Record<string, string | undefined>>
  /** Aborted by the first interruption. */
  readonly signal: AbortSignal
  /** Ask as on a cloud that costs money, though nothing does: how the questions are tried out. */
  readonly asksOnLoopback?: boolean
  /** Opens what `policy` reads from registries: how it is tried out without them. */
  readonly openRegistryImage?: App['openRegistryImage']
}

/** Runs one command line and returns its exit code. */
export async function main(io: Io): Promise<number> {
  let exitCode = 0
  const execute: Execute = (name, verb) => async (options) => {
    const terminal = terminalFor(io, options)
    try {
      const exitWith = (code: number) => {
        exitCode = code
      }
      await verb({ ...appFor(io, terminal, options), exitWith }, options)
    } catch (error) {
      exitCode = terminal.failure(error, { command: name, flags: flagsOf(options) })
    }
  }
  const program = new Command('confrouter')
    .description('an API router in an Azure confidential container that anybody can verify')
    .version(await packageVersion(), '-V, --version')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void io.stdout.write(text),
      writeErr: (text) => void io.stderr.write(text)
    })
    .showSuggestionAfterError()
    .addHelpText('after', '\nExample:\n  $ confrouter up --local\n\nDocs: https://github.com/confrouter/confrouter')
  const verbs = [
    initCommand(execute),
    doctorCommand(execute),
    ...deploymentCommands(execute, io.argv),
    secretsCommand(execute),
    planCommand(execute),
    statusCommand(execute),
    logsCommand(execute),
    balancerCommand(execute),
    rollbackCommand(execute),
    downCommand(execute),
    verifyCommand(execute),
    proxyCommand(execute),
    emulatorCommand(execute),
    completionCommand(execute, program)
  ]
  for (const verb of verbs) {
    program.addCommand(inherit(verb, program))
  }
  try {
    await program.parseAsync([...io.argv], { from: 'user' })
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    if (error.exitCode === 0) return 0
    if (io.argv.includes('--json')) {
      const problem = error.message.replace(/^error: /, '')
      terminalFor(io, { json: true, quiet: true }).failure(
        new UserError('usage', 'usage.invalid', problem, { next: ['confrouter --help'] }),
        { command: io.argv[0] ?? '' }
      )
    }
    return 2
  }
  return exitCode
}

/** Far more than any provider key, far less than what hurts. */
const maximumInput = 64 * 1024

async function readStdin(stdin: NodeJS.ReadStream): Promise<string> {
  if (stdin.isTTY) {
    // What is typed would stand on the screen, and in the history of a terminal that records.
    throw new UserError('user', 'input.needed', 'a value is needed and nothing is piped into stdin', {
      next: ['give --from-file FILE or --from-env VARIABLE', 'pipe the value into stdin']
    })
  }
  let text = ''
  for await (const chunk of stdin.setEncoding('utf8') as AsyncIterable<string>) {
    text += chunk
    if (text.length > maximumInput) {
      throw new UserError('usage', 'usage.invalid', `more than ${maximumInput} characters came by stdin`)
    }
  }
  return text
}

/** A command attached with `addCommand` inherits neither `exitOverride` nor the output by itself. */
function inherit(command: Command, parent: Command): Command {
  command.copyInheritedSettings(parent)
  for (const child of command.commands) inherit(child, command)
  return command
}

/** The flags that chose configuration, cloud and state, as they were given. */
function flagsOf(options: object): string {
  const { config, cloud, local, stateDir } = options as {
    readonly config?: string
    readonly cloud?: string
    readonly local?: boolean
    readonly stateDir?: string
  }
  return [
    local === true ? ' --local' : '',
    cloud === undefined ? '' : ` --cloud ${cloud}`,
    config === undefined || config === 'confrouter.yaml' ? '' : ` --config ${config}`,
    stateDir === undefined || stateDir === '.confrouter' ? '' : ` --state-dir ${stateDir}`
  ].join('')
}

interface OutputOptions {
  readonly json?: boolean
  readonly quiet?: boolean
  readonly verbose?: boolean
  readonly color?: boolean
  readonly input?: boolean
}

function terminalFor(io: Io, options: OutputOptions): Terminal {
  return createTerminal({
    stdin: io.stdin,
    stdout: io.stdout,
    stderr: io.stderr,
    environment: io.environment,
    summarize: (markdown, warn) => writeSummary(io.environment, markdown, warn),
    json: options.json === true,
    quiet: options.quiet === true,
    verbose: options.verbose === true,
    color: options.color === false ? false : undefined,
    input: options.input !== false
  })
}

/** Adapters are loaded by the verb that needs them, so that `--help` and a look stay quick. */
function appFor(io: Io, terminal: Terminal, options: OutputOptions): Omit<App, 'exitWith'> {
  const control = async () => (await import('./composition/local-cloud.js')).emulatorControl(io.signal)
  return {
    terminal,
    signal: io.signal,
    readStdin: () => readStdin(io.stdin),
    starterConfig,
    pipeline: pipelineTemplate,
    // With --json stdout is one document, so the questions go where the other words are.
    openDialogue: () =>
      openLineDialogue({
        stdin: options.input === false ? Readable.from([]) : io.stdin,
        output: options.json === true ? io.stderr : io.stdout,
        signal: io.signal
      }),
    async openRegistryImage(reference) {
      if (io.openRegistryImage !== undefined) return io.openRegistryImage(reference)
      const { openRegistryImage } = await import('./image/index.js')
      const { dockerCredentials } = await import('./composition/docker-credentials.js')
      const credentials = dockerCredentials(io.environment, io.signal)
      return openRegistryImage({ reference, fetch, credentials, signal: io.signal })
    },
    async verification(options) {
      const { openVerification } = await import('./composition/verification.js')
      return openVerification(options, { environment: io.environment, signal: io.signal })
    },
    async open(command, options, access) {
      const { openSession } = await import('./composition/session.js')
      return openSession(command, options, access, {
        environment: io.environment,
        signal: io.signal,
        say: (message) => terminal.warn(message),
        ...(io.asksOnLoopback === undefined ? {} : { asksOnLoopback: io.asksOnLoopback })
      })
    },
    async doctor(options) {
      const { openDoctor } = await import('./composition/doctor.js')
      return openDoctor(options, { environment: io.environment, signal: io.signal })
    },
    emulator: {
      start: async (options) => (await control()).start(options),
      serve: async (options) => (await control()).serve(options),
      stop: async (options) => (await control()).stop(options),
      status: async (options) => (await control()).status(options),
      settings: async (options) => (await control()).settings(options),
      reset: async (options) => (await control()).reset(options)
    }
  }
}
