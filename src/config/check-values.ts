import { z } from 'zod'
import type { ConfigProblem, Origin } from './config-error.js'
import { keysAt, schemaAt } from './paths.js'
import { rawSchema, type RawConfig } from './schema.js'
import { didYouMean, suggest } from './suggest.js'
import { dotted } from './yaml-source.js'

export type OriginOf = (path: readonly PropertyKey[], key?: string) => Origin

/** Checks one layer against the schema; what is wrong is reported and left out of the result. */
export function checkValues(
  value: unknown,
  originOf: OriginOf
): { readonly raw: RawConfig; readonly problems: readonly ConfigProblem[] } {
  const first = rawSchema.safeParse(value)
  if (first.success) return { raw: first.data, problems: [] }
  const problems: ConfigProblem[] = []
  const wrong = new Set<string>()
  let rest = value
  for (const issue of first.error.issues) {
    if (issue.code === 'unrecognized_keys') {
      for (const key of issue.keys) {
        problems.push(unknownKey(issue.path, key, originOf))
        rest = without(rest, [...issue.path, key])
      }
    } else if (!wrong.has(dotted(issue.path))) {
      // Several checks of one value have one expectation; it is said once.
      wrong.add(dotted(issue.path))
      problems.push(wrongValue(issue, value, originOf))
      rest = without(rest, issue.path)
    }
  }
  return { raw: rawSchema.parse(rest), problems }
}

function unknownKey(path: readonly PropertyKey[], key: string, originOf: OriginOf): ConfigProblem {
  const keys = keysAt(path) ?? []
  if (path.includes('apiKey')) {
    // `apiKey: { sk-… }` makes the pasted key a key of a map.
    const expected = 'either { env: NAME } or { file: path }'
    return {
      ...originOf(path, key),
      path: dotted(path),
      message: `unknown key in ${dotted(path)}, expected ${expected}`,
      expected
    }
  }
  const suggestion = suggest(key, keys)
  const shown = shorten(JSON.stringify(key))
  const where = path.length === 0 ? '' : ` in ${dotted(path)}`
  return {
    ...originOf(path, key),
    path: dotted([...path, key.slice(0, 80)]),
    message: `unknown key ${shown}${where}${didYouMean(suggestion) || `, expected one of ${keys.join(', ')}`}`,
    expected: `one of ${keys.join(', ')}`,
    suggestion
  }
}

function wrongValue(issue: z.core.$ZodIssue, root: unknown, originOf: OriginOf): ConfigProblem {
  const path = dotted(issue.path)
  const key = issue.path.at(-1)
  if (issue.code === 'invalid_key') {
    const expected = issue.issues[0]?.message ?? issue.message
    const shown = shorten(JSON.stringify(String(key)))
    return {
      ...originOf(issue.path.slice(0, -1), String(key)),
      path: dotted([...issue.path.slice(0, -1), String(key).slice(0, 80)]),
      message: `the name ${shown} in ${dotted(issue.path.slice(0, -1))} is not allowed, expected ${expected}`,
      value: shown,
      expected
    }
  }
  const value = valueAt(root, issue.path)
  const shown = mayBeSecret(issue.path, value) ? undefined : show(value)
  const suggestion =
    issue.code === 'invalid_value' && typeof value === 'string'
      ? suggest(
          value,
          issue.values.filter((known) => typeof known === 'string')
        )
      : undefined
  const subject = path === '' ? 'the file' : path
  const said = shown === undefined ? 'has a wrong value' : `is ${shown}`
  const hint = didYouMean(suggestion) || quotesHint(schemaAt(issue.path), value)
  return {
    ...originOf(issue.path),
    path,
    message: `${subject} ${said}, expected ${issue.message}${hint}`,
    value: shown,
    expected: issue.message,
    suggestion
  }
}

/** YAML decides by the quotes whether `8080` is a number, which is easy to miss. */
function quotesHint(schema: z.ZodType | undefined, value: unknown): string {
  const wantsText = schema instanceof z.ZodString
  const wantsNumber = schema instanceof z.ZodNumber || schema instanceof z.ZodLiteral
  if (wantsText && (typeof value === 'number' || typeof value === 'boolean')) return ' (put it in quotes)'
  if (wantsNumber && typeof value === 'string' && /^[0-9.]+$/.test(value)) return ' (without quotes)'
  if (schema instanceof z.ZodBoolean && (value === 'true' || value === 'false')) return ' (without quotes)'
  return ''
}

/**
 * A key pasted where its place should be named is the likeliest mistake of all, and a URL may
 * carry credentials. Neither may reach a log.
 */
function mayBeSecret(path: readonly PropertyKey[], value: unknown): boolean {
  return path.includes('apiKey') || path.includes('tokensSha256') || (typeof value === 'string' && value.includes('@'))
}

function show(value: unknown): string {
  if (value === null) return 'empty'
  if (Array.isArray(value)) return 'a list'
  if (value instanceof Uint8Array) return 'binary data'
  if (typeof value === 'object') return 'a map'
  return shorten(typeof value === 'string' ? JSON.stringify(value) : JSON.stringify(value))
}

function shorten(text: string): string {
  return text.length <= 80 ? text : `${text.slice(0, 77)}…`
}

function valueAt(root: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((value, part) => {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined
    return (value as Record<PropertyKey, unknown>)[part]
  }, root)
}

/** A copy without the value at a path; for an item of a list, without the whole list. */
function without(value: unknown, path: readonly PropertyKey[]): unknown {
  const [key, ...below] = path
  if (key === undefined) return {}
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  const copy: Record<PropertyKey, unknown> = Object.assign(Object.create(null) as Record<PropertyKey, unknown>, value)
  const child = below.length === 0 ? undefined : without(copy[key], below)
  if (child === undefined) delete copy[key]
  else copy[key] = child
  return copy
}
