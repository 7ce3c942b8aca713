import { z } from 'zod'
import type { ConfigProblem, Origin } from './config-error.js'
import { checkValues, type OriginOf } from './check-values.js'
import { isMap, nest } from './nest.js'
import { configPaths, flagOf, isConfigPath, scalarAt, schemaAt, variableOf, type ConfigPath } from './paths.js'
import { routerLimits, routerNumbers } from './router-numbers.js'
import { rawSchema, type RawConfig } from './schema.js'
import { didYouMean, suggest } from './suggest.js'
import { readYaml } from './yaml-source.js'

/** What one source says: its valid part, its problems, and where each value stands. */
export interface Layer {
  readonly raw: RawConfig
  readonly problems: readonly ConfigProblem[]
  readonly originOf: OriginOf
  /** False when the source could not be read at all, so that an absent value means nothing. */
  readonly readable: boolean
}

export type FlagValue = string | number | boolean | readonly string[]

/** Values of flags by the path that they set. An absent flag is absent or undefined. */
export type ConfigFlags = Readonly<Partial<Record<ConfigPath, FlagValue | undefined>>>

/** The layer of the file; an empty file is an empty configuration. */
export function fileLayer(text: string, fileName: string): Layer {
  const source = readYaml(text, fileName)
  if (!source.readable) return { raw: {}, ...source }
  const checked = checkValues(withoutEmptySections(source.value ?? {}, []), source.originOf)
  // A document that is no map was not understood any better than one that is no YAML.
  const readable = checked.problems.every((problem) => problem.path !== '')
  return { ...source, ...checked, readable, problems: [...source.problems, ...checked.problems] }
}

/**
 * The layer of `CONFROUTER_*`. A variable of that prefix which is neither a path nor in
 * `otherVariables` is a problem: a misspelt variable must not be passed over in silence. An empty
 * variable counts as absent, because pipelines cannot unset one.
 */
export function environmentLayer(
  environment: Readonly<Record<string, string | undefined>>,
  otherVariables: readonly string[]
): Layer {
  const pathOf = new Map(configPaths.map((path) => [variableOf(path), path]))
  const originOf = (path: readonly PropertyKey[]) => originOfVariable(variableAt(path))
  const problems: ConfigProblem[] = []
  const values: (readonly [ConfigPath, FlagValue])[] = []
  for (const [name, value] of Object.entries(environment)) {
    if (!name.startsWith('CONFROUTER_') || value === undefined || value === '') continue
    const path = pathOf.get(name)
    if (path !== undefined) values.push([path, value])
    else if (!otherVariables.includes(name)) {
      const meant = routersOwn.get(name) ?? similar(name, [...pathOf.keys(), ...otherVariables])
      problems.push({
        ...originOfVariable(name),
        path: '',
        message: `unknown variable ${name}${didYouMean(meant)}`,
        suggestion: meant
      })
    }
  }
  const checked = checkValues(nested(values), originOf)
  return { raw: checked.raw, problems: [...problems, ...checked.problems], originOf, readable: true }
}

/** The router has variables of its own for what is configured here under another name. */
const routersOwn: ReadonlyMap<string, string> = new Map([
  ['CONFROUTER_TLS_PORT', variableOf('router.tls.port')],
  ['CONFROUTER_METRICS', variableOf('router.metrics')],
  ...Object.entries(routerNumbers).map(([key, { variable }]) => [variable, variableAt(['router', key])] as const),
  ...Object.entries(routerLimits).map(
    ([key, { variable }]) => [variable, variableAt(['router', 'limits', key])] as const
  )
])

/** Compared without the prefix, which all of them have in common. */
function similar(name: string, candidates: readonly string[]): string | undefined {
  const prefix = 'CONFROUTER_'
  const suggestion = suggest(
    name.slice(prefix.length),
    candidates.map((known) => known.slice(prefix.length))
  )
  return suggestion === undefined ? undefined : prefix + suggestion
}

/** The layer of the command line. */
export function flagLayer(flags: ConfigFlags): Layer {
  const originOf = (path: readonly PropertyKey[]): Origin => ({ source: 'flag', place: flagOf(scalarPath(path)) })
  const values = Object.entries(flags).flatMap(([path, value]) => {
    if (!isConfigPath(path)) throw new TypeError(`${path} is no scalar of the configuration`)
    return value === undefined ? [] : [[path, value] as const]
  })
  return { ...checkValues(nested(values), originOf), originOf, readable: true }
}

/** A layer of defaults, which are a caller's data and therefore right or a bug. */
export function defaultLayer(raw: RawConfig): Layer {
  return {
    raw: rawSchema.parse(raw),
    problems: [],
    originOf: () => ({ source: 'default', place: 'default' }),
    readable: true
  }
}

function originOfVariable(name: string): Origin {
  return { source: 'environment', place: name }
}

function variableAt(path: readonly PropertyKey[]): string {
  return variableOf(scalarPath(path))
}

/** The scalar that a path is or is inside of: an item of a list belongs to the list. */
function scalarPath(path: readonly PropertyKey[]): ConfigPath {
  const name = path.filter((part) => typeof part !== 'number').join('.')
  if (!isConfigPath(name)) throw new TypeError(`${name} is no scalar of the configuration`)
  return name
}

function nested(values: readonly (readonly [ConfigPath, FlagValue])[]): unknown {
  return nest(
    values.map(([name, value]) => {
      const { path, kind } = scalarAt(name)
      return { path, value: typeof value === 'string' ? fromText(value, kind) : value }
    })
  )
}

/** Text that does not have the form of its kind stays text, and the schema says what is expected. */
function fromText(text: string, kind: 'text' | 'number' | 'boolean' | 'list'): unknown {
  switch (kind) {
    case 'text':
      return text
    case 'number':
      return /^-?[0-9]+(?:\.[0-9]+)?$/.test(text) ? Number(text) : text
    case 'boolean':
      return text === 'true' ? true : text === 'false' ? false : text
    case 'list':
      return text.split(',').map((item) => item.trim())
  }
}

/** A section whose lines are all commented out reads as null; it is absent, not wrong. */
function withoutEmptySections(value: unknown, path: readonly PropertyKey[]): unknown {
  if (value === null) {
    const schema = schemaAt(path)
    return schema instanceof z.ZodObject || schema instanceof z.ZodRecord ? {} : null
  }
  if (!isMap(value)) return value
  const map: Record<string, unknown> = Object.create(null) as Record<string, unknown>
  for (const [key, child] of Object.entries(value)) map[key] = withoutEmptySections(child, [...path, key])
  return map
}
