import type { CcePolicy, PolicyContainer } from './cce-policy.js'
import { compareContainers } from './container-comparison.js'
import { switchNames } from './frames.js'
import type { EnforcedPolicy, Excess } from './rule-coverage.js'

/** One sentence on what two policies allow. */
export interface ComparisonFinding {
  /** `policy`, or `container NAME`. */
  readonly subject: string
  /**
   * `allowed`: the new policy allows what the old one did not. `forbidden`: the other way round. `maybe-allowed` and
   * `maybe-forbidden`: that may be, and was not decided.
   */
  readonly change: 'allowed' | 'forbidden' | 'maybe-allowed' | 'maybe-forbidden'
  readonly what: string
}

export interface PolicyComparison {
  readonly oldHostData: string
  readonly newHostData: string
  /** The same text, so the same host data. */
  readonly isEqual: boolean
  readonly findings: readonly ComparisonFinding[]
}

/**
 * Compares what two whole policies allow: containers found by name, each member by its meaning (a pattern that
 * replaces a text is wider if it matches it), fragments, and what the host may ask of the guest. Order, ids and
 * names are no difference. What cannot be decided is said to be undecided.
 */
export function comparePolicies(before: CcePolicy, after: CcePolicy): PolicyComparison {
  return {
    oldHostData: before.hostData,
    newHostData: after.hostData,
    isEqual: before.hostData === after.hostData,
    findings: before.hostData === after.hostData ? [] : findingsOf(before, after)
  }
}

/** The sentence as a person reads it. */
export function describeFinding({ subject, change, what }: ComparisonFinding): string {
  return `${subject}: ${words[change]}: ${what}`
}

const words: Readonly<Record<ComparisonFinding['change'], string>> = {
  allowed: 'newly allowed',
  forbidden: 'no longer allowed',
  'maybe-allowed': 'may be newly allowed (not decided)',
  'maybe-forbidden': 'may be no longer allowed (not decided)'
}

function findingsOf(before: CcePolicy, after: CcePolicy): readonly ComparisonFinding[] {
  const everything = 'everything: the policy enforces nothing'
  if (before.kind === 'open-door' && after.kind === 'open-door') return []
  if (after.kind === 'open-door') return [{ subject: 'policy', change: 'allowed', what: everything }]
  if (before.kind === 'open-door') {
    return [
      {
        subject: 'policy',
        change: 'forbidden',
        what: 'whatever the new policy does not list; the old one enforced nothing'
      }
    ]
  }
  return [
    ...oneWay(before, after).map(({ subject, what, isCertain }) => ({
      subject,
      change: isCertain ? ('allowed' as const) : ('maybe-allowed' as const),
      what
    })),
    ...oneWay(after, before).map(({ subject, what, isCertain }) => ({
      subject,
      change: isCertain ? ('forbidden' as const) : ('maybe-forbidden' as const),
      what
    }))
  ]
}

/** What `policy` allows beyond `than`; both directions of a comparison are this. */
function oneWay(than: EnforcedPolicy, policy: EnforcedPolicy): readonly (Excess & { readonly subject: string })[] {
  const partners = pairs(than.containers, policy.containers)
  return [
    ...[...switchExcess(than, policy), ...fragmentExcess(than, policy)].map((what) => ({
      subject: 'policy',
      what,
      isCertain: true
    })),
    ...policy.containers.flatMap((container) => {
      const subject = `container ${labelOf(container)}`
      const partner = partners.get(container)
      if (partner === undefined) return [{ subject, what: `the container, ${imageOf(container)}`, isCertain: true }]
      return compareContainers(partner, container, { than, policy }).map((excess) => ({ subject, ...excess }))
    })
  ]
}

/** Which container is which: the same name, else the same image, else the same layers; each is taken once. */
function pairs(
  others: readonly PolicyContainer[],
  containers: readonly PolicyContainer[]
): ReadonlyMap<PolicyContainer, PolicyContainer> {
  const found = new Map<PolicyContainer, PolicyContainer>()
  const free = new Set(others)
  const sameness: readonly ((a: PolicyContainer, b: PolicyContainer) => boolean)[] = [
    // Two of one name are told apart by what they are made of.
    (a, b) => a.name !== undefined && a.name === b.name && a.layers.join() === b.layers.join(),
    (a, b) => a.name !== undefined && a.name === b.name,
    (a, b) => a.id !== undefined && a.id === b.id,
    (a, b) => a.layers.join() === b.layers.join()
  ]
  for (const isSame of sameness) {
    for (const container of containers) {
      if (found.has(container)) continue
      const partner = [...free].find((other) => isSame(container, other))
      if (partner === undefined) continue
      found.set(container, partner)
      free.delete(partner)
    }
  }
  return found
}

/** How a policy calls a container: its name, else its image, else its top layer. */
export function labelOf({ name, id, layers }: PolicyContainer): string {
  return name ?? id ?? `with layer ${layers.at(-1) ?? 'none'}`
}

function imageOf({ id, layers }: PolicyContainer): string {
  return id === undefined ? `layers ${layers.join(', ')}` : `image ${id}`
}

const switchWords: Readonly<Record<(typeof switchNames)[number], string>> = {
  allow_properties_access: 'the host reads properties of containers (allow_properties_access)',
  allow_dump_stacks: 'the host dumps stacks of the guest agent (allow_dump_stacks)',
  allow_runtime_logging: 'the host turns on logs of the guest agent (allow_runtime_logging)',
  allow_environment_variable_dropping:
    'a container starts with variables that no rule lists, which are dropped (allow_environment_variable_dropping)',
  allow_unencrypted_scratch: 'scratch disks without encryption (allow_unencrypted_scratch)',
  allow_capability_dropping:
    'a container starts with fewer capabilities than were asked for (allow_capability_dropping)'
}

function switchExcess(than: EnforcedPolicy, policy: EnforcedPolicy): readonly string[] {
  return switchNames.filter((name) => policy.switches[name] && !than.switches[name]).map((name) => switchWords[name])
}

function fragmentExcess(than: EnforcedPolicy, policy: EnforcedPolicy): readonly string[] {
  return policy.fragments.flatMap((fragment) => {
    const name = `fragment ${fragment.feed} of issuer ${fragment.issuer}`
    const same = than.fragments.filter(({ feed, issuer }) => feed === fragment.feed && issuer === fragment.issuer)
    if (same.length === 0)
      return [`${name}, from version ${fragment.minimum_svn}, with ${fragment.includes.join(', ')}`]
    const lowest = same.reduce(
      (low, { minimum_svn }) => (svn(minimum_svn) < low ? svn(minimum_svn) : low),
      svn(same[0]?.minimum_svn ?? '')
    )
    const includes = fragment.includes.filter((item) => !same.some((other) => other.includes.includes(item)))
    return [
      ...(svn(fragment.minimum_svn) < lowest
        ? [`${name} from version ${fragment.minimum_svn}, not only from ${lowest}`]
        : []),
      ...includes.map((item) => `${item} of ${name}`)
    ]
  })
}

/** What is no number counts as the lowest there is. */
function svn(text: string): bigint {
  return /^[0-9]+$/.test(text) ? BigInt(text) : -1n
}
