import { setTimeout as sleep } from 'node:timers/promises'
import type { AzureSession } from './session.js'

export interface Wait {
  /** What is waited for, in the user's words; the time that is left is put behind it. */
  readonly reason: string
  readonly seconds: number
}

/** Longest pause between two attempts: a role that is there is not to be found out a minute later. */
const longestPauseMs = 15_000
const tickMs = 1000

/**
 * Runs a call again for as long as `waitFor` says that what it failed for passes with time. Pauses grow
 * from the cloud's poll interval to 15 s; meanwhile the seconds that are left are told once a second. Each
 * reason has its own limit, counted from when it was first met.
 */
export async function patiently<T>(
  azure: Pick<AzureSession, 'environment' | 'signal'>,
  onWait: (reason: string) => void,
  call: () => Promise<T>,
  waitFor: (error: unknown) => Wait | undefined
): Promise<T> {
  const since = new Map<string, number>()
  let pauseMs = Math.max(azure.environment.pollIntervalMs, 50)
  for (;;) {
    try {
      return await call()
    } catch (error) {
      const wait = waitFor(error)
      if (wait === undefined) throw error
      const started = since.get(wait.reason) ?? Date.now()
      since.set(wait.reason, started)
      const deadline = started + wait.seconds * 1000
      if (Date.now() >= deadline) throw error
      await countDown(Math.min(Date.now() + pauseMs, deadline), deadline, wait.reason, azure.signal, onWait)
      pauseMs = Math.min(pauseMs * 1.5, longestPauseMs)
    }
  }
}

async function countDown(
  until: number,
  deadline: number,
  reason: string,
  signal: AbortSignal,
  onWait: (reason: string) => void
): Promise<void> {
  while (Date.now() < until) {
    onWait(`${reason}, ${Math.ceil((deadline - Date.now()) / 1000)} s left`)
    await sleep(Math.min(tickMs, until - Date.now()), undefined, { signal })
  }
}
