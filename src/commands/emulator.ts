import { Command, InvalidArgumentError, Option } from 'commander'
import type { App, EmulatorOptions, EmulatorStatus, Execute } from './app.js'
import { helpEnd, withOutput } from './options.js'

interface Options {
  readonly json?: boolean
  readonly stateDir: string
  readonly port?: number
  readonly rbacDelay?: number
  readonly faults?: string
  readonly foreground?: boolean
}

export function emulatorCommand(execute: Execute): Command {
  const emulator = new Command('emulator').description('Azure on loopback: start, stop, status, env, reset')
  const add = (
    name: string,
    description: string,
    verb: (app: App, options: Options) => Promise<void>,
    more: readonly Option[] = []
  ) => {
    const command = withOutput(new Command(name).description(description))
    command.addOption(
      new Option('--state-dir <dir>', 'folder for state, policy and images')
        .env('CONFROUTER_STATE_DIR')
        .default('.confrouter')
    )
    more.forEach((option) => command.addOption(option))
    command.addHelpText('after', helpEnd(`confrouter emulator ${name}`))
    emulator.addCommand(command.action(execute<Options>(`emulator ${name}`, verb)))
  }
  add('start', 'start it in the background, or say where it runs', start, [
    new Option('--port <port>', 'port of the ARM endpoint on 127.0.0.1')
      .env('CONFROUTER_EMULATOR_PORT')
      .argParser(number(1, 65535)),
    new Option('--rbac-delay <seconds>', 'how long a new role assignment takes to reach a vault').argParser(
      number(0, 3600)
    ),
    new Option('--faults <file>', 'what goes wrong on purpose, as JSON (docs/emulator.md)').env(
      'CONFROUTER_EMULATOR_FAULTS'
    ),
    new Option('--foreground', 'stay in this terminal until interrupted')
  ])
  add('stop', 'stop it and the containers it runs; its state stays', (app, options) =>
    show(app, 'stop', app.emulator.stop(options))
  )
  add('status', 'say whether it runs and where', (app, options) => show(app, 'status', app.emulator.status(options)))
  add('env', 'print what az and the Azure SDKs need to use it, for a shell', printSettings)
  add('reset', 'stop it and delete all its resources', (app, options) =>
    show(app, 'reset', app.emulator.reset(options))
  )
  return emulator
}

async function start(app: App, options: Options): Promise<void> {
  const { stateDir, port, rbacDelay, faults } = options
  const wanted: EmulatorOptions = { stateDir, port, rbacDelay, faults }
  if (options.foreground === true) await app.emulator.serve(wanted)
  else await show(app, 'start', app.emulator.start(wanted))
}

async function printSettings(app: App, options: Options): Promise<void> {
  const { variables, azSetup } = await app.emulator.settings(options)
  const lines = [
    ...Object.entries(variables).map(([name, value]) => `export ${name}=${quoted(value)}`),
    '',
    '# once, for az:',
    ...azSetup.map((command) => `#   ${command}`),
    '# az reaches a vault by its name, which needs a line in /etc/hosts: 127.0.0.1 NAME.vault.localhost'
  ]
  app.terminal.result({
    human: lines.join('\n'),
    json: { schemaVersion: 1, ok: true, command: 'emulator env', variables, azSetup }
  })
}

/** For a POSIX shell. */
const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`

async function show(app: App, verb: string, action: Promise<EmulatorStatus>): Promise<void> {
  const status = await action
  app.terminal.result({
    human: status.running
      ? `running at ${status.armEndpoint ?? ''} (process ${status.pid ?? ''})`
      : verb === 'stop'
        ? 'stopped'
        : verb === 'reset'
          ? 'stopped, all its resources deleted'
          : 'not running',
    json: { schemaVersion: 1, ok: true, command: `emulator ${verb}`, ...status }
  })
}

function number(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (!/^\d+$/.test(text) || value < least || value > most)
      throw new InvalidArgumentError(`expected a whole number from ${least} to ${most}`)
    return value
  }
}
