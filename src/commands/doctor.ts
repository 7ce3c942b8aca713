import { Command, InvalidArgumentError, Option } from 'commander'
import type { DoctorReport } from '../steps/index.js'
import type { Execute } from './app.js'
import { type SharedOptions, withDeployment } from './options.js'

interface Options extends SharedOptions {
  readonly timeout: number
}

export function doctorCommand(execute: Execute): Command {
  return withDeployment(
    new Command('doctor').description('check in advance what a deployment needs of this machine and of Azure'),
    'confrouter doctor --local'
  )
    .addOption(new Option('--timeout <seconds>', 'how long each check may take').argParser(seconds).default(20, '20'))
    .action(
      execute<Options>('doctor', async (app, options) => {
        const { examine, verdictOf } = await import('../steps/index.js')
        const { checks, cloud } = await app.doctor(options)
        app.terminal.info(`checking ${checks.length} things, each ${options.timeout} s at most`)
        const reports = await examine(checks, {
          limitMs: options.timeout * 1000,
          signal: app.signal,
          onDone: ({ title, milliseconds }) => app.terminal.debug(`${title}: ${milliseconds} ms`)
        })
        const report = { cloud, checks: reports }
        const problem = verdictOf(reports, report)
        if (problem !== undefined) {
          app.terminal.info(table(reports))
          throw problem
        }
        app.terminal.result({
          human: `${table(reports)}\n\nready; next: confrouter up${cloud === 'local' ? ' --local' : ''}`,
          json: { schemaVersion: 1, ok: true, command: 'doctor', ...report }
        })
      })
    )
}

const words = { pass: 'ok', warn: 'warning', fail: 'wrong', unknown: 'could not check', skipped: 'skipped' } as const

/** One line for each check, and below it what to do. */
function table(reports: readonly DoctorReport[]): string {
  const width = Math.max(...reports.map(({ title }) => title.length)) + 2
  return reports
    .flatMap(({ outcome, title, detail, next = [] }) => [
      `${words[outcome].padEnd(17)}${title.padEnd(width)}${detail}`,
      ...(outcome === 'pass' || outcome === 'skipped' ? [] : next.map((text) => `${' '.repeat(17)}next: ${text}`))
    ])
    .join('\n')
}

function seconds(text: string): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || value < 1 || value > 600)
    throw new InvalidArgumentError('expected a whole number of seconds from 1 to 600')
  return value
}
