import { utf8 } from '../base/encoding.js'
import { canonicalJson, isJsonObject, type Json, type JsonObject } from '../base/json.js'
import { UserError } from '../base/user-error.js'
import { JsonNumber, type JsonNode, JsonTextError, parseJsonText, toJson } from './json-text.js'

/** Key Vault's key release policy, grammar version 1.0.0, in the form that goes over the wire. */
export interface ReleasePolicy {
  readonly version: '1.0.0'
  /** The key is released to whoever satisfies one of these. */
  readonly anyOf: readonly AuthorityRule[]
}

export type AuthorityRule = { readonly authority: string } & ConditionGroup

export type ConditionGroup =
  | { readonly allOf: readonly Condition[]; readonly anyOf?: never }
  | { readonly anyOf: readonly Condition[]; readonly allOf?: never }

export type Condition = ConditionGroup | ClaimCondition

/** A claim name or dotted path, and exactly one of the operators. */
export type ClaimCondition = { readonly claim: string } & { readonly [operator in ClaimOperator]?: ClaimValue }

export type ClaimValue = string | number | boolean

const claimOperators = ['equals', 'notEquals', 'less', 'lessOrEquals', 'greater', 'greaterOrEquals', 'exists'] as const

export type ClaimOperator = (typeof claimOperators)[number]

const maximumBytes = 65_536
const maximumDepth = 8
const maximumConditions = 1_000

/** Canonical JSON: the text whose bytes go, as base64url, into the key's `release_policy.data`. */
export function encodeReleasePolicy(policy: ReleasePolicy): string {
  return canonicalJson(policy)
}

/**
 * Reads a policy strictly: known members only, none twice, exactly one operator for each claim,
 * no empty list, no number that JavaScript would write otherwise. Throws a `UserError` with the
 * place of the fault.
 */
export function parseReleasePolicy(source: Uint8Array | string): ReleasePolicy {
  const node = parseText(source)
  checkNumbers(node)
  const root = object(toJson(node), 'the policy')
  members(root, ['version', 'anyOf'], 'the policy')
  if (root['version'] !== '1.0.0') throw policyError('version must be "1.0.0"')
  const budget = { left: maximumConditions }
  const anyOf = list(root['anyOf'], 'anyOf').map((entry, index) => parseAuthority(entry, `anyOf[${index}]`, budget))
  return { version: '1.0.0', anyOf }
}

/** `authority` without the trailing slash that Azure ignores. */
export function normalAuthority(authority: string): string {
  return authority.endsWith('/') ? authority.slice(0, -1) : authority
}

/** The operator and value of a claim condition. */
export function operationOf(condition: ClaimCondition): { operator: ClaimOperator; value: ClaimValue } {
  for (const operator of claimOperators) {
    const value = condition[operator]
    if (value !== undefined) return { operator, value }
  }
  throw policyError(`the condition on ${JSON.stringify(condition.claim)} has no operator`)
}

export function isClaimCondition(condition: Condition): condition is ClaimCondition {
  return 'claim' in condition
}

/** An https address without user, query and fragment; services other than Azure's own may have a path. */
function checkAuthority(authority: string, where: string): void {
  const url = URL.canParse(authority) ? new URL(authority) : undefined
  const plain = url?.username === '' && url.password === '' && url.search === '' && url.hash === ''
  if (!plain || url.protocol !== 'https:') {
    throw policyError(`${where} ${JSON.stringify(authority.slice(0, 200))} is not an https address`)
  }
}

function parseText(source: Uint8Array | string): JsonNode {
  // Every character is a byte or more, so a text that is too long need not be encoded to say so.
  const size = typeof source === 'string' && source.length <= maximumBytes ? utf8.encode(source).length : source.length
  if (size > maximumBytes) throw policyError(`the policy is longer than ${maximumBytes} bytes`)
  const text = typeof source === 'string' ? source : decodeText(source)
  try {
    return parseJsonText(text, 'refuse')
  } catch (cause) {
    if (!(cause instanceof JsonTextError)) throw cause
    throw policyError(`the policy is not JSON: ${cause.message}`, [], cause)
  }
}

