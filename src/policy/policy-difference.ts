import { type EnvRule, infrastructureFragment } from './frames.js'
import type { GroupPolicy } from './generate.js'
import { decodePolicy, type ExistingPolicy } from './inject.js'
import { type JsonNode, JsonTextError, parseJsonPrefix } from './json-text.js'
import { pythonJson } from './python-json.js'
import { compileRe2, type Re2, Re2SyntaxError } from './re2.js'
import { templateError } from './template-fields.js'

/** What `--diff` says of one container group. */
export interface PolicyDifference {
  /** One line of JSON, by container name; undefined if the existing policy allows what the template has. */
  readonly differences: string | undefined
  readonly warnings: readonly string[]
}

/**
 * Compares the policy that a template holds with the one that was made of it, by the rules of acipolicygen's `--diff`:
 * containers are found by id or name; their members have to be equal, the order in lists apart; each variable has to
 * be allowed by a rule of the existing policy. It says nothing of what the existing policy allows beyond that, and two
 * policies that pass may differ in host data. Throws a `UserError` when the existing policy cannot be read.
 */
export function differenceFromExisting(existing: ExistingPolicy, made: GroupPolicy): PolicyDifference {
  const text = existing.base64 === '' ? '' : decodePolicy(existing.base64, existing.groupName)
  const held = text === '' ? [] : containersOf(text, existing.groupName)
  const found = new Map<string, JsonNode>()
  const compile = compilerFor(existing.groupName)
  for (const container of containersOf(made.rego, made.groupName)) {
    const difference = containerDifference(container, held, compile)
    if (difference !== undefined) found.set(textOf(container.get('name')) ?? '', difference)
  }
  return {
    differences: found.size === 0 ? undefined : pythonJson(found, { sortKeys: true }),
    warnings: text === '' ? [] : fragmentWarnings(text, existing.groupName)
  }
}

type Container = ReadonlyMap<string, JsonNode>

/** Members that are compared in another way, or only find the container. */
const comparedApart: ReadonlySet<string> = new Set(['id', 'env_rules'])

function containerDifference(container: Container, held: readonly Container[], compile: Compile): JsonNode | undefined {
  const id = textOf(container.get('id'))
  const name = textOf(container.get('name'))
  const candidates = held.filter((other) => {
    const sameId = id !== undefined && textOf(other.get('id')) === id
    return sameId || (name !== undefined && textOf(other.get('name')) === name)
  })
  const results = candidates.map((other) => differenceOf(container, other, compile))
  if (results.length === 0) return `${id ?? 'None'} not found in policy`
  return results.includes(undefined) ? undefined : results[0]
}

function differenceOf(container: Container, other: Container, compile: Compile): JsonNode | undefined {
  const members = [...new Set([...container.keys(), ...other.keys()])].filter((name) => !comparedApart.has(name))
  const changed = members.filter((name) => unordered(container.get(name)) !== unordered(other.get(name)))
  const variables = missingVariables(container, other, compile)
  if (changed.length === 0 && variables.length === 0) return undefined
  const values = changed.map((name): [string, JsonNode] => [
    `root['${name}']`,
    new Map([
      ['new_value', container.get(name) ?? null],
      ['old_value', other.get(name) ?? null]
    ])
  ])
  return new Map<string, JsonNode>([
    ...(values.length === 0 ? [] : [['values_changed', new Map(values)] as const]),
    ...(variables.length === 0 ? [] : [['env_rules', variables] as const])
  ])
}

/** A text has to be a text of the existing policy or match one of its patterns; a pattern has to be there as it is. */
function missingVariables(container: Container, other: Container, compile: Compile): string[] {
  const allowed = rulesOf(other)
  const texts = new Set(allowed.filter(({ strategy }) => strategy === 'string').map(({ pattern }) => pattern))
  const patterns = allowed.filter(({ strategy }) => strategy !== 'string').map(({ pattern }) => pattern)
  const compiled = patterns.map(compile)
  return rulesOf(container)
    .filter(({ pattern, strategy }) =>
      strategy === 'string'
        ? !texts.has(pattern) && !compiled.some((allowing) => allowing.matches(pattern))
        : !patterns.includes(pattern)
    )
    .map(({ pattern }) => `environment variable with rule '${pattern}' does not match strings or regex in policy rules`)
}

function rulesOf(container: Container): readonly Pick<EnvRule, 'pattern' | 'strategy'>[] {
  return nodesOf(container.get('env_rules')).flatMap((rule) => {
    const pattern = rule instanceof Map ? textOf(rule.get('pattern')) : undefined
    if (pattern === undefined || !(rule instanceof Map)) return []
    return [{ pattern, strategy: rule.get('strategy') === 'string' ? ('string' as const) : ('re2' as const) }]
  })
}

type Compile = (pattern: string) => Re2

/** Of all patterns of an existing policy together, as for one that is read as a whole. */
const maximumStates = 200_000

/** Compiles each pattern of the existing policy once; throws a `UserError` for one that cannot be read or is too many. */
function compilerFor(group: string): Compile {
  const compiled = new Map<string, Re2>()
  let states = 0
  return (pattern) => {
    const known = compiled.get(pattern)
    if (known !== undefined) return known
    const made = compile(pattern, group)
    states += made.program.states.length
    if (states > maximumStates) {
      throw templateError(`the existing policy of container group "${group}": its patterns are too large together`)
    }
    compiled.set(pattern, made)
    return made
  }
}

function compile(pattern: string, group: string): Re2 {
  try {
    return compileRe2(pattern)
  } catch (cause) {
    if (!(cause instanceof Re2SyntaxError)) throw cause
    throw templateError(`the existing policy of container group "${group}": ${cause.message}`, { cause })
  }
}

function containersOf(rego: string, group: string): readonly Container[] {
  return nodesOf(readList(rego, 'containers', group)).filter(
    (node): node is Map<string, JsonNode> => node instanceof Map
  )
}

function fragmentWarnings(rego: string, group: string): string[] {
  const { feed, issuer } = infrastructureFragment
  const listed = nodesOf(readList(rego, 'fragments', group))
  const areDefault =
    listed.length === 1 &&
    listed.every((node) => node instanceof Map && node.get('feed') === feed && node.get('issuer') === issuer)
  return areDefault
    ? []
    : [`the existing policy of container group "${group}" imports other fragments than the default one`]
}

function readList(rego: string, name: string, group: string): JsonNode {
  const start = new RegExp(`^${name} := `, 'm').exec(rego)
  try {
    if (start === null) throw new JsonTextError(`has no "${name}"`, 0)
    return parseJsonPrefix(rego, start.index + start[0].length, 'last').node
  } catch (cause) {
    if (!(cause instanceof JsonTextError)) throw cause
    throw templateError(`the existing policy of container group "${group}" cannot be compared: ${cause.problem}`, {
      cause
    })
  }
}

/** The same text for values that differ only in the order or the repetition of what their lists hold. */
function unordered(node: JsonNode | undefined): string {
  if (node === undefined) return ''
  if (node instanceof Map) {
    const members = [...node].map(([name, value]) => `${JSON.stringify(name)}:${unordered(value)}`)
    return `{${members.sort().join()}}`
  }
  if (Array.isArray(node)) return `[${[...new Set(nodesOf(node).map(unordered))].sort().join()}]`
  return pythonJson(node, { sortKeys: true })
}

function nodesOf(node: JsonNode | undefined): readonly JsonNode[] {
  return Array.isArray(node) ? (node as readonly JsonNode[]) : []
}

function textOf(node: JsonNode | undefined): string | undefined {
  return typeof node === 'string' ? node : undefined
}
