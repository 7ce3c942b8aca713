import { join } from 'node:path'
import { sha256Hex } from '../../../base/digest.js'
import { decodeBase64, utf8 } from '../../../base/encoding.js'
import { UserError } from '../../../base/user-error.js'
import { parseCcePolicy } from '../../../policy/index.js'
import { ServiceError } from '../../http.js'
import type { Collection } from '../../store.js'
import { type Operation, OperationFailure, type Operations } from '../arm/operations.js'
import { resourceGroupOf, resourceKey } from '../arm/resource-id.js'
import { GroupRuntime, ProvisioningFailure } from './container-group.js'
import { openContainerLog, type RestartTiming } from './container-supervisor.js'
import type { LogQuery } from './container-log.js'
import { freeAddress, type GuestNetwork } from './guest-network.js'
import { type GroupRecord, networkOf, waiting } from './group-record.js'
import { type GroupSpec, requireUpdatable } from './group-spec.js'
import { type ImageStore, InaccessibleImage } from './image-store.js'
import { newSecret, type Platform } from './platform.js'
import { endPackageScope } from './rootfs.js'

export interface ContainerGroupsOptions {
  readonly records: Collection<GroupRecord>
  /** Where the groups' files lie. */
  readonly directory: string
  readonly operations: Operations
  readonly images: ImageStore
  readonly platform: Platform
  readonly timing: RestartTiming
  readonly clock: () => Date
  readonly log?: ((line: string) => void) | undefined
}

export interface ContainerGroups {
  get(id: string): GroupRecord | undefined
  list(): readonly GroupRecord[]
  /** Creates or updates; the containers start in the returned operation. */
  put(id: string, name: string, spec: GroupSpec): Promise<{ readonly created: boolean; readonly operation: Operation }>
  /** Starts the group, or stops it and starts it again. */
  restart(id: string): Promise<Operation>
  stop(id: string): Promise<void>
  /** Undefined if there is no such group. */
  remove(id: string): Promise<Operation | undefined>
  readLog(id: string, container: string, query: LogQuery): Promise<string>
  /** The group whose containers know this secret. */
  findBySecret(secret: string): GroupRecord | undefined
  /** After a restart of the emulator: ends orphans and starts what should run. Needs `operations.resume` after it. */
  restore(): Promise<void>
  /** Stops all containers; they start again with the next emulator. */
  close(): Promise<void>
}

interface UnderWay {
  /** Also cuts short what waits or runs before it. */
  readonly abort: () => void
  /** Never rejects. */
  readonly done: Promise<void>
}

const startKind = 'containerGroup.start'
const deleteKind = 'containerGroup.delete'

