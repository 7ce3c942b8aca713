import { sealedSecretsVariable } from '../plan/template.js'
import { integer, list, object, oneOf, optional, type Reader, text } from '../verify/shape.js'

/**
 * A template that may be published. It is a list of what is allowed: ARM has many places for secrets
 * (registry passwords, storage keys, `secureValue`, secure parameters), and none of them is in it.
 */
export type PublicTemplate = {
  readonly $schema: string
  readonly contentVersion: string
  readonly parameters: {
    readonly name: PublicParameter
    readonly location: PublicParameter
    /** Without a value: what is sealed is deployed, and never published. */
    readonly sealedSecrets: { readonly type: 'string'; readonly metadata: { readonly description: string } }
  }
  readonly variables: Empty
  readonly resources: readonly [PublicGroup]
}

type PublicParameter = { readonly type: 'string'; readonly defaultValue: string }

type PublicGroup = {
  readonly type: 'Microsoft.ContainerInstance/containerGroups'
  readonly apiVersion: string
  readonly name: "[parameters('name')]"
  readonly location: "[parameters('location')]"
  /** Its id names subscription and resource group, and is no part of the policy. */
  readonly identity: { readonly type: 'UserAssigned'; readonly userAssignedIdentities: Empty }
  readonly properties: {
    readonly sku: 'Confidential'
    readonly osType: 'Linux'
    readonly restartPolicy: 'Always' | 'OnFailure' | 'Never'
    readonly confidentialComputeProperties: { readonly ccePolicy: '' }
    readonly containers: readonly PublicContainer[]
    readonly ipAddress: {
      readonly type: 'Public'
      readonly ports: readonly PublicPort[]
      readonly dnsNameLabel?: string
    }
  }
}

export type PublicContainer = {
  readonly name: string
  readonly properties: {
    readonly image: string
    readonly command?: readonly string[]
    readonly ports: readonly PublicPort[]
    readonly environmentVariables: readonly PublicVariable[]
    readonly resources: { readonly requests: { readonly cpu: number; readonly memoryInGB: number } }
  }
}

type PublicPort = { readonly port: number; readonly protocol: 'TCP' }
type PublicVariable = { readonly name: string; readonly value: string }
type Empty = Readonly<Record<string, never>>

/** As long as a policy text may be. */
const maximumText = 1_048_576

const anyText = (maximum: number): Reader<string> => text('a text', maximum, (value) => value)

/** What ARM takes as it stands; a doubled bracket is the character. */
const literal = (maximum: number): Reader<string> =>
  text('a text that is no ARM expression', maximum, (value) =>
    value.startsWith('[') && !value.startsWith('[[') ? undefined : value
  )

const amount: Reader<number> = (value, path, problems) => {
  if (typeof value === 'number' && value > 0 && value <= 1000) return value
  problems.push(`${path} must be a number above 0 and up to 1000`)
  return undefined
}

/** A value in clear text, which the policy pins, or the one parameter that has none. */
const variable: Reader<PublicVariable> = (value, path, problems) => {
  const read = object<PublicVariable>({ name: anyText(256), value: anyText(maximumText) })(value, path, problems)
  if (read === undefined) return undefined
  const expected: Reader<string> =
    read.name === sealedSecretsVariable ? oneOf("[parameters('sealedSecrets')]") : literal(maximumText)
  return expected(read.value, `${path}.value`, problems) === undefined ? undefined : read
}

const empty = object<Empty>({})
const parameter = object<PublicParameter>({ type: oneOf('string'), defaultValue: literal(256) })
const ports = list(object<PublicPort>({ port: integer(1, 65_535), protocol: oneOf('TCP') }), 20)

const container = object<PublicContainer>({
  name: text('a container name', 63, (value) => (/^[a-z0-9]+(?:-[a-z0-9]+)*$/.test(value) ? value : undefined)),
  properties: object<PublicContainer['properties']>({
    image: literal(1024),
    command: optional(list(literal(4096), 100)),
    ports,
    environmentVariables: list(variable, 1000),
    resources: object<PublicContainer['properties']['resources']>({
      requests: object<{ readonly cpu: number; readonly memoryInGB: number }>({ cpu: amount, memoryInGB: amount })
    })
  })
})

const properties = object<PublicGroup['properties']>({
  sku: oneOf('Confidential'),
  osType: oneOf('Linux'),
  restartPolicy: oneOf('Always', 'OnFailure', 'Never'),
  confidentialComputeProperties: object<{ readonly ccePolicy: '' }>({ ccePolicy: oneOf('') }),
  containers: list(container, 60),
  ipAddress: object<PublicGroup['properties']['ipAddress']>({
    type: oneOf('Public'),
    ports,
    dnsNameLabel: optional(anyText(63))
  })
})

const group = object<PublicGroup>({
  type: oneOf('Microsoft.ContainerInstance/containerGroups'),
  apiVersion: anyText(40),
  name: oneOf("[parameters('name')]"),
  location: oneOf("[parameters('location')]"),
  identity: object<PublicGroup['identity']>({ type: oneOf('UserAssigned'), userAssignedIdentities: empty }),
  properties
})

const oneGroup: Reader<readonly [PublicGroup]> = (value, path, problems) => {
  const [first] = list(group, 1)(value, path, problems) ?? []
  return first === undefined ? undefined : [first]
}

export const publicTemplateShape: Reader<PublicTemplate> = object<PublicTemplate>({
  $schema: anyText(300),
  contentVersion: anyText(40),
  parameters: object<PublicTemplate['parameters']>({
    name: parameter,
    location: parameter,
    sealedSecrets: object<PublicTemplate['parameters']['sealedSecrets']>({
      type: oneOf('string'),
      metadata: object<{ readonly description: string }>({ description: anyText(1000) })
    })
  }),
  variables: empty,
  resources: oneGroup
})
