import type { Sha256Hex } from '../base/digest.js'
import type { CapabilityLists, CcePolicy, IdRule, MountRule, PolicyContainer } from './cce-policy.js'
import { sandboxPath } from './cce-policy.js'
import { capabilitySets, defaultCapabilities, type EnvRule, privilegedCapabilities } from './frames.js'

export interface Identity {
  readonly id: string
  readonly name: string
}

export interface ContainerMount {
  readonly destination: string
  /** `sandbox://` and the path for what the platform mounts from inside the utility VM. */
  readonly source: string
  readonly type: string
  readonly options: readonly string[]
}

/** What the host asks the guest to start. */
export interface ContainerRequest {
  /** Root hashes, base layer first; each must have been mounted. */
  readonly layers: readonly Sha256Hex[]
  readonly command: readonly string[]
  /** `NAME=VALUE` entries. */
  readonly env: readonly string[]
  readonly workingDir: string
  /** Mounts beyond those that every OCI runtime makes by itself (/proc, /dev, /sys). */
  readonly mounts?: readonly ContainerMount[]
  /** Root with the group root and umask 0022 when left out. */
  readonly user?: { readonly user: Identity; readonly groups: readonly Identity[]; readonly umask: string }
  readonly privileged?: boolean
  readonly noNewPrivileges?: boolean
  /** The runtime's defaults, or all when privileged, when left out. */
  readonly capabilities?: CapabilityLists
  /** SHA-256 of the profile, empty for none. */
  readonly seccomp?: string
  /** The container's id: one that has been started is not started again. */
  readonly name?: string
}

export type MountDecision = { readonly allowed: true } | { readonly allowed: false; readonly errors: readonly string[] }

export type ContainerDecision =
  | {
      readonly allowed: true
      /** The variables that the container is given, in the order of the request. */
      readonly env: readonly string[]
      readonly capabilities: CapabilityLists
      /** The guest connects the streams to nothing where this is false; it does not refuse the container. */
      readonly allowStdioAccess: boolean
      /** Index of the first matching container of the policy; -1 where the policy allows everything. */
      readonly containerIndex: number
    }
  | {
      readonly allowed: false
      /** The guest's words, sorted as its policy engine gives a set. */
      readonly errors: readonly string[]
    }

export interface Enforcer {
  /** A read-only layer device, named by its dm-verity root hash. */
  mountDevice(rootHash: Sha256Hex): MountDecision
  createContainer(request: ContainerRequest): ContainerDecision
}

/**
 * Enforces a policy as the utility VM does (hcsshim, framework.rego): devices by root hash, then
 * containers by narrowing the candidates step by step. Keeps what has been mounted and started.
 */
export function createEnforcer(policy: CcePolicy): Enforcer {
  const mounted = new Set<Sha256Hex>()
  const started = new Set<string>()
  return {
    mountDevice: (rootHash) => {
      if (policy.kind === 'enforced' && !policy.containers.some(({ layers }) => layers.includes(rootHash))) {
        return { allowed: false, errors: ['deviceHash not found'] }
      }
      mounted.add(rootHash)
      return { allowed: true }
    },
    createContainer: (request) => {
      const decision = decide(policy, request, mounted, started)
      if (decision.allowed && request.name !== undefined) started.add(request.name)
      return decision
    }
  }
}

type EnforcedPolicy = Extract<CcePolicy, { kind: 'enforced' }>

function decide(
  policy: CcePolicy,
  request: ContainerRequest,
  mounted: ReadonlySet<Sha256Hex>,
  started: ReadonlySet<string>
): ContainerDecision {
  if (policy.kind === 'open-door') {
    const { env } = request
    return { allowed: true, env, capabilities: requested(request), allowStdioAccess: true, containerIndex: -1 }
  }
  const overlay = request.layers.every((layer) => mounted.has(layer))
    ? policy.containers.filter(({ layers }) => sameList(layers, request.layers))
    : []
  if (overlay.length === 0) return { allowed: false, errors: ['no matching containers for overlay'] }
  const restarted = request.name !== undefined && started.has(request.name)
  const outcome = narrow(policy, overlay, request)
  if (outcome.kind === 'matched' && !restarted) {
    const { env, capabilities, containers } = outcome
    const [first] = containers
    const containerIndex = first === undefined ? -1 : policy.containers.indexOf(first)
    return { allowed: true, env, capabilities, allowStdioAccess: first?.allowStdioAccess ?? false, containerIndex }
  }
  const errors = errorsOf(policy, overlay, request)
  if (restarted) errors.add('container already started')
  if (outcome.kind === 'refused') errors.add(outcome.error)
  return { allowed: false, errors: [...errors].sort() }
}

