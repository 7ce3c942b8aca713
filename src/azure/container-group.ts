import type { ContainerGroup as SdkContainerGroup } from '@azure/arm-containerinstance'
import { hasCode, isAbsent } from './error-facts.js'
import { toUserError } from './errors.js'
import type { AzureSession } from './session.js'

export interface ContainerGroup {
  readonly id: string
  readonly name: string
  /** Region, as Azure spells it. */
  readonly location: string
  readonly provisioningState: string
  /** `Running`, `Pending`, `Failed`, … of the whole group. */
  readonly state: string
  readonly ip: string | undefined
  readonly fqdn: string | undefined
  readonly dnsLabel: string | undefined
  readonly ports: readonly number[]
  /** Base64 of the CCE policy, as deployed. */
  readonly ccePolicy: string | undefined
  readonly identityIds: readonly string[]
  readonly restartPolicy: string | undefined
  readonly containers: readonly Container[]
  readonly events: readonly GroupEvent[]
}

export interface Container {
  readonly name: string
  readonly image: string
  readonly command: readonly string[]
  /** Values of secure variables are not returned by the service. */
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly cpu: number
  readonly memoryGb: number
  readonly state: string
  readonly detail: string | undefined
  /** With which the current or the last process ended; undefined if none has. */
  readonly exitCode?: number | undefined
  readonly restartCount: number
  readonly events: readonly GroupEvent[]
}

export interface GroupEvent {
  readonly name: string
  readonly type: string
  readonly message: string
  readonly count: number
}

/** Undefined only if Azure says that there is no such group; a call that failed is an error. */
export async function getContainerGroup(
  azure: AzureSession,
  resourceGroup: string,
  name: string
): Promise<ContainerGroup | undefined> {
  const client = await azure.containers()
  try {
    return describe(await client.containerGroups.get(resourceGroup, name, { abortSignal: azure.signal }), name)
  } catch (error) {
    if (isAbsent(error)) return undefined
    throw toUserError(error, `container group "${name}"`)
  }
}

/**
 * The groups of a resource group whose names `isMeant`. Each is asked for by itself, because a list does not say whether
 * they run. None where there is no such resource group, or where the subscription has never had container instances.
 */
export async function findContainerGroups(
  azure: AzureSession,
  resourceGroup: string,
  isMeant: (name: string) => boolean
): Promise<readonly ContainerGroup[]> {
  const client = await azure.containers()
  const names: string[] = []
  try {
    const list = client.containerGroups.listByResourceGroup(resourceGroup, { abortSignal: azure.signal })
    for await (const { name } of list) if (name !== undefined && isMeant(name)) names.push(name)
  } catch (error) {
    if (isAbsent(error) || hasCode(error, 'MissingSubscriptionRegistration')) return []
    throw toUserError(error, `container groups of resource group "${resourceGroup}"`)
  }
  const groups = await Promise.all(names.sort().map((name) => getContainerGroup(azure, resourceGroup, name)))
  return groups.filter((group) => group !== undefined)
}

export async function deleteContainerGroup(azure: AzureSession, resourceGroup: string, name: string): Promise<void> {
  const client = await azure.containers()
  try {
    await client.containerGroups.beginDeleteAndWait(resourceGroup, name, {
      abortSignal: azure.signal,
      updateIntervalInMs: azure.environment.pollIntervalMs
    })
  } catch (error) {
    if (!isAbsent(error)) throw toUserError(error, `container group "${name}"`, azure.takeFailedOperation())
  }
}

/** Stops all containers and starts them again: a cold start with the template that is deployed. */
export async function restartContainerGroup(azure: AzureSession, resourceGroup: string, name: string): Promise<void> {
  const client = await azure.containers()
  try {
    await client.containerGroups.beginRestartAndWait(resourceGroup, name, {
      abortSignal: azure.signal,
      updateIntervalInMs: azure.environment.pollIntervalMs
    })
  } catch (error) {
    throw toUserError(error, `container group "${name}"`, azure.takeFailedOperation())
  }
}

/** Stops all containers; the group stays, with its template, and has no address until it is started again. */
export async function stopContainerGroup(azure: AzureSession, resourceGroup: string, name: string): Promise<void> {
  const client = await azure.containers()
  try {
    await client.containerGroups.stop(resourceGroup, name, { abortSignal: azure.signal })
  } catch (error) {
    if (!isAbsent(error)) throw toUserError(error, `container group "${name}"`)
  }
}

/** Last lines of a container's output; empty if the policy forbids access to standard output. */
export async function containerLogs(
  azure: AzureSession,
  resourceGroup: string,
  group: string,
  container: string,
  lines: number
): Promise<string> {
  const client = await azure.containers()
  try {
    const logs = await client.containers.listLogs(resourceGroup, group, container, {
      tail: lines,
      abortSignal: azure.signal
    })
    return logs.content ?? ''
  } catch (error) {
    throw toUserError(error, `logs of container "${container}"`)
  }
}

function describe(group: SdkContainerGroup, name: string): ContainerGroup {
  return {
    id: group.id ?? '',
    name,
    location: group.location ?? '',
    provisioningState: group.provisioningState ?? 'Unknown',
    state: group.instanceView?.state ?? 'Unknown',
    ip: group.ipAddress?.ip,
    fqdn: group.ipAddress?.fqdn,
    dnsLabel: group.ipAddress?.dnsNameLabel,
    ports: (group.ipAddress?.ports ?? []).map(({ port }) => port),
    ccePolicy: group.confidentialComputeProperties?.ccePolicy,
    identityIds: Object.keys(group.identity?.userAssignedIdentities ?? {}),
    restartPolicy: group.restartPolicy,
    containers: group.containers.map((container) => ({
      name: container.name,
      image: container.image ?? '',
      command: container.command ?? [],
      environment: Object.fromEntries((container.environmentVariables ?? []).map(({ name, value }) => [name, value])),
      cpu: container.resources?.requests.cpu ?? 0,
      memoryGb: container.resources?.requests.memoryInGB ?? 0,
      state: container.instanceView?.currentState?.state ?? 'Unknown',
      detail: container.instanceView?.currentState?.detailStatus,
      exitCode: container.instanceView?.currentState?.exitCode ?? container.instanceView?.previousState?.exitCode,
      restartCount: container.instanceView?.restartCount ?? 0,
      events: events(container.instanceView?.events)
    })),
    events: events(group.instanceView?.events)
  }
}

function events(
  list: readonly { name?: string; type?: string; message?: string; count?: number }[] | undefined
): readonly GroupEvent[] {
  return (list ?? []).map(({ name, type, message, count }) => ({
    name: name ?? '',
    type: type ?? '',
    message: message ?? '',
    count: count ?? 1
  }))
}
