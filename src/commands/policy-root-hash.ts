import { Command, Option } from 'commander'
import type { Execute } from './app.js'
import { helpEnd, withOutput } from './options.js'

interface Options {
  readonly rootHash: readonly string[]
  readonly json?: boolean
}

/** `policy --root-hash`: what a policy would list for single layers. */
export function rootHashCommand(execute: Execute): Command {
  const command = new Command('policy')
    .description('the dm-verity root hash of single layers, one a line')
    .addOption(new Option('--root-hash <layer...>', 'tar files, plain or compressed with gzip or zstd'))
  return withOutput(command)
    .addHelpText('after', helpEnd('confrouter policy --root-hash layer.tar.gz'))
    .action(
      execute<Options>('policy', async (app, { rootHash: files }) => {
        const { rootHashOf } = await import('../steps/root-hash.js')
        const layers: { readonly file: string; readonly rootHash: string }[] = []
        for (const file of files) {
          const { rootHash, implicitParents } = await rootHashOf(file, app.signal)
          layers.push({ file, rootHash })
          if (implicitParents.length === 0) continue
          app.terminal.warn(
            `${file} has no entry of its own for ${implicitParents.slice(0, 3).join(', ')}: older hosts give such a layer another root hash`
          )
        }
        app.terminal.result({
          human: layers.map(({ rootHash }) => rootHash).join('\n'),
          json: { command: 'policy', layers }
        })
      })
    )
}
