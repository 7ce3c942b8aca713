import { z } from 'zod'
import { rawSchema, type RawConfig } from './schema.js'

type Scalar = string | number | boolean

/** Dotted paths of the scalars of a raw configuration; a list counts as one, the free names of a map do not. */
type ScalarPaths<T> = {
  [Key in keyof T & string]: NonNullable<T[Key]> extends Scalar | readonly unknown[]
    ? Key
    : string extends keyof NonNullable<T[Key]>
      ? never
      : `${Key}.${ScalarPaths<NonNullable<T[Key]>>}`
}[keyof T & string]

/** A path that has a variable and may have a flag, such as `containerGroup.port`. */
export type ConfigPath = ScalarPaths<RawConfig>

export interface ScalarPath {
  readonly path: readonly string[]
  readonly kind: 'text' | 'number' | 'boolean' | 'list'
}

const scalars: ReadonlyMap<string, ScalarPath> = new Map(
  scalarsOf(rawSchema, []).map((scalar) => [scalar.path.join('.'), scalar])
)

/** Every path that has a variable, in the order of the schema. */
export const configPaths: readonly ConfigPath[] = [...scalars.keys()].filter(isConfigPath)

export function isConfigPath(path: string): path is ConfigPath {
  return scalars.has(path)
}

export function scalarAt(path: ConfigPath): ScalarPath {
  const scalar = scalars.get(path)
  if (scalar === undefined) throw new TypeError(`${path} is no scalar of the configuration`)
  return scalar
}

/** `containerGroup.port` → `CONFROUTER_CONTAINER_GROUP_PORT`. */
export function variableOf(path: ConfigPath): string {
  return `CONFROUTER_${words(path).join('_').toUpperCase()}`
}

/** `containerGroup.port` → `--container-group-port`; the only name that a flag for this path may have. */
export function flagOf(path: ConfigPath): string {
  return `--${words(path).join('-')}`
}

/** The schema below a path, or undefined where there is none. */
export function schemaAt(path: readonly PropertyKey[]): z.ZodType | undefined {
  let schema: z.ZodType | undefined = rawSchema
  for (const part of path) schema = childOf(bare(schema), part)
  return schema === undefined ? undefined : bare(schema)
}

/** The keys of a map, or undefined for anything else and for maps whose keys are free. */
export function keysAt(path: readonly PropertyKey[]): readonly string[] | undefined {
  const schema = schemaAt(path)
  return schema instanceof z.ZodObject ? Object.keys(schema.shape) : undefined
}

function words(path: string): string[] {
  return path
    .replace(/([a-z])([A-Z])/g, '$1.$2')
    .toLowerCase()
    .split('.')
}

function scalarsOf(given: z.ZodType, path: readonly string[]): ScalarPath[] {
  const schema = bare(given)
  if (schema instanceof z.ZodObject) {
    return Object.entries(schema.shape).flatMap(([key, child]) => scalarsOf(child as z.ZodType, [...path, key]))
  }
  if (schema instanceof z.ZodRecord) return []
  if (schema instanceof z.ZodArray) return [{ path, kind: 'list' }]
  if (schema instanceof z.ZodBoolean) return [{ path, kind: 'boolean' }]
  if (schema instanceof z.ZodNumber || schema instanceof z.ZodLiteral) return [{ path, kind: 'number' }]
  return [{ path, kind: 'text' }]
}

function childOf(schema: z.ZodType | undefined, part: PropertyKey): z.ZodType | undefined {
  if (schema instanceof z.ZodObject) {
    const shape: Readonly<Record<string, z.ZodType>> = schema.shape
    return Object.hasOwn(shape, part) ? shape[String(part)] : undefined
  }
  if (schema instanceof z.ZodRecord) return schema.valueType as z.ZodType
  if (schema instanceof z.ZodArray) return schema.element as z.ZodType
  return undefined
}

function bare(schema: z.ZodType): z.ZodType
function bare(schema: z.ZodType | undefined): z.ZodType | undefined
function bare(schema: z.ZodType | undefined): z.ZodType | undefined {
  return schema instanceof z.ZodOptional ? (schema.unwrap() as z.ZodType) : schema
}
