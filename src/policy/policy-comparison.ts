import type { CcePolicy, PolicyContainer } from './cce-policy.js'
import { comparisonBudget } from './comparison-budget.js'
import { compareContainers } from './container-comparison.js'
import { containerText, unlikeTwins } from './container-twins.js'
import { fragmentExcess } from './fragment-comparison.js'
import { switchNames } from './frames.js'
import { comparePoints } from './open-door.js'
import { onOneLine } from './printable-text.js'
import type { Comparing, EnforcedPolicy, Excess } from './rule-coverage.js'

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
  if (before.kind === 'open-door' && after.kind === 'open-door') {
    return [
      ...comparePoints(before, after).map(asFinding('allowed', 'policy')),
      ...comparePoints(after, before).map(asFinding('forbidden', 'policy'))
    ]
  }
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
  const spend = comparisonBudget()
  return [
    ...oneWay({ than: before, policy: after, spend }).map((excess) => asFinding('allowed', excess.subject)(excess)),
    ...oneWay({ than: after, policy: before, spend }).map((excess) => asFinding('forbidden', excess.subject)(excess))
  ]
}

function asFinding(change: 'allowed' | 'forbidden', subject: string) {
  return ({ what, isCertain }: Excess): ComparisonFinding => ({
    subject,
    change: isCertain ? change : `maybe-${change}`,
    what
  })
}

/** What `policy` allows beyond `than`; both directions of a comparison are this. */
function oneWay(comparing: Comparing): readonly (Excess & { readonly subject: string })[] {
  const { than, policy } = comparing
  const partners = pairs(than.containers, policy.containers)
  const known = new Set(than.containers.map(containerText))
  const twins = unlikeTwins(than.containers, policy.containers)
  return [
    ...switchExcess(than, policy).map((what) => ({ subject: 'policy', what, isCertain: true })),
    ...fragmentExcess(than.fragments, policy.fragments).map((excess) => ({ subject: 'policy', ...excess })),
    ...policy.containers.flatMap((container) => {
      const subject = `container ${onOneLine(labelOf(container))}`
      // Without a command it never starts, so it allows nothing.
      if (container.command === null) return []
      const partner = partners.get(container)
      if (partner === undefined || partner.command === null) {
        // Any number may be started of one container, so one more of the same is nothing new.
        if (known.has(containerText(container))) return []
        return [{ subject, what: `the container, ${imageOf(container)}`, isCertain: true }]
      }
      return [...compareContainers(partner, container, comparing), ...twins(partner)].map((excess) => ({
        subject,
        ...excess
      }))
    })
  ]
}

/** What two containers may have in common to be taken for each other, the most telling first. */
const likenesses: readonly ((container: PolicyContainer) => string | undefined)[] = [
  // Two of one name are told apart by what they are made of.
  ({ name, layers }) => (name === undefined ? undefined : JSON.stringify([name, ...layers])),
  ({ name }) => name,
  ({ id }) => id,
  ({ layers }) => layers.join()
]

/** Which container is which: the same name, else the same image, else the same layers; each is taken once. */
function pairs(
  others: readonly PolicyContainer[],
  containers: readonly PolicyContainer[]
): ReadonlyMap<PolicyContainer, PolicyContainer> {
  const found = new Map<PolicyContainer, PolicyContainer>()
  const taken = new Set<PolicyContainer>()
  for (const likeness of likenesses) {
    const free = new Map<string | undefined, PolicyContainer[]>()
    // Turned round, so that the first is the one that `pop` takes.
    for (const other of others.toReversed()) {
      if (taken.has(other)) continue
      const alike = free.get(likeness(other)) ?? []
      alike.push(other)
      free.set(likeness(other), alike)
    }
    for (const container of containers) {
      const key = likeness(container)
      if (found.has(container) || key === undefined) continue
      const partner = free.get(key)?.pop()
      if (partner === undefined) continue
      found.set(container, partner)
      taken.add(partner)
    }
  }
  return found
}

/** How a policy calls a container: its name, else its image, else its top layer. */
export function labelOf({ name, id, layers }: PolicyContainer): string {
  return name ?? id ?? `with layer ${layers.at(-1) ?? 'none'}`
}

function imageOf({ id, layers }: PolicyContainer): string {
  return id === undefined ? `layers ${layers.join(', ')}` : `image ${onOneLine(id)}`
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
