import { UserError } from '../base/user-error.js'
import { frames, type FrameVersion } from '../policy/frames.js'
import { printable } from '../verify/check.js'
import { compare, compareLists, compareTexts, type Comparison } from './comparison.js'
import { deployedPolicy } from './deployed-policy.js'
import { measureImage, type MeasuredImage, type MeasureOptions } from './measure-image.js'
import type { CompleteRelease, ImageLayers, Release, ReleasedPolicy } from './release.js'

export type RegenerateOptions = MeasureOptions

/**
 * Makes the policy of a release again: reads every image that it names, works out the root hash of each
 * layer (no cache of hashes is believed), generates the policy text from the template, and compares all
 * of it. A list without a difference means that `hostData` is that of these images under this template.
 *
 * Differences are data. A `UserError` of fault `cloud` or `machine` means that something could not be
 * checked: an image that is not there or cannot be read, or a text that this engine does not make.
 */
export async function regeneratePolicy(
  release: CompleteRelease,
  options: RegenerateOptions
): Promise<readonly Comparison[]> {
  const frame = requireKnownEngine(release.policy)
  const measured = await measureImages(release, options)
  const { hostData, policy } = release
  const layers = compareLayers(release, measured)
  const made = generate(release, measured, frame)
  return 'problem' in made
    ? [...layers, { what: 'policy.text', expected: hostData, actual: `none: ${made.problem}`, same: false }]
    : [...layers, compareTexts('policy.text', policy.text, made.rego), compare('hostData', hostData, made.hostData)]
}

/** Reads every layer of every image that a release names. Throws as {@link regeneratePolicy} does. */
export async function measureImages(
  release: Release,
  options: RegenerateOptions
): Promise<ReadonlyMap<string, MeasuredImage>> {
  const measured = new Map<string, MeasuredImage>()
  for (const { image } of release.layers) measured.set(image, await measureImage(image, options))
  return measured
}

/** Diff ids where the release has them, and root hashes, image by image. */
export function compareLayers(
  { layers }: { readonly layers: readonly ImageLayers[] },
  measured: ReadonlyMap<string, MeasuredImage>
): readonly Comparison[] {
  return layers.flatMap(({ image, diffIds, rootHashes }, index) => {
    const found = measured.get(image)
    return [
      ...(diffIds === undefined ? [] : [compareLists(`layers[${index}].diffIds`, diffIds, found?.diffIds ?? [])]),
      compareLists(`layers[${index}].rootHashes`, rootHashes, found?.facts.layers ?? [])
    ]
  })
}

/** A template of which no policy can be made is not the one that this policy was made from. */
function generate(
  { template }: CompleteRelease,
  measured: ReadonlyMap<string, MeasuredImage>,
  frame: FrameVersion
): { readonly rego: string; readonly hostData: string } | { readonly problem: string } {
  const images = new Map([...measured].map(([reference, { facts }]) => [reference, facts]))
  try {
    return deployedPolicy(template, images, frame)
  } catch (error) {
    if (!(error instanceof UserError)) throw error
    return { problem: printable(error.problem) }
  }
}

/** The frame of a policy text; throws if this package does not make such texts at all. */
export function requireKnownEngine(policy: ReleasedPolicy): FrameVersion {
  if (policy.engine !== 'native') {
    throw new UserError('machine', 'reproduce.engine', 'the policy of this release was made by az confcom', {
      why: 'its text depends on the version of az confcom that was there, which the release does not hold',
      next: ['ask the publisher for a release with policy.engine: native']
    })
  }
  const known = Object.keys(frames) as FrameVersion[]
  const frame = known.find((version) => version === policy.api)
  if (frame !== undefined) return frame
  throw new UserError('machine', 'reproduce.engine', `no policy of API version ${policy.api} can be made here`, {
    why: `this version of confrouter makes ${known.join(' and ')}`,
    next: ['use the version of confrouter that the release names in source.version']
  })
}
