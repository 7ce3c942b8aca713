import { isJsonObject, type Json, type JsonObject } from '../base/json.js'
import type { CapabilityLists } from './cce-policy.js'
import { containerMounts } from './container-mounts.js'
import type { ContainerStart } from './container-request.js'
import {
  containerCommand,
  factsOf,
  type ImageFacts,
  platformMounts,
  readContainer,
  type TemplateForm,
  workingDirectory
} from './container.js'
import type { ContainerMount } from './enforcement.js'
import { isSidecarImage, thimPlaceholder } from './frames.js'
import { securityRules } from './security-context.js'
import { field, listOf, textsOf } from './template-fields.js'
import type { TemplateTexts } from './template-text.js'

export interface StartContext {
  readonly images: Pick<ReadonlyMap<string, ImageFacts>, 'get'>
  readonly texts: TemplateTexts
  readonly volumes: readonly Json[]
  readonly form: TemplateForm
}

/** What a template asks for one of its containers. */
export interface WrittenStart {
  readonly start: ContainerStart
  readonly image: string
  readonly facts: ImageFacts
  /** Variables whose value is known at the deployment only; each has a stand-in. */
  readonly standIns: readonly string[]
}

/** Reads what the host will ask the guest for. Throws a `UserError` that names the place in the template. */
export function containerStart(container: Json, { images, texts, volumes, form }: StartContext): WrittenStart {
  const { name, where, image, environmentVariables, properties } = readContainer(container, texts)
  const sidecar = isSidecarImage(image)
  const facts = factsOf(image, images, where)
  const context = field(properties, 'securityContext')
  const security = securityRules(context, `${where}.securityContext`)
  const variables = environment(environmentVariables, where, texts, form)
  return {
    image,
    facts,
    standIns: variables.filter(({ isStandIn }) => isStandIn).map((variable) => variable.name),
    start: {
      name,
      command:
        form === 'virtual-node'
          ? (containerCommand(properties, facts, sidecar, form, where) ?? [])
          : textsOf(field(properties, 'command'), `${where}.command`),
      environment: variables.map((variable) => ({ name: variable.name, value: variable.value })),
      securityContext: {
        privileged: security.allow_elevated,
        allowPrivilegeEscalation: !security.no_new_privileges,
        runAsUser: idOf(field(context, 'runAsUser')),
        runAsGroup: idOf(field(context, 'runAsGroup'))
      },
      mounts: containerMounts(properties, volumes, platformMounts(sidecar, form), where).map(mounted),
      workingDir: workingDirectory(properties, facts, { form }, where),
      capabilities: security.capabilities as unknown as CapabilityLists,
      seccomp: security.seccomp_profile_sha256
    }
  }
}

interface Variable {
  readonly name: string
  readonly value: string
  readonly isStandIn: boolean
}

function environment(
  variables: Json | undefined,
  container: string,
  texts: TemplateTexts,
  form: TemplateForm
): readonly Variable[] {
  const where = `${container}: environmentVariables`
  return listOf(texts.resolveOuter(variables, where), where).map((entry, index): Variable => {
    const name = textOf(texts.resolveOuter(field(entry, 'name'), `${where}[${index}].name`))
    const written = field(entry, 'value') ?? field(entry, 'secureValue')
    const isOpen = form === 'virtual-node' && (field(entry, 'regex') === true || typeof written !== 'string')
    const isReplaced = name === thimPlaceholder.name && written === thimPlaceholder.value
    if (isOpen || isReplaced) return { name, value: standIn, isStandIn: true }
    const value = texts.environmentValue(typeof written === 'string' ? written : '', `${where}: ${name}`)
    return typeof value === 'string' ? { name, value, isStandIn: false } : { name, value: standIn, isStandIn: true }
  })
}

/** For a value that only the deployment knows. */
const standIn = 'stand-in'

/** The platform's own name behind the folder that a rule names. */
function mounted(rule: JsonObject): ContainerMount {
  const source = textOf(rule['source'])
  return {
    destination: textOf(rule['destination']),
    source: source.endsWith('/.+') ? `${source.slice(0, -2)}mounted` : source,
    type: textOf(rule['type']),
    options: textsOf(rule['options'], 'options')
  }
}

function textOf(value: Json | undefined): string {
  return typeof value === 'string' ? value : ''
}

function idOf(value: Json | undefined): number | undefined {
  return typeof value === 'number' ? value : undefined
}

/** Whether a group's `identity` brings the variables of a managed identity. */
export function hasIdentity(group: JsonObject): boolean {
  const identity = field(group, 'identity')
  const type = isJsonObject(identity) ? field(identity, 'type') : undefined
  return typeof type === 'string' && type !== '' && type.toLowerCase() !== 'none'
}
