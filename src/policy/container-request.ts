import type { CapabilityLists } from './cce-policy.js'
import type { ContainerMount, ContainerRequest, Identity } from './enforcement.js'
import type { ImageFacts } from './container.js'

/** What a deployment asks for one container, evaluated: no expression is left in it. */
export interface ContainerStart {
  readonly name: string
  /** Replaces the image's entry point and command; empty keeps them. */
  readonly command: readonly string[]
  readonly environment: readonly { readonly name: string; readonly value: string }[]
  readonly securityContext: {
    readonly privileged: boolean
    readonly allowPrivilegeEscalation: boolean
    readonly runAsUser: number | undefined
    readonly runAsGroup: number | undefined
  }
  /** Everything that the platform mounts; the resolver's file alone when left out. */
  readonly mounts?: readonly ContainerMount[]
  /** The image's when left out. */
  readonly workingDir?: string | undefined
  /** The runtime's defaults, or all when privileged, when left out. */
  readonly capabilities?: CapabilityLists | undefined
  /** SHA-256 of the profile, empty for none. */
  readonly seccomp?: string | undefined
}

/** What counts of an image when one of its containers is started. */
export type StartedImage = Pick<ImageFacts, 'layers'> & { readonly config: Omit<ImageFacts['config'], 'StopSignal'> }

/** What the host asks the guest for: the deployment's wishes over the image's, and the platform's over both. */
export function containerRequest(
  start: ContainerStart,
  { config, layers }: StartedImage,
  platformEnv: Readonly<Record<string, string>>
): ContainerRequest {
  const { privileged, allowPrivilegeEscalation } = start.securityContext
  return {
    layers,
    command: start.command.length > 0 ? start.command : [...(config.Entrypoint ?? []), ...(config.Cmd ?? [])],
    env: environment(start, config, platformEnv),
    workingDir: start.workingDir ?? (config.WorkingDir || '/'),
    mounts: start.mounts ?? [resolverMount],
    user: user(start, config),
    privileged,
    noNewPrivileges: !allowPrivilegeEscalation,
    ...(start.capabilities === undefined ? {} : { capabilities: start.capabilities }),
    ...(start.seccomp === undefined ? {} : { seccomp: start.seccomp })
  }
}

/** Name and value of an entry; the name goes up to the first "=". */
export function splitEntry(entry: string): readonly [string, string] {
  const equals = entry.indexOf('=')
  return equals < 0 ? [entry, ''] : [entry.slice(0, equals), entry.slice(equals + 1)]
}

const resolverMount: ContainerMount = {
  destination: '/etc/resolv.conf',
  source: 'sandbox:///tmp/atlas/resolvconf/resolv.conf',
  type: 'bind',
  options: ['rbind', 'rshared', 'rw']
}

function environment(
  start: ContainerStart,
  config: StartedImage['config'],
  platformEnv: Readonly<Record<string, string>>
): readonly string[] {
  const variables = new Map((config.Env ?? []).map(splitEntry))
  for (const { name, value } of start.environment) variables.set(name, value)
  for (const [name, value] of Object.entries(platformEnv)) variables.set(name, value)
  return [...variables].map(([name, value]) => `${name}=${value}`)
}

const root: Identity = { id: '0', name: 'root' }

/** The deployment's numbers first, then the image's `User`. A name stays a name: no passwd file is read. */
function user(
  { securityContext }: ContainerStart,
  config: StartedImage['config']
): NonNullable<ContainerRequest['user']> {
  const { runAsUser, runAsGroup } = securityContext
  const [imageUser, imageGroup] = (config.User ?? '').split(':')
  return {
    user: runAsUser === undefined ? identity(imageUser) : identity(String(runAsUser)),
    groups: [runAsGroup === undefined ? identity(imageGroup) : identity(String(runAsGroup))],
    umask: '0022'
  }
}

function identity(text: string | undefined): Identity {
  if (text === undefined || text === '' || text === '0' || text === 'root') return root
  return /^\d+$/.test(text) ? { id: text, name: '' } : { id: '', name: text }
}
