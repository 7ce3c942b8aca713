import { parseSha256Hex, type Sha256Hex } from '../base/digest.js'
import type { CcePolicy } from './cce-policy.js'
import type { ContainerRequest, Enforcer } from './enforcement.js'
import { type FragmentImport, infrastructureFragment } from './frames.js'
import { onOneLine } from './printable-text.js'

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
      /** Why it may start all the same. */
      readonly undecided?: string | undefined
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
 * container, then its own infrastructure, unless the group is tagged to have none. Neither runs here; a policy that
 * would deny them on Azure is refused all the same. Returns the first denial.
 */
export function denialOfPlatform(
  policy: CcePolicy,
  enforcer: Enforcer,
  { hasNoSidecars = false }: { readonly hasNoSidecars?: boolean | undefined } = {}
): PlatformDenial | undefined {
  const mount = enforcer.mountDevice(pauseLayer)
  if (!mount.allowed) {
    return { kind: 'mount', container: 'pause-container', rootHash: pauseLayer, errors: mount.errors }
  }
  const created = enforcer.createContainer(pause)
  if (!created.allowed) {
    return { kind: 'create', container: 'pause-container', request: pause, errors: created.errors }
  }
  return policy.kind === 'open-door' || hasNoSidecars ? undefined : infrastructureDenial(policy.fragments)
}

/** The fragment has to be one that the guest takes by some import, and that import has to include its containers. */
function infrastructureDenial(imports: readonly FragmentImport[]): PlatformDenial | undefined {
  const known = Number(infrastructureFragment.minimum_svn)
  const minimums = imports
    .filter((each) => isInfrastructure(each) && each.includes.includes('containers'))
    .map(({ minimum_svn }) => minimum_svn)
    .filter((minimum) => /^[0-9]+(?:\.[0-9]+)?$/.test(minimum))
  if (minimums.some((minimum) => Number(minimum) <= known)) return undefined
  const [minimum] = minimums
  return {
    kind: 'create',
    container: 'infrastructure-container',
    request: infrastructure,
    errors: ['no matching containers for overlay'],
    undecided:
      minimum === undefined
        ? undefined
        : `the platform's fragment has to be of version ${minimum} or later, and is known to be of ${known}`
  }
}

function isInfrastructure({ feed, issuer }: FragmentImport): boolean {
  return feed === infrastructureFragment.feed && issuer === infrastructureFragment.issuer
}

/** Which imports besides that of the platform may bring containers that are not in the policy; undefined for none. */
export function importsOfContainers(policy: CcePolicy): string | undefined {
  if (policy.kind === 'open-door') return undefined
  const others = policy.fragments.filter(
    (each) =>
      each.feed !== infrastructureFragment.feed &&
      (each.includes.includes('containers') || each.includes.includes('fragments'))
  )
  if (others.length === 0) return undefined
  const feeds = [...new Set(others.map(({ feed }) => onOneLine(feed)))]
  return `the container may come from a fragment that the policy imports, which is not read here: ${feeds.join(', ')}`
}
