import type { Sha256Hex } from '../../../base/digest.js'
import type { ContainerState } from './container-supervisor.js'
import type { ContainerEvent } from './events.js'
import { firstAddress, type GuestNetwork } from './guest-network.js'
import type { GroupSpec } from './group-spec.js'

/** A container group as it is kept on disk. */
export interface GroupRecord {
  readonly id: string
  readonly name: string
  readonly spec: GroupSpec
  /** Of this machine's loopback network; absent in records of an earlier version, which knew one only. */
  readonly address?: string
  /** Names the group's utility VM to the instance endpoints; new with every start of the group. */
  readonly secret: string
  /** SHA-256 of the policy text: HOST_DATA. */
  readonly hostData: Sha256Hex
  readonly desired: 'running' | 'stopped'
  readonly provisioningState: 'Pending' | 'Succeeded' | 'Failed'
  readonly containers: Readonly<Record<string, ContainerStatus>>
  readonly events: readonly ContainerEvent[]
}

export interface ContainerStatus {
  readonly restartCount: number
  readonly currentState: ContainerState
  readonly previousState?: ContainerState
  readonly events: readonly ContainerEvent[]
}

export const waiting: ContainerStatus = {
  restartCount: 0,
  currentState: { state: 'Waiting', detailStatus: '' },
  events: []
}

/** The network of a group: its address and the ports of all its containers. */
export function networkOf({ address = firstAddress, spec }: GroupRecord): GuestNetwork {
  return { address, ports: spec.containers.flatMap(({ ports }) => ports.map(({ port }) => port)) }
}

/** State of a group as a whole. */
export function groupState({ desired, provisioningState, spec, containers }: GroupRecord): string {
  if (provisioningState === 'Failed') return 'Failed'
  if (desired === 'stopped') return 'Stopped'
  if (provisioningState === 'Pending') return 'Pending'
  const states = Object.values(containers).map(({ currentState }) => currentState)
  if (states.some(({ state }) => state !== 'Terminated')) return 'Running'
  if (spec.restartPolicy === 'Always') return 'Running'
  return states.every(({ exitCode }) => exitCode === 0) ? 'Succeeded' : 'Failed'
}
