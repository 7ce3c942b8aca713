import type { Logger } from 'pino'
import { ControlMetrics } from './control-metrics.js'
import type { EvidenceSource } from './evidence.js'
import type { MetricsReport } from './process-metrics.js'
import { ProviderKeys } from './provider-keys.js'
import type { RouterState } from './router-state.js'
import { SecretsFile } from './secrets-file.js'
import type { Settings } from './settings.js'
import type { Sidecar } from './sidecar.js'
import { keepFresh, type Pace, refreshSecrets, type StartUp, startUp } from './startup.js'

export interface ControlPlaneParts {
  readonly settings: Settings
  readonly sidecar: Sidecar
  readonly evidence: EvidenceSource
  readonly state: RouterState
  readonly log: Logger
  readonly pace: Pace
  /** Milliseconds since any moment; never goes back. */
  readonly steadyMs: () => number
}

/** What a router does once, however many processes serve: the key, the secrets, the evidence. */
export interface ControlPlane {
  /** From listening to ready. Rejects only when `signal` is aborted. */
  start(signal: AbortSignal): Promise<void>
  /** Keeps all of it fresh for as long as the router runs. Rejects only when `signal` is aborted. */
  keepFresh(signal: AbortSignal): Promise<void>
  /** Looks at the file with the sealed secrets at once. */
  rereadSecrets(): Promise<void>
  report(): MetricsReport
}

export function createControlPlane({ settings, steadyMs, ...parts }: ControlPlaneParts): ControlPlane {
  const { clearKeys, providers, sealedSecrets, expectedSecrets } = settings
  const { log, state } = parts
  const secretsFile = settings.secretsFile === undefined ? undefined : new SecretsFile(settings.secretsFile)
  const readSealed = async (): Promise<string | undefined> => secretsFile?.read() ?? sealedSecrets
  const providerKeys = new ProviderKeys({ clearKeys, readSealed, expected: expectedSecrets, providers, log })
  const metrics = new ControlMetrics(steadyMs)
  const context: Omit<StartUp, 'signal'> = { settings, providerKeys, secretsFile, metrics, ...parts }
  return {
    start: (signal) => startUp({ ...context, signal }),
    keepFresh: (signal) => keepFresh({ ...context, signal }),
    rereadSecrets: () => refreshSecrets(context),
    report: () => metrics.report(state, providerKeys.version)
  }
}
