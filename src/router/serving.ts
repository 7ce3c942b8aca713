import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Logger } from 'pino'
import { CallMetrics } from './call-metrics.js'
import type { RouterContext } from './context.js'
import { createEgress } from './egress.js'
import type { EvidenceSource } from './evidence.js'
import { createGuards, type SharedGuards } from './guards.js'
import type { MetricsReport } from './process-metrics.js'
import type { RouterState } from './router-state.js'
import type { TlsIdentity } from './self-signed.js'
import { createRouterServer, createTlsServer } from './server.js'
import type { Settings } from './settings.js'
import { drain } from './shutdown.js'

export interface ServingParts {
  readonly settings: Settings
  readonly state: RouterState
  readonly evidence: EvidenceSource
  readonly shared: SharedGuards
  /** For the listener with TLS, if there is one. */
  readonly tls: TlsIdentity | undefined
  readonly log: Logger
  readonly renderMetrics: () => Promise<string>
}

/** Where a process listens, as numbers of ports. */
export interface Ports {
  readonly port: number
  readonly tlsPort?: number
}

/** What every process does that takes calls. */
export interface Serving {
  readonly context: RouterContext
  readonly servers: readonly Server[]
  /** Throws what the system says of a port that cannot be had. */
  listen(): Promise<Ports>
  /** Of the calls of this process. */
  report(): MetricsReport
  /** Ends it; true if all calls ended by themselves. */
  stop(): Promise<boolean>
}

export function createServing({ shared, tls, ...parts }: ServingParts): Serving {
  const { settings, state } = parts
  const { limits, workers, host } = settings
  const metrics = new CallMetrics()
  const guards = createGuards(limits, metrics.watch(shared), workers)
  const context: RouterContext = { ...parts, ...guards, metrics, egress: createEgress(limits) }
  const plain = createRouterServer(context)
  const secure = tls === undefined ? undefined : createTlsServer(context, tls)
  const servers = secure === undefined ? [plain] : [plain, secure]
  return {
    context,
    servers,
    async listen() {
      // One after the other, so that in all workers port 0 stands for the same two ports.
      const port = await listen(plain, settings.port, host)
      if (secure === undefined) return { port }
      return { port, tlsPort: await listen(secure, settings.tlsPort ?? 0, host) }
    },
    report: () => metrics.report(context),
    async stop() {
      const clean = await drain(servers, { state, connections: guards.connections }, limits.shutdownMs)
      await context.egress.close()
      return clean
    }
  }
}

async function listen(server: Server, port: number, host: string): Promise<number> {
  server.listen(port, host)
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}
