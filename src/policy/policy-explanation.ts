import type { CcePolicy, PolicyContainer } from './cce-policy.js'
import { idWords } from './container-comparison.js'
import { splitEntry } from './container-request.js'
import { capabilitySets, defaultCapabilities, type EnvRule, privilegedCapabilities, switchNames } from './frames.js'
import { labelOf } from './policy-comparison.js'
import { literalName, sameSet } from './rule-coverage.js'

/** A policy, told so that a person can check it. */
export interface PolicyExplanation {
  readonly hostData: string
  /** False for a policy that allows everything; then nothing else is in it. */
  readonly enforced: boolean
  readonly api?: string
  readonly fragments: readonly {
    readonly feed: string
    readonly issuer: string
    readonly minimumSvn: string
    readonly includes: readonly string[]
  }[]
  /** What the host may do, by the policy's own names. */
  readonly switches: Readonly<Record<string, boolean>>
  readonly containers: readonly ExplainedContainer[]
}

export interface ExplainedContainer {
  readonly name: string
  /** The image as the policy calls it; null where it does not. */
  readonly image: string | null
  /** `sha256:…` where the image is pinned by it; null where the policy does not say. */
  readonly imageDigest: string | null
  readonly layers: readonly string[]
  /** Null: never starts. */
  readonly command: readonly string[] | null
  readonly workingDir: string
  readonly environment: readonly {
    /** The variable, or for `pattern` the whole pattern where that names no single variable. */
    readonly name: string
    readonly rule: 'exactly' | 'any' | 'pattern'
    /** What the value has to be or to match; the whole pattern where that names no single variable. */
    readonly value: string
    readonly required: boolean
  }[]
  readonly mounts: readonly {
    readonly destination: string
    readonly source: string
    readonly options: readonly string[]
    readonly type: string
  }[]
  readonly user: string
  readonly groups: readonly string[]
  readonly umask: string
  readonly privileged: boolean
  readonly noNewPrivileges: boolean
  readonly seccompProfile: string | null
  /** `default`, `all`, or the sets as they are. */
  readonly capabilities: 'default' | 'all' | Readonly<Record<string, readonly string[]>>
  /** Commands that the host may run in the container, and the signals that it may send to each. */
  readonly execs: readonly { readonly command: readonly string[]; readonly signals: readonly number[] }[]
  readonly signals: readonly (number | string)[]
  readonly stdio: boolean
}

/** Explains a policy. Values are those of the policy, which everyone who reads the deployment can read. */
export function explainPolicy(policy: CcePolicy): PolicyExplanation {
  const { hostData } = policy
  if (policy.kind === 'open-door') return { hostData, enforced: false, fragments: [], switches: {}, containers: [] }
  return {
    hostData,
    enforced: true,
    api: policy.frame.apiVersion,
    fragments: policy.fragments.map(({ feed, issuer, minimum_svn, includes }) => ({
      feed,
      issuer,
      minimumSvn: minimum_svn,
      includes
    })),
    switches: Object.fromEntries(switchNames.map((name) => [name, policy.switches[name]])),
    containers: policy.containers.map(explainContainer)
  }
}

function explainContainer(container: PolicyContainer): ExplainedContainer {
  const { id, user } = container
  return {
    name: labelOf(container),
    image: id ?? null,
    imageDigest: /@(sha256:[0-9a-f]{64})$/.exec(id ?? '')?.[1] ?? null,
    layers: container.layers,
    command: container.command,
    workingDir: container.workingDir,
    environment: container.envRules.map(explainRule),
    mounts: container.mounts.map(({ destination, source, options, type }) => ({ destination, source, options, type })),
    user: idWords(user.user),
    groups: user.groups.map(idWords),
    umask: user.umask,
    privileged: container.allowElevated,
    noNewPrivileges: container.noNewPrivileges,
    seccompProfile: container.seccompProfileSha256 === '' ? null : container.seccompProfileSha256,
    capabilities: explainCapabilities(container),
    execs: container.execProcesses,
    signals: container.signals,
    stdio: container.allowStdioAccess
  }
}

function explainRule(rule: EnvRule): ExplainedContainer['environment'][number] {
  const { pattern, strategy, required } = rule
  const [name, value] = splitEntry(pattern)
  if (strategy === 'string') return { name, rule: 'exactly', value, required }
  // An alternative may be for another variable, and would be taken for a part of the value.
  if (literalName(rule) === undefined) return { name: pattern, rule: 'pattern', value: pattern, required }
  return {
    name: literalName(rule) ?? name,
    rule: value === '.*' || value === '.+' ? 'any' : 'pattern',
    value,
    required
  }
}

function explainCapabilities({ capabilities }: PolicyContainer): ExplainedContainer['capabilities'] {
  const isSet = (granted: readonly string[], inheritable: readonly string[]) =>
    capabilities.ambient.length === 0 &&
    sameSet(capabilities.inheritable, inheritable) &&
    [capabilities.bounding, capabilities.effective, capabilities.permitted].every((set) => sameSet(set, granted))
  if (isSet(defaultCapabilities, [])) return 'default'
  if (isSet(privilegedCapabilities, privilegedCapabilities)) return 'all'
  return Object.fromEntries(capabilitySets.map((set) => [set, capabilities[set]]))
}
