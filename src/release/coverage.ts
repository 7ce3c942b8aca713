import type { CompleteRelease, ImageLayers } from './release.js'

/** What a release was held against: only itself; its published images; or all that is made of its source. */
export type Depth = 'file' | 'images' | 'source'

/** A part of a release that was held against another. */
export interface CheckedPart {
  /** Path in release.json. */
  readonly what: string
  /** In words. */
  readonly against: string
}

/** A part that was not, so that anybody could have written it there. */
export interface UncheckedPart {
  /** Path in release.json. */
  readonly what: string
  /** What it should have been held against, in words. */
  readonly against: string
  /** Why it was not, where nothing that could be run would. */
  readonly why?: string | undefined
  /** Flags of `confrouter verify` each of which would; none where none can. */
  readonly by: readonly ('--rebuild' | '--image')[]
}

export interface Coverage {
  readonly depth: Depth
  readonly checked: readonly CheckedPart[]
  readonly unchecked: readonly UncheckedPart[]
}

/**
 * Which parts of a release {@link checkRelease}, {@link regeneratePolicy} or {@link rebuildRelease} have found to
 * hold, and of which they say nothing. For a release in which none of them has found anything wrong.
 */
export function coverageOf(release: CompleteRelease, depth: Depth): Coverage {
  const ofImages = imageParts(release.layers).map((what) => ({ what, against: 'the images' }))
  const ofSource = sourceParts(release).map((what) => ({ what, against: 'the source' }))
  const hindrance = hindranceOf(release)
  const rebuild = hindrance === undefined ? (['--rebuild'] as const) : []
  return {
    depth,
    checked: [...ofFile, ...(depth === 'file' ? [] : ofImages), ...(depth === 'source' ? ofSource : [])],
    unchecked: [
      ...(depth === 'file' ? ofImages.map((part) => ({ ...part, by: [...rebuild, '--image' as const] })) : []),
      ...(depth === 'source' ? [] : ofSource.map((part) => ({ ...part, why: hindrance, by: rebuild }))),
      notMeasured
    ]
  }
}

/** What the parts of the file say of each other. */
const ofFile: readonly CheckedPart[] = [
  { what: 'hostData', against: 'the SHA-256 of policy.text' },
  { what: 'image.digest', against: 'the first image of the template' },
  { what: 'layers[].rootHashes', against: 'policy.text' },
  { what: 'template: images, commands, variables', against: 'policy.text' }
]

/** Of an image the policy has its root hashes alone, and that they are those of the image, only the image shows. */
function imageParts(layers: readonly ImageLayers[]): readonly string[] {
  return layers.flatMap(({ diffIds }, index) => [
    ...(diffIds === undefined ? [] : [`layers[${index}].diffIds`]),
    `layers[${index}].rootHashes`
  ])
}

function sourceParts({ image }: CompleteRelease): readonly string[] {
  const base = image.base === undefined ? [] : ['image.base']
  return ['source.repository', 'source.commit', 'source.version', 'image.digest', ...base, 'template']
}

/** As {@link rebuildRelease} would refuse it. */
function hindranceOf({ source, image, policy }: CompleteRelease): string | undefined {
  if (image.builder !== 'native') return `nobody can build it again: image.builder is ${image.builder ?? 'not known'}`
  if (policy.engine !== 'native') return `nobody can make it again: policy.engine is ${policy.engine}`
  if (source.commit === null) return 'nobody can build it again: source.commit is not known'
  return source.dirty === false ? undefined : 'nobody can build it again: it was made from a changed work tree'
}

/** They may be changed without a difference in anything. */
const notMeasured: UncheckedPart = {
  what: 'template: name, location, DNS label, ports, cpu, memory',
  against: 'anything',
  why: 'no policy depends on them',
  by: []
}
