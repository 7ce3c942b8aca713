import type { Sha256Hex } from '../base/digest.js'
import type { Json, JsonObject } from '../base/json.js'
import { UserError } from '../base/user-error.js'
import { containerMounts } from './container-mounts.js'
import { addedEnvRules, imageEnvRules, templateEnvRules } from './env-rules.js'
import type { WildcardDecisions, WildcardQuestion } from './env-rules.js'
import {
  anyUser,
  debugProcesses,
  type EnvRule,
  injectedRules,
  isSidecarImage,
  platformIdentityRules,
  resolvConfMount,
  signalNumbers,
  virtualNodeMounts,
  virtualNodeRules
} from './frames.js'
import { imageUser, securityRules } from './security-context.js'
import { field, listOf, objectField, templateError, textsOf } from './template-fields.js'
import type { TemplateTexts } from './template-text.js'

/** What the policy needs to know of an image: its OCI configuration and the root hashes of its layers. */
export interface ImageFacts {
  readonly config: {
    readonly Entrypoint?: readonly string[] | null | undefined
    readonly Cmd?: readonly string[] | null | undefined
    readonly Env?: readonly string[] | null | undefined
    readonly WorkingDir?: string | undefined
    readonly User?: string | undefined
    readonly StopSignal?: string | undefined
  }
  /** dm-verity root hashes in manifest order, base layer first. */
  readonly layers: readonly Sha256Hex[]
}

/**
 * What the containers were written in. An input file has working directories and further commands beside what ARM has;
 * a pod of a virtual node has commands as Kubernetes has them, and mounts and variables of its own.
 */
export type TemplateForm = 'arm' | 'input-file' | 'virtual-node'

export interface ContainerOptions {
  readonly allowStdioAccess: boolean
  readonly debugMode: boolean
  readonly omitId: boolean
  readonly platformIdentityRules: boolean
  readonly refuseNullCommand: boolean
  readonly form: TemplateForm
  readonly decisions: WildcardDecisions
}

/** What the containers of one group share while they are translated. */
export interface GroupTranslation {
  readonly images: Pick<ReadonlyMap<string, ImageFacts>, 'get'>
  readonly texts: TemplateTexts
  readonly volumes: readonly Json[]
  readonly options: ContainerOptions
  readonly questions: WildcardQuestion[]
  readonly warnings: string[]
}

export interface TranslatedContainer {
  readonly image: string
  readonly rules: JsonObject
}

/**
 * The policy's entry for one container of a template, or undefined for an image without layers,
 * which confcom leaves out. Members are in any order; the text sorts them.
 */
export function translateContainer(container: Json, group: GroupTranslation): TranslatedContainer | undefined {
  const { texts, options, warnings } = group
  const { name, where, image, environmentVariables, properties } = readContainer(container, texts)
  const sidecar = isSidecarImage(image)
  const facts = factsOf(image, group.images, where)
  const security = securityRules(field(properties, 'securityContext'), `${where}.securityContext`)
  const command = containerCommand(properties, facts, sidecar, options.form, where)
  if (command === null || (command.length === 0 && !sidecar)) refuseOrWarn(where, image, options, warnings)
  if (!/[:@]/.test(image) || image.endsWith(':latest')) warnings.push('Using image tag "latest" is not recommended')
  const envRules = templateEnvRules(environmentVariables, name, texts, options.decisions, group.questions)
  if (facts.layers.length === 0) {
    warnings.push(`${where}: image ${image} has no layers, so the policy does not contain the container`)
    return undefined
  }
  return {
    image,
    rules: {
      ...identity(name, image, options.omitId),
      allow_elevated: security.allow_elevated,
      allow_stdio_access: options.allowStdioAccess,
      capabilities: security.capabilities,
      command,
      env_rules: allEnvRules(envRules, facts, image, sidecar, options).map((rule) => ({ ...rule })),
      exec_processes: execProcesses(properties, options, where),
      layers: facts.layers,
      mounts: containerMounts(properties, group.volumes, platformMounts(sidecar, options.form), where),
      no_new_privileges: security.no_new_privileges,
      seccomp_profile_sha256: security.seccomp_profile_sha256,
      signals: sidecar ? [] : stopSignals(facts.config.StopSignal),
      user: security.user ?? (sidecar ? anyUser : imageUser(facts.config.User)),
      working_dir: workingDirectory(properties, facts, options, where)
    }
  }
}

/** One container of a template, evaluated but for its variables. */
export interface WrittenContainer {
  readonly name: string
  /** How messages call it. */
  readonly where: string
  readonly image: string
  readonly environmentVariables: Json | undefined
  readonly properties: JsonObject
}

/** Reads what every container must have. Throws a `UserError` that names the place. */
export function readContainer(container: Json, texts: TemplateTexts): WrittenContainer {
  const name = texts.resolveOuter(field(container, 'name'), 'container name')
  if (typeof name !== 'string' || name === '') throw templateError('a container has no name')
  const where = `container "${name}"`
  const { environmentVariables, properties } = splitProperties(container, where, texts)
  const image = field(properties, 'image')
  if (typeof image !== 'string' || image === '') throw templateError(`${where} has no image`)
  return { name, where, image, environmentVariables, properties }
}

