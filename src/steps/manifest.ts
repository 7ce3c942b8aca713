import { isJsonObject, type Json } from '../base/json.js'
import { UserError } from '../base/user-error.js'
import { parseAllDocuments } from 'yaml'
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

/** The documents of a text; empty ones are left out. */
export function parseManifest(text: string, file: string): readonly Json[] {
  const parsed = parseAllDocuments(text, { version: '1.1', merge: true })
  const documents = 'empty' in parsed ? [] : parsed
  return documents.flatMap((document): Json[] => {
    const [error] = document.errors
    if (error !== undefined) throw notYaml(file, error.message, error)
    const value: unknown = document.toJS({ maxAliasCount: 100 })
    if (value === null) return []
    if (!isJsonObject(value)) throw notYaml(file, 'a document of it is no mapping')
    return [value]
  })
}

function notYaml(file: string, why: string, cause?: unknown): UserError {
  return new UserError('config', 'policy.file', `${file} is not a manifest`, {
    why,
    next: ['docs/policy.md has the form of each file'],
    cause
  })
}
