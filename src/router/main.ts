/**
 * The router: composition root and program. The only file that reads the environment; everything
 * else gets what it needs as arguments.
 */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import process from 'node:process'
import type { Logger } from 'pino'
import { readCcePolicy } from './cce-policy.js'
import type { RouterContext } from './context.js'
import { createEgress } from './egress.js'
import { createEvidenceSource } from './evidence.js'
import { createGuards } from './guards.js'
import { createLog, logUnexpected } from './request-log.js'
import { createState } from './router-state.js'
import { createRouterServer } from './server.js'
import { parseSettings, type Settings, SettingsError } from './settings.js'
import { drain } from './shutdown.js'
import { createSidecar } from './sidecar.js'
import { keepFresh, startUp } from './startup.js'

const log = createLog()

// A state that nobody thought of is left by a restart, which the platform does.
process.on('uncaughtException', (error) => fail(error))
process.on('unhandledRejection', (error) => fail(error))

const settings = readSettings()
if (settings !== undefined) run(settings, log).catch(fail)

function readSettings(): Settings | undefined {
  try {
    return parseSettings(process.env)
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error
    // Not `fatal`: pino flushes after it, and then its lines to a pipe can change their order.
    for (const problem of error.problems) log.error({ problem }, 'invalid environment')
    process.exitCode = 3
    return undefined
  }
}

async function run(settings: Settings, log: Logger): Promise<void> {
  const { limits, maaHost, vaultHost, keyName } = settings
  const sidecar = createSidecar({ url: settings.sidecarUrl, maaHost, vaultHost, keyName })
  const evidence = createEvidenceSource({
    sidecar,
    maaHost,
    readPolicy: () => readCcePolicy(settings.securityContextDirectory),
    simulated: settings.simulated,
    now: () => new Date()
  })
  const state = createState()
  const egress = createEgress(limits)
  const context: RouterContext = {
    settings,
    state,
    evidence,
    egress,
    log,
    ...createGuards(limits, () => performance.now())
  }
  const server = createRouterServer(context)
  const stop = new AbortController()
  const stopped = Promise.race([once(process, 'SIGTERM'), once(process, 'SIGINT')])

  server.listen(settings.port, settings.host)
  await once(server, 'listening')
  log.info({ host: settings.host, port: (server.address() as AddressInfo).port }, 'listening')

  const start = { settings, sidecar, evidence, state, log, signal: stop.signal }
  startUp(start)
    .then(() => keepFresh(start))
    .catch((error: unknown) => {
      if (!stop.signal.aborted) fail(error)
    })

  await stopped
  log.info('stopping')
  stop.abort()
  const clean = await drain(server, context, limits.shutdownMs)
  await Promise.all([egress.close(), sidecar.close()])
  log.info({ clean }, 'stopped')
  // Whatever else still waits has nothing left to do.
  process.exit(0)
}

function fail(error: unknown): void {
  logUnexpected(log, error)
  process.exit(1)
}
