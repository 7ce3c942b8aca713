import { type CcePolicy, type GuestOptions, openGuest } from '../../../policy/index.js'
import type { ContainerSpec } from './group-spec.js'
import type { PulledImage } from './image-store.js'

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
 * Asks the guest of one container group. Nothing of a container exists on disk before it has been admitted.
 */
export function createAdmission(
  policy: CcePolicy,
  options: GuestOptions = {}
): (request: AdmissionRequest) => AdmittedContainer {
  const guest = openGuest(policy, options)
  return ({ spec, image, platformEnv }) => {
    const layers = image.layers.map(({ rootHash }) => rootHash)
    const answer = guest.start({ start: spec, image: { config: image.config, layers }, platformEnv })
    if (!answer.allowed) throw new PolicyDenial(answer.message)
    const { request, env, droppedVariables, allowStdioAccess } = answer
    return { argv: request.command, workingDir: request.workingDir, env, droppedVariables, allowStdioAccess }
  }
}
