import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { equalBytes } from '../base/bytes.js'
import type { JsonObject } from '../base/json.js'
import { UserError } from '../base/user-error.js'
import { composeNativeImage, type NativeBase } from '../image/index.js'
import { bundleRouter } from './bundle-router.js'
import { readCheckout } from './checkout.js'
import { compare, type Comparison } from './comparison.js'
import { couldNotCheck } from './measure-image.js'
import {
  compareLayers,
  measureImages,
  type RegenerateOptions,
  regeneratePolicy,
  requireKnownEngine
} from './regenerate-policy.js'
import type { Release } from './release.js'
import { routerImage } from './router-image.js'
import { describePackage } from './source.js'
import { compareTemplates } from './template-values.js'
import { readings } from './values-to-read.js'

export interface RebuildOptions extends RegenerateOptions {
  /** A checkout of the source, with its packages installed: the folder of the package that runs. */
  readonly packageFolder: string
}

/**
 * Makes a release again from its source: the router program from the checkout, the image from that, and,
 * if the release has a policy, the policy from that image, the other published images and the template;
 * and compares all of it. Nothing is kept, and only what is not made here is fetched: the other images, and
 * the base of the router's, by its digest. Values that the source cannot decide come last, for a person to read; see {@link valuesToRead}.
 *
 * Differences are data. A `UserError` means that nothing could be said: fault `machine` if the release
 * cannot be built again at all (another builder, no commit, a changed work tree) or not here (another
 * commit, packages or programs that are not those of the source); `cloud` for an image that is not there.
 */
export async function rebuildRelease(release: Release, options: RebuildOptions): Promise<readonly Comparison[]> {
  const { packageFolder, signal, note } = options
  const commit = requireReproducible(release)
  await requireCheckout(packageFolder, commit, release, signal)
  const described = await describePackage(packageFolder)
  note?.('making the router program from the source')
  const program = await bundleRouter(packageFolder)
  await requireBuilt(packageFolder, program)
  const { image } = composeNativeImage(
    routerImage({
      reference: 'confrouter.local/router:rebuilt',
      program,
      labels: { version: described.version ?? '', source: described.repository ?? undefined, revision: commit },
      base: await openBase(release, options)
    })
  )
  const rebuilt: RegenerateOptions = {
    ...options,
    openImage: (reference) =>
      reference === release.image.reference ? Promise.resolve(image) : options.openImage(reference)
  }
  return [
    compare('source.repository', shown(release.source.repository), shown(described.repository)),
    compare('source.version', shown(release.source.version), shown(described.version)),
    compare('image.digest', release.image.digest, image.digest),
    ...(release.policy === null
      ? compareLayers(release, await measureImages(release, rebuilt))
      : [
          ...compareTemplates(release.template, await sourceTemplate(packageFolder)),
          ...(await regeneratePolicy(release, rebuilt)),
          ...readings(release)
        ]),
    ...(await baseComparison(release, packageFolder))
  ]
}

async function openBase({ image: { base } }: Release, options: RebuildOptions): Promise<NativeBase | undefined> {
  if (base === undefined) return undefined
  options.note?.(`reading the base ${base}`)
  try {
    return { reference: base, image: await options.openImage(base) }
  } catch (error) {
    throw couldNotCheck(base, error)
  }
}

/** A base that the Dockerfile of the source does not name is one that a configuration chose: a person has to judge it. */
async function baseComparison({ image: { base } }: Release, folder: string): Promise<readonly Comparison[]> {
  if (base === undefined) return []
  const dockerfile = await readFile(join(folder, 'Dockerfile'), 'utf8').catch(() => '')
  const isOfSource = dockerfile.split('\n').includes(`FROM ${base}`)
  return [compare(isOfSource ? 'image.base' : 'read: image.base', base, base)]
}

/** The commit of a release that can be built again. */
function requireReproducible({ source, image, policy }: Release): string {
  if (image.builder !== 'native') {
    const maker = image.builder === null ? 'whose builder is not known' : `that ${image.builder} built`
    throw new UserError('machine', 'reproduce.builder', `the image of this release is one ${maker}`, {
      why:
        'only image.builder: native gives the same bytes everywhere; what container engines write depends on ' +
        'their versions, in file times and compression for example',
      next: ['confrouter verify --release FILE   (without --rebuild)']
    })
  }
  if (policy !== null) requireKnownEngine(policy)
  if (source.commit === null || source.dirty !== false) {
    const problem = source.commit === null ? 'names no commit' : 'was made from a changed work tree'
    throw new UserError('machine', 'reproduce.source-unknown', `this release ${problem}`, {
      why: 'there is no source that everybody has to build it from',
      next: ['ask the publisher for a release of a clean checkout']
    })
  }
  return source.commit
}

async function requireCheckout(
  folder: string,
  commit: string,
  { source }: Release,
  signal: AbortSignal | undefined
): Promise<void> {
  const checkout = await readCheckout(folder, signal)
  if (checkout.kind === 'none') {
    throw new UserError('machine', 'reproduce.no-checkout', `${folder} is no checkout that can be built`, {
      why: checkout.why,
      next: [`git clone ${source.repository ?? 'REPOSITORY'} confrouter`, `cd confrouter && git checkout ${commit}`]
    })
  }
  if (checkout.head !== commit && checkout.commit !== commit) {
    const problem = `${folder} is at commit ${checkout.head}, and the release is of ${commit}`
    throw new UserError('machine', 'reproduce.other-commit', problem, {
      next: [`git -C ${folder} checkout ${commit} && npm --prefix ${folder} ci`]
    })
  }
  if (checkout.changed.length > 0) {
    throw new UserError(
      'machine',
      'reproduce.dirty',
      `${folder} differs from its commit: ${listed(checkout.changed)}`,
      {
        why: 'what is built here would not be what the commit is',
        next: [`git -C ${folder} status`, `git -C ${folder} stash --include-untracked`]
      }
    )
  }
}

/** What runs now, the policy generator with it, has to be of this source too; the program beside it tells. */
async function requireBuilt(folder: string, program: Uint8Array): Promise<void> {
  const path = join(folder, 'dist', 'router', 'router.cjs')
  const built = await readFile(path).catch(() => undefined)
  if (built !== undefined && equalBytes(built, program)) return
  throw new UserError('machine', 'reproduce.not-built', `${join(folder, 'dist')} was not built from this source`, {
    why: built === undefined ? `${path} cannot be read` : `${path} is not what the source gives`,
    next: ['npm ci', 'npm run build']
  })
}

async function sourceTemplate(folder: string): Promise<JsonObject> {
  return JSON.parse(await readFile(join(folder, 'templates', 'container-group.json'), 'utf8')) as JsonObject
}

function shown(value: string | null): string {
  return value ?? 'null'
}

function listed(paths: readonly string[]): string {
  return paths.length > 5 ? `${paths.slice(0, 5).join(', ')} and more` : paths.join(', ')
}
