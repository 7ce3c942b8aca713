import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { hasNoSidecars, parseCcePolicy } from '../../../policy/index.js'
import { decodeBase64, utf8 } from '../../../base/encoding.js'
import { createAdmission, PolicyDenial } from './admission.js'
import { endRecordedProcess } from './container-process.js'
import {
  type ContainerState,
  createSupervisor,
  processRecordFile,
  type RestartTiming,
  startFailureEvent,
  type Supervisor
} from './container-supervisor.js'
import { type ContainerEvent, withEvent } from './events.js'
import { type GuestNetwork } from './guest-network.js'
import { type GroupRecord, networkOf, waiting } from './group-record.js'
import type { ContainerSpec, GroupSpec } from './group-spec.js'
import { type ImageStore, InaccessibleImage } from './image-store.js'
import { type Guest, newSecret, type Platform } from './platform.js'
import { findTakenPort } from './ports.js'

export interface GroupRuntimeOptions {
  readonly directory: string
  readonly images: ImageStore
  readonly platform: Platform
  readonly timing: RestartTiming
  readonly clock: () => Date
  /** The record as it is now, and how to change it. */
  readonly read: () => GroupRecord
  readonly write: (record: GroupRecord) => void
}

/** The group did not come up; the message strings its events together, as ACI's does. */
export class ProvisioningFailure extends Error {
  override readonly name = 'ProvisioningFailure'
}

type NewEvent = Pick<ContainerEvent, 'name' | 'message' | 'type'>

const seeReason =
  "The container group provisioning has failed. Refer to 'DeploymentFailedReason' event for more details."

/** The containers of one group: all of them are admitted before the first one starts. */
export class GroupRuntime {
  #supervisors: Supervisor[] = []

  constructor(private readonly options: GroupRuntimeOptions) {}

  /** Rejects with a `ProvisioningFailure` when the platform or the policy refuses something; nothing runs then. */
  async start(signal: AbortSignal): Promise<void> {
    await this.stop()
    const { spec, name } = this.#reset()
    try {
      const admitted = await this.#admitAll(spec, name, signal)
      await this.#requirePorts(spec)
      for (const { container, supervisor } of admitted) {
        signal.throwIfAborted()
        this.#supervisors.push(supervisor)
        await blaming(container, () => supervisor.start(signal))
      }
    } catch (error) {
      await this.stop()
      if (signal.aborted) throw error
      throw this.#fail(error)
    }
    this.#change((record) => ({ ...record, provisioningState: 'Succeeded' }))
  }

  async stop(): Promise<void> {
    const supervisors = this.#supervisors
    this.#supervisors = []
    await Promise.all(supervisors.map((supervisor) => supervisor.stop()))
  }

  /** Ends what an emulator that was killed left running. Returns how many processes there were. */
  async endOrphans(): Promise<number> {
    const names = this.options.read().spec.containers.map(({ name }) => name)
    const found = await Promise.all(names.map((name) => endRecordedProcess(processRecordFile(this.#directory(name)))))
    return found.filter(Boolean).length
  }

  async destroy(): Promise<void> {
    await this.stop()
    await rm(this.options.directory, { recursive: true, force: true })
  }

  /** A new utility VM: new secret, empty history. */
  #reset(): GroupRecord {
    return this.#change((record) => ({
      ...record,
      secret: newSecret(),
      provisioningState: 'Pending',
      containers: Object.fromEntries(record.spec.containers.map(({ name }) => [name, waiting])),
      events: []
    }))
  }

