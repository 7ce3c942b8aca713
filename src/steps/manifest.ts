import { type Document, isAlias, isMap, isSeq, type Node, parseAllDocuments } from 'yaml'
import { isJsonObject, type Json } from '../base/json.js'
import { UserError } from '../base/user-error.js'
import { podsOfManifest, type PodResource } from '../policy/index.js'
import { readTextFile } from './acipolicygen-images.js'

/** A Kubernetes manifest with the pods that it makes. */
export interface Manifest {
  readonly documents: readonly Json[]
  readonly pods: readonly PodResource[]
}

/** Whether a file is a manifest, by its name: templates are JSON. */
export function isManifest(file: string): boolean {
  return /\.ya?ml$/i.test(file)
}

/** Reads a manifest of one or several documents, as YAML 1.1. Throws a `UserError` that names file or place. */
export async function readManifest(file: string): Promise<Manifest> {
  const documents = parseManifest(await readTextFile(file), file)
  return { documents, pods: podsOfManifest(documents) }
}

/**
 * The documents of a text; empty ones are left out. Throws a `UserError` `policy.file` for what is no YAML, for what
 * JSON cannot say (dates, binary, sets, NaN, whole numbers above 2^53), and for aliases that make it too large.
 */
export function parseManifest(text: string, file: string): readonly Json[] {
  const parsed = documentsOf(text, file)
  return parsed.flatMap((document): Json[] => {
    const [error] = document.errors
    if (error !== undefined) throw notYaml(file, error.message, error)
    const problem = expansionProblem(document)
    if (problem !== undefined) throw notYaml(file, problem)
    const value: unknown = document.toJS({ maxAliasCount: -1 })
    if (value === null) return []
    const foreign = foreignValue(value, '')
    if (foreign !== undefined) throw notYaml(file, foreign)
    if (!isJsonObject(value)) throw notYaml(file, 'a document of it is no mapping')
    return [value]
  })
}

function documentsOf(text: string, file: string): readonly Document.Parsed[] {
  try {
    const parsed = parseAllDocuments(text, { version: '1.1', merge: true })
    return 'empty' in parsed ? [] : parsed
  } catch (cause) {
    // The parser calls itself for each level.
    if (!(cause instanceof RangeError)) throw cause
    throw notYaml(file, tooDeep, cause)
  }
}

const maximumNodes = 200_000
const maximumDepth = 100
/** Each is looked up in the whole document. */
const maximumAliases = 1_000
const tooDeep = `it is nested deeper than ${maximumDepth} levels`

/**
 * What would go wrong when the aliases of a document are put in place, found before it is done: a few lines of them
 * can stand for more than fits into memory, or for themselves.
 */
function expansionProblem({ contents }: Document.Parsed): string | undefined {
  const sizes = new Map<string, number | 'open'>()
  let problem: string | undefined
  let aliases = 0
  const sizeOf = (node: unknown, depth: number): number => {
    if (problem !== undefined) return 0
    if (depth > maximumDepth) problem = tooDeep
    if (isAlias(node)) {
      aliases++
      if (aliases > maximumAliases) problem = `it has more than ${maximumAliases} aliases`
      const size = sizes.get(node.source) ?? 1
      if (size === 'open') problem = `the alias *${node.source} is inside of what it stands for`
      return size === 'open' ? 1 : size
    }
    const anchor = (node as Node | null)?.anchor
    if (anchor !== undefined) sizes.set(anchor, 'open')
    const size = childrenOf(node).reduce<number>((sum, child) => sum + sizeOf(child, depth + 1), 1)
    if (size > maximumNodes) problem ??= `it has more than ${maximumNodes} values`
    if (anchor !== undefined) sizes.set(anchor, size)
    return size
  }
  sizeOf(contents, 0)
  return problem
}

function childrenOf(node: unknown): readonly unknown[] {
  if (isMap(node)) return node.items.flatMap(({ key, value }) => [key, value])
  return isSeq(node) ? node.items : []
}

/** What of a value JSON cannot say, with its place; undefined for nothing. */
function foreignValue(value: unknown, place: string): string | undefined {
  const at = place === '' ? 'the document' : place
  switch (typeof value) {
    case 'string':
      return /\p{Surrogate}/u.test(value) ? `${at} has half of a surrogate pair, which is no character` : undefined
    case 'boolean':
      return undefined
    case 'number':
      if (!Number.isFinite(value)) return `${at} is ${value}, which is no number of JSON`
      if (!Number.isInteger(value) || Number.isSafeInteger(value)) return undefined
      return `${at} is a whole number that cannot be kept exactly: put it in quotes`
    case 'object':
      break
    default:
      return `${at} is a ${typeof value}`
  }
  if (value === null) return undefined
  if (Array.isArray(value)) return firstOf(value.entries(), (index) => `${place}[${index}]`)
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) {
    return `${at} is a ${value.constructor.name}, which JSON does not have: put it in quotes`
  }
  return firstOf(Object.entries(value), (name) => (place === '' ? name : `${place}.${name}`))
}

function firstOf<K>(entries: Iterable<[K, unknown]>, placeOf: (key: K) => string): string | undefined {
  for (const [key, inner] of entries) {
    const found = foreignValue(inner, placeOf(key))
    if (found !== undefined) return found
  }
  return undefined
}

function notYaml(file: string, why: string, cause?: unknown): UserError {
  return new UserError('config', 'policy.file', `${file} is not a manifest`, {
    why,
    next: ['docs/policy.md has the form of each file'],
    cause
  })
}
