import type { ContainerGroup } from '../azure/container-group.js'
import { sha256Hex } from '../base/digest.js'
import { decodeBase64 } from '../base/encoding.js'
import { UserError } from '../base/user-error.js'
import { tlsPortVariable } from '../plan/router-environment.js'
import { locationOf } from './places.js'
import type { Outputs, ReplicaOutput, Run } from './run.js'

/** HOST_DATA that the platform measures for a group: SHA-256 of the policy's text. */
export function hostDataOfGroup(group: ContainerGroup): string | undefined {
  if (group.ccePolicy === undefined) return undefined
  try {
    return sha256Hex(decodeBase64(group.ccePolicy, 'ccePolicy'))
  } catch {
    // A policy that is no base64 can be nobody's host data.
    return undefined
  }
}

/** A group that was never started has no address: one that cannot exist (RFC 2606), so that nothing else is asked for it. */
export function existingOutput(run: Pick<Run, 'config'>, group: ContainerGroup): ReplicaOutput {
  return outputOfGroup(run, { ...group, ip: group.ip ?? 'not-started.invalid' })
}

/** What the steps after it build on. Throws `aci.no-address` while the group has no address. */
export function outputOfGroup(run: Pick<Run, 'config'>, group: ContainerGroup): ReplicaOutput {
  return {
    ...endpointsOfGroup(run, group),
    group: group.name,
    region: locationOf(group),
    hostData: hostDataOfGroup(group) ?? '(no policy)'
  }
}

/** Where the group's router is reached. Throws `aci.no-address` while it has no address. */
export function endpointsOfGroup(
  run: Pick<Run, 'config'>,
  group: ContainerGroup
): Pick<Outputs['deploy'], 'endpoint' | 'tlsEndpoint'> {
  const host = group.fqdn ?? group.ip
  if (host === undefined) {
    throw new UserError('cloud', 'aci.no-address', `container group "${group.name}" has no public address`, {
      next: ['confrouter up']
    })
  }
  return endpointsOf(run, group, host)
}

/** By what the group's router was told: the group may be another one than the configuration wants. */
function endpointsOf(
  run: Pick<Run, 'config'>,
  group: ContainerGroup,
  host: string
): Pick<Outputs['deploy'], 'endpoint' | 'tlsEndpoint'> {
  const router = group.containers.find(({ name }) => name === 'router')
  const tlsPort = group.ports.find((port) => String(port) === router?.environment[tlsPortVariable])
  const plainPort = group.ports.find((port) => port !== tlsPort)
  if (tlsPort === undefined) return { endpoint: `http://${host}:${plainPort ?? run.config.containerGroup.port}` }
  const tlsEndpoint = `https://${host}:${tlsPort}`
  return { endpoint: plainPort === undefined ? tlsEndpoint : `http://${host}:${plainPort}`, tlsEndpoint }
}
