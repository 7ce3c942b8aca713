import type { Json, JsonObject } from '../base/json.js'
import type { CcePolicy, PolicyContainer } from './cce-policy.js'
import { containerStart, hasIdentity, type WrittenStart } from './container-start.js'
import { splitEntry } from './container-request.js'
import { containerGroups, groupNameOf, hasNoSidecars, type PolicyInput, textsOf } from './generate.js'
import { openGuest, type StartAnswer, type StartDenial } from './guest.js'
import { mayBeAllowed, openQuestion } from './open-question.js'
import { field, listOf, objectField } from './template-fields.js'
import type { TemplateTexts } from './template-text.js'

/** What would become of one container. */
export interface SimulatedContainer {
  readonly name: string
  readonly image: string
  /** True only where that is decided. */
  readonly starts: boolean
  /** Variables of template, image or platform that the policy does not list: they do not arrive. */
  readonly droppedVariables: readonly string[]
  /** Variables whose value is known at the deployment only; a stand-in was tried. */
  readonly standIns: readonly string[]
  /** Of the stand-ins, those that arrive or are dropped by a value that is not known here. */
  readonly maybeDropped: readonly string[]
  readonly denial?: SimulatedDenial
  /** In place of a denial: why it is not decided, with the names of what would have to be known. */
  readonly undecided?: string
}

export interface SimulatedDenial extends Pick<StartDenial, 'container' | 'rule' | 'errors' | 'message'> {
  /** One sentence: what to change. */
  readonly fix: string
}

export interface SimulatedGroup {
  readonly name: string
  readonly hostData: string
  readonly containers: readonly SimulatedContainer[]
}

export type SimulationInput = Omit<PolicyInput, 'options'> & {
  /** The policy of each container group, in the template's order. */
  readonly policies: readonly CcePolicy[]
  /** Whether a pod has an identity, which its template does not say. */
  readonly hasIdentity?: boolean
}

/**
 * Starts every container of a template in order, under the policy of its group, as the guest would decide it. Throws a
 * `UserError` that names the place in the template.
 */
export function simulateTemplate(input: SimulationInput): readonly SimulatedGroup[] {
  const texts = textsOf(input)
  return containerGroups(input.template).map((group, index) => {
    const policy = input.policies[index]
    if (policy === undefined) throw new TypeError(`container group ${index} has no policy`)
    return simulateGroup(group, policy, texts, input)
  })
}

function simulateGroup(
  group: JsonObject,
  policy: CcePolicy,
  texts: TemplateTexts,
  { images, form = 'arm', hasIdentity: hasOther = false }: SimulationInput
): SimulatedGroup {
  const name = groupNameOf(group, texts)
  const properties = objectField(group, 'properties', `container group "${name}"`)
  const written = field(properties, 'volumes')
  const volumes = listOf(written === undefined ? undefined : texts.resolve(written, 'volumes'), 'volumes')
  const guest = openGuest(policy, { hasNoSidecars: hasNoSidecars(group) })
  // Init containers run first, one after the other.
  const containers = ['initContainers', 'containers'].flatMap((list) => listed(properties, list, texts))
  return {
    name,
    hostData: policy.hostData,
    containers: containers.map((container) => {
      const wanted = containerStart(container, { images, texts, volumes, form })
      const platformEnv = platformVariables(name, wanted.start.name, hasOther || hasIdentity(group))
      const answer = guest.start({ start: wanted.start, image: wanted.facts, platformEnv })
      return describe(wanted, answer, policy, Object.keys(platformEnv))
    })
  }
}

function listed(properties: JsonObject, list: string, texts: TemplateTexts): readonly Json[] {
  return listOf(texts.resolveOuter(field(properties, list), list), list)
}

function describe(
  wanted: WrittenStart,
  answer: StartAnswer,
  policy: CcePolicy,
  ofPlatform: readonly string[]
): SimulatedContainer {
  const { start, image, facts, standIns } = wanted
  const known = { name: start.name, image, standIns }
  if (answer.allowed) {
    const isOpen = (name: string) => standIns.includes(name) && mayBeAllowed(name, facts, policy)
    const dropped = answer.droppedVariables
    const droppedVariables = dropped.filter((name) => !isOpen(name))
    return { ...known, starts: true, droppedVariables, maybeDropped: dropped.filter(isOpen) }
  }
  const { container, rule, errors, message } = answer
  const nothing = { starts: false, droppedVariables: [], maybeDropped: [] }
  const undecided = answer.undecided ?? openQuestion(answer, wanted, policy, ofPlatform)
  if (undecided !== undefined) return { ...known, ...nothing, undecided }
  const fix = fixFor(answer, { name: start.name, image, layers: facts.layers }, policy)
  return { ...known, ...nothing, denial: { container, rule, errors, message, fix } }
}

