import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseOciDigest } from '../base/digest.js'
import { UserError } from '../base/user-error.js'
import { type Image, imageFacts, type ImageFacts, writeTextAtomically } from '../image/index.js'
import {
  type BuiltRelease,
  type CompleteRelease,
  describeSource,
  encodeRelease,
  type ImageLayers,
  parseRelease,
  type Release,
  type ReleaseImage,
  type ReleaseSource
} from '../release/index.js'
import type { Note, Outputs, Run, ProviderKeys } from './run.js'

export function releaseFile(run: Run): string {
  return join(run.policyDirectory, 'release.json')
}

/**
 * Writes what is known right after a build: source, image and its layers. A release of this very image is
 * left as it is, since it says the same and may say more.
 */
export async function writeBuiltRelease(run: Run, built: Outputs['image'], note?: Note): Promise<void> {
  const known = await readRelease(run)
  if (known?.image.reference === built.reference) return
  const image = await run.imageStore.open(built.reference)
  const facts = await imageFacts(image, { cacheFile: run.imageStore.hashCache, signal: run.signal, note })
  const release: BuiltRelease = {
    version: 1,
    source: await sourceOf(run, image),
    image: releasedImage(run, built),
    layers: [layersOf(image, facts)],
    template: null,
    policy: null,
    hostData: null
  }
  await mkdir(run.policyDirectory, { recursive: true })
  await writeTextAtomically(releaseFile(run), encodeRelease(release))
}

/**
 * The text of the whole release. The source that the file names already is kept where everything else is
 * the same and its tree was clean: what that commit gave, it gives still, and a commit that changes neither
 * image nor policy changes nothing here.
 */
export async function releaseText(
  run: Run,
  router: { readonly pinned: Outputs['image']; readonly image: Image },
  made: Pick<CompleteRelease, 'layers' | 'template' | 'policy' | 'hostData'>
): Promise<string> {
  const image = releasedImage(run, router.pinned)
  const releaseOf = (source: ReleaseSource): CompleteRelease => ({ version: 1, source, image, ...made })
  const known = await readRelease(run)
  const isKept = known !== undefined && isOfCleanCommit(known.source) && isSame(known, releaseOf(known.source))
  const text = encodeRelease(releaseOf(isKept ? known.source : await sourceOf(run, router.image)))
  await refuseSecrets(run, text)
  return text
}

export function layersOf(image: Image, facts: ImageFacts): ImageLayers {
  return { image: image.reference, diffIds: image.layers.map(({ diffId }) => diffId), rootHashes: facts.layers }
}

function releasedImage({ config }: Run, { reference, digest }: Outputs['image']): ReleaseImage {
  const builder = config.image.digest === undefined ? config.image.builder : null
  const { base } = config.image
  return {
    reference,
    digest: parseOciDigest(digest, 'the digest of the router image'),
    builder,
    ...(base === undefined ? {} : { base })
  }
}

function sourceOf(run: Run, image: Image): Promise<ReleaseSource> {
  const { digest, builder } = run.config.image
  return describeSource({
    packageFolder: run.assets.buildContext,
    labels: image.config.Labels,
    builtHere: digest === undefined,
    program: builder === 'native' ? run.assets.routerBundle : undefined,
    signal: run.signal
  })
}

/** Undefined for one that is missing, damaged or of another version: it is then written anew. */
async function readRelease(run: Run): Promise<Release | undefined> {
  try {
    return parseRelease(await readFile(releaseFile(run), 'utf8'))
  } catch {
    return undefined
  }
}

function isOfCleanCommit({ commit, dirty }: ReleaseSource): boolean {
  return commit !== null && dirty === false
}

function isSame(a: Release, b: Release): boolean {
  return encodeRelease(a) === encodeRelease(b)
}

/** Shorter ones are met by accident, and no provider gives such keys. */
const shortestSecret = 16

/**
 * The release is for everybody, and the policy text in it is shown to every caller anyway. A key that was
 * written into a setting that is measured, such as an address, would be in both.
 */
async function refuseSecrets(run: Run, text: string): Promise<void> {
  // This step needs no keys: where they cannot be read, they cannot have been written into anything either.
  const { values } = await run.providerKeys().catch((): Pick<ProviderKeys, 'values'> => ({ values: {} }))
  const secrets = [
    ...Object.entries(values).map(([provider, key]) => [`the key of provider ${provider}`, key] as const),
    ...(run.accessToken === undefined ? [] : [['CONFROUTER_ACCESS_TOKEN', run.accessToken] as const])
  ]
  const found = secrets.find(([, secret]) => secret.length >= shortestSecret && text.includes(secret))
  if (found === undefined) return
  throw new UserError('config', 'release-file.secret', `${found[0]} would be published in clear text`, {
    why: 'it stands in a setting that is measured, and what is measured is in the policy, which everybody can read',
    next: ['take it out of confrouter.yaml, where it may be part of an address']
  })
}
