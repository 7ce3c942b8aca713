import { firstAddress } from './guest-network.js'
import type { ContainerSpec, GroupSpec, SecurityContextSpec } from './group-spec.js'
import { type ContainerStatus, type GroupRecord, groupState, waiting } from './group-record.js'

type FindIdentity = (id: string) => { readonly principalId: string; readonly clientId: string } | undefined

/** A container group as GET shows it. Secure values and registry passwords are not part of it. */
export function describeGroup(record: GroupRecord, findIdentity: FindIdentity): unknown {
  const { id, name, spec, containers } = record
  return {
    id,
    name,
    type: 'Microsoft.ContainerInstance/containerGroups',
    location: spec.location,
    tags: spec.tags,
    ...(spec.identityIds.length > 0 ? { identity: describeIdentity(spec, findIdentity) } : {}),
    properties: {
      sku: 'Confidential',
      confidentialComputeProperties: { ccePolicy: spec.ccePolicy },
      provisioningState: record.provisioningState,
      provisioningTimeoutInSeconds: 1800,
      isCustomProvisioningTimeout: false,
      containers: spec.containers.map((container) =>
        describeContainer(container, containers[container.name] ?? waiting)
      ),
      initContainers: [],
      restartPolicy: spec.restartPolicy,
      ...(spec.ipAddress ? { ipAddress: describeAddress(record) } : {}),
      osType: 'Linux',
      instanceView: { events: record.events, state: groupState(record) }
    }
  }
}

function describeIdentity({ identityIds }: GroupSpec, findIdentity: FindIdentity): unknown {
  return {
    type: 'UserAssigned',
    userAssignedIdentities: Object.fromEntries(
      identityIds.map((id) => {
        const identity = findIdentity(id)
        return [id, identity ? { principalId: identity.principalId, clientId: identity.clientId } : {}]
      })
    )
  }
}

function describeContainer(spec: ContainerSpec, status: ContainerStatus): unknown {
  return {
    name: spec.name,
    properties: {
      image: spec.image,
      ...(spec.command.length > 0 ? { command: spec.command } : {}),
      ports: spec.ports,
      environmentVariables: spec.environment.map(({ name, value, secure }) => (secure ? { name } : { name, value })),
      resources: {
        requests: { memoryInGB: spec.resources.memoryInGB, cpu: spec.resources.cpu },
        ...(spec.resources.limits ? { limits: spec.resources.limits } : {})
      },
      securityContext: describeSecurityContext(spec.securityContext),
      ...spec.unused,
      instanceView: {
        restartCount: status.restartCount,
        currentState: status.currentState,
        ...(status.previousState ? { previousState: status.previousState } : {}),
        events: status.events
      }
    }
  }
}

function describeSecurityContext(context: SecurityContextSpec): unknown {
  const { privileged, allowPrivilegeEscalation, runAsUser, runAsGroup } = context
  return {
    privileged,
    allowPrivilegeEscalation,
    ...(runAsUser === undefined ? {} : { runAsUser }),
    ...(runAsGroup === undefined ? {} : { runAsGroup })
  }
}

/** The address shows once the group is up. Nothing resolves names here, so the name is the address. */
function describeAddress({ spec, provisioningState, desired, address = firstAddress }: GroupRecord): unknown {
  return {
    type: spec.ipAddress?.type,
    ports: spec.ipAddress?.ports,
    ...(spec.ipAddress?.dnsNameLabel === undefined
      ? {}
      : { dnsNameLabel: spec.ipAddress.dnsNameLabel, fqdn: address === firstAddress ? 'localhost' : address }),
    ...(provisioningState === 'Succeeded' && desired === 'running' ? { ip: address } : {})
  }
}
