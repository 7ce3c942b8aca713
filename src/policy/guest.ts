import type { CcePolicy } from './cce-policy.js'
import { containerRequest, type ContainerStart, splitEntry, type StartedImage } from './container-request.js'
import { createDenial, mountDenial } from './denial.js'
import { type ContainerRequest, createEnforcer, type Enforcer } from './enforcement.js'
import { denialOfPlatform, importsOfContainers, type PlatformDenial } from './platform-containers.js'

export interface StartRequest {
  readonly start: ContainerStart
  readonly image: StartedImage
  /** What the platform adds to the container's environment. */
  readonly platformEnv: Readonly<Record<string, string>>
}

/** What the guest lets a container have, or why it does not start. */
export type StartAnswer = StartedContainer | StartDenial

export interface StartedContainer {
  readonly allowed: true
  readonly request: ContainerRequest
  /** Exactly this and nothing else. */
  readonly env: Readonly<Record<string, string>>
  /** Names that the policy does not list and that therefore do not arrive. */
  readonly droppedVariables: readonly string[]
  readonly allowStdioAccess: boolean
}

export interface StartDenial {
  readonly allowed: false
  /** The container that was refused: the one asked for, or one of the platform's own. */
  readonly container: string
  /** The enforcement point that refused. */
  readonly rule: 'mount_device' | 'create_container'
  /** Of `mount_device`: which layer, base layer first. */
  readonly layer?: number
  readonly errors: readonly string[]
  /** The event's text, in the platform's words. */
  readonly message: string
  /** Why it may start all the same, where that depends on what is not known here. */
  readonly undecided?: string | undefined
}

export interface Guest {
  start(request: StartRequest): StartAnswer
}

/** What of a group, besides its containers, counts for its start. */
export interface GuestOptions {
  /** The group is tagged to run without the platform's own containers. */
  readonly hasNoSidecars?: boolean | undefined
}

/**
 * Asks the guest of one container group in its own order: the platform's own containers, and for each of the
 * group every layer's device, then the container. It keeps what has been mounted.
 */
export function openGuest(policy: CcePolicy, options: GuestOptions = {}): Guest {
  const enforcer = createEnforcer(policy)
  const platform = denialOfPlatform(policy, enforcer, options)
  const imports = importsOfContainers(policy)
  return {
    start: (request) => {
      const answer = platform === undefined ? startOf(enforcer, request) : platformDenial(platform)
      return answer.allowed || imports === undefined ? answer : { ...answer, undecided: answer.undecided ?? imports }
    }
  }
}

function startOf(enforcer: Enforcer, { start, image, platformEnv }: StartRequest): StartAnswer {
  for (const [layer, rootHash] of image.layers.entries()) {
    const decision = enforcer.mountDevice(rootHash)
    if (decision.allowed) continue
    const { errors } = decision
    const message = mountDenial(start.name, layer, rootHash, errors)
    return { allowed: false, container: start.name, rule: 'mount_device', layer, errors, message }
  }
  const request = containerRequest(start, image, platformEnv)
  const decision = enforcer.createContainer(request)
  if (!decision.allowed) return createRefused(start.name, request, decision.errors)
  const kept = new Map(decision.env.map(splitEntry))
  return {
    allowed: true,
    request,
    env: Object.fromEntries(kept),
    droppedVariables: request.env.map((entry) => splitEntry(entry)[0]).filter((name) => !kept.has(name)),
    allowStdioAccess: decision.allowStdioAccess
  }
}

function platformDenial(refused: PlatformDenial): StartDenial {
  if (refused.kind === 'create') {
    const { container, request, errors, undecided } = refused
    return { ...createRefused(container, request, errors), undecided }
  }
  const { container, rootHash, errors } = refused
  const message = mountDenial(container, 0, rootHash, errors)
  return { allowed: false, container, rule: 'mount_device', layer: 0, errors, message }
}

function createRefused(container: string, request: ContainerRequest, errors: readonly string[]): StartDenial {
  const message = createDenial(container, request, errors)
  return { allowed: false, container, rule: 'create_container', errors, message }
}
