import { type Sha256Hex, sha256Hex } from '../base/digest.js'
import { encodeBase64, utf8 } from '../base/encoding.js'
import { isJsonObject, type Json, type JsonObject } from '../base/json.js'
import { UserError } from '../base/user-error.js'
import { ArmTemplateError, type DeploymentContext } from './arm-expression.js'
import { type ContainerOptions, type ImageFacts, type TemplateForm, translateContainer } from './container.js'
import type { WildcardQuestion } from './env-rules.js'
import {
  currentFrame,
  debugSwitches,
  defaultSwitches,
  type FragmentImport,
  frames,
  type FrameVersion,
  infrastructureFragment,
  isSidecarImage,
  pauseContainer
} from './frames.js'
import { renderPolicy, renderSidecarFragment } from './rego.js'
import { field, groupTypes, listOf, objectField, templateError } from './template-fields.js'
import { TemplateTexts } from './template-text.js'

export interface PolicyOptions {
  /** Which version of the text; the current one by default. */
  readonly frame?: FrameVersion
  readonly disableStdio?: boolean
  /** Allows shells, stack dumps and runtime logging. Not for production. */
  readonly debugMode?: boolean
  /** The lowest security version of the infrastructure fragment, in decimal digits. */
  readonly infrastructureSvn?: string
  readonly excludeDefaultFragments?: boolean
  /** Imported after the default fragment. */
  readonly fragments?: readonly FragmentImport[]
  readonly omitId?: boolean
  /** Containers over many lines, as `--outraw-pretty-print` shows them: other bytes, other host data. */
  readonly pretty?: boolean
  /** Adds rules for the identity endpoints that the platform sets since September 2026. Not in confcom. */
  readonly platformIdentityRules?: boolean
  /** Parameters without a value whose variables may have any value, or `approve` for all. */
  readonly wildcardParameters?: 'approve' | readonly string[]
  /** Parameters without a value whose variables the policy leaves out. */
  readonly omittedParameters?: readonly string[]
  /** Decides what these two lists leave open, variable by variable: true allows any value, false leaves it out. */
  readonly decideWildcard?: (question: WildcardQuestion) => boolean | undefined
  /** Fails for a container that no guest would start, instead of a warning. */
  readonly refuseNullCommand?: boolean
}

export interface PolicyInput {
  readonly template: JsonObject
  /** The JSON of a parameter file. */
  readonly parameters?: JsonObject
  /** Facts by image reference, as the template writes it after evaluation. */
  readonly images: Pick<ReadonlyMap<string, ImageFacts>, 'get'>
  /** What the template was made from; ARM when left out. */
  readonly form?: TemplateForm
  /** Needed only by templates whose containers use `resourceGroup()`, `subscription()` or `resourceId()`. */
  readonly context?: DeploymentContext
  readonly options?: PolicyOptions
}

export interface GroupPolicy {
  readonly groupName: string
  /** The policy text; ASCII. */
  readonly rego: string
  /** SHA-256 of the text: HOST_DATA of the group's attestation report. */
  readonly hostData: Sha256Hex
  /** The text as `ccePolicy` takes it: standard base64 with padding. */
  readonly base64: string
  readonly warnings: readonly string[]
}

/**
 * The confidential computing enforcement policy of each container group in a template, in order:
 * byte for byte the text of `az confcom acipolicygen` for the same template and images, where no
 * option of our own is set. Throws a `UserError` that names the place in the template.
 */
export function generatePolicies(input: PolicyInput): readonly GroupPolicy[] {
  const questions: WildcardQuestion[] = []
  const policies = generate(input, questions)
  if (questions.length > 0) throw undecided(questions)
  return policies
}

/** The variables that `generatePolicies` would refuse for want of a decision, in the template's order. */
export function wildcardQuestions(input: PolicyInput): readonly WildcardQuestion[] {
  const questions: WildcardQuestion[] = []
  generate(input, questions)
  return questions
}

/** What has to be found out before a policy can be made of a template. */
export interface TemplateNeeds {
  /** Image references as the template writes them after evaluation, each once, in its order. */
  readonly images: readonly string[]
  /** As of `wildcardQuestions`. */
  readonly questions: readonly WildcardQuestion[]
}

