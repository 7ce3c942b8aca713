import { sha256Hex } from '../../../base/digest.js'
import { canonicalJson, isJsonObject, type Json, type JsonObject } from '../../../base/json.js'
import {
  ArmTemplateError,
  type DeploymentContext,
  evaluateTemplate,
  type TemplateOutput
} from '../../../policy/index.js'
import { Fields } from '../../body.js'
import { type EmulatorRequest, ServiceError } from '../../http.js'
import { parseLenientJson } from './lenient-json.js'
import { resourceGroupId, resourceKey } from './resource-id.js'

/** What a deployment request asks for, as it is kept until the deployment has ended. */
export interface DeploymentInput {
  readonly template: JsonObject
  readonly parameters: JsonObject
}

export interface PlannedResource {
  readonly id: string
  readonly type: string
  readonly name: string
  readonly apiVersion: string
  /** The body of its PUT. */
  readonly body: JsonObject
}

export interface DeploymentPlan {
  /** In an order in which each comes after what it depends on. */
  readonly resources: readonly PlannedResource[]
  readonly outputs: Readonly<Record<string, TemplateOutput>>
}

export function readDeployment(request: EmulatorRequest): DeploymentInput {
  const properties = Fields.of(parseBody(request.body)).object('properties')
  const mode = properties.string('mode')
  if (mode.toLowerCase() !== 'incremental') throw missing(`deployments in mode ${mode.slice(0, 40)}`)
  if (properties.has('templateLink') || properties.has('parametersLink')) throw missing('linked templates')
  return {
    template: properties.object('template').toJSON(),
    parameters: properties.objectOrEmpty('parameters').toJSON()
  }
}

/** Evaluates the template; what Azure refuses throws `InvalidTemplate`, what only this emulator lacks a 501. */
export function planDeployment({ template, parameters }: DeploymentInput, context: DeploymentContext): DeploymentPlan {
  requireTemplateForm(template)
  const { resources, outputs } = evaluated(template, parameters, context)
  const planned = resources.map((resource) => ({ resource, planned: plan(resource, context) }))
  return { resources: inOrder(planned), outputs }
}

/** The parameters as answers show them: with their types, and without the values of the secure ones. */
export function shownParameters({ template, parameters }: DeploymentInput): JsonObject {
  const declared = isJsonObject(template['parameters']) ? template['parameters'] : {}
  return Object.fromEntries(
    Object.entries(declared).map(([name, declaration]) => {
      const type = declaredType(declaration)
      const given = parameters[name]
      const value = isJsonObject(given)
        ? given['value']
        : isJsonObject(declaration)
          ? declaration['defaultValue']
          : null
      const shown = shownTypes[type] ?? 'String'
      return [name, type.startsWith('secure') || value === undefined ? { type: shown } : { type: shown, value }]
    })
  )
}

function declaredType(declaration: Json): string {
  const type = isJsonObject(declaration) ? declaration['type'] : undefined
  return typeof type === 'string' ? type.toLowerCase() : 'string'
}

const shownTypes: Readonly<Record<string, string>> = {
  string: 'String',
  securestring: 'SecureString',
  int: 'Int',
  bool: 'Bool',
  object: 'Object',
  secureobject: 'SecureObject',
  array: 'Array'
}

/** A decimal number that changes with the template. */
export function templateHash(template: JsonObject): string {
  return BigInt(`0x${sha256Hex(canonicalJson(template)).slice(0, 16)}`).toString()
}

function parseBody(body: Uint8Array): unknown {
  try {
    return parseLenientJson(new TextDecoder('utf-8', { fatal: true }).decode(body))
  } catch {
    throw new ServiceError(
      400,
      'InvalidRequestContent',
      'The request content was invalid and could not be deserialized.'
    )
  }
}

const templateSchema =
  /^https?:\/\/schema\.management\.azure\.com\/schemas\/\d{4}-\d{2}-\d{2}\/deploymentTemplate\.json#?$/i

