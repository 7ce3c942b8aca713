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
  readonly stateDir: string
}

export function initCommand(execute: Execute): Command {
  return withOutput(new Command('init').description('write a commented confrouter.yaml, or a pipeline'))
    .addOption(new Option('--config <file>', 'file to write').env('CONFROUTER_CONFIG').default('confrouter.yaml'))
    .addOption(
      new Option('--ci <system>', 'write the pipeline of this system instead').choices(Object.keys(pipelineFiles))
    )
    .addOption(
      new Option('--state-dir <dir>', 'folder of the deployment').env('CONFROUTER_STATE_DIR').default('.confrouter')
    )
    .addHelpText('after', helpEnd('confrouter init'))
    .action(
      execute<Options>('init', async (app, { config, ci, stateDir }) => {
        const file = ci === undefined ? config : pipelineFiles[ci]
        await writeNew(file, ci === undefined ? await app.starterConfig() : await app.pipeline(ci), ci)
        const next =
          ci === undefined ? await firstSteps(config, stateDir) : ['read its first lines, which say what it needs']
        app.terminal.result({
          human: [`wrote ${file}`, ...next.map((each) => `next: ${each}`)].join('\n'),
          json: { schemaVersion: 1, ok: true, command: 'init', file, next }
        })
      })
    )
}

/** What the file needs before it can be used; on loopback, too, since `up --local` reads it from now on. */
async function firstSteps(config: string, stateDir: string): Promise<readonly string[]> {
  const { stateOwner } = await import('../steps/index.js')
  const isLocal = (await stateOwner(stateDir).catch(() => undefined))?.cloud === 'local'
  const flag = config === 'confrouter.yaml' ? '' : ` --config ${config}`
  return [
    `set subscription and image.repository in ${config}`,
    'put OPENAI_API_KEY into the environment or .env, or take the provider out of the file: `up --local` needs it, too',
    ...(isLocal
      ? [`export CONFROUTER_STATE_DIR=${stateDir}-azure   (${stateDir} holds the deployment on this machine)`]
      : []),
    `confrouter doctor${flag}`,
    `confrouter up${flag}`
  ]
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
