import { isJsonObject, type Json, type JsonObject } from '../base/json.js'
import { type Properties, type PropertyChange, diffProperties } from './properties.js'
import { sealedSecretsVariable } from './template.js'

/** A container group as Azure shows it, as far as it is compared. */
export interface ObservedGroup {
  readonly dnsLabel: string | undefined
  readonly ports: readonly number[]
  readonly restartPolicy: string | undefined
  readonly identityIds: readonly string[]
  readonly containers: readonly {
    readonly name: string
    readonly image: string
    readonly cpu: number
    readonly memoryGb: number
    readonly environment: Readonly<Record<string, string | undefined>>
  }[]
}

/** What Azure refuses to change in a group that is there; the host data because it means another utility VM. */
const immutable = /^(hostData|ports|restartPolicy|identity|[^.]+\.(cpu|memoryGb))$/

/**
 * Every property in which a group differs from the template that is wanted. Sealed secrets are no part of it:
 * the same keys sealed twice are two texts, and neither is for anybody's eyes.
 */
export function groupChanges(
  observed: { readonly group: ObservedGroup; readonly hostData: string | undefined } | undefined,
  wanted: { readonly template: JsonObject; readonly hostData: string }
): readonly PropertyChange[] {
  const before = observed === undefined ? {} : { hostData: observed.hostData, ...ofGroup(observed.group) }
  const after: Properties = { hostData: wanted.hostData, ...ofTemplate(wanted.template) }
  const names = new Set([...Object.keys(before), ...Object.keys(after)].filter((name) => immutable.test(name)))
  return diffProperties(before, after, { immutable: names, complete: true })
}

/** The router's and the sidecar's image, as the template pins them. */
export function templateImages(template: JsonObject): Readonly<Record<string, string>> {
  return Object.fromEntries(
    containersOf(template).map((container) => [text(container['name']), text(object(container['properties'])['image'])])
  )
}

function ofGroup(group: ObservedGroup): Properties {
  return {
    dnsLabel: group.dnsLabel,
    ports: portsText(group.ports),
    restartPolicy: group.restartPolicy,
    identity: idsText(group.identityIds),
    ...together(
      group.containers.map(({ name, image, cpu, memoryGb, environment }) =>
        ofContainer(name, { image, cpu: String(cpu), memoryGb: String(memoryGb), environment })
      )
    )
  }
}

function ofTemplate(template: JsonObject): Properties {
  const resource = object(list(template['resources'])[0])
  const properties = object(resource['properties'])
  const address = object(properties['ipAddress'])
  return {
    dnsLabel: typeof address['dnsNameLabel'] === 'string' ? address['dnsNameLabel'] : undefined,
    ports: portsText(list(address['ports']).map((each) => Number(object(each)['port']))),
    restartPolicy: text(properties['restartPolicy']),
    identity: idsText(Object.keys(object(object(resource['identity'])['userAssignedIdentities']))),
    ...together(
      containersOf(template).map((container) => {
        const inner = object(container['properties'])
        const requests = object(object(inner['resources'])['requests'])
        const environment = list(inner['environmentVariables']).map(object)
        return ofContainer(text(container['name']), {
          image: text(inner['image']),
          cpu: number(requests['cpu']),
          memoryGb: number(requests['memoryInGB']),
          environment: Object.fromEntries(environment.map(({ name, value }) => [text(name), unescaped(text(value))]))
        })
      })
    )
  }
}

function ofContainer(
  name: string,
  {
    image,
    cpu,
    memoryGb,
    environment
  }: Readonly<Record<'image' | 'cpu' | 'memoryGb', string>> & {
    readonly environment: Readonly<Record<string, string | undefined>>
  }
): Properties {
  const variables = Object.entries(environment).filter(([variable]) => variable !== sealedSecretsVariable)
  return {
    [`${name}.image`]: image,
    [`${name}.cpu`]: cpu,
    [`${name}.memoryGb`]: memoryGb,
    ...Object.fromEntries(variables.map(([variable, value]) => [`${name}.env.${variable}`, value ?? '']))
  }
}

function together(parts: readonly Properties[]): Properties {
  return Object.fromEntries(parts.flatMap((part) => Object.entries(part)))
}

function portsText(ports: readonly number[]): string {
  return ports.toSorted((a, b) => a - b).join(', ')
}

function idsText(ids: readonly string[]): string {
  return ids
    .map((id) => id.toLowerCase())
    .sort()
    .join(', ')
}

/** ARM writes a text that begins with a bracket with two; see `fillTemplate`. */
function unescaped(value: string): string {
  return value.startsWith('[[') ? value.slice(1) : value
}

function containersOf(template: JsonObject): readonly JsonObject[] {
  return list(object(object(list(template['resources'])[0])['properties'])['containers']).map(object)
}

function object(value: Json | undefined): JsonObject {
  return isJsonObject(value) ? value : {}
}

function list(value: Json | undefined): readonly Json[] {
  return Array.isArray(value) ? (value as readonly Json[]) : []
}

function text(value: Json | undefined): string {
  return typeof value === 'string' ? value : ''
}

function number(value: Json | undefined): string {
  return typeof value === 'number' ? String(value) : ''
}
