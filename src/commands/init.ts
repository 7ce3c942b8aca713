import { writeFile } from 'node:fs/promises'
import { Command, Option } from 'commander'
import { UserError } from '../base/user-error.js'
import type { Execute } from './app.js'
import { helpEnd, withOutput } from './options.js'

export function initCommand(execute: Execute): Command {
  return withOutput(new Command('init').description('write a commented confrouter.yaml'))
    .addOption(new Option('--config <file>', 'file to write').env('CONFROUTER_CONFIG').default('confrouter.yaml'))
    .addHelpText('after', helpEnd('confrouter init'))
    .action(
      execute<{ readonly json?: boolean; readonly config: string }>('init', async (app, { config }) => {
        try {
          await writeFile(config, await app.starterConfig(), { flag: 'wx' })
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
          throw new UserError('usage', 'init.exists', `${config} exists already and is not overwritten`, {
            next: [`confrouter init --config other.yaml`]
          })
        }
        app.terminal.result({
          human: `wrote ${config}`,
          json: { schemaVersion: 1, ok: true, command: 'init', file: config }
        })
      })
    )
}
