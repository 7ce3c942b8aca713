import { mkdir, writeFile } from 'node:fs/promises'
import { Command, Option } from 'commander'
import { UserError } from '../base/user-error.js'
import type { Execute } from './app.js'
import { helpEnd, withOutput } from './options.js'

/** Where each pipeline is looked for by the system that runs it. */
const pipelineFiles = {
  github: '.github/workflows/confrouter.yml',
  'azure-pipelines': 'azure-pipelines.yml'
} as const

type PipelineKind = keyof typeof pipelineFiles

interface Options {
  readonly json?: boolean
  readonly config: string
  readonly ci?: PipelineKind
}

export function initCommand(execute: Execute): Command {
  return withOutput(new Command('init').description('write a commented confrouter.yaml, or a pipeline'))
    .addOption(new Option('--config <file>', 'file to write').env('CONFROUTER_CONFIG').default('confrouter.yaml'))
    .addOption(
      new Option('--ci <system>', 'write the pipeline of this system instead').choices(Object.keys(pipelineFiles))
    )
    .addHelpText('after', helpEnd('confrouter init'))
    .action(
      execute<Options>('init', async (app, { config, ci }) => {
        const file = ci === undefined ? config : pipelineFiles[ci]
        await writeNew(file, ci === undefined ? await app.starterConfig() : await app.pipeline(ci), ci)
        app.terminal.result({
          human: `wrote ${file}${ci === undefined ? '' : '\nnext: read its first lines, which say what it needs'}`,
          json: { schemaVersion: 1, ok: true, command: 'init', file }
        })
      })
    )
}

async function writeNew(file: string, text: string, ci: PipelineKind | undefined): Promise<void> {
  try {
    const folder = /^(.+)\//.exec(file)?.[1]
    if (ci !== undefined && folder !== undefined) await mkdir(folder, { recursive: true })
    await writeFile(file, text, { flag: 'wx' })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    throw new UserError('usage', 'init.exists', `${file} exists already and is not overwritten`, {
      next: ci === undefined ? ['confrouter init --config other.yaml'] : [`mv ${file} ${file}.old`]
    })
  }
}
