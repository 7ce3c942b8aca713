import { parseSha256Hex, type Sha256Hex } from '../base/digest.js'
import { canonicalJson, type Json } from '../base/json.js'
import { UserError } from '../base/user-error.js'
import { openDoorHostData } from './frames.js'
import {
  type AuthorityRule,
  type ClaimCondition,
  type Condition,
  type ConditionGroup,
  isClaimCondition,
  normalAuthority,
  operationOf,
  policyError,
  type ReleasePolicy
} from './release-grammar.js'

export { evaluateReleasePolicy, type ReleaseDecision, type ReleaseFailure } from './release-evaluation.js'
export { encodeReleasePolicy, parseReleasePolicy, type ReleasePolicy } from './release-grammar.js'

const hostDataClaim = 'x-ms-sevsnpvm-hostdata'

/**
 * The policy that releases a key only to the given policies' containers: attested by `authority`,
 * on SEV-SNP, endorsed utility VM, not debuggable, at the highest privilege level.
 *
 * Several host data become several authority entries and not a nested `anyOf`: each entry is then
 * of the one shape that every document and sample of Azure shows, while an article says that nested
 * conditions are not supported. Host data of a policy that allows everything is refused.
 */
export function createReleasePolicy(input: {
  readonly authority: string
  readonly hostData: readonly Sha256Hex[]
}): ReleasePolicy {
  const authority = attestationOrigin(input.authority)
  if (input.hostData.length === 0) throw policyError('a release policy needs the host data of at least one policy')
  const hashes = [...new Set(input.hostData)]
  for (const hash of hashes) refuseOpenDoor(hash)
  return { version: '1.0.0', anyOf: hashes.map((hash) => ({ authority, allOf: requiredClaims(hash) })) }
}

/**
 * True for two policies that every claim set satisfies alike by form: order and repetition of
 * conditions, order of members, one trailing slash of an authority and the spelling of a scalar
 * (`"false"` or `false`) make no difference.
 */
export function sameReleasePolicy(a: ReleasePolicy, b: ReleasePolicy): boolean {
  return canonicalJson(normalPolicy(a)) === canonicalJson(normalPolicy(b))
}

/**
 * The host data that a policy accepts, or `any` when some way through it does not pin them. An
 * empty list means that no host data can satisfy it.
 */
export function hostDataOf(policy: ReleasePolicy): readonly Sha256Hex[] | 'any' {
  const pinned = union(policy.anyOf.map((rule) => pinnedBy(rule)))
  return pinned === 'any' ? 'any' : [...pinned]
}

function requiredClaims(hash: Sha256Hex): readonly ClaimCondition[] {
  return [
    { claim: 'x-ms-attestation-type', equals: 'sevsnpvm' },
    { claim: 'x-ms-compliance-status', equals: 'azure-compliant-uvm' },
    { claim: hostDataClaim, equals: hash },
    // Texts, as in Microsoft's own policies: the service compares them with booleans and numbers too.
    { claim: 'x-ms-sevsnpvm-is-debuggable', equals: 'false' },
    { claim: 'x-ms-sevsnpvm-vmpl', equals: '0' }
  ]
}

/** The value of `attestUri`: https, a host and nothing else. */
function attestationOrigin(authority: string): string {
  const url = URL.canParse(authority) ? new URL(authority) : undefined
  const plain = normalAuthority(authority)
  if (url?.protocol !== 'https:' || url.origin !== plain) {
    throw policyError(`authority ${JSON.stringify(authority.slice(0, 200))} is not an https origin`, [
      'use the attestUri of the attestation provider, such as https://NAME.weu.attest.azure.net'
    ])
  }
  return plain
}

function refuseOpenDoor(hash: Sha256Hex): void {
  if (!openDoorHostData.has(hash)) return
  throw new UserError('config', 'release-policy.open-door', `host data ${hash} belongs to a policy that allows all`, {
    why: 'a key bound to it would be released to any container of anybody.',
    next: ['generate a policy for the container group and bind the key to its host data']
  })
}

function normalPolicy(policy: ReleasePolicy): Json {
  return setOf(
    policy.anyOf.map((rule): Json => ({
      authority: normalAuthority(rule.authority),
      conditions: normalCondition(withoutAuthority(rule))
    }))
  )
}

function withoutAuthority(rule: AuthorityRule): ConditionGroup {
  return rule.allOf === undefined ? { anyOf: rule.anyOf } : { allOf: rule.allOf }
}

function normalCondition(condition: Condition): Json {
  if (isClaimCondition(condition)) {
    const { operator, value } = operationOf(condition)
    return { claim: condition.claim, operator, value: String(value) }
  }
  if (condition.allOf !== undefined) return { allOf: setOf(condition.allOf.map(normalCondition)) }
  return { anyOf: setOf(condition.anyOf.map(normalCondition)) }
}

function setOf(values: readonly Json[]): Json {
  return [...new Set(values.map((value) => canonicalJson(value)))].sort()
}

type Pinned = ReadonlySet<Sha256Hex> | 'any'

function pinnedBy(condition: Condition): Pinned {
  if (!isClaimCondition(condition)) {
    if (condition.allOf !== undefined) return intersection(condition.allOf.map(pinnedBy))
    return union(condition.anyOf.map(pinnedBy))
  }
  const { operator, value } = operationOf(condition)
  if (condition.claim !== hostDataClaim || operator !== 'equals') return 'any'
  // The claim is always 64 lower-case hex digits, so any other value is met by nobody.
  return typeof value === 'string' && /^[0-9a-f]{64}$/.test(value)
    ? new Set([parseSha256Hex(value, hostDataClaim)])
    : new Set()
}

function intersection(sets: readonly Pinned[]): Pinned {
  return sets.reduce<Pinned>((all, set) => {
    if (all === 'any') return set
    return set === 'any' ? all : new Set([...all].filter((hash) => set.has(hash)))
  }, 'any')
}

function union(sets: readonly Pinned[]): Pinned {
  return sets.reduce<Pinned>(
    (all, set) => (all === 'any' || set === 'any' ? 'any' : new Set([...all, ...set])),
    new Set<Sha256Hex>()
  )
}
