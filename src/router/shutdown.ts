import type { Server } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { RouterContext } from './context.js'

/**
 * Stops accepting on all servers, lets what runs finish for `graceMs`, then breaks off what is left. Resolves when
 * no connection is open; true if all calls ended by themselves.
 */
export async function drain(
  servers: readonly Server[],
  { state, connections }: Pick<RouterContext, 'state' | 'connections'>,
  graceMs: number
): Promise<boolean> {
  state.stage = 'stopping'
  const deadline = new AbortController()
  const closed = Promise.all(servers.map(close)).then(() => true as const)
  // `close` waits for connections that callers keep open for a next request, for those that never
  // sent a whole one, and for those that become idle only later.
  connections.closeIdle()
  const sweep = setInterval(() => connections.closeIdle(), 50)
  const late = sleep(graceMs, false as const, { signal: deadline.signal }).catch(() => true as const)
  const clean = await Promise.race([closed, late])
  deadline.abort()
  clearInterval(sweep)
  if (!clean) {
    connections.closeAll()
    await closed
  }
  return clean
}

const close = (server: Server): Promise<void> =>
  new Promise((resolve) => {
    server.close(() => resolve())
  })