/** All container groups: what should run, and what does. */
export function createContainerGroups(options: ContainerGroupsOptions): ContainerGroups {
  const { records, operations, images, log } = options
  const runtimes = new Map<string, GroupRuntime>()
  /** Groups whose next operation is being prepared. */
  const claimed = new Set<string>()
  const underWay = new Map<string, UnderWay>()
  const closing = new AbortController()
  let saved: Promise<void> = Promise.resolve()

  function write(key: string, record: GroupRecord): void {
    // A container that ends while its group is deleted must not bring the record back.
    if (records.get(key) === undefined) return
    saved = records.set(key, record).catch((error: unknown) => log?.(`container group not recorded: ${String(error)}`))
  }

  function runtimeOf(key: string): GroupRuntime {
    const known = runtimes.get(key)
    if (known) return known
    const runtime = new GroupRuntime({
      ...options,
      directory: directoryOf(options.directory, require(records, key)),
      read: () => require(records, key),
      write: (record) => write(key, record)
    })
    runtimes.set(key, runtime)
    return runtime
  }

  /** One piece of work on a group at a time, in the order of the calls; a deletion cuts short what is before it. */
  async function exclusively(
    key: string,
    outer: AbortSignal,
    work: (signal: AbortSignal) => Promise<void>
  ): Promise<void> {
    const abort = new AbortController()
    const signal = AbortSignal.any([outer, abort.signal, closing.signal])
    const before = underWay.get(key)
    const done = (async () => {
      await before?.done
      signal.throwIfAborted()
      await work(signal)
    })()
    const entry: UnderWay = {
      abort: () => {
        before?.abort()
        abort.abort()
      },
      done: done.catch(() => undefined)
    }
    underWay.set(key, entry)
    try {
      await done
    } catch (error) {
      if (!abort.signal.aborted) throw error
      throw new OperationFailure({
        code: 'OperationPreempted',
        message: 'The operation has been preempted by a more recent operation.'
      })
    } finally {
      if (underWay.get(key) === entry) underWay.delete(key)
    }
  }

  async function preempt(key: string): Promise<void> {
    const running = underWay.get(key)
    running?.abort()
    await running?.done
  }

  function requireIdle(key: string, name: string): void {
    if (!underWay.has(key) && !claimed.has(key)) return
    throw new ServiceError(
      409,
      'ContainerGroupTransitioning',
      `The container group '${name}' is still transitioning, please retry later.`
    )
  }

  /** Keeps every other request away from a group until its operation has begun. */
  async function claiming<T>(key: string, name: string, prepare: () => Promise<T>): Promise<T> {
    requireIdle(key, name)
    claimed.add(key)
    try {
      return await prepare()
    } finally {
      claimed.delete(key)
    }
  }

  operations.define(startKind, (key, signal) =>
    exclusively(key, signal, async (either) => {
      try {
        await runtimeOf(key).start(either)
      } catch (error) {
        if (!(error instanceof ProvisioningFailure)) throw error
        throw new OperationFailure({
          code: 'ResourceOperationFailure',
          message: "The resource operation completed with terminal provisioning state 'Failed'.",
          details: [{ message: error.message }]
        })
      }
    })
  )

  operations.define(deleteKind, async (key, signal) => {
    await preempt(key)
    await exclusively(key, signal, async () => {
      if (records.get(key) === undefined) return
      const runtime = runtimeOf(key)
      await runtime.endOrphans()
      await runtime.destroy()
      runtimes.delete(key)
      await records.delete(key)
    })
  })

  /** Addresses of groups whose records are being written: groups that are made at the same time get two. */
  const given = new Map<string, GuestNetwork>()

  async function put(id: string, name: string, spec: GroupSpec) {
    const key = resourceKey(id)
    const known = records.get(key)
    const hostData = readHostData(spec)
    if (known) requireUpdatable(name, known.spec, spec)
    for (const { image } of spec.containers) await requireImage(images, image, name)
    requireFreeLabel(records, key, name, spec)
    await endPackageScope(options.directory)
    const record: GroupRecord = {
      id: known?.id ?? id,
      name: known?.name ?? name,
      spec,
      address: known?.address ?? addressFor(records, given, key, spec),
      secret: newSecret(),
      hostData,
      desired: 'running',
      provisioningState: 'Pending',
      containers: Object.fromEntries(spec.containers.map((container) => [container.name, waiting])),
      events: []
    }
    given.set(key, networkOf(record))
    try {
      const operation = await operations.start(startKind, key, () => records.set(key, record))
      return { created: known === undefined, operation }
    } finally {
      given.delete(key)
    }
  }

  return {
    get: (id) => records.get(resourceKey(id)),
    list: () => records.values(),
    put: (id, name, spec) => claiming(resourceKey(id), name, () => put(id, name, spec)),
    restart: async (id) => {
      const key = resourceKey(id)
      const record = require(records, key)
      return claiming(key, record.name, () =>
        operations.start(startKind, key, () =>
          records.set(key, { ...record, desired: 'running', provisioningState: 'Pending' })
        )
      )
    },
    stop: async (id) => {
      const key = resourceKey(id)
      requireIdle(key, require(records, key).name)
      await exclusively(key, closing.signal, async () => {
        await records.set(key, { ...require(records, key), desired: 'stopped' })
        await runtimeOf(key).stop()
      })
    },
    remove: async (id) => {
      const key = resourceKey(id)
      const record = records.get(key)
      if (record === undefined) return undefined
      // What is under way is cut short; what is only being prepared is not there to be cut.
      if (claimed.has(key)) requireIdle(key, record.name)
      return operations.start(deleteKind, key)
    },
    readLog: async (id, container, query) => {
      const record = require(records, resourceKey(id))
      const directory = join(directoryOf(options.directory, record), container)
      return openContainerLog(directory, options.clock).read(query)
    },
    findBySecret: (secret) => {
      // Digests, so that the time of the comparison says nothing about a secret.
      const wanted = sha256Hex(secret)
      return records.values().find((record) => isUp(record) && sha256Hex(record.secret) === wanted)
    },
    restore: async () => {
      for (const [key, record] of records.entries()) {
        const orphans = await runtimeOf(key).endOrphans()
        if (orphans > 0) log?.(`ended ${orphans} process(es) that an earlier emulator left of group ${record.name}`)
        // A group with an operation under way is started, or deleted, by that: it will be resumed.
        if (record.desired !== 'running' || record.provisioningState !== 'Succeeded' || operations.hasPending(key)) {
          continue
        }
        void exclusively(key, closing.signal, (signal) => runtimeOf(key).start(signal)).catch((error: unknown) => {
          if (!closing.signal.aborted) log?.(`container group ${record.name} did not start again: ${String(error)}`)
        })
      }
    },
    close: async () => {
      closing.abort()
      await Promise.all([...underWay.values()].map(({ done }) => done))
      await Promise.all([...runtimes.values()].map((runtime) => runtime.stop()))
      await saved
    }
  }
}