  async #admitAll(
    spec: GroupSpec,
    groupName: string,
    signal: AbortSignal
  ): Promise<{ container: string; supervisor: Supervisor }[]> {
    const guest: Guest = {
      groupName,
      secret: this.options.read().secret,
      hasIdentity: spec.identityIds.length > 0,
      ccePolicy: spec.ccePolicy
    }
    const policy = parseCcePolicy(utf8.decode(decodeBase64(spec.ccePolicy, 'ccePolicy')))
    const admit = createAdmission(policy, { hasNoSidecars: hasNoSidecars({ tags: spec.tags }) })
    const admitted: { container: string; supervisor: Supervisor }[] = []
    for (const container of spec.containers) {
      const supervisor = await blaming(container.name, () => this.#admit(container, spec, guest, admit, signal))
      admitted.push({ container: container.name, supervisor })
    }
    return admitted
  }

  async #admit(
    container: ContainerSpec,
    { restartPolicy }: GroupSpec,
    guest: Guest,
    admit: ReturnType<typeof createAdmission>,
    signal: AbortSignal
  ): Promise<Supervisor> {
    const { images, platform, timing, clock } = this.options
    const { name } = container
    const onEvent = (event: NewEvent) => this.#containerEvent(name, event)
    onEvent({ name: 'Pulling', type: 'Normal', message: `pulling image "${container.image}"` })
    const image = await images.pull(container.image, signal)
    onEvent({ name: 'Pulled', type: 'Normal', message: `Successfully pulled image "${image.pinned}"` })
    const admitted = admit({ spec: container, image, platformEnv: platform.environment(guest, name) })
    if (admitted.droppedVariables.length > 0) {
      const message = `The policy does not list ${admitted.droppedVariables.join(', ')}: dropped from the environment`
      onEvent({ name: 'EnvironmentVariablesDropped', type: 'Warning', message })
    }
    const directory = this.#directory(name)
    return createSupervisor({
      name,
      image,
      admitted,
      restartPolicy,
      directory,
      network: this.#network(),
      securityContext: await platform.writeSecurityContext(guest, directory),
      timing,
      clock,
      onEvent,
      onState: (state, restarted) => this.#containerState(name, state, restarted)
    })
  }

  #network(): GuestNetwork {
    return networkOf(this.options.read())
  }

  /** A group has its address to itself on Azure; here it shares this machine's with everything else. */
  async #requirePorts({ containers }: GroupSpec): Promise<void> {
    const { address } = this.#network()
    for (const { name, ports } of containers) {
      const taken = await findTakenPort(
        ports.map(({ port }) => port),
        address
      )
      if (taken !== undefined) throw new Blamed(name, new PortTaken(taken, address))
    }
  }

  #fail(error: unknown): unknown {
    if (!(error instanceof Blamed)) return error
    const event = failureEvent(error.container, error.cause)
    const record = this.#change((before) => {
      const failed = this.#withContainerEvent(before, error.container, event)
      const message = [...messagesOf(failed), seeReason].join(';')
      const containers = Object.entries(failed.containers).map(([name, status]) => [
        name,
        { ...status, currentState: waiting.currentState }
      ])
      return {
        ...failed,
        provisioningState: 'Failed',
        containers: Object.fromEntries(containers) as GroupRecord['containers'],
        events: withEvent(
          failed.events,
          { name: 'DeploymentFailedReason', type: 'Warning', message },
          this.options.clock()
        )
      }
    })
    return new ProvisioningFailure(record.events.at(-1)?.message ?? seeReason, { cause: error.cause })
  }

  #containerEvent(name: string, event: NewEvent): void {
    this.#change((record) => this.#withContainerEvent(record, name, event))
  }

  #withContainerEvent(record: GroupRecord, name: string, event: NewEvent): GroupRecord {
    const status = record.containers[name] ?? waiting
    const events = withEvent(status.events, event, this.options.clock())
    return { ...record, containers: { ...record.containers, [name]: { ...status, events } } }
  }

  #containerState(name: string, state: ContainerState, restarted: boolean): void {
    this.#change((record) => {
      const status = record.containers[name] ?? waiting
      const finished = status.currentState.state === 'Terminated' ? status.currentState : status.previousState
      const next = {
        ...status,
        restartCount: status.restartCount + (restarted ? 1 : 0),
        currentState: state,
        ...(finished ? { previousState: finished } : {})
      }
      return { ...record, containers: { ...record.containers, [name]: next } }
    })
  }

  #change(change: (record: GroupRecord) => GroupRecord): GroupRecord {
    const record = change(this.options.read())
    this.options.write(record)
    return record
  }

  #directory(container: string): string {
    return join(this.options.directory, container)
  }
}

/** An error, and the container on whose way to its start it happened. */
class Blamed extends Error {
  constructor(
    readonly container: string,
    override readonly cause: unknown
  ) {
    super(`container ${container} did not start`)
  }
}

async function blaming<T>(container: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw new Blamed(container, error)
  }
}

class PortTaken extends Error {
  override readonly name = 'PortTaken'
  constructor(
    readonly port: number,
    address: string
  ) {
    super(
      `Port ${port} on ${address} is in use by another program of this machine; the emulator maps no ports, so the group cannot have it.`
    )
  }
}

function failureEvent(container: string, error: unknown): NewEvent {
  if (error instanceof PortTaken) return { name: 'ContainerPortInUse', type: 'Warning', message: error.message }
  if (error instanceof InaccessibleImage) {
    return { name: 'Failed', type: 'Warning', message: `Failed to pull image: ${error.message}` }
  }
  if (error instanceof PolicyDenial) return { name: 'Failed', type: 'Warning', message: error.message }
  return startFailureEvent(container, error)
}

function messagesOf(record: GroupRecord): string[] {
  return Object.values(record.containers).flatMap(({ events }) => events.map(({ message }) => message))
}
