import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { createControlPlane } from './control-plane.js'
import { openDirectoryIdentity } from './directory-identity.js'
import { type EmulatorEnvironment, environmentFile, writeEnvironment } from './environment.js'
import { createHardware, type SimulatedHardware } from './hardware/simulated-hardware.js'
import { createFaults, type FaultPlan, faultsMark, noFaults } from './faults.js'
import { killingWrite } from './kill-at-write.js'
import { type Handler, notImplemented, ServiceError } from './http.js'
import { createListeners } from './listeners.js'
import { vaultOfHost } from './local-caller.js'
import { type DirectoryLock, lockDirectory } from './lock.js'
import type { RestartTiming } from './services/aci/container-supervisor.js'
import { createAccess, type RoleAssignment } from './services/entra/access.js'
import { entraHandler } from './services/entra/entra.js'
import { openTokenIssuer } from './services/entra/token-issuer.js'
import { graphHandler } from './services/graph/graph.js'
import { instanceHandler } from './services/instance/handler.js'
import { releaseRootPem } from './services/keyvault/release-signer.js'
import { loopbackHandler } from './services/loopback/handler.js'
import { sidecarReference, storeSidecarImage } from './sidecar-image.js'
import { openStore, replaceFile } from './store.js'
import { openTlsIdentity } from './tls.js'

/** Of the loopback provider: the files of examples, held in memory. */
const largestUpload = 64 * 1024 ** 2

export interface EmulatorOptions {
  /** Where all state lies; created if absent. */
  readonly directory: string
  /**
   * Of Resource Manager. Left out: the one it had before, else 18443, else a free one; 0: a free one
   * the first time. A port that is taken throws a `UserError` `emulator.port-taken`.
   */
  readonly port?: number
  /** The sidecar program, `dist/emulator/sidecar.cjs`. */
  readonly sidecarBundle: string
  /** How long new role assignments count for nothing; 0 if left out. */
  readonly rbacDelaySeconds?: number
  /** What goes wrong on purpose; nothing if left out. */
  readonly faults?: FaultPlan
  readonly clock?: () => Date
  /** Receives one line for each request and each fault, without secrets. */
  readonly log?: (line: string) => void
  /** How containers are restarted and stopped. */
  readonly timing?: Partial<RestartTiming>
}

export interface RunningEmulator {
  readonly environment: EmulatorEnvironment
  /** Stops containers and listeners. The state stays, and the next start continues from it. */
  close(): Promise<void>
}

const preferredPort = 18443
/** Azure waits 10 s and more; on one's own machine a fault is wanted sooner. The grace covers the router's own. */
const defaultTiming: RestartTiming = { firstBackoffMs: 500, maxBackoffMs: 60_000, graceMs: 35_000 }

/**
 * Starts Azure on loopback: Entra and Resource Manager on one TLS port, each key vault and each
 * attestation provider on one of its own, and what containers reach on a plain one. A directory that
 * another living emulator uses throws a `UserError` `emulator.already-running`.
 */
export async function startEmulator(options: EmulatorOptions): Promise<RunningEmulator> {
  await mkdir(options.directory, { recursive: true, mode: 0o700 })
  const lock = await lockDirectory(options.directory)
  try {
    return await start(options, lock)
  } catch (error) {
    await lock.release()
    throw error
  }
}