/** The address is given once and kept: as on Azure, an update does not move a group. */
function addressFor(
  records: Collection<GroupRecord>,
  given: ReadonlyMap<string, GuestNetwork>,
  key: string,
  spec: GroupSpec
): string {
  const others = [...records.entries()].filter(([other]) => other !== key).map(([, record]) => networkOf(record))
  const ports = spec.containers.flatMap((container) => container.ports.map(({ port }) => port))
  return freeAddress(ports, [...others, ...given.values()])
}

/** A label belongs to one group of a region, whether that one runs or not. */
function requireFreeLabel(records: Collection<GroupRecord>, key: string, name: string, spec: GroupSpec): void {
  const label = spec.ipAddress?.dnsNameLabel
  if (label === undefined) return
  const isTaken = [...records.entries()].some(
    ([other, record]) =>
      other !== key && record.spec.location === spec.location && record.spec.ipAddress?.dnsNameLabel === label
  )
  if (!isTaken) return
  throw new ServiceError(
    400,
    'DnsNameLabelNotAvailable',
    `The DNS name label '${label}' in container group '${name}' is not available in region '${spec.location}'.`
  )
}

/** Only these are in a utility VM that could ask for a report or a token. */
function isUp({ desired, provisioningState }: GroupRecord): boolean {
  return desired === 'running' && provisioningState !== 'Failed'
}

function require(records: Collection<GroupRecord>, key: string): GroupRecord {
  const record = records.get(key)
  if (!record) throw new TypeError('there is no such container group')
  return record
}

/** A group's name has no dot in it, so two groups never share a folder. */
function directoryOf(directory: string, { id, name }: GroupRecord): string {
  return join(directory, `${(resourceGroupOf(id) ?? '').toLowerCase()}.${name}`)
}

/** SHA-256 of the policy text, exactly as it came. */
function readHostData({ ccePolicy }: GroupSpec): GroupRecord['hostData'] {
  if (ccePolicy === '') throw invalidPolicy('The CCE Policy cannot be left empty for Confidential Container Groups.')
  try {
    const policy = decodeBase64(ccePolicy, 'ccePolicy')
    parseCcePolicy(utf8.decode(policy))
    return sha256Hex(policy)
  } catch (error) {
    if (error instanceof TypeError) throw invalidPolicy('The CCE Policy is not a text in Base64.')
    if (error instanceof UserError) throw invalidPolicy(`The CCE Policy is not valid: ${error.problem}.`)
    throw error
  }
}

function invalidPolicy(message: string): ServiceError {
  return new ServiceError(400, 'InvalidCcePolicy', message)
}

async function requireImage(images: ImageStore, image: string, group: string): Promise<void> {
  try {
    await images.require(image)
  } catch (error) {
    if (!(error instanceof InaccessibleImage)) throw error
    throw new ServiceError(
      400,
      'InaccessibleImage',
      `The image '${image}' in container group '${group}' is not accessible. Please check the image and registry credential.`
    )
  }
}
