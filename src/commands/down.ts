import { Command, Option } from 'commander'
import { UserError } from '../base/user-error.js'
import type { Execute } from './app.js'
import { type SharedOptions, withDeployment } from './options.js'

export function downCommand(execute: Execute): Command {
  return withDeployment(
    new Command('down')
      .description('delete what `up` made')
      .addOption(new Option('--confirm <name>', 'the deployment’s name, typed again, in place of the question'))
      .addOption(new Option('--purge', 'also purge the key vault, which cannot be undone')),
    'confrouter down --confirm confrouter'
  ).action(
    execute<SharedOptions & { readonly confirm?: string; readonly purge?: boolean }>('down', async (app, options) => {
      const { deleteAll, deletions, unrecorded } = await import('../steps/index.js')
      const session = await app.open('down', options, 'write')
      try {
        const { run } = session
        const left = run.state.get().created.length === 0 ? await unrecorded(run) : undefined
        if (left !== undefined) {
          app.terminal.warn(
            `${left} is there, and this state directory does not record that \`up\` made it: it is left alone. ` +
              `To delete it: az group delete --name ${run.config.resourceGroup}`
          )
        }
        const list = await deletions(run, { purge: options.purge === true })
        if (list.length > 0 && session.asks) {
          const typed =
            options.confirm ??
            (await app.terminal.askText({
              question: `${list.map(({ title }) => `  - ${title}`).join('\n')}\nType ${run.config.name} to delete all of this:`,
              flag: '--confirm <name>'
            }))
          if (typed !== run.config.name) {
            throw new UserError(
              'user',
              'user.declined',
              `"${typed}" is not the name of this deployment; nothing was deleted`
            )
          }
        }
        const progress = app.terminal.progress('confrouter down', list)
        const outcomes = await deleteAll(run, list, progress).finally(() => progress.close())
        if (left === undefined) await session.endCloud?.()
        const deleted = outcomes.filter(({ deleted: gone }) => gone).map(({ title }) => title)
        const kept = outcomes.filter(({ deleted: gone }) => !gone).map(({ title }) => title)
        app.terminal.result({
          human: [
            deleted.length === 0 ? 'nothing to delete' : `deleted: ${deleted.join(', ')}`,
            ...(kept.length === 0 ? [] : [`kept: ${kept.join(', ')}`])
          ].join('\n'),
          json: {
            schemaVersion: 1,
            ok: true,
            command: 'down',
            cloud: run.config.cloud,
            deleted,
            kept,
            changed: deleted.length > 0
          }
        })
      } finally {
        await session.close()
      }
    })
  )
}
