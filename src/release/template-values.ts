import { sha256Hex } from '../base/digest.js'
import { canonicalJson, isJsonObject, type Json, type JsonObject } from '../base/json.js'
import { type ContainerValues, fillTemplate, type GroupValues, sealedSecretsVariable } from '../plan/template.js'
import { printable } from '../verify/check.js'
import { compare, type Comparison } from './comparison.js'
import { publicTemplate } from './public-template.js'
import { configuredVariables, numberIn } from './router-variables.js'
import type { PublicContainer, PublicTemplate } from './template-shape.js'

/**
 * Whether a template is what the source's own template becomes when it is filled with the same values. A
 * value that the template has a place for may be any, and {@link valuesToRead} lists those that matter; all
 * else has to be as the source makes it: containers, commands, the names and the order of variables, what a
 * configuration adds to them, and that the router asks the sidecar beside it and no other host.
 */
export function compareTemplates(published: PublicTemplate, source: JsonObject): readonly Comparison[] {
  const refilled = publicTemplate(fillTemplate(source, valuesOf(published, source)))
  const differing = differences(published, refilled, 'template')
  if (differing.length > 0) return differing
  return [compare('template', sha256Hex(canonicalJson(published)), sha256Hex(canonicalJson(refilled)))]
}

/** The values that a template was filled with. What it lacks is taken as empty, and is then a difference. */
function valuesOf(published: PublicTemplate, source: JsonObject): GroupValues {
  const { parameters, resources } = published
  const [{ properties }] = resources
  const [router = nothing, sidecar = nothing] = properties.containers.map((container) => container.properties)
  const variables = variablesOf(router)
  // What is no port is a difference to any.
  const sidecarPort = numberIn(variablesOf(sidecar).get('Port'), { min: 1, max: 65_535 }) ?? 1
  return {
    name: parameters.name.defaultValue,
    location: parameters.location.defaultValue,
    identityId: '',
    dnsLabel: properties.ipAddress.dnsNameLabel,
    publicPorts: properties.ipAddress.ports.map(({ port }) => port),
    router: {
      ...sizeOf(router),
      environment: {
        ...Object.fromEntries(variableNames(source, 0).map((name) => [name, variables.get(name) ?? ''])),
        SKR_URL: `http://127.0.0.1:${sidecarPort}`
      },
      moreEnvironment: configuredVariables(variables)
    },
    // Nothing is added to the sidecar's own variables.
    sidecar: { ...sizeOf(sidecar), environment: { Port: String(sidecarPort) } }
  }
}

function sizeOf({ image, ports, resources }: PublicContainer['properties']): Omit<ContainerValues, 'environment'> {
  return {
    image: unescaped(image),
    ports: ports.map(({ port }) => port),
    cpu: resources.requests.cpu,
    memoryGb: resources.requests.memoryInGB
  }
}

function variablesOf({ environmentVariables }: PublicContainer['properties']): ReadonlyMap<string, string> {
  return new Map(environmentVariables.map(({ name, value }) => [name, unescaped(value)]))
}

/** Of a container that is not there: anything that the source's template can be filled with. */
const nothing: PublicContainer['properties'] = {
  image: '',
  ports: [{ port: 1, protocol: 'TCP' }],
  environmentVariables: [],
  resources: { requests: { cpu: 1, memoryInGB: 1 } }
}

/** ARM's doubled bracket is one. */
function unescaped(value: string): string {
  return value.startsWith('[[') ? value.slice(1) : value
}

/** The variables that the source's template gives a container, without the sealed secrets, which have no value. */
function variableNames(source: JsonObject, index: number): readonly string[] {
  const path = ['resources', 0, 'properties', 'containers', index, 'properties', 'environmentVariables']
  const variables = path.reduce<unknown>(
    (value, part) => (value as Record<string, unknown> | undefined)?.[part],
    source
  )
  const names = (Array.isArray(variables) ? variables : []).map((variable: { readonly name: string }) => variable.name)
  return names.filter((name) => name !== sealedSecretsVariable)
}

/** Every place in which two values differ, by its path; where one has no such place, `none`. */
function differences(expected: Json | undefined, actual: Json | undefined, path: string): readonly Comparison[] {
  if (isJsonObject(expected) && isJsonObject(actual)) {
    const names = new Set([...Object.keys(expected), ...Object.keys(actual)])
    return [...names].flatMap((name) => differences(expected[name], actual[name], `${path}.${name}`))
  }
  if (Array.isArray(expected) && Array.isArray(actual)) {
    const [longer] = [expected, actual].sort((a, b) => b.length - a.length)
    return (longer ?? []).flatMap((_, index) =>
      differences(expected[index] as Json, actual[index] as Json, `${path}[${index}]`)
    )
  }
  const [before, after] = [expected, actual].map((value) => (value === undefined ? 'none' : canonicalJson(value)))
  if (before === after) return []
  return [{ what: path, expected: printable(before ?? ''), actual: printable(after ?? ''), same: false }]
}
