import { encodeBase64, utf8 } from '../../../base/encoding.js'
import type { ImageConfig } from '../../../image/index.js'
import {
  type CcePolicy,
  type ContainerRequest,
  createEnforcer,
  type Enforcer,
  type Identity
} from '../../../policy/index.js'
import type { ContainerSpec } from './group-spec.js'
import type { PulledImage } from './image-store.js'
import { denialOfPlatform, type PlatformDenial } from './platform-containers.js'

/** What the guest lets a container have. */
export interface AdmittedContainer {
  readonly argv: readonly string[]
  readonly workingDir: string
  /** Exactly this and nothing else. */
  readonly env: Readonly<Record<string, string>>
  /** Names that the policy does not list and that therefore do not arrive. */
  readonly droppedVariables: readonly string[]
  readonly allowStdioAccess: boolean
}

/** The policy says no. The message is the event's text, in the platform's words. */
export class PolicyDenial extends Error {
  override readonly name = 'PolicyDenial'
}

export interface AdmissionRequest {
  readonly spec: ContainerSpec
  readonly image: PulledImage
  /** What the platform adds to the container's environment. */
  readonly platformEnv: Readonly<Record<string, string>>
}

/**
 * Asks the guest of one container group in its own order: the platform's own containers, and for each
 * of the group every layer's device, then the container. Nothing of a container exists on disk before
 * it has been admitted.
 */
export function createAdmission(policy: CcePolicy): (request: AdmissionRequest) => AdmittedContainer {
  const enforcer = createEnforcer(policy)
  const platformDenial = denialOfPlatform(policy, enforcer)
  return ({ spec, image, platformEnv }) => {
    if (platformDenial) throw new PolicyDenial(platformDenialMessage(platformDenial))
    mountLayers(enforcer, spec, image)
    const offered = environment(spec, image.config, platformEnv)
    const request = containerRequest(spec, image, offered)
    const decision = enforcer.createContainer(request)
    if (!decision.allowed) {
      throw new PolicyDenial(containerDenial(spec.name, denialOf(request, decision.errors)))
    }
    const kept = new Map(decision.env.map(splitEntry))
    return {
      argv: request.command,
      workingDir: request.workingDir,
      env: Object.fromEntries(kept),
      droppedVariables: offered.map((entry) => splitEntry(entry)[0]).filter((name) => !kept.has(name)),
      allowStdioAccess: decision.allowStdioAccess
    }
  }
}

function mountLayers(enforcer: Enforcer, spec: ContainerSpec, image: PulledImage): void {
  for (const [index, { rootHash }] of image.layers.entries()) {
    const decision = enforcer.mountDevice(rootHash)
    if (decision.allowed) continue
    throw new PolicyDenial(mountDenial(spec.name, index, rootHash, decision.errors))
  }
}

function platformDenialMessage(refused: PlatformDenial): string {
  return refused.kind === 'mount'
    ? mountDenial(refused.container, 0, refused.rootHash, refused.errors)
    : containerDenial(refused.container, denialOf(refused.request, refused.errors))
}

function containerRequest(
  spec: ContainerSpec,
  { config, layers }: PulledImage,
  env: readonly string[]
): ContainerRequest {
  const { privileged, allowPrivilegeEscalation } = spec.securityContext
  return {
    layers: layers.map(({ rootHash }) => rootHash),
    command: spec.command.length > 0 ? spec.command : [...(config.Entrypoint ?? []), ...(config.Cmd ?? [])],
    env,
    workingDir: config.WorkingDir ?? '/',
    mounts: [
      {
        destination: '/etc/resolv.conf',
        source: 'sandbox:///tmp/atlas/resolvconf/resolv.conf',
        type: 'bind',
        options: ['rbind', 'rshared', 'rw']
      }
    ],
    user: user(spec, config),
    privileged,
    noNewPrivileges: !allowPrivilegeEscalation
  }
}

/** The template's variables win over the image's, and the platform's over both. */
function environment(
  spec: ContainerSpec,
  config: ImageConfig,
  platformEnv: Readonly<Record<string, string>>
): readonly string[] {
  const variables = new Map((config.Env ?? []).map(splitEntry))
  for (const { name, value } of spec.environment) variables.set(name, value)
  for (const [name, value] of Object.entries(platformEnv)) variables.set(name, value)
  return [...variables].map(([name, value]) => `${name}=${value}`)
}

function splitEntry(entry: string): readonly [string, string] {
  const equals = entry.indexOf('=')
  return equals < 0 ? [entry, ''] : [entry.slice(0, equals), entry.slice(equals + 1)]
}

const root: Identity = { id: '0', name: 'root' }

/** The template's numbers first, then the image's `User`. A name stays a name: no passwd file is read. */
function user({ securityContext }: ContainerSpec, config: ImageConfig): NonNullable<ContainerRequest['user']> {
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

/** The guest does not repeat values of variables, which may be secrets, and neither does this. */
function denialOf(request: ContainerRequest, errors: readonly string[]): string {
  return denial(
    {
      argList: request.command,
      envList: request.env.map((entry) => `${splitEntry(entry)[0]}=<<redacted>>`),
      noNewPrivileges: request.noNewPrivileges ?? false,
      privileged: request.privileged ?? false,
      rule: 'create_container',
      workingDir: request.workingDir
    },
    errors
  )
}

function denial(input: unknown, errors: readonly string[]): string {
  return JSON.stringify({ decision: 'deny', input, reason: { errors } })
}

function mountDenial(container: string, lun: number, rootHash: string, errors: readonly string[]): string {
  const target = `/run/mounts/scsi/m${lun}`
  const input = { deviceHash: rootHash, mountPathRegex: '/run/mounts/scsi/m[0-9]+', rule: 'mount_device', target }
  const mounting = `failed to mount container storage: failed to add LCOW layer: failed to add SCSI layer: mount scsi controller 0 lun ${lun} at ${target}: guest RPC failure: mounting scsi device controller 0 lun ${lun} onto ${target} denied by policy`
  return failedToStart(container, `failed to create shim task: ${mounting}`, denial(input, errors))
}

function containerDenial(container: string, decision: string): string {
  return failedToStart(
    container,
    `failed to create shim task: failed to create container ${container}: guest RPC failure: container creation denied by policy`,
    decision
  )
}

/** ACI says it twice: with the decision encoded, and with the decision as it is. */
function failedToStart(container: string, cause: string, decision: string): string {
  const encoded = `policyDecision< ${encodeBase64(utf8.encode(decision))} >policyDecision`
  return [
    `Error: Failed to start container ${container}, Error response: to create containerd task: ${cause}: ${encoded}: unknown`,
    `failed to create containerd task: ${cause}: ${decision}`
  ].join(';')
}
