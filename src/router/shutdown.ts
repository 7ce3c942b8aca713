import type { Server } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { RouterState } from './router-state.js'

/**
 * Stops accepting, lets what runs finish for `graceMs`, then breaks off what is left. Resolves when
 * no connection is open; true if all calls ended by themselves.
 */
export async function drain(server: Server, state: RouterState, graceMs: number): Promise<boolean> {
  state.stage = 'stopping'
  const deadline = new AbortController()
  const closed = new Promise<true>((resolve) => {
    server.close(() => resolve(true))
  })
  // `close` waits for connections that callers keep open for a next request, also for those that
  // become idle only later.
  const sweep = setInterval(() => server.closeIdleConnections(), 50)
  const late = sleep(graceMs, false as const, { signal: deadline.signal }).catch(() => true as const)
  const clean = await Promise.race([closed, late])
  deadline.abort()
  clearInterval(sweep)
  if (!clean) {
    server.closeAllConnections()
    await closed
  }
  return clean
}
