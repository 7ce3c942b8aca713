import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type * as Esbuild from 'esbuild'
import { isJsonObject, type JsonObject } from '../base/json.js'
import { UserError } from '../base/user-error.js'

/** The recipe of scripts/build.js for the program in the image; its bytes depend on each of these. */
export const routerRecipe = {
  entryPoints: ['src/router/main.ts'],
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'cjs',
  legalComments: 'eof',
  charset: 'utf8'
} as const

/**
 * Makes the router program from the source in a folder, with the packages that are installed there. Nothing
 * is written. Throws a `UserError` `reproduce.not-built` if it cannot be made, or if the packages are not
 * those of npm-shrinkwrap.json: other packages give another program, and that says nothing of the source.
 */
export async function bundleRouter(folder: string): Promise<Uint8Array> {
  const esbuild = await loadEsbuild(folder)
  const options = { ...routerRecipe, entryPoints: [...routerRecipe.entryPoints] }
  const { outputFiles, metafile } = await esbuild
    .build({ ...options, absWorkingDir: folder, write: false, metafile: true, logLevel: 'silent' })
    .catch((cause: unknown) => {
      throw notBuilt(`the router program cannot be made from ${folder}`, cause instanceof Error ? cause.message : '')
    })
  const others = await otherPackages(folder, Object.keys(metafile.inputs), esbuild.version)
  if (others.length > 0) {
    throw notBuilt('the packages that are installed are not those of npm-shrinkwrap.json', others.join('; '))
  }
  const [program] = outputFiles
  if (program === undefined) throw new Error('esbuild made no file')
  return program.contents
}

/** Of the development tools, so it is in a checkout and not in an installed package. */
async function loadEsbuild(folder: string): Promise<typeof Esbuild> {
  try {
    return await import('esbuild')
  } catch (cause) {
    throw notBuilt(`the tools that make the router program are not installed in ${folder}`, 'esbuild is missing', cause)
  }
}

function notBuilt(problem: string, why: string, cause?: unknown): UserError {
  return new UserError('machine', 'reproduce.not-built', problem, { why, next: ['npm ci'], cause })
}

/** Packages that went into the program, and the tool itself, whose version is not the one that is locked. */
async function otherPackages(folder: string, inputs: readonly string[], esbuild: string): Promise<readonly string[]> {
  const lock = await readJson(join(folder, 'npm-shrinkwrap.json'))
  const locked = isJsonObject(lock['packages']) ? lock['packages'] : {}
  const lockedVersion = (place: string) => {
    const entry = locked[place]
    return isJsonObject(entry) && typeof entry['version'] === 'string' ? entry['version'] : 'none'
  }
  const places = new Set(inputs.flatMap((path) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0] ?? []))
  const found = await Promise.all([...places].map(async (place) => [place, await versionIn(folder, place)] as const))
  return [['node_modules/esbuild', esbuild] as const, ...found]
    .filter(([place, version]) => version !== lockedVersion(place))
    .map(([place, version]) => `${place} is ${version}, locked is ${lockedVersion(place)}`)
}

async function versionIn(folder: string, place: string): Promise<string> {
  const { version } = await readJson(join(folder, place, 'package.json'))
  return typeof version === 'string' ? version : 'of no version'
}

async function readJson(path: string): Promise<JsonObject> {
  const value: unknown = JSON.parse(await readFile(path, 'utf8'))
  return isJsonObject(value) ? value : {}
}
