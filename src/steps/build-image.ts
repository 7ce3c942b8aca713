import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { sha256Hex } from '../base/digest.js'
import { canonicalJson } from '../base/json.js'
import { UserError } from '../base/user-error.js'
import { buildNativeImage, ImageError, type NativeBase } from '../image/index.js'
import { diffProperties } from '../plan/properties.js'
import { describeSource, routerConfig, routerImage, routerLabels, type RouterLabels } from '../release/index.js'
import { writeBuiltRelease } from './release-file.js'
import type { Note, Outputs, Run, Step } from './run.js'

/** Builds the router's image, or takes the configured digest, and pins it: `REPOSITORY@sha256:…`. */
export const imageStep: Step<'image'> = {
  id: 'image',
  title: 'image',
  needs: [],
  async observe(run) {
    const { image } = run.config
    if (image.digest !== undefined) {
      return { action: 'none', output: pinned(image.repository, image.digest), says: 'digest from the configuration' }
    }
    const inputs = await inputsOf(run)
    const known = run.state.get().image
    if (known?.inputs === inputs && (await isThere(run, known.reference))) {
      return {
        action: 'none',
        output: pinned(image.repository, known.reference.slice(known.reference.indexOf('@') + 1))
      }
    }
    return {
      action: known === undefined ? 'create' : 'update',
      reason:
        known === undefined ? `building with ${image.builder}` : 'the source or the image is not what was built last',
      properties: diffProperties(
        { inputs: known?.inputs, reference: known?.reference },
        { inputs, reference: '(known after build)' }
      ),
      async apply(note) {
        const output = pinned(image.repository, await build(run, note))
        await run.state.update((state) => ({ ...state, image: { inputs, reference: output.reference } }))
        note(`measuring ${output.reference}`)
        await writeBuiltRelease(run, output, note)
        return output
      }
    }
  }
}

function pinned(repository: string, digest: string): Outputs['image'] {
  return { reference: `${repository}@${digest}`, digest }
}

/** Hash of all that goes into the image; equal inputs need no second build. */
async function inputsOf(run: Run): Promise<string> {
  const { image } = run.config
  const source =
    image.builder === 'native'
      ? [
          sha256Hex(await routerBundle(run)),
          routerConfig(await nativeLabels(run), image.base !== undefined),
          image.base
        ]
      : await hashFiles(run.assets.buildContext, contextFiles)
  return sha256Hex(canonicalJson([image.builder, image.repository, tagOf(run), source]))
}

/** What a native image says of its source. */
export async function nativeLabels({ assets, signal }: Run): Promise<RouterLabels> {
  const { buildContext: packageFolder, routerBundle: program, version } = assets
  return routerLabels(
    version,
    await describeSource({ packageFolder, labels: undefined, builtHere: true, program, signal })
  )
}

/** Undefined for an image that has none. */
export async function nativeBase({ config, imageStore }: Run, note: Note): Promise<NativeBase | undefined> {
  const { base } = config.image
  if (base === undefined) return undefined
  note(`reading the base ${base}`)
  return { reference: base, image: await imageStore.openBase(base) }
}

/** What the Dockerfile copies, and itself; .dockerignore lets nothing else into the context. */
const contextFiles = [
  'Dockerfile',
  'package.json',
  'npm-shrinkwrap.json',
  'tsconfig.json',
  'tsconfig.build.json',
  'scripts',
  'src'
]

async function hashFiles(folder: string, names: readonly string[]): Promise<readonly (readonly [string, string])[]> {
  const hashes: (readonly [string, string])[] = []
  for (const name of [...names].sort()) {
    const path = join(folder, name)
    if ((await stat(path)).isDirectory()) {
      const below = (await readdir(path)).map((child) => join(name, child))
      hashes.push(...(await hashFiles(folder, below)))
    } else {
      hashes.push([name, sha256Hex(await readFile(path))])
    }
  }
  return hashes
}

export function tagOf(run: Run): string {
  return run.config.image.tag ?? run.assets.version
}

/** False if the image is gone or damaged, which building again mends; whatever else is in the way is an error of its own. */
async function isThere(run: Run, reference: string): Promise<boolean> {
  try {
    await run.imageStore.open(reference)
    return true
  } catch (error) {
    if (error instanceof ImageError && gone.has(error.code)) return false
    throw error
  }
}

const gone: ReadonlySet<string> = new Set(['image.not-found', 'image.malformed', 'image.digest-mismatch'])

async function build(run: Run, note: Note): Promise<string> {
  const { image } = run.config
  const reference = `${image.repository}:${tagOf(run)}`
  if (image.builder === 'native') {
    const recipe = routerImage({
      reference,
      program: await routerBundle(run),
      labels: await nativeLabels(run),
      base: await nativeBase(run, note)
    })
    const built = await buildNativeImage({ ...recipe, layout: run.imageStore.layout, note, signal: run.signal })
    await run.imageStore.publish(reference, note)
    return built.digest
  }
  // Loaded only here: the native builder, which `--local` uses, starts no program.
  const { buildWithEngine } = await import('../exec/index.js')
  const built = await buildWithEngine({
    engine: image.builder,
    context: run.assets.buildContext,
    dockerfile: `${run.assets.buildContext}/Dockerfile`,
    reference,
    signal: run.signal,
    onLine: note
  })
  return built.digest
}

export async function routerBundle(run: Run): Promise<Buffer> {
  try {
    return await readFile(run.assets.routerBundle)
  } catch (error) {
    throw new UserError(
      'machine',
      'builder.no-bundle',
      `the router program ${run.assets.routerBundle} cannot be read`,
      {
        why: 'it is made when the package is installed or built',
        next: ['npm run build'],
        cause: error
      }
    )
  }
}
