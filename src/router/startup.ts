import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import { SealError } from '../seal/errors.js'
import { openSecrets } from '../seal/node/secrets.js'
import type { EvidenceDocument, EvidenceSource } from './evidence.js'
import { readReleasedKey, type RouterKeys } from './released-key.js'
import type { RouterState, Stage } from './router-state.js'
import type { Settings } from './settings.js'
import { SidecarError } from './sidecar-error.js'
import type { Sidecar } from './sidecar.js'

export interface StartUp {
  readonly settings: Settings
  readonly sidecar: Sidecar
  readonly evidence: EvidenceSource
  readonly state: RouterState
  readonly log: Logger
  readonly signal: AbortSignal
  readonly pace?: Pace
}

export interface Pace {
  /** First wait after a failure that may pass; it doubles up to `longestMs`. */
  readonly shortestMs: number
  readonly longestMs: number
  /** Wait after a refusal: a role or a policy may be mended while the router runs. */
  readonly refusedMs: number
  /** Younger than what verifiers commonly accept as fresh, 300 s. */
  readonly evidenceMs: number
}

export const usualPace: Pace = { shortestMs: 250, longestMs: 10_000, refusedMs: 30_000, evidenceMs: 200_000 }

/**
 * Takes the router from listening to ready: sidecar, key, secrets, evidence. Every stage is tried
 * until it succeeds; what is in the way stands in `state.difficulty` meanwhile. Rejects only when
 * `signal` is aborted.
 */
export async function startUp(context: StartUp): Promise<void> {
  await stage(context, 'sidecar', () => context.sidecar.status())
  const keys = await stage(context, 'key', async () => readReleasedKey(await context.sidecar.releaseKey()))
  context.log.info({ kid: keys.kid }, 'key released')
  context.state.providerKeys = await stage(context, 'secrets', () => readProviderKeys(context, keys))
  const evidence = await stage(context, 'evidence', () => collectEvidence(context, keys))
  context.state.active = { keys, evidence }
  context.state.stage = 'ready'
  context.log.info({ kid: keys.kid, providers: [...context.settings.providers.enabled.keys()] }, 'ready')
}

/**
 * Releases the key again every KEY_REFRESH_SECONDS and renews the evidence before it ages. A failed
 * refresh keeps what is in use. Rejects only when `signal` is aborted.
 */
export async function keepFresh(context: StartUp): Promise<void> {
  await Promise.all([
    repeat(context, context.settings.keyRefreshMs, 'key refresh failed', () => refreshKey(context)),
    repeat(context, (context.pace ?? usualPace).evidenceMs, 'evidence refresh failed', () => refreshEvidence(context))
  ])
}

async function stage<Result>(context: StartUp, name: Stage, attempt: () => Promise<Result>): Promise<Result> {
  const { state, log, signal, pace = usualPace } = context
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

/** Clear keys of the environment, then the sealed ones, which win. */
async function readProviderKeys({ settings, log }: StartUp, keys: RouterKeys): Promise<ReadonlyMap<string, string>> {
  const providerKeys = new Map(settings.clearKeys)
  if (settings.sealedSecrets !== undefined) {
    const { values, version } = await openSecrets(settings.sealedSecrets, keys).catch((error: unknown) => {
      throw unopened(error, keys.kid)
    })
    for (const [name, key] of Object.entries(values)) providerKeys.set(name, key)
    log.info({ version, count: Object.keys(values).length }, 'secrets opened')
  }
  for (const name of providerKeys.keys()) {
    if (!settings.providers.enabled.has(name)) log.warn({ provider: name }, 'key for a provider that is not enabled')
  }
  return providerKeys
}

function unopened(error: unknown, kid: string): SidecarError {
  if (error instanceof SealError && error.code === 'invalid_secrets') {
    return new SidecarError('secrets.invalid', error.message, { final: true })
  }
  return new SidecarError(
    'secrets.not-opened',
    `CONFROUTER_SECRETS was not sealed to the released key ${kid}; seal the provider keys again`,
    { final: true }
  )
}

const collectEvidence = ({ evidence }: StartUp, keys: RouterKeys): Promise<EvidenceDocument> =>
  evidence.collect(keys, undefined)

async function refreshKey(context: StartUp): Promise<void> {
  const { state, sidecar, log } = context
  const keys = await readReleasedKey(await sidecar.releaseKey())
  if (keys.kid === state.active?.keys.kid) return
  // A new version of the key. Evidence first: a key without evidence is of no use to callers.
  const evidence = await collectEvidence(context, keys)
  try {
    state.providerKeys = await readProviderKeys(context, keys)
  } catch (error) {
    // The bundle was sealed to the version before; what was opened with that stays valid.
    const { code, reason } = toSidecarError(error)
    log.warn({ code, cause: reason }, 'secrets not opened with the new key')
  }
  state.active = { keys, evidence }
  log.info({ kid: keys.kid }, 'key replaced')
}

async function refreshEvidence(context: StartUp): Promise<void> {
  const keys = context.state.active?.keys
  if (keys === undefined) return
  const evidence = await collectEvidence(context, keys)
  // The key may have been replaced meanwhile; its evidence came with it.
  if (context.state.active?.keys === keys) context.state.active = { keys, evidence }
}

async function repeat(
  { signal, log, pace = usualPace }: StartUp,
  everyMs: number,
  failure: string,
  act: () => Promise<void>
) {
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
