import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { isJsonObject, type JsonObject } from '../base/json.js'
import { readCheckout } from './checkout.js'
import { commitPattern, publicUrl, versionPattern } from './parse-release.js'
import type { ReleaseSource } from './release.js'

export interface SourceQuestion {
  /** The package's folder, with its package.json. */
  readonly packageFolder: string
  /** Labels of the image; undefined while it is not built. */
  readonly labels: Readonly<Record<string, string>> | undefined
  /** False for an image that was not built here: then only its labels know. */
  readonly builtHere: boolean
  /** The program in the image, where it is not built together with it. */
  readonly program?: string | undefined
  readonly signal?: AbortSignal | undefined
}

/**
 * Where an image comes from: the last commit of its source if the package's folder is a checkout, what the image's own
 * labels say otherwise (`org.opencontainers.image.revision`, `.source`, `.version`), null where neither does.
 */
export async function describeSource(question: SourceQuestion): Promise<ReleaseSource> {
  const { packageFolder, labels = {}, builtHere, program, signal } = question
  const revision = match(labels['org.opencontainers.image.revision'], commitPattern())
  if (!builtHere) {
    const version = match(labels['org.opencontainers.image.version'], versionPattern())
    const repository = publicUrl(labels['org.opencontainers.image.source'] ?? '') ?? null
    return { repository, commit: revision, dirty: cleanIfKnown(revision), version }
  }
  const described = await describePackage(packageFolder)
  const checkout = await readCheckout(packageFolder, signal)
  if (checkout.kind === 'none') return { ...described, commit: revision, dirty: cleanIfKnown(revision) }
  const isStale = program !== undefined && (await isOlderThanSource(program, packageFolder))
  // A native build labels its image with the commit: one with another label is not what the commit gives.
  const isOther = program !== undefined && question.labels !== undefined && revision !== checkout.commit
  return { ...described, commit: checkout.commit, dirty: checkout.changed.length > 0 || isStale || isOther }
}

/** Only an unchanged tree labels its image; of what has no commit nobody can say whether it was changed. */
function cleanIfKnown(revision: string | null): false | null {
  return revision === null ? null : false
}

/** Repository and version from package.json; the repository as a URL without credentials. */
export async function describePackage(folder: string): Promise<Pick<ReleaseSource, 'repository' | 'version'>> {
  const value: unknown = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'))
  const document: JsonObject = isJsonObject(value) ? value : {}
  const { repository, version } = document
  const url = isJsonObject(repository) ? repository['url'] : repository
  return {
    repository: (typeof url === 'string' ? publicUrl(url) : undefined) ?? null,
    version: match(version, versionPattern())
  }
}

function match(value: unknown, pattern: RegExp): string | null {
  return typeof value === 'string' && value.length <= 128 && pattern.test(value) ? value : null
}

/** A program that was built before the last change of its source may not be that source's. */
async function isOlderThanSource(program: string, folder: string): Promise<boolean> {
  const { mtimeMs } = await stat(program)
  const entries = await readdir(join(folder, 'src'), { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  const times = await Promise.all(files.map(async (file) => (await stat(file)).mtimeMs))
  return times.some((time) => time > mtimeMs)
}