/** Variables are kept as written: a parameter without a value is a question there and an error elsewhere. */
function splitProperties(
  container: Json,
  where: string,
  texts: TemplateTexts
): { environmentVariables: Json | undefined; properties: JsonObject } {
  const written = objectField(container, 'properties', where)
  const kept = Object.entries(written).filter(([key]) => key.toLowerCase() !== 'environmentvariables')
  const properties = kept.map(([key, value]) => [key, texts.resolve(value, `${where}.${key}`)])
  return {
    environmentVariables: field(written, 'environmentVariables'),
    properties: Object.fromEntries(properties) as JsonObject
  }
}

/** What was read of an image; throws a `UserError` if it was not. */
export function factsOf(image: string, images: GroupTranslation['images'], where: string): ImageFacts {
  const facts = images.get(image)
  if (facts === undefined) {
    throw new UserError('config', 'policy.image-unknown', `${where}: image ${image} was not read`, {
      why: 'the policy lists the root hash of every layer, so each image of the template is needed.'
    })
  }
  return facts
}

/**
 * A command in the template replaces entry point and arguments of the image together. In a pod `command` replaces both
 * too, and `args` alone the arguments.
 */
export function containerCommand(
  properties: JsonObject,
  { config }: ImageFacts,
  sidecar: boolean,
  form: TemplateForm,
  where: string
): readonly string[] | null {
  const own = textsOf(field(properties, 'command'), `${where}.command`)
  if (form === 'virtual-node') {
    const args = textsOf(field(properties, 'args'), `${where}.args`)
    if (own.length > 0) return [...own, ...args]
    if (args.length > 0) return [...(config.Entrypoint ?? []), ...args]
  }
  if (own.length > 0 || sidecar) return own
  if (config.Entrypoint && config.Entrypoint.length > 0) return [...config.Entrypoint, ...(config.Cmd ?? [])]
  return config.Cmd ?? null
}

function refuseOrWarn(where: string, image: string, options: ContainerOptions, warnings: string[]): void {
  const problem = `${where}: neither the template nor image ${image} gives a command`
  if (!options.refuseNullCommand) {
    warnings.push(`${problem}, so the guest will not start it`)
    return
  }
  throw new UserError('config', 'policy.no-command', problem, {
    why: 'the guest compares the command word by word and never starts a container without one.',
    next: ['give the container a "command" in the template, or the image an ENTRYPOINT or CMD']
  })
}

function identity(name: string, image: string, omitId: boolean): JsonObject {
  if (!omitId) return { id: image, name }
  return name === image ? {} : { name }
}

function allEnvRules(
  own: readonly EnvRule[],
  { config }: ImageFacts,
  image: string,
  sidecar: boolean,
  options: ContainerOptions
): readonly EnvRule[] {
  if (sidecar) return own
  const withImage = [...own, ...imageEnvRules(config.Env ?? [], own, image)]
  const ofPlatform = options.form === 'virtual-node' ? [...injectedRules, ...virtualNodeRules] : injectedRules
  const withInjected = [...withImage, ...addedEnvRules(ofPlatform, withImage)]
  if (!options.platformIdentityRules) return withInjected
  return [...withInjected, ...addedEnvRules(platformIdentityRules, withInjected)]
}

/** The template's, where its form has one, or the image's, or the root. */
export function workingDirectory(
  properties: JsonObject,
  { config }: ImageFacts,
  { form }: Pick<ContainerOptions, 'form'>,
  where: string
): string {
  const own = form !== 'arm' ? (field(properties, 'workingDir') ?? '') : ''
  if (typeof own !== 'string') throw templateError(`${where}.workingDir must be a text`)
  return own || config.WorkingDir || '/'
}

/** In the order in which confcom lists what they start. */
const probesOf: Readonly<Record<TemplateForm, readonly string[]>> = {
  arm: ['readinessProbe', 'livenessProbe'],
  'input-file': ['readinessProbe', 'livenessProbe'],
  'virtual-node': ['livenessProbe', 'readinessProbe', 'startupProbe', 'postStart', 'preStop']
}

/** What the platform mounts besides the volumes. */
export function platformMounts(sidecar: boolean, form: TemplateForm) {
  if (form === 'virtual-node') return virtualNodeMounts
  return sidecar ? [] : [resolvConfMount]
}

/** Commands of probes and hooks may be started in the container. */
function execProcesses(properties: JsonObject, { debugMode, form }: ContainerOptions, where: string): JsonObject[] {
  const listed = form === 'input-file' ? listOf(field(properties, 'execProcesses'), `${where}.execProcesses`) : []
  const own = listed.map((process, index) => {
    const command = textsOf(field(process, 'command'), `${where}.execProcesses[${index}].command`)
    if (command.length === 0) throw templateError(`${where}.execProcesses[${index}] has no command`)
    return command
  })
  const probes = probesOf[form].flatMap((probe) => {
    const exec = field(field(properties, probe), 'exec')
    if (!exec || (typeof exec === 'object' && Object.keys(exec).length === 0)) return []
    const command = textsOf(field(exec, 'command'), `${where}.${probe}.exec.command`)
    if (command.length === 0) throw templateError(`${where}.${probe}.exec has no command`)
    return [command]
  })
  return [...own, ...probes, ...(debugMode ? debugProcesses : [])].map((command) => ({ command, signals: [] }))
}

/** A name becomes its number; any other text stays a text, which the guest never matches. */
function stopSignals(signal: string | undefined): readonly (string | number)[] {
  if (signal === undefined || signal === '') return []
  return [signalNumbers.get(signal.toUpperCase()) ?? signal]
}
