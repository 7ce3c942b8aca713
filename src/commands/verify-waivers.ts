import type { Check, TrustPolicy } from '../client/index.js'

/**
 * What a verdict leaves open because the caller's own trust policy gives it up, one sentence for each reason: the
 * claims, those of one kind as `KIND.*`, and the reason. Nothing, if all is compared.
 */
export function waiversOf(checks: readonly Check[], { maximumAgeSeconds }: TrustPolicy): readonly string[] {
  const byReason = new Map<string, string[]>()
  for (const check of checks) {
    const reason = reasonOf(check, maximumAgeSeconds)
    if (reason !== undefined) byReason.set(reason, [...(byReason.get(reason) ?? []), check.claim])
  }
  return [...byReason].map(([reason, claims]) => `not compared: ${shortened(claims, checks).join(', ')}: ${reason}`)
}

/** Of the time of a token a part is always compared, that it is valid at all. */
function reasonOf(check: Check, maximumAge: TrustPolicy['maximumAgeSeconds']): string | undefined {
  if (check.outcome === 'not-required') return check.reason
  return check.claim === 'maa.time' && maximumAge === 'any' ? 'the trust policy accepts any age' : undefined
}

/** Eleven claims of a service that is not asked are one thing to read. */
function shortened(waived: readonly string[], checks: readonly Check[]): readonly string[] {
  const kindOf = (claim: string): string => claim.split('.', 1)[0] ?? ''
  const claimsOf = (claims: readonly string[], kind: string) => claims.filter((claim) => kindOf(claim) === kind)
  const all = checks.map(({ claim }) => claim)
  const names = waived.map((claim) => {
    const kind = kindOf(claim)
    const isWhole = claim !== kind && claimsOf(waived, kind).length === claimsOf(all, kind).length
    return isWhole ? `${kind}.*` : claim
  })
  return [...new Set(names)]
}
