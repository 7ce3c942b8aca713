import { open } from 'node:fs/promises'
import { parseOciDigest, parseSha256Hex, type OciDigest, type Sha256Hex } from '../base/digest.js'
import { canonicalJson, isJsonObject, type JsonObject } from '../base/json.js'
import { converterVersion } from '../layers/index.js'
import { writeTextAtomically } from './atomic-file.js'

/** What is known of a layer once it has been read: a function of its diff id and of the version of the converter. */
export interface LayerFacts {
  readonly rootHash: Sha256Hex
  /** Directories that have something in them and no entry of their own; long lists are cut. */
  readonly implicitParents: readonly string[]
}

const formatVersion = 1
/** About 100,000 layers. */
const maxCacheBytes = 16 * 1024 * 1024

/**
 * Reads a cache file. Nothing in it can be checked without reading the layers, and whoever writes it
 * decides what a policy allows, so a file that others own or may write to counts as empty. So does what
 * cannot be read, is of another version or has the wrong shape, as a whole or entry by entry.
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

/** Adds entries to the file by atomic rename, for its owner alone; what others added since it was read is kept. */
export async function addToRootHashCache(path: string, added: ReadonlyMap<OciDigest, LayerFacts>): Promise<void> {
  const merged = new Map([...(await readRootHashCache(path)), ...added])
  const document = { version: formatVersion, converter: converterVersion, layers: Object.fromEntries(merged) }
  await writeTextAtomically(path, `${canonicalJson(document)}\n`, { mode: 0o600 })
}

async function readEntries(path: string): Promise<JsonObject> {
  try {
    const document: unknown = JSON.parse(await readOwnFile(path))
    if (!isJsonObject(document) || document['version'] !== formatVersion) return {}
    if (document['converter'] !== converterVersion) return {}
    return isJsonObject(document['layers']) ? document['layers'] : {}
  } catch {
    return {}
  }
}

/** Asks the open file, not the path, which may be another one by the time it is read. */
async function readOwnFile(path: string): Promise<string> {
  const file = await open(path, 'r')
  try {
    const { size, uid, mode } = await file.stat()
    // Windows has neither owners nor modes of this kind.
    const isOurs = process.getuid === undefined || (uid === process.getuid() && (mode & 0o022) === 0)
    return isOurs && size <= maxCacheBytes ? await file.readFile('utf8') : ''
  } finally {
    await file.close()
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