/**
 * Scalars are compared by their text, and numbers become doubles here. One that a double does not
 * hold, or whose text would change, would be another number than the author and the service read.
 */
function checkNumbers(node: JsonNode): void {
  if (node instanceof JsonNumber) {
    const value = Number(node.text)
    if (node.text !== String(value) || (node.isInteger && !Number.isSafeInteger(value))) {
      throw policyError(`number ${node.text.slice(0, 40)} cannot be kept exactly`, ['write it as a text, in quotes'])
    }
  } else if (node instanceof Map) {
    for (const member of node.values()) checkNumbers(member)
  } else if (Array.isArray(node)) {
    for (const item of node as readonly JsonNode[]) checkNumbers(item)
  }
}

function decodeText(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes)
  } catch (cause) {
    throw policyError('the policy is not UTF-8', [], cause)
  }
}

interface Budget {
  left: number
}

function parseAuthority(entry: Json, where: string, budget: Budget): AuthorityRule {
  const rule = object(entry, where)
  const { authority, ...conditions } = rule
  if (typeof authority !== 'string') throw policyError(`${where}.authority must be a text`)
  checkAuthority(authority, `${where}.authority`)
  return { authority, ...parseGroup(conditions, where, 1, budget) }
}

function parseGroup(group: JsonObject, where: string, depth: number, budget: Budget): ConditionGroup {
  if (depth > maximumDepth) throw policyError(`${where} is nested more than ${maximumDepth} levels deep`)
  members(group, ['allOf', 'anyOf'], where)
  const [kind, ...others] = Object.keys(group)
  if ((kind !== 'allOf' && kind !== 'anyOf') || others.length > 0) {
    throw policyError(`${where} must have either allOf or anyOf`)
  }
  const conditions = list(group[kind], `${where}.${kind}`).map((entry, index) =>
    parseCondition(entry, `${where}.${kind}[${index}]`, depth, budget)
  )
  return kind === 'allOf' ? { allOf: conditions } : { anyOf: conditions }
}

function parseCondition(entry: Json, where: string, depth: number, budget: Budget): Condition {
  if (--budget.left < 0) throw policyError(`the policy has more than ${maximumConditions} conditions`)
  const condition = object(entry, where)
  if (!Object.hasOwn(condition, 'claim')) return parseGroup(condition, where, depth + 1, budget)
  members(condition, ['claim', ...claimOperators], where)
  const { claim } = condition
  if (typeof claim !== 'string' || claim === '') throw policyError(`${where}.claim must be a name`)
  const operators = claimOperators.filter((operator) => Object.hasOwn(condition, operator))
  const [operator] = operators
  if (operator === undefined || operators.length > 1) {
    throw policyError(`${where} must have exactly one of ${claimOperators.join(', ')}`)
  }
  const value = condition[operator]
  if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'boolean') {
    throw policyError(`${where}.${operator} must be a text, a number or a boolean`)
  }
  if (operator === 'exists' && !/^(true|false)$/.test(String(value))) {
    throw policyError(`${where}.exists must be true or false`)
  }
  return { claim, [operator]: value }
}

function object(value: Json | undefined, where: string): JsonObject {
  if (!isJsonObject(value)) throw policyError(`${where} must be an object`)
  return value
}

function list(value: Json | undefined, where: string): readonly Json[] {
  if (!Array.isArray(value) || value.length === 0) throw policyError(`${where} must be a list that is not empty`)
  return value as readonly Json[]
}

function members(value: JsonObject, known: readonly string[], where: string): void {
  const unknown = Object.keys(value).find((name) => !known.includes(name))
  if (unknown !== undefined) throw policyError(`${where} has an unknown member ${JSON.stringify(unknown.slice(0, 80))}`)
}

export function policyError(problem: string, next: readonly string[] = [], cause?: unknown): UserError {
  return new UserError('config', 'release-policy.invalid', `release policy: ${problem}`, { next, cause })
}
