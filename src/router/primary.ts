import type { Logger } from 'pino'
import { afterThis, oneAtATime } from './coalesce.js'
import { createControlPlane } from './control-plane.js'
import { createLocalGuards, systemClocks } from './guards.js'
import { counter, gauge } from './metric-family.js'
import { createProcessMetrics, renderReports } from './process-metrics.js'
import { createState, observeState } from './router-state.js'
import { createTlsIdentity } from './self-signed.js'
import { createServices } from './services.js'
import type { Environment, Settings } from './settings.js'
import type { Signals } from './signals.js'
import { usualPace } from './startup.js'
import { takeSnapshot } from './state-snapshot.js'
import { environmentOfWorker } from './worker-environment.js'
import { Workers } from './workers.js'

/**
 * The router as several processes. This one has no listener: it obtains the key, opens the secrets, makes
 * the evidence and counts what has to be counted together. The workers serve, with the state that they get
 * from here. Resolves after a signal, when all workers have ended.
 */
export async function runPrimary(
  settings: Settings,
  environment: Environment,
  log: Logger,
  { stopped, onHangup }: Signals
): Promise<void> {
  const { steadyMs } = systemClocks
  const tls = settings.tlsPort === undefined ? undefined : createTlsIdentity(new Date())
  const { sidecar, evidence } = createServices(settings, tls)
  const state = createState()
  const processMetrics = createProcessMetrics()
  const workers = new Workers({
    count: settings.workers,
    begin: () => ({ kind: 'begin', environment: environmentOfWorker(environment), tls, state: takeSnapshot(state) }),
    guards: createLocalGuards(settings.limits, systemClocks),
    renderMetrics: oneAtATime(renderMetrics),
    log
  })
  const control = createControlPlane({
    settings,
    sidecar,
    evidence,
    state: observeState(
      state,
      afterThis(() => workers.broadcast({ kind: 'state', state: takeSnapshot(state) }))
    ),
    log,
    pace: usualPace,
    steadyMs
  })
  const stop = new AbortController()

  async function renderMetrics(): Promise<string> {
    const ofWorkers = [
      gauge('confrouter_workers', 'Processes that serve.', [[{}, workers.running]]),
      counter('confrouter_workers_lost_total', 'Processes that ended by themselves.', [[{}, workers.losses]])
    ]
    const reports = await workers.reports()
    return renderReports([[...control.report(), ...ofWorkers], await processMetrics(), ...reports])
  }

  async function serve(): Promise<void> {
    log.info({ host: settings.host, ...(await workers.start()), workers: settings.workers }, 'listening')
    if (settings.secretsFile !== undefined) onHangup(() => void control.rereadSecrets())
    await control.start(stop.signal)
    await control.keepFresh(stop.signal)
  }
  await Promise.race([stopped, serve()])

  log.info('stopping')
  stop.abort()
  state.stage = 'stopping'
  const clean = await workers.stop(settings.limits.shutdownMs)
  await sidecar.close()
  log.info({ clean }, 'stopped')
}