async function start(options: EmulatorOptions, lock: DirectoryLock): Promise<RunningEmulator> {
  const { directory, log, rbacDelaySeconds = 0, faults: plan = noFaults } = options
  const clock = options.clock ?? (() => new Date())
  const imageLayout = join(directory, 'registry')
  const opening = [
    openStore(join(directory, 'state'), plan.kill === undefined ? replaceFile : killingWrite(replaceFile, plan.kill)),
    openTlsIdentity(join(directory, 'tls')),
    storeSidecarImage(options.sidecarBundle, imageLayout)
  ] as const
  // When one of them fails the others must have come to their end, before the lock is given back.
  await Promise.allSettled(opening)
  const [store, tls] = await Promise.all(opening)
  const faults = createFaults(plan, log)
  const listeners = createListeners({ directory, ports: store.collection<number>('ports'), tls, faults, log })
  try {
    const front = new LateHandler()
    const inside = new LateHandler()
    const identity = await openDirectoryIdentity(store)
    // First of all: the other listeners get ports beside its own.
    const arm = await listeners.openOn('Resource Manager', front.handle, {
      preferred: preferredPort,
      required: options.port
    })
    const plain = await listeners.openOn('instance endpoints', inside.handle, {
      plain: true,
      bodyLimit: largestUpload
    })
    const issuer = `${arm.origin}/${identity.tenantId}/v2.0`
    // Keys take most of a first start: they are made at the same time.
    const [hardware, tokens, releaseRoot] = await Promise.all([
      createHardware({ store }),
      openTokenIssuer({ store, tenantId: identity.tenantId, issuer, clock }),
      releaseRootPem(store, clock())
    ])
    const access = createAccess({
      tokens,
      assignments: store.collection<RoleAssignment>('role-assignments'),
      clock,
      rbacDelaySeconds
    })
    const controlPlane = createControlPlane({
      store,
      identity,
      access,
      listeners,
      hardware,
      armOrigin: arm.origin,
      instanceOrigin: plain.origin,
      ca: tls.ca,
      releaseRoot,
      imageLayout,
      faults,
      rootHashCache: join(directory, 'root-hashes.json'),
      groupsDirectory: join(directory, 'groups'),
      timing: { ...defaultTiming, ...options.timing },
      clock,
      log
    })
    const environment: EmulatorEnvironment = {
      version: 1,
      pid: process.pid,
      armEndpoint: arm.origin,
      authorityHost: arm.origin,
      ...identity,
      caFile: tls.caFile,
      imageLayout,
      sidecarImage: sidecarReference,
      loopbackProvider: `${plain.origin}/v1`,
      amdRootSha256: hardware.arkSha256,
      uvmIssuer: hardware.uvmIssuer,
      rbacDelaySeconds,
      faults: faultsMark(plan),
      startedAt: new Date().toISOString()
    }
    inside.set(insideHandler({ hardware, tokens, clock, ...controlPlane }))
    const application = { ...identity, objectId: identity.operatorObjectId }
    const entra = entraHandler({ tenantId: identity.tenantId, application, tokens, clock })
    const graph = graphHandler({
      access,
      principals: () => [
        { ...application, displayName: 'confrouter operator' },
        ...controlPlane.identities.all().map(({ principalId, clientId, name }) => ({
          objectId: principalId,
          clientId,
          displayName: name
        }))
      ]
    })
    front.set(frontHandler({ environment, entra, graph, port: arm.port, ...controlPlane }))
    await controlPlane.restore()
    await writeEnvironment(directory, environment)
    return {
      environment,
      close: async () => {
        await controlPlane.close()
        await listeners.closeAll()
        await rm(environmentFile(directory), { force: true })
        await lock.release()
      }
    }
  } catch (error) {
    await listeners.closeAll()
    throw error
  }
}

/** A listener must be open before its handler is made, because the handler has to know its own address. */
class LateHandler {
  #handler: Handler | undefined

  readonly handle: Handler = async (request) => {
    if (!this.#handler) throw new ServiceError(503, 'ServerBusy', 'The emulator is starting.')
    return this.#handler(request)
  }

  set(handler: Handler): void {
    this.#handler = handler
  }
}

/** Entra, Graph and Resource Manager share a host here: their paths differ. Vaults have hosts of their own on the same port. */
function frontHandler({
  environment: { pid, startedAt },
  entra,
  graph,
  port,
  resourceManager,
  vaultByName
}: {
  readonly environment: EmulatorEnvironment
  readonly entra: ReturnType<typeof entraHandler>
  readonly graph: ReturnType<typeof graphHandler>
  readonly port: number
} & Pick<ReturnType<typeof createControlPlane>, 'resourceManager' | 'vaultByName'>): Handler {
  return async (request) => {
    const vault = vaultOfHost(request.headers.host?.toLowerCase(), port)
    if (vault !== undefined) return vaultByName(vault)(request)
    if (request.method === 'GET' && request.path === '/emulator/health') {
      return { status: 200, body: { status: 'ok', pid, startedAt } }
    }
    return (await (entra(request) ?? graph(request))) ?? resourceManager.handle(request)
  }
}

/** What containers reach without TLS: their platform, and the provider that echoes. */
function insideHandler(options: {
  readonly hardware: SimulatedHardware
  readonly tokens: Awaited<ReturnType<typeof openTokenIssuer>>
  readonly clock: () => Date
  readonly containerGroups: ReturnType<typeof createControlPlane>['containerGroups']
  readonly identities: ReturnType<typeof createControlPlane>['identities']
}): Handler {
  const { hardware, tokens, clock, containerGroups, identities } = options
  const loopback = loopbackHandler()
  const instances = instanceHandler({
    hardware,
    clock,
    issueToken: ({ principal, audience }) => tokens.issue(principal, audience),
    instances: (secret) => {
      const group = containerGroups.findBySecret(secret)
      if (!group) return undefined
      const found = group.spec.identityIds.map((id) => identities.get(id)).filter((each) => each !== undefined)
      return {
        hostData: group.hostData,
        identities: found.map(({ clientId, principalId, id }) => ({ clientId, principalId, resourceId: id }))
      }
    }
  })
  return async (request) => {
    if (request.path.startsWith('/instances/')) return instances(request)
    if (request.path.startsWith('/v1/')) return loopback(request)
    throw notImplemented(request)
  }
}
