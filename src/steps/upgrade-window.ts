import { parseSha256Hex } from '../base/digest.js'
import {
  createReleasePolicy,
  encodeReleasePolicy,
  hostDataOf,
  parseReleasePolicy,
  type ReleasePolicy,
  sameReleasePolicy
} from '../policy/index.js'

/**
 * The release policy while an upgrade goes on: what the key accepts now of the old measurement, and the whole of
 * what is wanted. It never lets in anybody who could not obtain the key before and is not wanted: an old
 * measurement that the key does not accept stays out, and so does whatever else it accepted.
 */
export function widenedPolicy(current: string | undefined, from: string, wanted: string): string {
  const target = parseReleasePolicy(wanted)
  const kept = current === undefined ? [] : rulesFor(current, from)
  const added = target.anyOf.filter((rule) => !kept.some((other) => isSameRule(target, rule, other)))
  return encodeReleasePolicy({ ...target, anyOf: [...kept, ...added] })
}

/** What a policy says of this measurement alone. Undefined if it says nothing of it. */
export function narrowedPolicy(current: string | undefined, to: string): string | undefined {
  const kept = current === undefined ? [] : rulesFor(current, to)
  return current === undefined || kept.length === 0
    ? undefined
    : encodeReleasePolicy({ ...parseReleasePolicy(current), anyOf: kept })
}

/**
 * The policy that this program writes for one measurement and the attestation service that its router goes to.
 * Undefined where one of them is not known, or is none under which a key may be released.
 */
export function releasePolicyFor(measured: {
  readonly hostData: string | undefined
  readonly authority?: string | undefined
}): string | undefined {
  const { hostData, authority } = measured
  if (hostData === undefined || authority === undefined) return undefined
  try {
    return encodeReleasePolicy(createReleasePolicy({ authority, hostData: [parseSha256Hex(hostData, 'host data')] }))
  } catch {
    return undefined
  }
}

/** Whether every way through `inner` is one through `outer`: to go from `outer` to `inner` then only takes away. */
export function isWithin(inner: string, outer: string | undefined): boolean {
  const [a, b] = [read(inner), read(outer)]
  return (
    a !== undefined && b !== undefined && a.anyOf.every((rule) => b.anyOf.some((other) => isSameRule(a, rule, other)))
  )
}

/**
 * The ways through a policy that none of the allowed ones has, in words: by whole rules, and not by the host data that
 * they pin, because whose tokens are believed and under which conditions decides as much.
 */
export function waysBeyond(text: string | undefined, allowed: readonly string[]): readonly string[] {
  if (text === undefined) return []
  const policy = read(text)
  if (policy === undefined) return ['a policy that cannot be read']
  const known = allowed.flatMap((each) => read(each)?.anyOf ?? [])
  return policy.anyOf
    .filter((rule) => !known.some((other) => isSameRule(policy, rule, other)))
    .map((rule) => ruleInWords(policy, rule))
}

type Rule = ReleasePolicy['anyOf'][number]

/** Whom a rule lets in, and what it does not ask of them that this program would. */
function ruleInWords(policy: ReleasePolicy, rule: Rule): string {
  const pins = hostDataOf({ ...policy, anyOf: [rule] })
  const who = pins === 'any' ? 'any host data' : `host data ${pins.join(' or ') || '(none)'}`
  const [hostData, ...others] = pins === 'any' ? [] : pins
  const usual = others.length > 0 ? undefined : read(releasePolicyFor({ hostData, authority: rule.authority }))
  const asked = new Set((rule.allOf ?? []).map(conditionText))
  const missing = (usual?.anyOf[0]?.allOf ?? []).flatMap((condition) =>
    'claim' in condition && !asked.has(conditionText(condition)) ? [condition.claim] : []
  )
  return `${who}, attested by ${rule.authority}${missing.length === 0 ? '' : `, whatever its ${missing.join(', ')}`}`
}

/** The same for `"false"` and `false`, which the service compares alike. */
function conditionText(condition: object): string {
  return Object.entries(condition)
    .map(([name, value]) => `${name}=${String(value)}`)
    .sort()
    .join()
}

/** Undefined for a text that is no release policy: then nothing is known of whom it lets in. */
function read(text: string | undefined): ReleasePolicy | undefined {
  if (text === undefined) return undefined
  try {
    return parseReleasePolicy(text)
  } catch {
    return undefined
  }
}

/** The ways through a policy that are open to this measurement and to no other. */
function rulesFor(text: string, hostData: string): ReleasePolicy['anyOf'] {
  const policy = parseReleasePolicy(text)
  return policy.anyOf.filter((rule) => {
    const pins = hostDataOf({ ...policy, anyOf: [rule] })
    return pins !== 'any' && pins.length === 1 && pins[0] === hostData
  })
}

function isSameRule(policy: ReleasePolicy, a: Rule, b: Rule): boolean {
  return sameReleasePolicy({ ...policy, anyOf: [a] }, { ...policy, anyOf: [b] })
}

/** What goes on with an open upgrade or rollback, and what takes it back. */
export function waysOn({ direction }: { readonly direction: 'upgrade' | 'rollback' }): {
  readonly on: string
  readonly back: string
} {
  const rollback = 'confrouter rollback --reason TEXT'
  return direction === 'upgrade'
    ? { on: 'confrouter up', back: rollback }
    : { on: rollback, back: 'confrouter rollback --abandon --reason TEXT' }
}
