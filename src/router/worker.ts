import process from 'node:process'
import type { Logger } from 'pino'
import { limitsOfWorker } from './guards.js'
import { createProcessMetrics } from './process-metrics.js'
import { RemoteGuards } from './remote-guards.js'
import { RemoteMetrics } from './remote-metrics.js'
import { createState } from './router-state.js'
import { createServices } from './services.js'
import { createServing } from './serving.js'
import { parseSettings } from './settings.js'
import { applySnapshot } from './state-snapshot.js'
import { type Begin, type FromWorker, type ToWorker, uncleanExit } from './worker-messages.js'

/**
 * One of several processes that serve. All that it has comes from the primary, which also says when it is
 * over; Node ends it when the primary is gone.
 */
export function runWorker(log: Logger, fail: (error: unknown) => void): void {
  let receive: ((message: ToWorker) => void) | undefined
  process.on('message', (message: ToWorker) => {
    if (message.kind === 'begin') receive = begin(message, log, fail)
    else receive?.(message)
  })
}

function begin(
  { environment, tls, state: first }: Begin,
  log: Logger,
  fail: (error: unknown) => void
): (message: ToWorker) => void {
  const parsed = parseSettings(environment)
  const settings = { ...parsed, limits: limitsOfWorker(parsed.limits, parsed.workers) }
  const state = createState()
  const { evidence } = createServices(settings, tls)
  const shared = new RemoteGuards(send)
  const metrics = new RemoteMetrics(send)
  const processMetrics = createProcessMetrics()
  const renderMetrics = () => metrics.render()
  const serving = createServing({ settings, state, evidence, shared, tls, log, renderMetrics })

  let isListening = false

  async function listen(): Promise<void> {
    await applySnapshot(state, first)
    const ports = await serving.listen()
    isListening = true
    send({ kind: 'listening', ports })
  }

  async function report(id: number): Promise<void> {
    send({ kind: 'report', id, report: [...serving.report(), ...(await processMetrics())] })
  }

  async function stop(): Promise<void> {
    // Without a listener there is nothing to let finish, and none will be had any more.
    const clean = !isListening || (await serving.stop())
    process.exit(clean ? 0 : uncleanExit)
  }

  let applied = listen()
  applied.catch(fail)
  return (message) => {
    switch (message.kind) {
      case 'begin':
        return
      case 'state':
        applied = applied.then(() => applySnapshot(state, message.state))
        applied.catch(fail)
        return
      case 'answers':
        shared.receive(message)
        return
      case 'get-report':
        report(message.id).catch(fail)
        return
      case 'metrics':
        metrics.receive(message)
        return
      case 'stop':
        stop().catch(fail)
        return
      default:
        message satisfies never
    }
  }
}

/** To a primary that is gone there is nothing to say; this process then ends. */
function send(message: FromWorker): void {
  if (process.connected) process.send?.(message, undefined, undefined, () => undefined)
}
