import { sha256Hex } from '../base/digest.js'
import { UserError } from '../base/user-error.js'
import { parseReference } from '../image/index.js'
import { pauseContainer } from '../policy/frames.js'
import { sealedSecretsVariable } from '../plan/template.js'
import { type CcePolicy, parseCcePolicy } from '../policy/index.js'
import { printable } from '../verify/check.js'
import type { CompleteRelease, ImageLayers, Release } from './release.js'
import type { PublicContainer } from './template-shape.js'

/**
 * Whether the parts of a release agree with each other: one sentence for each that does not, with its
 * path. Nothing is fetched and nothing made again, so agreement proves no more than that nobody changed
 * one part alone; see {@link regeneratePolicy} and {@link rebuildRelease}.
 */
export function checkRelease(release: Release): readonly string[] {
  return [
    ...sourceProblems(release),
    ...imageProblems(release),
    ...layerCountProblems(release.layers),
    ...sameLayerProblems(release.layers),
    ...(release.policy === null ? [] : [...templateProblems(release), ...policyProblems(release)])
  ]
}

/** Earlier releases have false beside a commit that is not known, where null is meant. */
function sourceProblems({ source: { commit, dirty } }: Release): string[] {
  if (commit === null && dirty === true) {
    return ['source.dirty is true, and there is no source.commit that something could differ from']
  }
  return commit !== null && dirty === null ? [`source.dirty is null, and source.commit is ${commit}`] : []
}

function imageProblems({ image, layers }: Release): string[] {
  const problems: string[] = []
  const { digest } = parseReference(image.reference)
  if (digest !== image.digest) problems.push(`image.digest is ${image.digest}, and image.reference pins ${digest}`)
  if (image.base !== undefined && image.builder !== 'native') {
    problems.push(`image.base is ${image.base}, and only a native build has one; image.builder is ${image.builder}`)
  }
  if (layers[0]?.image !== image.reference) {
    problems.push(`layers[0].image is ${layers[0]?.image}, and image.reference is ${image.reference}`)
  }
  return problems
}

function layerCountProblems(layers: readonly ImageLayers[]): string[] {
  return layers.flatMap(({ diffIds, rootHashes }, index) =>
    diffIds === undefined || diffIds.length === rootHashes.length
      ? []
      : [`layers[${index}] has ${diffIds.length} diffIds for ${rootHashes.length} rootHashes`]
  )
}

/** Equal bytes have one root hash, in whichever image they lie: all that can be said of diff ids without the images. */
function sameLayerProblems(images: readonly ImageLayers[]): string[] {
  const known = new Map<string, string>()
  return images.flatMap(({ diffIds = [], rootHashes }, image) =>
    diffIds.flatMap((diffId, layer) => {
      const rootHash = rootHashes[layer]
      // That there are fewer is a problem already.
      if (rootHash === undefined) return []
      const before = known.get(diffId) ?? rootHash
      known.set(diffId, before)
      if (before === rootHash) return []
      return [`layers[${image}] has the root hash ${rootHash} for ${diffId}, and ${before} stands elsewhere for it`]
    })
  )
}

function templateProblems(release: CompleteRelease): string[] {
  const images = containersOf(release).map(imageOf)
  const listed = release.layers.map(({ image }) => image)
  const named = [...new Set(images)]
  const problems = images.flatMap((image, index) => {
    if (isPinned(image)) return []
    return [`${containerPath(index)}.properties.image is ${printable(image)}, which pins no digest`]
  })
  if (images[0] !== release.image.reference) {
    problems.push(
      `image.reference is ${release.image.reference}, and the template's first container has ${images[0] ?? 'none'}`
    )
  }
  if (named.join(' ') !== listed.join(' ')) {
    problems.push(`layers are of ${listed.join(', ')}, and the template has ${named.map(printable).join(', ')}`)
  }
  return problems
}

function policyProblems(release: CompleteRelease): string[] {
  const { policy, hostData } = release
  const hash = sha256Hex(policy.text)
  const problems = hash === hostData ? [] : [`hostData is ${hostData}, and the SHA-256 of policy.text is ${hash}`]
  const parsed = parseText(policy.text)
  if (typeof parsed === 'string') return [...problems, `policy.text cannot be read: ${parsed}`]
  if (parsed.kind === 'open-door') return [...problems, 'policy.text allows everything']
  const { apiVersion } = parsed.frame
  if (apiVersion !== policy.api) problems.push(`policy.api is ${policy.api}, and policy.text is of ${apiVersion}`)
  return [...problems, ...containerProblems(release, parsed.containers)]
}

