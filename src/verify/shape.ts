import { isJsonObject } from '../base/json.js'
import { printable, shown } from './check.js'

/**
 * Readers of values of unknown shape that list every problem instead of stopping at the first. A
 * reader gives `undefined` exactly when it has added a problem. Unknown members are problems.
 */
export type Reader<T> = (value: unknown, path: string, problems: string[]) => T | undefined

interface Optional<T> {
  readonly optional: Reader<T>
}

type Fields<T> = {
  readonly [K in keyof T]-?: undefined extends T[K] ? Optional<Exclude<T[K], undefined>> : Reader<T[K]>
}

export function object<T extends object>(fields: Fields<T>): Reader<T> {
  const readers = new Map<string, Reader<unknown> | Optional<unknown>>(Object.entries(fields))
  return (value, path, problems) => {
    if (!isJsonObject(value)) return problem(problems, path, 'an object', value)
    const before = problems.length
    const prefix = path === '' ? '' : `${path}.`
    for (const name of Object.keys(value)) {
      if (!readers.has(name)) problems.push(`${prefix}${printable(name)} is not a known field`)
    }
    const members: [string, unknown][] = []
    for (const [name, reader] of readers) {
      const place = `${prefix}${name}`
      if (Object.hasOwn(value, name)) {
        const read = typeof reader === 'function' ? reader : reader.optional
        members.push([name, read(value[name], place, problems)])
      } else if (typeof reader === 'function') {
        problems.push(`${place} is missing`)
      }
    }
    // With no new problem every reader gave a value of its type.
    return problems.length === before ? (Object.fromEntries(members) as T) : undefined
  }
}

export function optional<T>(reader: Reader<T>): Optional<T> {
  return { optional: reader }
}

/** A word that stands for a decision, such as `"any"`, or else what `reader` reads. */
export function wordOr<const W extends string, T>(words: readonly W[], reader: Reader<T>): Reader<W | T> {
  return (value, path, problems) => words.find((word) => word === value) ?? reader(value, path, problems)
}

export function oneOf<const V extends string | number | boolean>(...values: readonly V[]): Reader<V> {
  return (value, path, problems) => {
    const found = values.find((candidate) => candidate === value)
    return found ?? problem(problems, path, values.map((candidate) => JSON.stringify(candidate)).join(' or '), value)
  }
}

export function integer(minimum: number, maximum: number): Reader<number> {
  return (value, path, problems) => {
    const valid = typeof value === 'number' && Number.isInteger(value) && value >= minimum && value <= maximum
    return valid ? value : problem(problems, path, `a whole number from ${minimum} to ${maximum}`, value)
  }
}

export function list<T>(item: Reader<T>, maximum: number): Reader<readonly T[]> {
  return (value, path, problems) => {
    if (!Array.isArray(value) || value.length === 0 || value.length > maximum) {
      return problem(problems, path, `a list of 1 to ${maximum} entries`, value)
    }
    const items = value.map((entry: unknown, i) => item(entry, `${path}[${i}]`, problems))
    const read = items.filter((entry) => entry !== undefined)
    return read.length === items.length ? read : undefined
  }
}

/** A text of at most `maximum` characters that `parse` takes; `expected` says in words what that is. */
export function text<T>(expected: string, maximum: number, parse: (text: string) => T | undefined): Reader<T> {
  return (value, path, problems) => {
    if (typeof value === 'string' && value.length > maximum) {
      return problem(problems, path, `at most ${maximum} characters`, value.length)
    }
    const parsed = typeof value === 'string' ? parse(value) : undefined
    return parsed ?? problem(problems, path, expected, value)
  }
}

function problem(problems: string[], path: string, expected: string, value: unknown): undefined {
  problems.push(`${path === '' ? 'the document' : path} must be ${expected}, got ${shown(value)}`)
  return undefined
}
