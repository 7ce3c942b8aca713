import { stat, readFile } from 'node:fs/promises'
import writeFileAtomic from 'write-file-atomic'
import { parseOciDigest, parseSha256Hex, type OciDigest, type Sha256Hex } from '../base/digest.js'
import { canonicalJson, isJsonObject, type JsonObject } from '../base/json.js'
import { fileError } from './file-content.js'

/** What is known of a layer once it has been read, and stays true: it is a function of the diff id. */
export interface LayerFacts {
  readonly rootHash: Sha256Hex
  /** Directories that have something in them and no entry of their own; long lists are cut. */
  readonly implicitParents: readonly string[]
}

const formatVersion = 1
/** About 100,000 layers. */
const maxCacheBytes = 16 * 1024 * 1024

/**
 * Reads a cache file. Whatever cannot be read or has the wrong shape counts as not cached, as a whole
 * or entry by entry: the truth is in the layers.
 */
export async function readRootHashCache(path: string): Promise<Map<OciDigest, LayerFacts>> {
  const entries = await readEntries(path)
  const cache = new Map<OciDigest, LayerFacts>()
  for (const [key, value] of Object.entries(entries)) {
    const entry = parseEntry(key, value)
    if (entry !== undefined) cache.set(...entry)
  }
  return cache
}

/** Adds entries to the file by atomic rename; another process's additions since it was read are kept. */
export async function addToRootHashCache(path: string, added: ReadonlyMap<OciDigest, LayerFacts>): Promise<void> {
  const merged = new Map([...(await readRootHashCache(path)), ...added])
  const document = { version: formatVersion, layers: Object.fromEntries(merged) }
  try {
    await writeFileAtomic(path, `${canonicalJson(document)}\n`)
  } catch (cause) {
    throw fileError('write', path, cause)
  }
}

async function readEntries(path: string): Promise<JsonObject> {
  try {
    if ((await stat(path)).size > maxCacheBytes) return {}
    const document: unknown = JSON.parse(await readFile(path, 'utf8'))
    if (!isJsonObject(document) || document['version'] !== formatVersion) return {}
    return isJsonObject(document['layers']) ? document['layers'] : {}
  } catch {
    return {}
  }
}

function parseEntry(key: string, value: unknown): [OciDigest, LayerFacts] | undefined {
  if (!isJsonObject(value)) return undefined
  const { rootHash, implicitParents } = value
  if (typeof rootHash !== 'string' || !isTexts(implicitParents)) return undefined
  try {
    return [parseOciDigest(key, 'diff id'), { rootHash: parseSha256Hex(rootHash, 'root hash'), implicitParents }]
  } catch {
    return undefined
  }
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string')
}