const again = 'or generate the policy again from this template'

/** The most telling remedy first: a wrong layer explains what else does not match. */
function fixFor(
  { container, rule, layer, errors }: StartDenial,
  wanted: { readonly name: string; readonly image: string; readonly layers: readonly string[] },
  policy: CcePolicy
): string {
  if (container !== wanted.name) {
    return `Generate the policy again: every group needs the platform's ${container}, and this policy does not allow it.`
  }
  if (rule === 'mount_device') {
    return `Layer ${layer ?? 0} of ${wanted.image} is in no container of the policy: give the image that the policy was made for, ${again}.`
  }
  const candidates =
    policy.kind === 'enforced' ? policy.containers.filter(({ layers }) => layers.join() === wanted.layers.join()) : []
  const [candidate] = candidates
  if (candidate === undefined) {
    return `No container of the policy has just the layers of ${wanted.image} in their order: give the image that the policy was made for, ${again}.`
  }
  const found = remedies.find(([error]) => errors.some((each) => each.startsWith(error)))
  const error = errors.find((each) => found !== undefined && each.startsWith(found[0])) ?? errors[0] ?? ''
  return found === undefined ? `Change what "${error}" names, ${again}.` : `${found[1](candidate, error)}, ${again}.`
}

const remedies: readonly (readonly [string, (candidate: PolicyContainer, error: string) => string])[] = [
  [
    'invalid command',
    ({ command }) =>
      command === null
        ? 'The policy has no command for this container, so it never starts: give it one'
        : `The policy allows the command ${JSON.stringify(command)}: give this one`
  ],
  [
    'invalid working directory',
    ({ workingDir }) => `The policy allows the working directory ${workingDir}: give this one`
  ],
  ['privileged escalation not allowed', () => 'The policy allows no privileged container: leave privileged out'],
  ['invalid noNewPrivileges', () => 'The policy forbids new privileges: set allowPrivilegeEscalation to false'],
  ['invalid user', () => 'The policy allows another user or group: change runAsUser and runAsGroup'],
  ['invalid seccomp', () => 'The policy allows another seccomp profile: give that one'],
  [
    'invalid mount list: ',
    (_, error) => `The policy allows no such mount at ${error.slice('invalid mount list: '.length)}: remove it`
  ],
  [
    'missing required environment variable',
    ({ envRules }) =>
      `The policy requires ${envRules
        .filter(({ required }) => required)
        .map(({ pattern }) => splitEntry(pattern)[0])
        .join(', ')}: set it`
  ],
  [
    'invalid env list: ',
    (_, error) => `The policy lists no such ${error.slice('invalid env list: '.length)}: remove it`
  ],
  ['containers only distinguishable by', () => 'Two containers of the policy fit equally: make them differ'],
  ["capabilities don't match", () => 'The policy demands other capabilities: change securityContext.capabilities']
]

/** What the platform adds; the values are like its own, and no policy can know them. */
function platformVariables(group: string, container: string, withIdentity: boolean): Readonly<Record<string, string>> {
  const identity = {
    IDENTITY_API_VERSION: '2019-07-01-preview',
    IDENTITY_HEADER: 'header',
    IDENTITY_SERVER_THUMBPRINT: 'thumbprint',
    APP_IDENTITY_ENDPOINT: 'http://169.254.128.1/',
    IDENTITY_ENDPOINT: 'http://169.254.128.1/',
    IMDS_ENDPOINT: 'http://169.254.169.254/'
  }
  return {
    HOSTNAME: 'SandboxHost-1',
    Fabric_ApplicationName: 'caas-1',
    Fabric_CodePackageName: container,
    Fabric_NodeIPOrFQDN: '10.92.0.4',
    FabricPackageFileName: `${group}.sfpkg`,
    HostedServiceName: 'fabric:/caas-1',
    ...(withIdentity ? identity : {})
  }
}
