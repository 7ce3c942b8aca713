import { UserError } from '../base/user-error.js'
import type { Listeners } from './access.js'
import { commandsFor } from './command-line.js'
import type { Faults } from './faults.js'
import type { Handler } from './http.js'
import { type RunningServer, serve } from './server.js'
import type { Collection } from './store.js'
import { systemCode } from './system-error.js'

export interface ListenersOptions {
  /** Of the emulator, for what an error says to do. */
  readonly directory: string
  /** Which port each name has had; clients keep URLs with ports in them, a vault's for example. */
  readonly ports: Collection<number>
  readonly tls: { readonly key: string; readonly certificate: string }
  readonly faults?: Faults
  readonly log?: ((line: string) => void) | undefined
}

export interface OpenListeners extends Listeners {
  /** Like `open`, with a first choice of port and without TLS if asked. */
  openOn(name: string, handler: Handler, choice: PortChoice): Promise<RunningServer>
  /** Gives the port up for good: its name will not be used again. */
  forget(name: string): Promise<void>
  closeAll(): Promise<void>
}

interface PortChoice {
  /** Tried first when the name has no port yet. */
  readonly preferred?: number
  /** Insisted on, whatever the name had before; 0 only says that there is no first choice. */
  readonly required?: number | undefined
  readonly plain?: boolean
  /** Largest request body in bytes, where it is not ARM's. */
  readonly bodyLimit?: number
}

interface Entry {
  handler: Handler
  readonly server: Promise<RunningServer>
}

/** Systems hand out ports from 32768 on (Linux) to whoever asks for any: one kept there is soon somebody else's. */
const firstEphemeralPort = 32_768
const firstNeighbour = 18_444
const neighbourhood = 8192
const maxTries = 256

/**
 * Listeners by name. A name keeps its port across restarts; a port that someone else took is an error.
 * The one that is opened first decides where the others look for theirs.
 */
export function createListeners({ directory, ports, tls, faults, log }: ListenersOptions): OpenListeners {
  const open = new Map<string, Entry>()
  let neighbours: number | undefined

  async function bind(name: string, handler: Handler, choice: PortChoice): Promise<RunningServer> {
    const known = open.get(name)
    if (known) {
      known.handler = handler
      return known.server
    }
    const start = async () => {
      const server = await firstFree(name, choice)
      neighbours ??= neighboursOf(server.port)
      if (ports.get(name) !== server.port) await ports.set(name, server.port)
      return server
    }
    const firstFree = async (owner: string, { preferred, required }: PortChoice): Promise<RunningServer> => {
      const kept = required !== undefined && required !== 0 ? required : ports.get(owner)
      if (kept !== undefined) return listen(kept, owner)
      if (preferred !== undefined && required === undefined) {
        try {
          return await listen(preferred, owner)
        } catch (error) {
          if (!(error instanceof UserError)) throw error
        }
      }
      return (await neighbour(owner)) ?? listen(0, owner)
    }
    /** Undefined when all that were tried are taken, and for the first listener, which has no neighbours yet. */
    const neighbour = async (owner: string): Promise<RunningServer | undefined> => {
      if (neighbours === undefined) return undefined
      // A vault that is soft-deleted has no listener and still its port.
      const kept = new Set(ports.values())
      for (let port = neighbours; port < neighbours + maxTries; port++) {
        if (kept.has(port)) continue
        try {
          return await listen(port, owner)
        } catch (error) {
          if (!(error instanceof UserError)) throw error
        }
      }
      return undefined
    }
    const handle: Handler = (request) => entry.handler(request)
    const listen = async (port: number, owner: string): Promise<RunningServer> => {
      try {
        return await serve({
          handler: faults === undefined ? handle : faults.around(handle),
          port,
          tls: choice.plain ? undefined : tls,
          ...(choice.bodyLimit === undefined ? {} : { bodyLimit: choice.bodyLimit }),
          log
        })
      } catch (error) {
        throw portError(error, port, owner, directory)
      }
    }
    const entry: Entry = { handler, server: Promise.resolve().then(start) }
    open.set(name, entry)
    entry.server.catch(() => open.delete(name))
    return entry.server
  }

  async function close(name: string): Promise<void> {
    const entry = open.get(name)
    open.delete(name)
    // One that never opened has nothing to close; whoever asked for it has been told.
    const server = await entry?.server.catch(() => undefined)
    await server?.close()
  }

  return {
    open: async (name, handler) => (await bind(name, handler, {})).origin,
    openOn: bind,
    close,
    forget: async (name) => {
      await close(name)
      await ports.delete(name)
    },
    closeAll: async () => {
      await Promise.all([...open.keys()].map(close))
    }
  }
}

/** Beside a port that a person chose; for one that the system chose, a place that two emulators rarely share. */
function neighboursOf(port: number): number {
  return port < firstEphemeralPort - maxTries ? port + 1 : firstNeighbour + (port % neighbourhood)
}

function portError(error: unknown, port: number, name: string, directory: string): unknown {
  const code = systemCode(error)
  if (code !== 'EADDRINUSE' && code !== 'EACCES') return error
  return new UserError('machine', 'emulator.port-taken', `port ${port} on 127.0.0.1 is not free`, {
    why: `the emulated ${name} is known to clients by this port`,
    next: [
      `end the program that listens on port ${port} (lsof -i :${port}), which may be the emulator of another folder`,
      'CONFROUTER_EMULATOR_PORT=PORT CONFROUTER_CONTAINER_GROUP_PORT=PORT CONFROUTER_SIDECAR_PORT=PORT confrouter up --local',
      ...commandsFor(directory, 'reset')
    ],
    cause: error
  })
}
