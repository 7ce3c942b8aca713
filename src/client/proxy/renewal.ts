import { earlyPart, maximumAgeMs } from '../attested-router.js'
import type { WatchedRouter } from './watched-router.js'

/** Calls `callback` again and again; gives what ends that. */
export type Every = (milliseconds: number, callback: () => void) => () => void

/** Of Node, and no reason for a program to go on running. */
export const every: Every = (milliseconds, callback) => {
  const timer = setInterval(callback, milliseconds)
  timer.unref()
  return () => clearInterval(timer)
}

/** By the wall clock at each look, so that a machine that slept notices at once what has aged meanwhile. */
const lookMs = 5_000
/** After the first attempt that did not end in trust; twice as long after each that follows. */
const firstPauseMs = 10_000
const longestPauseMs = 300_000

/**
 * Verifies again before the evidence ages, also while nobody calls, so that what the page says of the router is of
 * now. Nothing is verified before somebody has asked for it once. Gives what ends it.
 */
export function keepVerified(
  router: Pick<WatchedRouter, 'verdict' | 'problem' | 'isVerifying' | 'hasKeys' | 'trust' | 'verify' | 'tend'>,
  { now, every }: { readonly now: () => Date; readonly every: Every }
): () => void {
  let failures = 0
  let failedAtMs = 0

  const look = (): void => {
    if (hasBegun()) void router.tend().then(renew)
  }

  const renew = (): void => {
    const nowMs = now().getTime()
    if (router.isVerifying || !isDue(nowMs)) return
    router.verify().then(
      ({ verdict }) => note(verdict === 'trusted'),
      // The page and the next call say why.
      () => note(false)
    )
  }

  const hasBegun = (): boolean => router.verdict !== undefined || router.problem !== undefined

  function isDue(nowMs: number): boolean {
    const { verdict: last, problem } = router
    if (!hasBegun()) return false
    const isTrusted = problem === undefined && last?.verdict.verdict === 'trusted'
    // Somebody's call or a person may have verified meanwhile.
    if (isTrusted) failures = 0
    // By another trust policy than the one in force now.
    if (isTrusted && !router.hasKeys) return true
    const sinceMs = isTrusted ? last.at.getTime() : failures > 0 ? failedAtMs : attemptMs()
    const renewAfterMs = router.trust === undefined ? 0 : earlyPart * maximumAgeMs(router.trust)
    const waitMs = isTrusted ? renewAfterMs : Math.min(longestPauseMs, firstPauseMs * 2 ** Math.max(0, failures - 1))
    // A clock that went back says nothing about the age.
    return nowMs < sinceMs || nowMs - sinceMs >= waitMs
  }

  const attemptMs = (): number => Math.max(router.verdict?.at.getTime() ?? 0, router.problem?.at.getTime() ?? 0)

  function note(isTrusted: boolean): void {
    failures = isTrusted ? 0 : failures + 1
    failedAtMs = now().getTime()
  }

  return every(lookMs, look)
}
