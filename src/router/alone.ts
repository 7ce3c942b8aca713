import type { Logger } from 'pino'
import { oneAtATime } from './coalesce.js'
import { createControlPlane } from './control-plane.js'
import { createLocalGuards, systemClocks } from './guards.js'
import { createProcessMetrics, renderReports } from './process-metrics.js'
import { createState } from './router-state.js'
import { createTlsIdentity } from './self-signed.js'
import { createServices } from './services.js'
import { createServing } from './serving.js'
import type { Settings } from './settings.js'
import type { Signals } from './signals.js'
import { usualPace } from './startup.js'

/** The router as one process. Resolves after a signal, when no connection is open. */
export async function runAlone(settings: Settings, log: Logger, { stopped, onHangup }: Signals): Promise<void> {
  const { steadyMs } = systemClocks
  const tls = settings.tlsPort === undefined ? undefined : createTlsIdentity(new Date())
  const { sidecar, evidence } = createServices(settings, tls)
  const state = createState()
  const control = createControlPlane({ settings, sidecar, evidence, state, log, pace: usualPace, steadyMs })
  const processMetrics = createProcessMetrics()
  const renderMetrics = oneAtATime(async () =>
    renderReports([control.report(), serving.report(), await processMetrics()])
  )
  const shared = createLocalGuards(settings.limits, systemClocks)
  const serving = createServing({ settings, state, evidence, shared, tls, log, renderMetrics })
  const stop = new AbortController()

  async function serve(): Promise<void> {
    log.info({ host: settings.host, ...(await serving.listen()) }, 'listening')
    if (settings.secretsFile !== undefined) onHangup(() => void control.rereadSecrets())
    await control.start(stop.signal)
    await control.keepFresh(stop.signal)
  }
  await Promise.race([stopped, serve()])

  log.info('stopping')
  stop.abort()
  const clean = await serving.stop()
  await sidecar.close()
  log.info({ clean }, 'stopped')
}