/** Reads a template without its images. Throws for whatever is wrong with it before an image is looked at. */
export function templateNeeds(input: Omit<PolicyInput, 'images'>): TemplateNeeds {
  const named = new Set<string>()
  // Of an image without layers nothing is asked but its name.
  const images = {
    get(image: string): ImageFacts {
      named.add(image)
      return { config: {}, layers: [] }
    }
  }
  const questions = wildcardQuestions({ ...input, options: { ...input.options, refuseNullCommand: false }, images })
  return { images: [...named], questions }
}

/** The container groups of a template with their index in its resources. */
export function containerGroups(template: JsonObject): readonly JsonObject[] {
  const resources = listOf(field(template, 'resources'), 'resources')
  const groups = resources.filter(isJsonObject).filter(({ type }) => typeof type === 'string' && groupTypes.has(type))
  if (groups.length === 0) {
    throw templateError('the template has no container group', {
      why: `no resource has a type of ${[...groupTypes].join(' or ')}.`
    })
  }
  return groups
}

/** The group's name, evaluated where that is possible. It is for people and not part of the policy. */
export function groupNameOf(group: JsonObject, texts: TemplateTexts): string {
  const written = field(group, 'name')
  try {
    const name = texts.resolveOuter(written, 'name')
    return typeof name === 'string' ? name : ''
  } catch (cause) {
    // A name may depend on the place of deployment, which a policy does not.
    if (cause instanceof UserError && cause.cause instanceof ArmTemplateError && typeof written === 'string') {
      return written
    }
    throw cause
  }
}

/** The texts of a template as its form has them: only ARM and input files have expressions. */
export function textsOf({ template, parameters, context, form }: Omit<PolicyInput, 'images'>): TemplateTexts {
  return new TemplateTexts(template, parameters, context, form === 'virtual-node')
}

function generate(input: PolicyInput, questions: WildcardQuestion[]): readonly GroupPolicy[] {
  const { options = {} } = input
  checkOptions(options)
  const texts = textsOf(input)
  return containerGroups(input.template).map((group) => generateGroup(group, input, texts, questions))
}

function generateGroup(
  group: JsonObject,
  { images, options = {}, form = 'arm' }: PolicyInput,
  texts: TemplateTexts,
  questions: WildcardQuestion[]
): GroupPolicy {
  const groupName = groupNameOf(group, texts)
  const properties = objectField(group, 'properties', `container group "${groupName}"`)
  refuseStandaloneFragments(properties, groupName)
  const fragments = fragmentImports(group, options)
  const warnings = [...debugWarnings(options), ...fragmentWarnings(fragments)]
  const volumes = listOf(resolved(properties, 'volumes', texts), 'volumes')
  const listed = ['containers', 'initContainers'].map((name) => listOf(resolvedOuter(properties, name, texts), name))
  if (listed[0]?.length === 0) throw templateError(`container group "${groupName}" has no containers`)
  const translation = { images, texts, volumes, options: containerOptions(options, form), questions, warnings }
  const translated = listed.flat().map((container) => translateContainer(container, translation))
  const kept = translated.filter((container) => container !== undefined)
  const containers = kept.map(({ rules }) => rules)
  const onlySidecars = kept.length > 0 && kept.every(({ image }) => isSidecarImage(image))
  if (!onlySidecars) containers.push(pauseContainer(!options.disableStdio))
  const frame = frames[options.frame ?? currentFrame]
  const pretty = options.pretty ?? false
  // The first image alone decides the form of the text, as in confcom.
  const rego =
    kept[0] !== undefined && isSidecarImage(kept[0].image)
      ? renderSidecarFragment(frame, containers, pretty)
      : renderPolicy({
          frame,
          fragments,
          containers,
          switches: options.debugMode ? debugSwitches : defaultSwitches,
          pretty
        })
  return {
    groupName,
    rego,
    hostData: sha256Hex(rego),
    base64: encodeBase64(utf8.encode(rego)),
    warnings: [...warnings, ...texts.warnings.splice(0)]
  }
}

function checkOptions(options: PolicyOptions): void {
  if (options.infrastructureSvn !== undefined) {
    if (!/^[0-9]{1,9}$/.test(options.infrastructureSvn)) {
      throw new UserError('usage', 'policy.svn', `infrastructure SVN "${options.infrastructureSvn}" is not a number`)
    }
    if (options.excludeDefaultFragments) throw svnWithoutFragment()
  }
  for (const fragment of options.fragments ?? []) checkFragment(fragment)
}

