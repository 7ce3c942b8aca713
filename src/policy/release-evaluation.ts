import type { Json, JsonObject } from '../base/json.js'
import { isJsonObject } from '../base/json.js'
import {
  type AuthorityRule,
  type ClaimCondition,
  type ClaimOperator,
  type ClaimValue,
  type Condition,
  isClaimCondition,
  normalAuthority,
  operationOf,
  type ReleasePolicy
} from './release-grammar.js'

/** One reason why one way through the policy is closed. */
export type ReleaseFailure = { readonly authority: string } & (
  | { readonly kind: 'authority'; readonly issuer: string }
  | {
      readonly kind: 'claim'
      readonly claim: string
      readonly operator: ClaimOperator
      readonly expected: string
      /** Undefined when the token has no such claim. */
      readonly actual: string | undefined
    }
)

export type ReleaseDecision =
  { readonly met: true } | { readonly met: false; readonly failures: readonly ReleaseFailure[] }

/**
 * Evaluates a policy as Key Vault does against the payload of an attestation token whose signature
 * has been verified. One trailing slash of authority and issuer is ignored. Scalars are compared by
 * their text, so `"false"` meets `false` and `"0"` meets `0`; numbers exactly, however long. A claim
 * that is missing, is no scalar or is a number beyond 2^53, whose last digits were lost when the token
 * was read, satisfies nothing but `exists`.
 */
export function evaluateReleasePolicy(
  policy: ReleasePolicy,
  token: { readonly issuer: string; readonly claims: JsonObject }
): ReleaseDecision {
  const outcomes = policy.anyOf.map((rule) => failuresOfRule(rule, token))
  if (outcomes.some((failures) => failures.length === 0)) return { met: true }
  return { met: false, failures: outcomes.flat() }
}

function failuresOfRule(
  rule: AuthorityRule,
  { issuer, claims }: { readonly issuer: string; readonly claims: JsonObject }
): readonly ReleaseFailure[] {
  const { authority } = rule
  if (normalAuthority(authority) !== normalAuthority(issuer)) return [{ kind: 'authority', authority, issuer }]
  return failuresOf(rule.allOf === undefined ? { anyOf: rule.anyOf } : { allOf: rule.allOf }, authority, claims)
}

function failuresOf(condition: Condition, authority: string, claims: JsonObject): readonly ReleaseFailure[] {
  if (isClaimCondition(condition)) return failuresOfClaim(condition, authority, claims)
  const { allOf, anyOf } = condition
  const outcomes = (allOf ?? anyOf).map((inner) => failuresOf(inner, authority, claims))
  if (allOf === undefined && outcomes.some((failures) => failures.length === 0)) return []
  return outcomes.flat()
}

function failuresOfClaim(condition: ClaimCondition, authority: string, claims: JsonObject): readonly ReleaseFailure[] {
  const { claim } = condition
  const { operator, value } = operationOf(condition)
  const found = claimAt(claims, claim)
  if (holds(operator, found, value)) return []
  const actual =
    found === undefined
      ? undefined
      : (scalarText(found) ?? (typeof found === 'number' ? 'a number beyond 2^53' : 'not a scalar'))
  return [{ kind: 'claim', authority, claim, operator, expected: String(value), actual }]
}

/** A claim of exactly this name, else the path that its dots describe. Own members only. */
function claimAt(claims: JsonObject, path: string): Json | undefined {
  if (Object.hasOwn(claims, path)) return claims[path]
  let value: Json | undefined = claims
  for (const name of path.split('.')) {
    if (!isJsonObject(value) || !Object.hasOwn(value, name)) return undefined
    value = value[name]
  }
  return value
}

function holds(operator: ClaimOperator, found: Json | undefined, value: ClaimValue): boolean {
  if (operator === 'exists') return (found !== undefined) === (String(value) === 'true')
  const actual = scalarText(found)
  if (actual === undefined) return false
  switch (operator) {
    case 'equals':
      return actual === String(value)
    case 'notEquals':
      return actual !== String(value)
    case 'less':
      return compare(actual, value, (order) => order < 0)
    case 'lessOrEquals':
      return compare(actual, value, (order) => order <= 0)
    case 'greater':
      return compare(actual, value, (order) => order > 0)
    case 'greaterOrEquals':
      return compare(actual, value, (order) => order >= 0)
  }
}

function compare(actual: string, value: ClaimValue, accept: (order: number) => boolean): boolean {
  const left = numberOf(actual)
  const right = numberOf(String(value))
  if (left === undefined || right === undefined) return false
  const decimals = Math.max(left.fraction.length, right.fraction.length)
  const difference = scaled(left, decimals) - scaled(right, decimals)
  return accept(difference < 0n ? -1 : Number(difference > 0n))
}

interface Decimal {
  /** With its sign. */
  readonly whole: string
  readonly fraction: string
}

const maximumDigits = 1_000

/** Decimal text only: `Number` would take an empty text for 0, and a double holds 15 digits. */
function numberOf(text: string): Decimal | undefined {
  const [found, whole = '', fraction = ''] = /^(-?[0-9]+)(?:\.([0-9]+))?$/.exec(text) ?? []
  return found === undefined || found.length > maximumDigits ? undefined : { whole, fraction }
}

function scaled({ whole, fraction }: Decimal, decimals: number): bigint {
  return BigInt(whole + fraction.padEnd(decimals, '0'))
}

function scalarText(value: Json | undefined): string | undefined {
  if (typeof value === 'number')
    return Number.isInteger(value) && !Number.isSafeInteger(value) ? undefined : String(value)
  return typeof value === 'string' || typeof value === 'boolean' ? String(value) : undefined
}
