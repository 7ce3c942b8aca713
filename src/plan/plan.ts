import { canonicalJson } from '../base/json.js'
import { sha256Hex, type Sha256Hex } from '../base/digest.js'
import type { PropertyChange } from './properties.js'

/** What would be done to one resource. `unknown` waits for a change before it, or could not be looked at. */
export interface Change {
  readonly resource: string
  readonly action: 'create' | 'update' | 'replace' | 'unknown'
  readonly reason: string
  readonly properties: readonly PropertyChange[]
}

/** One link of what is trusted: what it is, and what it would be. Texts, `(none)` where there is nothing. */
export interface TrustDelta {
  readonly what: string
  readonly from: string
  readonly to: string
}

/** Everything that an operator approves: what is there, what is wanted, and so what would be done. No secret, no time. */
export interface Plan {
  readonly version: 1
  readonly deployment: {
    readonly name: string
    readonly cloud: string
    readonly subscription: string
    readonly resourceGroup: string
    readonly location: string
  }
  /** How a running group gives way to another one; null where none has to. */
  readonly strategy: 'blue-green' | 'replace' | null
  readonly changes: readonly Change[]
  readonly unchanged: readonly string[]
  readonly trustChanges: readonly TrustDelta[]
}

/** SHA-256 of the canonical JSON of a plan: two plans with one hash approve the same acts. */
export function planHash(plan: Plan): Sha256Hex {
  return sha256Hex(canonicalJson(plan))
}

/** The file of `plan --out`: canonical JSON of the plan and its hash, one line. */
export function encodePlanFile(plan: Plan): string {
  return `${canonicalJson({ plan, sha256: planHash(plan) })}\n`
}

/** In words, what is another thing now than when the plan was made; empty if nothing moved. */
export function planDifferences(approved: Plan, now: Plan): readonly string[] {
  const differences: string[] = []
  const note = (what: string, before: unknown, after: unknown) => {
    if (canonicalJson(before ?? null) !== canonicalJson(after ?? null)) differences.push(what)
  }
  note('the deployment is another one', approved.deployment, now.deployment)
  note(
    `the strategy is ${now.strategy ?? '(none needed)'}, not ${approved.strategy ?? '(none needed)'}`,
    approved.strategy,
    now.strategy
  )
  const resources = [...new Set([...approved.changes, ...now.changes].map(({ resource }) => resource))]
  for (const resource of resources) {
    const before = approved.changes.find((change) => change.resource === resource)
    const after = now.changes.find((change) => change.resource === resource)
    note(`${resource}: ${inWords(before)}, now ${inWords(after)}${movedProperties(before, after)}`, before, after)
  }
  const links = [...new Set([...approved.trustChanges, ...now.trustChanges].map(({ what }) => what))]
  for (const what of links) {
    const before = approved.trustChanges.find((change) => change.what === what)
    const after = now.trustChanges.find((change) => change.what === what)
    note(`trust, ${what}: ${arrow(before)}, now ${arrow(after)}`, before, after)
  }
  if (differences.length === 0) note('what is left alone is another list', approved.unchanged, now.unchanged)
  return differences
}

function inWords(change: Change | undefined): string {
  return change === undefined ? 'unchanged' : `${change.action} (${change.reason})`
}

function movedProperties(before: Change | undefined, after: Change | undefined): string {
  if (before === undefined || after === undefined) return ''
  const moved = [...new Set([...before.properties, ...after.properties].map(({ property }) => property))].filter(
    (name) => {
      const of = (change: Change) => change.properties.find(({ property }) => property === name) ?? null
      return canonicalJson(of(before)) !== canonicalJson(of(after))
    }
  )
  return moved.length === 0 ? '' : `: ${moved.join(', ')}`
}

function arrow(delta: TrustDelta | undefined): string {
  return delta === undefined ? 'no change' : `${delta.from} → ${delta.to}`
}