function checkFragment({ feed, issuer, includes, minimum_svn }: FragmentImport): void {
  const valid: readonly (readonly [string, boolean])[] = [
    ['feed', typeof feed === 'string' && feed !== ''],
    ['issuer', typeof issuer === 'string' && issuer !== ''],
    ['includes', Array.isArray(includes) && includes.every((item) => typeof item === 'string')],
    ['minimum_svn', typeof minimum_svn === 'string' && /^[0-9]+$/.test(minimum_svn)]
  ]
  const wrong = valid.find(([, ok]) => !ok)
  if (wrong === undefined) return
  throw new UserError('config', 'policy.fragment', `the "${wrong[0]}" of a fragment import is not valid`, {
    why: 'feed and issuer are texts, includes is a list of texts, minimum_svn is a text of decimal digits.'
  })
}

/**
 * The tag on the group decides when there are tags at all. A tagged group without this tag gets
 * the default fragment even if the option excludes it: a fault of confcom, kept because the bytes
 * are the interface.
 */
function fragmentImports(group: JsonObject, options: PolicyOptions): readonly FragmentImport[] {
  const tags = field(group, 'tags')
  const isTagged = isJsonObject(tags) && Object.keys(tags).length > 0
  const excluded = isTagged ? hasNoSidecars(group) : (options.excludeDefaultFragments ?? false)
  if (excluded && options.infrastructureSvn !== undefined) throw svnWithoutFragment()
  const { minimum_svn } = infrastructureFragment
  const standard = { ...infrastructureFragment, minimum_svn: options.infrastructureSvn ?? minimum_svn }
  return [...(excluded ? [] : [standard]), ...(options.fragments ?? [])]
}

/** Whether a group is tagged to run without the platform's own containers, which are of its fragment. */
export function hasNoSidecars(group: JsonObject): boolean {
  const tag = field(field(group, 'tags'), 'Annotate-zero-sidecar')
  return typeof tag === 'string' ? tag.toLowerCase() === 'true' : Boolean(tag)
}

function debugWarnings({ debugMode }: PolicyOptions): string[] {
  if (!debugMode) return []
  return ['debug mode: the policy allows shells in every container, stack dumps and logs; not for production']
}

function fragmentWarnings(fragments: readonly FragmentImport[]): string[] {
  const [first] = fragments
  const { feed, minimum_svn } = infrastructureFragment
  if (first?.feed !== feed || Number(first.minimum_svn) >= Number(minimum_svn)) return []
  return [`infrastructure SVN ${first.minimum_svn} is below ${minimum_svn}: the guest may load outdated platform code`]
}

function svnWithoutFragment(): UserError {
  return new UserError('usage', 'policy.svn', 'an infrastructure SVN needs the default fragment, which is excluded')
}

function refuseStandaloneFragments(properties: JsonObject, groupName: string): void {
  const listed = field(field(properties, 'confidentialComputeProperties'), 'standaloneFragments')
  if (listOf(listed, 'standaloneFragments').length === 0) return
  throw templateError(`container group "${groupName}" lists standaloneFragments, whose signed contents are not read`)
}

function containerOptions(options: PolicyOptions, form: TemplateForm): ContainerOptions {
  return {
    allowStdioAccess: !options.disableStdio,
    debugMode: options.debugMode ?? false,
    omitId: options.omitId ?? false,
    platformIdentityRules: options.platformIdentityRules ?? false,
    refuseNullCommand: options.refuseNullCommand ?? false,
    form,
    decisions: {
      wildcard: options.wildcardParameters ?? [],
      leaveOut: options.omittedParameters ?? [],
      decide: options.decideWildcard ?? (() => undefined),
      takesPatterns: form !== 'arm'
    }
  }
}

function resolvedOuter(properties: JsonObject, name: string, texts: TemplateTexts): Json | undefined {
  return texts.resolveOuter(field(properties, name), name)
}

function resolved(properties: JsonObject, name: string, texts: TemplateTexts): Json | undefined {
  const value = field(properties, name)
  return value === undefined ? undefined : texts.resolve(value, name)
}

function undecided(questions: readonly WildcardQuestion[]): UserError {
  const list = questions.map(
    ({ container, variable, parameter }) => `${variable} of container "${container}" (parameter "${parameter}")`
  )
  return new UserError('config', 'policy.parameter-without-value', `no value for ${list.join(', ')}`, {
    why: 'a policy pins the value of each variable, or allows any value if that is decided explicitly.',
    next: ['give the parameter a value in a parameter file', 'allow any value for it with a wildcard']
  })
}
