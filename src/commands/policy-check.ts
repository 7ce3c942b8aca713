import { Command, Option } from 'commander'
import type { CheckedFile } from '../steps/policy-check.js'
import type { Execute } from './app.js'
import { type SharedOptions, withDeployment } from './options.js'
import { withGenerated } from './policy-generated.js'
import { printableLines } from './policy-output.js'

interface Options extends SharedOptions {
  readonly check: string | true
}

/** `policy --check`: exit code 10 when the committed files are not those of this source. */
export function checkCommand(execute: Execute): Command {
  const command = new Command('policy')
    .description('make the policy again in memory and compare the committed files with it; writes nothing')
    .addOption(new Option('--check [dir]', 'folder with the files; that of the state directory if not given'))
  return withDeployment(command, 'confrouter policy --check release/').action(
    execute<Options>('policy', async (app, options) => {
      const { checkPolicy } = await import('../steps/policy-check.js')
      const checked = await withGenerated(app, options, (run, results, note) =>
        checkPolicy(run, results, options.check === true ? run.policyDirectory : options.check, note)
      )
      const differs = checked.files.some(({ state }) => state !== 'same')
      for (const note of checked.notes) app.terminal.warn(note)
      app.terminal.result({
        human: printableLines(checked.files.flatMap(describe)),
        json: { command: 'policy', form: 'check', differs, ...checked }
      })
      if (differs) app.exitWith(10)
    })
  )
}

function describe({ file, state, differences }: CheckedFile): readonly string[] {
  return [`${state.padEnd(10)} ${file}`, ...differences.map((words) => `           ${words}`)]
}
