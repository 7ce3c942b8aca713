import type { Json, JsonObject } from '../base/json.js'

/** What the container group of one deployment is made of. All of it but `name` and `location` is measured. */
export interface GroupValues {
  readonly name: string
  readonly location: string
  /** Resource id of the user-assigned identity. */
  readonly identityId: string
  readonly router: ContainerValues
  readonly sidecar: ContainerValues
  readonly dnsLabel: string | undefined
  /** Ports of the group's address: all of the router's, or some of them. */
  readonly publicPorts: readonly number[]
}

export interface ContainerValues {
  /** `REPOSITORY@sha256:…`: a tag would let the registry change what the policy measured. */
  readonly image: string
  readonly ports: readonly number[]
  readonly cpu: number
  readonly memoryGb: number
  /** One value for each variable that the template names; no more and no fewer. */
  readonly environment: Readonly<Record<string, string>>
  /** Variables that the template does not name; they come after its own, in this order. */
  readonly moreEnvironment?: Readonly<Record<string, string>>
}

/** The variable that carries the sealed provider keys; it stays an open parameter of the template. */
export const sealedSecretsVariable = 'CONFROUTER_SECRETS'

/**
 * Puts the values of one deployment into `templates/container-group.json`. Measured values become
 * literals, because the policy is made from the template's text and the real `acipolicygen` does
 * not evaluate expressions; `sealedSecrets` stays a parameter without a value, which it turns into a pattern.
 */
export function fillTemplate(template: JsonObject, values: GroupValues): JsonObject {
  const parameters = object(template['parameters'])
  const resource = object(list(template['resources'])[0])
  const properties = object(resource['properties'])
  const [router, sidecar] = list(properties['containers']).map(object)
  if (router === undefined || sidecar === undefined) throw new TypeError('the template must have two containers')
  return {
    ...template,
    parameters: {
      ...parameters,
      name: { ...object(parameters['name']), defaultValue: values.name },
      location: { ...object(parameters['location']), defaultValue: values.location }
    },
    resources: [
      {
        ...resource,
        identity: { type: 'UserAssigned', userAssignedIdentities: { [values.identityId]: {} } },
        properties: {
          ...properties,
          containers: [fillContainer(router, values.router), fillContainer(sidecar, values.sidecar)],
          ipAddress: {
            ...object(properties['ipAddress']),
            ports: values.publicPorts.map(describePort),
            ...(values.dnsLabel === undefined ? {} : { dnsNameLabel: values.dnsLabel })
          }
        }
      }
    ]
  }
}

function fillContainer(container: JsonObject, values: ContainerValues): JsonObject {
  const properties = object(container['properties'])
  const variables = list(properties['environmentVariables']).map(object)
  const names = variables.map(nameOf).filter((name) => name !== sealedSecretsVariable)
  const strangers = Object.keys(values.environment).filter((name) => !names.includes(name))
  if (strangers.length > 0) throw new TypeError(`the template has no variable ${strangers.join(', ')}`)
  const more = Object.entries(values.moreEnvironment ?? {})
  const twice = more.find(([name]) => variables.some((variable) => nameOf(variable) === name))
  if (twice !== undefined) throw new TypeError(`the template has the variable ${twice[0]} already`)
  return {
    ...container,
    properties: {
      ...properties,
      image: literal(values.image),
      ports: values.ports.map(describePort),
      environmentVariables: [
        ...variables.map((variable) => {
          const name = nameOf(variable)
          if (name === sealedSecretsVariable) return variable
          const value = values.environment[name]
          if (value === undefined) throw new TypeError(`the template's variable ${name} has no value`)
          return { name, value: literal(value) }
        }),
        ...more.map(([name, value]) => ({ name, value: literal(value) }))
      ],
      resources: { requests: { cpu: values.cpu, memoryInGB: values.memoryGb } }
    }
  }
}

function describePort(port: number): JsonObject {
  return { port, protocol: 'TCP' }
}

function nameOf(variable: JsonObject): string {
  if (typeof variable['name'] !== 'string') throw new TypeError('the template has a variable without a name')
  return variable['name']
}

/** ARM reads a text that begins with a bracket as an expression; a doubled bracket is the character. */
function literal(text: string): string {
  return text.startsWith('[') ? `[${text}` : text
}

function object(value: Json | undefined): JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new TypeError('the template is damaged')
  return value as JsonObject
}

function list(value: Json | undefined): readonly Json[] {
  if (!Array.isArray(value)) throw new TypeError('the template is damaged')
  return value as readonly Json[]
}
