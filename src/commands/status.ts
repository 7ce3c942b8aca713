import { Command } from 'commander'
import type { Execute } from './app.js'
import { type SharedOptions, withDeployment } from './options.js'

const words = { create: 'absent', update: 'differs', replace: 'differs', none: 'ok', unknown: 'unknown' } as const

export function statusCommand(execute: Execute): Command {
  return withDeployment(
    new Command('status').description('compare what was recorded with what is there'),
    'confrouter status --local'
  ).action(
    execute<SharedOptions>('status', async (app, options) => {
      const { allSteps, surveySteps } = await import('../steps/index.js')
      const session = await app.open('status', options, 'read')
      try {
        const { run } = session
        const { list } = await surveySteps(
          run,
          // The smoke test calls the router and a provider: that is `smoke`, not a look.
          allSteps.filter(({ id }) => id !== 'smoke')
        )
        const { endpoint, tlsEndpoint, keyId, image, deployed } = run.state.get()
        const recorded = { endpoint, tlsEndpoint, keyId, image: image?.reference, hostData: deployed?.hostData }
        const endpoints = [...new Set([endpoint, tlsEndpoint])].filter((each) => each !== undefined)
        const upToDate = list.every(({ action }) => action === 'none')
        const width = Math.max(...list.map(({ title }) => title.length)) + 2
        app.terminal.result({
          human: [
            ...list.map(({ title, action, reason }) => `${words[action].padEnd(8)}${title.padEnd(width)}${reason}`),
            '',
            upToDate
              ? `up to date${endpoints.length === 0 ? '' : `: ${endpoints.join(', ')}`}`
              : `not up to date; next: confrouter up${run.simulated ? ' --local' : ''}`
          ].join('\n'),
          json: {
            schemaVersion: 1,
            ok: true,
            command: 'status',
            cloud: run.config.cloud,
            simulated: run.simulated,
            upToDate,
            recorded,
            resources: list.map(({ id, action, reason }) => ({ id, state: words[action], reason }))
          }
        })
      } finally {
        await session.close()
      }
    })
  )
}
