import {
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

/** The release policy after it: only what it says of the new measurement. Undefined if it says nothing of it. */
export function narrowedPolicy(current: string | undefined, to: string): string | undefined {
  const kept = current === undefined ? [] : rulesFor(current, to)
  return current === undefined || kept.length === 0
    ? undefined
    : encodeReleasePolicy({ ...parseReleasePolicy(current), anyOf: kept })
}

/** The ways through a policy that are open to this measurement and to no other. */
function rulesFor(text: string, hostData: string): ReleasePolicy['anyOf'] {
  const policy = parseReleasePolicy(text)
  return policy.anyOf.filter((rule) => {
    const pins = hostDataOf({ ...policy, anyOf: [rule] })
    return pins !== 'any' && pins.length === 1 && pins[0] === hostData
  })
}

function isSameRule(
  policy: ReleasePolicy,
  a: ReleasePolicy['anyOf'][number],
  b: ReleasePolicy['anyOf'][number]
): boolean {
  return sameReleasePolicy({ ...policy, anyOf: [a] }, { ...policy, anyOf: [b] })
}
