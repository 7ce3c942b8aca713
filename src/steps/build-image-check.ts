import { randomUUID } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { join, sep } from 'node:path'
import { utf8 } from '../base/encoding.js'
import { UserError } from '../base/user-error.js'
import {
  composeNativeImage,
  type ConfigDocument,
  type Image,
  type ImageConfig,
  ImageError,
  parseConfigDocument
} from '../image/index.js'
import { bundleRouter, compare, type Comparison, parseRelease, type Release, routerImage } from '../release/index.js'
import { nativeBase, nativeLabels, routerBundle, tagOf } from './build-image.js'
import { releaseFile } from './release-file.js'
import type { Note, Run } from './run.js'

export interface BuildCheck {
  /** What was built last, `REPOSITORY@sha256:…`. */
  readonly recorded: string
  /** Digest of the image that was made again; undefined with a container engine, whose digests depend on the machine. */
  readonly digest: string | undefined
  /** What is compared is named after members of the image (`layers[0]`, `config.User`, `label NAME`) or of release.json. */
  readonly comparisons: readonly Comparison[]
  readonly warnings: readonly string[]
}

/** What an image is, however it was made. */
type Facts = ConfigDocument & { readonly digest?: string }

/**
 * Makes the router's image again from the source, keeps nothing of it, and compares it with the one that the
 * last build recorded and with release.json, where there is one. Differences are data. A `UserError` means
 * that nothing could be said: nothing was built yet (`builder.nothing-recorded`), or it cannot be built now.
 *
 * A native image is compared by its digest, so to the last byte. One of a container engine is compared by
 * its diff ids and its configuration: what the engine pushes is compressed by it, and no two need to agree.
 */
export async function checkBuild(run: Run, note: Note): Promise<BuildCheck> {
  const { config } = run
  const recorded = run.state.get().image?.reference
  const release = await readReleaseFile(releaseFile(run))
  const reference = recorded ?? release?.image.reference
  if (reference === undefined || config.image.digest !== undefined) throw nothingRecorded(run)
  const rebuilt =
    config.image.builder === 'native' ? await rebuildNative(run, note) : await rebuildWithEngine(run, note)
  note(`reading ${reference}`)
  const published = await openRecorded(run, reference)
  const digest = reference.slice(reference.indexOf('@') + 1)
  return {
    recorded: reference,
    digest: rebuilt.digest,
    comparisons: [
      ...(rebuilt.digest === undefined ? [] : [compare('image.digest', digest, rebuilt.digest)]),
      ...(published === undefined ? [] : compareFacts(factsOf(published), rebuilt)),
      ...(release === undefined ? [] : compareRelease(release, { reference, rebuilt }))
    ],
    warnings:
      published === undefined
        ? [`${reference} is not there any more: its digest is compared, and what is in it cannot be`]
        : []
  }
}

function nothingRecorded(run: Run): UserError {
  const { digest, repository } = run.config.image
  return digest === undefined
    ? new UserError(
        'config',
        'builder.nothing-recorded',
        'no build is recorded that another one could be held against',
        {
          why: 'neither the state directory nor a release.json in it names an image',
          next: ['confrouter build']
        }
      )
    : new UserError('config', 'builder.nothing-recorded', `${repository}@${digest} was not built here`, {
        why: 'image.digest in the configuration names an image that exists already',
        next: ['confrouter verify --release release.json --rebuild']
      })
}

async function readReleaseFile(path: string): Promise<Release | undefined> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new UserError('machine', 'release-file.unreadable', `${path} cannot be read`, { cause })
  })
  return text === undefined ? undefined : parseRelease(text)
}

async function rebuildNative(run: Run, note: Note): Promise<Facts> {
  const program = await programFromSource(run, note)
  const { image } = composeNativeImage(
    routerImage({
      reference: `${run.config.image.repository}:${tagOf(run)}`,
      program,
      labels: await nativeLabels(run),
      base: await nativeBase(run, note)
    })
  )
  return { digest: image.digest, ...factsOf(image) }
}

