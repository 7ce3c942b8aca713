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
 * their text, so `"false"` meets `false` and `"0"` meets `0`. A claim that is missing, or is no
 * scalar, satisfies nothing but `exists`.
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
  const actual = found === undefined ? undefined : (scalarText(found) ?? 'not a scalar')
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
  return left !== undefined && right !== undefined && accept(left - right)
}

/** Decimal text only: `Number` alone would take an empty text for 0. */
function numberOf(text: string): number | undefined {
  const value = /^-?[0-9]+(?:\.[0-9]+)?$/.test(text) ? Number(text) : Number.NaN
  return Number.isFinite(value) ? value : undefined
}

function scalarText(value: Json | undefined): string | undefined {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
    ? String(value)
    : undefined
}