function parseText(text: string): CcePolicy | string {
  try {
    return parseCcePolicy(text)
  } catch (error) {
    if (!(error instanceof UserError)) throw error
    return printable(error.problem)
  }
}

/** The containers of the template in its order, each with the layers of its image, and the platform's own after them. */
function containerProblems(
  release: CompleteRelease,
  inPolicy: Extract<CcePolicy, { kind: 'enforced' }>['containers']
): string[] {
  const wanted = containersOf(release)
  const { name: pauseName, layers: pauseLayers } = pauseContainer(true) as unknown as PauseContainer
  const names = [...wanted.map(({ name }) => name), pauseName].join(', ')
  const found = inPolicy.map(({ name }) => name ?? 'one without a name').join(', ')
  if (names !== found) {
    return [`policy.text is for the containers ${printable(found)}, and the template's are ${names}`]
  }
  const layersOf = new Map(release.layers.map(({ image, rootHashes }) => [image, rootHashes.join(', ')]))
  const problems = wanted.flatMap((container, index) => {
    const image = imageOf(container)
    const { id, layers } = inPolicy[index] ?? { id: undefined, layers: [] }
    if (id !== image) {
      return [`policy.text has ${printable(id ?? 'no image')} for container ${container.name}, not ${printable(image)}`]
    }
    const rootHashes = layersOf.get(image) ?? 'none'
    const started = startProblems(container, index, inPolicy[index])
    if (layers.join(', ') === rootHashes) return started
    return [
      `policy.text has the layers ${layers.join(', ')} for container ${container.name}, not ${rootHashes}`,
      ...started
    ]
  })
  const pause = inPolicy.at(-1)?.layers.join(', ')
  if (pause !== pauseLayers.join(', ')) {
    problems.push(`policy.text has the layers ${pause} for ${pauseName}, not ${pauseLayers.join(', ')}`)
  }
  return problems
}

type ContainerInPolicy = Extract<CcePolicy, { kind: 'enforced' }>['containers'][number]

/** What the template starts a container with is what people read; the policy has to allow just that. */
function startProblems(
  { name, properties }: PublicContainer,
  index: number,
  inPolicy: ContainerInPolicy | undefined
): string[] {
  const { command, environmentVariables } = properties
  const allowed = new Set(
    inPolicy?.envRules.filter(({ strategy }) => strategy === 'string').map((rule) => rule.pattern)
  )
  const problems = environmentVariables
    .filter((variable) => variable.name !== sealedSecretsVariable)
    .filter((variable) => !allowed.has(`${variable.name}=${unescaped(variable.value)}`))
    .map(
      (variable) =>
        `${containerPath(index)} sets ${printable(variable.name)} to ${printable(variable.value)}, and policy.text does not allow container ${name} that`
    )
  const wanted = command?.map(unescaped)
  const found = inPolicy?.command ?? null
  // Word by word: "sh -c" is one program of that name, and not the shell with a flag.
  if (wanted !== undefined && JSON.stringify(wanted) !== JSON.stringify(found)) {
    const words = (command: readonly string[] | null) => printable(command === null ? 'none' : JSON.stringify(command))
    problems.push(`policy.text has the command ${words(found)} for container ${name}, not ${words(wanted)}`)
  }
  return problems
}

/** ARM's text as the container is given it: a doubled bracket at the front is one. */
const unescaped = (text: string): string => (text.startsWith('[[') ? text.slice(1) : text)

/** Of the platform itself, beside those of the template in every group. */
interface PauseContainer {
  readonly name: string
  readonly layers: readonly string[]
}

function containersOf({ template }: CompleteRelease): readonly PublicContainer[] {
  return template.resources[0].properties.containers
}

function containerPath(index: number): string {
  return `template.resources[0].properties.containers[${index}]`
}

function imageOf({ properties }: PublicContainer): string {
  return unescaped(properties.image)
}

function isPinned(image: string): boolean {
  try {
    return parseReference(image).digest !== undefined
  } catch {
    return false
  }
}