/** Of the source where it is here; an installed package has brought the program along and not its source. */
async function programFromSource(run: Run, note: Note): Promise<Uint8Array> {
  const folder = run.assets.buildContext
  if (!(await isCheckout(folder))) {
    note('the source is not in this package: the program that it brought is taken')
    return routerBundle(run)
  }
  note('making the router program from the source')
  return bundleRouter(folder)
}

/** An installed package has the source to be read, but not the tools that make the program of it. */
async function isCheckout(folder: string): Promise<boolean> {
  if (folder.split(sep).includes('node_modules')) return false
  return stat(join(folder, 'src', 'router', 'main.ts')).then(
    () => true,
    () => false
  )
}

async function rebuildWithEngine(run: Run, note: Note): Promise<Facts> {
  const { builder } = run.config.image
  if (builder === 'native') throw new TypeError('the native builder is no container engine')
  const { configurationBuiltWithEngine } = await import('../exec/index.js')
  const document = await configurationBuiltWithEngine({
    engine: builder,
    context: run.assets.buildContext,
    dockerfile: join(run.assets.buildContext, 'Dockerfile'),
    // Of its own, so that the name of the published image goes on meaning that.
    reference: `localhost/confrouter-check:${randomUUID()}`,
    signal: run.signal,
    onLine: note
  })
  return parseConfigDocument(utf8.encode(document), `the config that ${builder} has built`)
}

/**
 * Undefined if it is gone and its digest is enough to compare. A registry that does not answer is an error, and
 * so is an image of a container engine that is gone: nothing would be left to hold the new one against.
 */
async function openRecorded(run: Run, reference: string): Promise<Image | undefined> {
  try {
    return await run.imageStore.open(reference)
  } catch (error) {
    const isNative = run.config.image.builder === 'native'
    if (isNative && error instanceof ImageError && error.code === 'image.not-found') return undefined
    throw error
  }
}

function factsOf({ config, layers }: Image): ConfigDocument {
  return { config, diffIds: layers.map(({ diffId }) => diffId) }
}

/** One entry for each layer and each member, so that what differs is named; expected is what was recorded. */
function compareFacts(recorded: ConfigDocument, rebuilt: ConfigDocument): readonly Comparison[] {
  const count = Math.max(recorded.diffIds.length, rebuilt.diffIds.length)
  const layers = Array.from({ length: count }, (_, index) =>
    compare(`layers[${index}]`, recorded.diffIds[index] ?? 'none', rebuilt.diffIds[index] ?? 'none')
  )
  const members = configMembers.map((member) =>
    compare(`config.${member}`, shown(recorded.config[member]), shown(rebuilt.config[member]))
  )
  return [...layers, ...members, ...compareLabels(recorded.config.Labels, rebuilt.config.Labels)]
}

const configMembers = [
  'Entrypoint',
  'Cmd',
  'Env',
  'WorkingDir',
  'User',
  'StopSignal',
  'ExposedPorts'
] as const satisfies readonly (keyof ImageConfig)[]

function compareLabels(recorded: ImageConfig['Labels'], rebuilt: ImageConfig['Labels']): readonly Comparison[] {
  const names = [...new Set([...Object.keys(recorded), ...Object.keys(rebuilt)])].sort()
  return names.map((name) => compare(`label ${name}`, recorded[name] ?? 'none', rebuilt[name] ?? 'none'))
}

function shown(value: string | readonly string[] | undefined): string {
  if (value === undefined || value.length === 0) return 'none'
  return typeof value === 'string' ? value : JSON.stringify(value)
}

function compareRelease(
  { image, layers }: Release,
  { reference, rebuilt }: { readonly reference: string; readonly rebuilt: Facts }
): readonly Comparison[] {
  const [own] = layers
  return [
    compare('release.json: image.reference', image.reference, reference),
    ...(rebuilt.digest === undefined ? [] : [compare('release.json: image.digest', image.digest, rebuilt.digest)]),
    ...(own?.diffIds === undefined
      ? []
      : [compare('release.json: layers[0].diffIds', own.diffIds.join(', '), rebuilt.diffIds.join(', '))])
  ]
}