type Outcome =
  | {
      readonly kind: 'matched'
      readonly containers: readonly PolicyContainer[]
      readonly env: readonly string[]
      readonly capabilities: CapabilityLists
    }
  | { readonly kind: 'none' }
  /** Containers are left, and a later step could not choose. */
  | { readonly kind: 'refused'; readonly error: string }

function narrow(policy: EnforcedPolicy, overlay: readonly PolicyContainer[], request: ContainerRequest): Outcome {
  const initial = overlay.filter((container) => matchesRequest(policy, container, request))
  if (initial.length === 0) return { kind: 'none' }
  const env = environmentFor(policy, initial, request.env)
  // The framework gives no words for this case; the others of its kind are "only distinguishable by".
  if (env === undefined) return { kind: 'refused', error: 'containers only distinguishable by env_list' }
  const afterEnv = initial.filter((container) => environmentOk(policy, container.envRules, env))
  if (afterEnv.length === 0) return { kind: 'none' }
  const capabilities = capabilitiesFor(policy, afterEnv, request)
  if (capabilities === undefined) {
    // The guest's own spelling.
    return { kind: 'refused', error: 'containers only distinguishable by capabilties' }
  }
  const containers = afterEnv.filter((container) => sameCapabilities(container.capabilities, capabilities))
  const [first] = containers
  if (first === undefined) return { kind: 'refused', error: "capabilities don't match" }
  if (containers.some(({ allowStdioAccess }) => allowStdioAccess !== first.allowStdioAccess)) {
    return { kind: 'refused', error: 'containers only distinguishable by allow_stdio_access' }
  }
  return { kind: 'matched', containers, env, capabilities }
}

function matchesRequest(policy: EnforcedPolicy, container: PolicyContainer, request: ContainerRequest): boolean {
  return (
    noNewPrivilegesOk(container, request) &&
    userOk(policy, container, request) &&
    privilegedOk(container, request) &&
    container.workingDir === request.workingDir &&
    commandOk(container, request) &&
    (request.mounts ?? []).every((mount) => mountOk(policy, container.mounts, mount)) &&
    seccompOk(container, request)
  )
}

/**
 * What the guest complains of after a refusal: every check that no container with these layers
 * passes. It names variables even where it would have dropped them.
 */
function errorsOf(policy: EnforcedPolicy, overlay: readonly PolicyContainer[], request: ContainerRequest): Set<string> {
  const errors = new Set<string>()
  const unlessSome = (error: string, passes: (container: PolicyContainer) => boolean): void => {
    if (!overlay.some(passes)) errors.add(error)
  }
  unlessSome('privileged escalation not allowed', (container) => privilegedOk(container, request))
  unlessSome('invalid command', (container) => commandOk(container, request))
  unlessSome('invalid working directory', ({ workingDir }) => workingDir === request.workingDir)
  unlessSome('invalid noNewPrivileges', (container) => noNewPrivilegesOk(container, request))
  unlessSome('invalid user', (container) => userOk(policy, container, request))
  unlessSome('invalid seccomp', (container) => seccompOk(container, request))
  const badEnv = request.env.filter(
    (entry) => !overlay.some(({ envRules }) => envRules.some((rule) => envRuleOk(policy, rule, entry)))
  )
  if (badEnv.length > 0) errors.add(`invalid env list: ${badEnv.map((entry) => entry.split('=', 1)[0]).join(',')}`)
  const badMounts = (request.mounts ?? []).filter(
    (mount) => !overlay.some(({ mounts }) => mountOk(policy, mounts, mount))
  )
  if (badMounts.length > 0) {
    errors.add(`invalid mount list: ${badMounts.map(({ destination }) => destination).join(',')}`)
  }
  const candidates = overlay.filter((container) => matchesRequest(policy, container, request))
  if (candidates.some((container) => !requiredOk(policy, container.envRules, request.env))) {
    errors.add('missing required environment variable')
  }
  return errors
}

/**
 * The variables to keep. With dropping allowed each candidate keeps what its rules allow and the
 * largest set wins; undefined if two different sets are equally large.
 */
function environmentFor(
  policy: EnforcedPolicy,
  candidates: readonly PolicyContainer[],
  env: readonly string[]
): readonly string[] | undefined {
  if (!policy.switches.allow_environment_variable_dropping) return env
  const kept = candidates.map(
    ({ envRules }) => new Set(env.filter((entry) => envRules.some((rule) => envRuleOk(policy, rule, entry))))
  )
  const most = Math.max(...kept.map(({ size }) => size))
  const [largest, ...others] = kept.filter(({ size }) => size === most)
  if (largest === undefined || others.some((other) => !sameSet(largest, other))) return undefined
  return env.filter((entry) => largest.has(entry))
}

function environmentOk(policy: EnforcedPolicy, rules: readonly EnvRule[], env: readonly string[]): boolean {
  return requiredOk(policy, rules, env) && env.every((entry) => rules.some((rule) => envRuleOk(policy, rule, entry)))
}

