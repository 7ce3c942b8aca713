import type { Sha256Hex } from '../base/digest.js'
import { encodeBase64, utf8 } from '../base/encoding.js'
import { splitEntry } from './container-request.js'
import type { ContainerRequest } from './enforcement.js'

/** ACI's words for a layer that the guest does not mount. `index` counts the container's layers, base layer first. */
export function mountDenial(container: string, index: number, rootHash: Sha256Hex, errors: readonly string[]): string {
  const target = `/run/mounts/scsi/m${index}`
  const input = { deviceHash: rootHash, mountPathRegex: '/run/mounts/scsi/m[0-9]+', rule: 'mount_device', target }
  const mounting = `failed to mount container storage: failed to add LCOW layer: failed to add SCSI layer: mount scsi controller 0 lun ${index} at ${target}: guest RPC failure: mounting scsi device controller 0 lun ${index} onto ${target} denied by policy`
  return failedToStart(container, `failed to create shim task: ${mounting}`, decisionOf(input, errors))
}

/** ACI's words for a container that the guest does not create. Values of variables, which may be secrets, are not in it. */
export function createDenial(container: string, request: ContainerRequest, errors: readonly string[]): string {
  const input = {
    argList: request.command,
    envList: request.env.map((entry) => `${splitEntry(entry)[0]}=<<redacted>>`),
    noNewPrivileges: request.noNewPrivileges ?? false,
    privileged: request.privileged ?? false,
    rule: 'create_container',
    workingDir: request.workingDir
  }
  const cause = `failed to create shim task: failed to create container ${container}: guest RPC failure: container creation denied by policy`
  return failedToStart(container, cause, decisionOf(input, errors))
}

function decisionOf(input: unknown, errors: readonly string[]): string {
  return JSON.stringify({ decision: 'deny', input, reason: { errors } })
}

/** ACI says it twice: with the decision encoded, and with the decision as it is. */
function failedToStart(container: string, cause: string, decision: string): string {
  const encoded = `policyDecision< ${encodeBase64(utf8.encode(decision))} >policyDecision`
  return [
    `Error: Failed to start container ${container}, Error response: to create containerd task: ${cause}: ${encoded}: unknown`,
    `failed to create containerd task: ${cause}: ${decision}`
  ].join(';')
}
