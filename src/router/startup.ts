import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { ControlMetrics } from './control-metrics.js'
import type { EvidenceDocument, EvidenceSource } from './evidence.js'
import type { ProviderKeys } from './provider-keys.js'
import { readReleasedKey, type RouterKeys } from './released-key.js'
import type { RouterState, Stage } from './router-state.js'
import type { SecretsFile } from './secrets-file.js'
import type { Settings } from './settings.js'
import { SidecarError } from './sidecar-error.js'
import type { Sidecar } from './sidecar.js'

export interface StartUp {
  readonly settings: Pick<Settings, 'keyRefreshMs' | 'providers'>
  readonly sidecar: Sidecar
  readonly evidence: EvidenceSource
  readonly providerKeys: ProviderKeys
  /** Where the sealed secrets come from, if they may change. */
  readonly secretsFile: SecretsFile | undefined
  readonly state: RouterState
  readonly metrics: ControlMetrics
  readonly log: Logger
  readonly signal: AbortSignal
  readonly pace: Pace
}

export interface Pace {
  /** First wait after a failure that may pass; it doubles up to `longestMs`. */
  readonly shortestMs: number
  readonly longestMs: number
  /** Wait after a refusal: a role or a policy may be mended while the router runs. */
  readonly refusedMs: number
  /** Younger than what verifiers commonly accept as fresh, 300 s. */
  readonly evidenceMs: number
  /** Between two looks at the file with the sealed secrets. */
  readonly secretsMs: number
}

export const usualPace: Pace = {
  shortestMs: 250,
  longestMs: 10_000,
  refusedMs: 30_000,
  evidenceMs: 200_000,
  secretsMs: 5_000
}

/**
 * Takes the router from listening to ready: sidecar, key, secrets, evidence. Every stage is tried
 * until it succeeds; what is in the way stands in `state.difficulty` meanwhile. Rejects only when
 * `signal` is aborted.
 */
export async function startUp(context: StartUp): Promise<void> {
  const { state, log, settings } = context
  await stage(context, 'sidecar', () => context.sidecar.status())
  const keys = await stage(context, 'key', () => releaseKey(context))
  log.info({ kid: keys.kid }, 'key released')
  state.providerKeys = await stage(context, 'secrets', () => context.providerKeys.open(keys))
  const evidence = await stage(context, 'evidence', () => collectEvidence(context, keys))
  context.signal.throwIfAborted()
  state.active = { keys, evidence }
  state.stage = 'ready'
  log.info({ kid: keys.kid, providers: [...settings.providers.enabled.keys()] }, 'ready')
}

/**
 * Releases the key again every KEY_REFRESH_SECONDS, renews the evidence before it ages, and opens the
 * sealed secrets again when their file changes. What fails keeps what is in use. All waits are by a
 * clock that does not jump. Rejects only when `signal` is aborted.
 */
export async function keepFresh(context: StartUp): Promise<void> {
  const { settings, pace, secretsFile } = context
  await Promise.all([
    repeat(context, settings.keyRefreshMs, 'key refresh failed', () => refreshKey(context)),
    repeat(context, pace.evidenceMs, 'evidence refresh failed', () => refreshEvidence(context)),
    ...(secretsFile === undefined
      ? []
      : [repeat(context, pace.secretsMs, 'secrets refresh failed', () => watchSecrets(context, secretsFile))])
  ])
}

/**
 * Opens the sealed secrets again with the key in use. What fails keeps what was opened before, which stays
 * valid: the bundle may be for another version of the key, or only half there.
 */
export async function refreshSecrets({ state, providerKeys, log }: Omit<StartUp, 'signal'>): Promise<void> {
  const keys = state.active?.keys
  if (keys === undefined) return
  try {
    state.providerKeys = await providerKeys.open(keys)
  } catch (error) {
    const { code, reason } = toSidecarError(error)
    log.warn({ code, cause: reason }, 'secrets not replaced')
  }
}

async function stage<Result>(context: StartUp, name: Stage, attempt: () => Promise<Result>): Promise<Result> {
  const { state, log, signal, pace } = context
  // After a signal the stage is the shutdown's.
  signal.throwIfAborted()
  state.stage = name
  for (let attempts = 1; ; attempts++) {
    signal.throwIfAborted()
    try {
      const result = await attempt()
      state.difficulty = undefined
      return result
    } catch (error) {
      const { code, reason, final } = toSidecarError(error)
      const waitMs = final
        ? pace.refusedMs
        : Math.min(pace.longestMs, pace.shortestMs * 2 ** Math.min(attempts - 1, 20))
      const nextAttemptInSeconds = waitMs / 1000
      state.difficulty = { code, cause: reason, final, attempts, nextAttemptInSeconds }
      log[final ? 'error' : 'warn']({ stage: name, code, cause: reason, attempts, nextAttemptInSeconds }, 'not ready')
      // Some spread, so that replicas that failed together do not come back together.
      await sleep(waitMs * (0.8 + 0.4 * Math.random()), undefined, { signal })
    }
  }
}

async function releaseKey({ sidecar, metrics }: StartUp): Promise<RouterKeys> {
  try {
    const keys = await readReleasedKey(await sidecar.releaseKey())
    metrics.keyReleased()
    return keys
  } catch (error) {
    metrics.keyRefused(toSidecarError(error).code)
    throw error
  }
}

async function collectEvidence({ evidence, metrics }: StartUp, keys: RouterKeys): Promise<EvidenceDocument> {
  try {
    const document = await evidence.collect(keys, undefined)
    metrics.evidenceCollected()
    return document
  } catch (error) {
    metrics.evidenceFailed(toSidecarError(error).code)
    throw error
  }
}

async function refreshKey(context: StartUp): Promise<void> {
  const { state, log } = context
  const keys = await releaseKey(context)
  if (keys.kid === state.active?.keys.kid) return
  // A new version of the key. Evidence first: a key without evidence is of no use to callers.
  state.active = { keys, evidence: await collectEvidence(context, keys) }
  log.info({ kid: keys.kid }, 'key replaced')
  // Now that everything is opened with this key: a bundle that comes a moment later is seen as a change.
  await refreshSecrets(context)
}

async function refreshEvidence(context: StartUp): Promise<void> {
  const keys = context.state.active?.keys
  if (keys === undefined) return
  const evidence = await collectEvidence(context, keys)
  // The key may have been replaced meanwhile; its evidence came with it.
  if (context.state.active?.keys === keys) context.state.active = { keys, evidence }
}

async function watchSecrets(context: StartUp, file: SecretsFile): Promise<void> {
  if (await file.hasChanged()) await refreshSecrets(context)
}

async function repeat({ signal, log, pace }: StartUp, everyMs: number, failure: string, act: () => Promise<void>) {
  let waitMs = everyMs
  for (;;) {
    await sleep(waitMs, undefined, { signal })
    try {
      await act()
      waitMs = everyMs
    } catch (error) {
      const { code, reason } = toSidecarError(error)
      log.warn({ code, cause: reason }, failure)
      waitMs = Math.min(everyMs, pace.longestMs)
    }
  }
}

function toSidecarError(error: unknown): SidecarError {
  if (error instanceof SidecarError) return error
  // Its message may quote anything; the class is enough to look for it.
  return new SidecarError('internal', `unexpected ${error instanceof Error ? error.name : 'failure'}`, { final: false })
}