function requiredOk(policy: EnforcedPolicy, rules: readonly EnvRule[], env: readonly string[]): boolean {
  return rules.every((rule) => !rule.required || env.some((entry) => envRuleOk(policy, rule, entry)))
}

function envRuleOk(policy: EnforcedPolicy, rule: EnvRule, entry: string): boolean {
  return rule.strategy === 'string' ? rule.pattern === entry : patternOk(policy, rule.pattern, entry)
}

/**
 * The capabilities to grant, chosen like the variables: each candidate's share of what is asked
 * for, and the largest wins.
 */
function capabilitiesFor(
  policy: EnforcedPolicy,
  candidates: readonly PolicyContainer[],
  request: ContainerRequest
): CapabilityLists | undefined {
  const asked = requested(request)
  if (!policy.switches.allow_capability_dropping) return asked
  const kept = candidates.map(({ capabilities }) =>
    mapCapabilities((set) => [...new Set(asked[set])].filter((name) => capabilities[set].includes(name)))
  )
  const sizes = kept.map((lists) => capabilitySets.reduce((total, set) => total + lists[set].length, 0))
  const most = Math.max(...sizes)
  const [largest, ...others] = kept.filter((_, index) => sizes[index] === most)
  if (largest === undefined || others.some((other) => !sameCapabilities(largest, other))) return undefined
  return largest
}

function requested({ capabilities, privileged = false }: ContainerRequest): CapabilityLists {
  if (capabilities !== undefined) return capabilities
  const granted = privileged ? privilegedCapabilities : defaultCapabilities
  return mapCapabilities((set) => (set === 'ambient' || (set === 'inheritable' && !privileged) ? [] : granted))
}

function mapCapabilities(list: (set: (typeof capabilitySets)[number]) => readonly string[]): CapabilityLists {
  return {
    ambient: list('ambient'),
    bounding: list('bounding'),
    effective: list('effective'),
    inheritable: list('inheritable'),
    permitted: list('permitted')
  }
}

function sameCapabilities(a: CapabilityLists, b: CapabilityLists): boolean {
  return capabilitySets.every((set) => a[set].length === b[set].length && sameSet(new Set(a[set]), new Set(b[set])))
}

function noNewPrivilegesOk({ noNewPrivileges }: PolicyContainer, request: ContainerRequest): boolean {
  return !noNewPrivileges || request.noNewPrivileges === true
}

function privilegedOk({ allowElevated }: PolicyContainer, { privileged = false }: ContainerRequest): boolean {
  return !privileged || allowElevated
}

function commandOk({ command }: PolicyContainer, request: ContainerRequest): boolean {
  return command !== null && sameList(command, request.command)
}

function seccompOk({ seccompProfileSha256 }: PolicyContainer, { seccomp = '' }: ContainerRequest): boolean {
  return seccompProfileSha256 === seccomp
}

const root: Identity = { id: '0', name: 'root' }

function userOk(policy: EnforcedPolicy, container: PolicyContainer, request: ContainerRequest): boolean {
  const { user, groups, umask } = request.user ?? { user: root, groups: [root], umask: '0022' }
  return (
    container.user.umask === umask &&
    idOk(policy, container.user.user, user) &&
    groups.every((group) => container.user.groups.some((rule) => idOk(policy, rule, group)))
  )
}

function idOk(policy: EnforcedPolicy, { pattern, strategy }: IdRule, { id, name }: Identity): boolean {
  switch (strategy) {
    case 'any':
      return true
    case 'id':
      return pattern === id
    case 'name':
      return pattern === name
    case 're2':
      return patternOk(policy, pattern, name)
  }
}

function mountOk(policy: EnforcedPolicy, rules: readonly MountRule[], mount: ContainerMount): boolean {
  return rules.some(
    (rule) =>
      rule.type === mount.type &&
      sourceOk(policy, rule.source, mount.source) &&
      mount.destination !== '' &&
      rule.destination === mount.destination &&
      rule.options.length === mount.options.length &&
      sameSet(new Set(rule.options), new Set(mount.options))
  )
}

/** Both sides of a sandbox source begin in the same folder of the utility VM, so only the rest is compared. */
function sourceOk(policy: EnforcedPolicy, rule: string, source: string): boolean {
  const pattern = sandboxPath(rule)
  const path = sandboxPath(source)
  if (pattern === undefined || path === undefined) return rule === source
  return patternOk(policy, pattern, path)
}

function patternOk({ patterns }: EnforcedPolicy, pattern: string, text: string): boolean {
  return patterns.get(pattern)?.matches(text) ?? false
}

function sameList(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((item, index) => item === b[index])
}

function sameSet(a: ReadonlySet<string>, b: ReadonlySet<string>): boolean {
  return a.size === b.size && [...a].every((item) => b.has(item))
}
