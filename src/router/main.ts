/**
 * The router: the program. The only file that reads the environment and ends the process; everything
 * else gets what it needs as arguments.
 */
import cluster from 'node:cluster'
import process from 'node:process'
import { runAlone } from './alone.js'
import { runPrimary } from './primary.js'
import { createLog, logUnexpected } from './request-log.js'
import { parseSettings, type Settings, SettingsError } from './settings.js'
import { leaveSignalsToPrimary, listenToSignals } from './signals.js'
import { runWorker } from './worker.js'
import { withholdEnvironment } from './worker-environment.js'

const log = createLog(undefined, cluster.worker?.id)

// A state that nobody thought of is left by a restart, which the platform or the primary does.
process.on('uncaughtException', (error) => fail(error))
process.on('unhandledRejection', (error) => fail(error))

if (cluster.isWorker) {
  leaveSignalsToPrimary()
  runWorker(log, fail)
} else {
  const environment = { ...process.env }
  const settings = readSettings()
  if (settings !== undefined) run(settings, environment).then(() => process.exit(0), fail)
}

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

async function run(settings: Settings, environment: NodeJS.ProcessEnv): Promise<void> {
  const signals = listenToSignals()
  if (settings.workers === 1) return runAlone(settings, log, signals)
  withholdEnvironment(process.env)
  return runPrimary(settings, environment, log, signals)
}

function fail(error: unknown): void {
  logUnexpected(log, error)
  process.exit(1)
}