/** The two members that every template must have, and whose texts must be of these forms. */
function requireTemplateForm(template: JsonObject): void {
  for (const member of ['$schema', 'contentVersion']) {
    if (typeof template[member] !== 'string') {
      throw invalidTemplate(`Required property '${member}' not found in JSON. Path '', line 1, position 1.`)
    }
  }
  const { $schema, contentVersion } = template
  if (!templateSchema.test(text($schema))) {
    throw invalidTemplate(`The template schema '${text($schema).slice(0, 200)}' is not supported for a resource group`)
  }
  if (!/^\d{1,9}(\.\d{1,9}){1,3}$/.test(text(contentVersion))) {
    throw invalidTemplate(`The template content version '${text(contentVersion).slice(0, 80)}' is not valid`)
  }
}

function evaluated(template: JsonObject, parameters: JsonObject, context: DeploymentContext) {
  try {
    return evaluateTemplate({ template, parameters, context })
  } catch (error) {
    if (!(error instanceof ArmTemplateError)) throw error
    if (error.kind === 'unsupported') throw missing(error.message)
    throw new ServiceError(400, error.code, error.message)
  }
}

function plan(resource: JsonObject, { subscriptionId, resourceGroup }: DeploymentContext): PlannedResource {
  const { type, name, apiVersion, scope, dependsOn: _dependsOn, comments: _comments, ...body } = resource
  const [typeText, nameText] = [text(type), text(name)]
  const [namespace = '', ...types] = typeText.split('/')
  const names = nameText.split('/')
  if (types.length === 0 || types.length !== names.length) {
    throw invalidTemplate(
      `The template resource '${nameText}' for type '${typeText}' has incorrect segment lengths. A nested resource type must have identical number of segments as its resource name.`
    )
  }
  const parent =
    typeof scope === 'string' ? scope.replace(/\/+$/, '') : resourceGroupId(subscriptionId, resourceGroup.name)
  const path = types.map((part, index) => `${part}/${names[index] ?? ''}`).join('/')
  return {
    id: `${parent.startsWith('/') ? parent : `/${parent}`}/providers/${namespace}/${path}`,
    type: typeText,
    name: nameText,
    apiVersion: text(apiVersion),
    body
  }
}

interface Candidate {
  readonly resource: JsonObject
  readonly planned: PlannedResource
}

/** Depth first over `dependsOn`, which names a resource by id or by its bare name. */
function inOrder(candidates: readonly Candidate[]): PlannedResource[] {
  const ordered: PlannedResource[] = []
  const underWay = new Set<Candidate>()
  const visit = (candidate: Candidate): void => {
    if (ordered.includes(candidate.planned)) return
    if (underWay.has(candidate)) {
      throw invalidTemplate(
        `Circular dependency detected on resource: '${candidate.planned.id}'. Please see https://aka.ms/arm-syntax-resources for usage details.`
      )
    }
    underWay.add(candidate)
    for (const wanted of dependencies(candidate.resource)) visit(find(candidates, wanted))
    ordered.push(candidate.planned)
  }
  candidates.forEach(visit)
  return ordered
}

function dependencies(resource: JsonObject): string[] {
  const { dependsOn } = resource
  return Array.isArray(dependsOn) ? (dependsOn as readonly Json[]).map(text) : []
}

function find(candidates: readonly Candidate[], wanted: string): Candidate {
  const found = candidates.find(
    ({ planned }) =>
      resourceKey(planned.id) === resourceKey(wanted) ||
      planned.name.toLowerCase() === wanted.toLowerCase() ||
      `${planned.type}/${planned.name}`.toLowerCase() === wanted.toLowerCase()
  )
  if (found) return found
  throw invalidTemplate(
    `The resource '${wanted}' is not defined in the template. Please see https://aka.ms/arm-syntax for usage details.`
  )
}

/** A member that the evaluation has already checked to be a text. */
function text(value: Json | undefined): string {
  if (typeof value !== 'string') throw new TypeError('the evaluated template has a member that is not a text')
  return value
}

function invalidTemplate(detail: string): ServiceError {
  return new ServiceError(400, 'InvalidTemplate', `Deployment template validation failed: '${detail}'.`)
}

function missing(what: string): ServiceError {
  return new ServiceError(501, 'NotImplemented', `not implemented: ${what}`)
}
