import { Command, InvalidArgumentError, Option } from 'commander'
import type { ContainerOutput, GroupOutput } from '../steps/index.js'
import type { Execute } from './app.js'
import { type SharedOptions, withDeployment } from './options.js'
import { printableLines } from './policy-output.js'

interface LogsOptions extends SharedOptions {
  readonly tail: number
}

/** What Azure keeps of a container that has stopped. */
const mostLines = 1000

export function logsCommand(execute: Execute): Command {
  const command = new Command('logs')
    .description('show what the containers wrote and what the platform says of them; a policy denial in one sentence')
    .argument('[container]', 'router or skr; both if left out')
    .addOption(new Option('--tail <lines>', 'last lines of each container').argParser(lineCount).default(50))
  return withDeployment(command, 'confrouter logs router --local').action(
    (container: string | undefined, options: LogsOptions) =>
      execute<LogsOptions>('logs', async (app) => {
        const { readLogs } = await import('../steps/index.js')
        const session = await app.open('logs', options, 'read')
        try {
          const output = await readLogs(session.run, { container, lines: options.tail })
          app.terminal.result({ human: inWords(output), json: document(output) })
        } finally {
          await session.close()
        }
      })(options)
  )
}

/** What containers wrote is theirs: none of it may move a cursor or look like a line of ours. */
function inWords({ group, state, events, containers, denial }: GroupOutput): string {
  return printableLines([
    `${group}: ${state}`,
    ...(denial === undefined
      ? []
      : [denial.problem, `  why:  ${denial.why ?? ''}`, ...denial.next.map((each) => `  next: ${each}`)]),
    ...events.map(eventLine),
    ...containers.flatMap(containerLines)
  ])
}

function containerLines({ name, state, restartCount, events, lines }: ContainerOutput): readonly string[] {
  const restarts = restartCount === 0 ? '' : `, started again ${restartCount} times`
  return [
    '',
    `${name}: ${state}${restarts}`,
    ...events.map(eventLine),
    ...(lines.length === 0 ? ['  (no output, or the policy gives the host no access to it)'] : lines)
  ]
}

const eventLine = ({ name, message, count }: GroupOutput['events'][number]): string =>
  `  ${name}${count > 1 ? ` (${count} times)` : ''}: ${message.length > 300 ? `${message.slice(0, 299)}…` : message}`

function document({ denial, ...output }: GroupOutput): object {
  return {
    schemaVersion: 1,
    ok: true,
    command: 'logs',
    ...output,
    denial: denial === undefined ? null : { message: denial.problem, why: denial.why ?? null, next: denial.next }
  }
}

function lineCount(text: string): number {
  const value = Number(text)
  if (!/^\d{1,4}$/.test(text) || value < 1 || value > mostLines)
    throw new InvalidArgumentError(`expected a whole number from 1 to ${mostLines}`)
  return value
}
