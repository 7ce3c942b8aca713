import { parseSha256Hex, type Sha256Hex } from '../base/digest.js'
import type { CcePolicy } from './cce-policy.js'
import type { ContainerRequest, Enforcer } from './enforcement.js'
import { infrastructureFragment } from './frames.js'

/** A container of the platform's own, which is not in the template and which the policy has to allow all the same. */
export type PlatformDenial =
  | {
      readonly kind: 'mount'
      readonly container: string
      readonly rootHash: Sha256Hex
      readonly errors: readonly string[]
    }
  | {
      readonly kind: 'create'
      readonly container: string
      readonly request: ContainerRequest
      readonly errors: readonly string[]
    }

const pauseLayer = parseSha256Hex('16b514057a06ad665f92c02863aca074fd5976c755d26bff16365299169e8415', 'pause layer')

/** Holds the group's namespaces; each group begins with it. */
const pause: ContainerRequest = {
  layers: [pauseLayer],
  command: ['/pause'],
  env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'TERM=xterm'],
  workingDir: '/'
}

/** The platform's agent. Its layers change with the platform and are in the fragment, so any will do that no policy lists. */
const infrastructure: ContainerRequest = { layers: [], command: [], env: [], workingDir: '/' }

/**
 * Asks the guest for what the platform starts before the first container of the group: the pause
 * container, then its own infrastructure. Neither runs here; a policy that would deny them on Azure
 * is refused all the same. Returns the first denial.
 */
export function denialOfPlatform(policy: CcePolicy, enforcer: Enforcer): PlatformDenial | undefined {
  const mount = enforcer.mountDevice(pauseLayer)
  if (!mount.allowed) {
    return { kind: 'mount', container: 'pause-container', rootHash: pauseLayer, errors: mount.errors }
  }
  const created = enforcer.createContainer(pause)
  if (!created.allowed) {
    return { kind: 'create', container: 'pause-container', request: pause, errors: created.errors }
  }
  if (policy.kind === 'open-door' || policy.fragments.some(({ feed }) => feed === infrastructureFragment.feed))
    return undefined
  const errors = ['no matching containers for overlay']
  return { kind: 'create', container: 'infrastructure-container', request: infrastructure, errors }
}
