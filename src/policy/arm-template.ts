import { isJsonObject, type Json, type JsonObject } from '../base/json.js'
import {
  ArmTemplateError,
  type DeploymentContext,
  evaluateDeep,
  evaluateText,
  type ExpressionScope
} from './arm-expression.js'
import { checkParameter } from './arm-parameter.js'

/** Each name takes some frames of the stack, with all the nesting of its expression. */
const maximumChain = 50

export interface TemplateInput {
  readonly template: JsonObject
  /** As in a deployment request: `{ name: { value } }`. */
  readonly parameters: JsonObject
  readonly context: DeploymentContext | undefined
}

export interface TemplateOutput {
  readonly type: string
  /** Absent for the secure types, as in the answer of the service. */
  readonly value?: Json
}

export interface EvaluatedTemplate {
  /** In the order of the template, expressions replaced, `dependsOn` kept, false conditions left out. */
  readonly resources: readonly JsonObject[]
  readonly outputs: Readonly<Record<string, TemplateOutput>>
}

/**
 * Evaluates a resource group deployment template. Throws an `ArmTemplateError`: of kind `invalid`
 * with ARM's wording for what Azure refuses, of kind `unsupported` for copy loops, nested
 * templates, user functions, Key Vault references and unknown template functions.
 */
export function evaluateTemplate(input: TemplateInput): EvaluatedTemplate {
  refuseUnsupported(input.template)
  checkNames(input)
  const scope = templateScope(input)
  for (const name of Object.keys(declaredParameters(input.template))) scope.parameter(name)
  return { resources: evaluateResources(input.template, scope), outputs: evaluateOutputs(input.template, scope) }
}

/**
 * Names of a template, evaluated when asked for, each once. Parameter defaults and variables may
 * contain expressions; one that leads to itself is an error.
 */
export function templateScope({ template, parameters, context }: TemplateInput): ExpressionScope {
  const declared = declaredParameters(template)
  const variables = isJsonObject(template['variables']) ? template['variables'] : {}
  const chain: Chain = { length: 0 }
  const scope: ExpressionScope = {
    parameter: once(chain, (written) => {
      const name = findName(declared, written)
      if (name === undefined) throw notFound('parameter', written, 'https://aka.ms/arm-syntax-parameters')
      const declaration = declared[name]
      if (!isJsonObject(declaration)) throw invalid(`The template parameter '${name}' is not an object.`)
      const given = findName(parameters, name)
      const value =
        given === undefined ? defaultValue(name, declaration, scope) : givenValue(name, parameters[given] ?? null)
      checkParameter(name, declaration, value)
      return value
    }),
    variable: once(chain, (written) => {
      const name = findName(variables, written)
      if (name === undefined) throw notFound('variable', written, 'https://aka.ms/arm-syntax-variables')
      return evaluateDeep(variables[name] ?? null, scope)
    }),
    context
  }
  return scope
}

/** ARM's parameter and variable names ignore case; an exact match wins. */
export function findName(names: JsonObject, written: string): string | undefined {
  if (Object.hasOwn(names, written)) return written
  return Object.keys(names).find((name) => name.toLowerCase() === written.toLowerCase())
}

export function declaredParameters(template: JsonObject): JsonObject {
  const declared = template['parameters'] ?? {}
  if (!isJsonObject(declared)) throw invalid('The template parameters section is not an object.')
  return declared
}

function refuseUnsupported(template: JsonObject): void {
  if (template['functions'] !== undefined && JSON.stringify(template['functions']) !== '[]') {
    throw new ArmTemplateError('unsupported', 'user functions in a template are not supported')
  }
  const variables = template['variables'] ?? {}
  if (!isJsonObject(variables)) throw invalid('The template variables section is not an object.')
  if (Object.hasOwn(variables, 'copy')) {
    throw new ArmTemplateError('unsupported', "copy loops are not supported: variable 'copy'")
  }
}

function checkNames({ template, parameters }: TemplateInput): void {
  const declared = declaredParameters(template)
  const unknown = Object.keys(parameters).filter((name) => findName(declared, name) === undefined)
  if (unknown.length === 0) return
  throw invalid(
    `The template parameters '${unknown.join(', ')}' in the parameters file are not valid; they are not present in the original template and can therefore not be provided at deployment time. The only supported parameters for this template are '${Object.keys(declared).join(', ')}'. Please see https://aka.ms/arm-pass-parameter-values for usage details.`
  )
}

function defaultValue(name: string, declaration: JsonObject, scope: ExpressionScope): Json {
  const value = declaration['defaultValue']
  if (value !== undefined) return evaluateDeep(value, scope)
  if (declaration['nullable'] === true) return null
  throw invalid(
    `The value for the template parameter '${name}' is not provided. Please see https://aka.ms/arm-create-parameter-file for usage details.`
  )
}

/** A value that is given is a value: brackets in it are not evaluated, so a caller cannot inject expressions. */
function givenValue(name: string, entry: Json): Json {
  if (isJsonObject(entry) && entry['reference'] !== undefined) {
    throw new ArmTemplateError(
      'unsupported',
      `parameter '${name}' refers to a Key Vault secret, which is not supported`
    )
  }
  const value = isJsonObject(entry) ? entry['value'] : undefined
  if (value === undefined) {
    throw invalid(
      `The value for the template parameter '${name}' is not provided. Please see https://aka.ms/arm-create-parameter-file for usage details.`
    )
  }
  return value
}

function evaluateResources(template: JsonObject, scope: ExpressionScope): JsonObject[] {
  const resources: unknown = template['resources']
  if (!Array.isArray(resources)) {
    throw new ArmTemplateError('unsupported', 'the resources of a template must be a list')
  }
  return (resources as readonly Json[]).flatMap((resource, index) => {
    if (!isJsonObject(resource)) throw invalid(`The template resource at index ${index} is not an object.`)
    const evaluated = evaluateResource(resource, index, scope)
    return evaluated === undefined ? [] : [evaluated]
  })
}

function evaluateResource(resource: JsonObject, index: number, scope: ExpressionScope): JsonObject | undefined {
  const { condition = true, ...rest } = resource
  const label = typeof rest['name'] === 'string' ? rest['name'] : String(index)
  if (rest['copy'] !== undefined) {
    throw new ArmTemplateError('unsupported', `copy loops are not supported: resource '${label}'`)
  }
  if (typeof rest['type'] === 'string' && rest['type'].toLowerCase() === 'microsoft.resources/deployments') {
    throw new ArmTemplateError('unsupported', `nested templates are not supported: resource '${label}'`)
  }
  const wanted = typeof condition === 'string' ? evaluateText(condition, scope) : condition
  if (typeof wanted !== 'boolean') throw invalid(`The condition of the template resource '${label}' is not a boolean.`)
  if (!wanted) return undefined
  const evaluated = Object.fromEntries(Object.entries(rest).map(([key, value]) => [key, evaluateDeep(value, scope)]))
  for (const member of ['type', 'apiVersion', 'name']) {
    if (typeof evaluated[member] !== 'string' || evaluated[member] === '') {
      throw invalid(`The template resource '${label}' has no '${member}'.`)
    }
  }
  const { dependsOn } = evaluated
  if (dependsOn !== undefined && !(Array.isArray(dependsOn) && dependsOn.every((id) => typeof id === 'string'))) {
    throw invalid(`The dependsOn of the template resource '${label}' is not a list of texts.`)
  }
  return evaluated
}

function evaluateOutputs(template: JsonObject, scope: ExpressionScope): Record<string, TemplateOutput> {
  const outputs = template['outputs'] ?? {}
  if (!isJsonObject(outputs)) throw invalid('The template outputs section is not an object.')
  return Object.fromEntries(
    Object.entries(outputs).map(([name, output]) => {
      if (!isJsonObject(output) || typeof output['type'] !== 'string' || output['value'] === undefined) {
        throw invalid(`The template output '${name}' needs a type and a value.`)
      }
      const { type } = output
      const value = evaluateDeep(output['value'], scope)
      return [name, type.toLowerCase().startsWith('secure') ? { type } : { type, value }]
    })
  )
}

/** How many names lead to the one that is being evaluated. */
interface Chain {
  length: number
}

/** Memory for one kind of name, and the guard against a name that leads to itself or to too many others. */
function once(chain: Chain, evaluate: (name: string) => Json): (name: string) => Json {
  const known = new Map<string, Json>()
  const underWay = new Set<string>()
  return (written) => {
    const name = written.toLowerCase()
    const value = known.get(name)
    if (value !== undefined) return value
    if (underWay.has(name)) throw invalid(`The template has a circular reference through '${written}'.`)
    if (chain.length >= maximumChain) {
      throw new ArmTemplateError(
        'unsupported',
        `more than ${maximumChain} names lead to '${written}', each to the next`
      )
    }
    underWay.add(name)
    chain.length++
    try {
      const found = evaluate(written)
      known.set(name, found)
      return found
    } finally {
      underWay.delete(name)
      chain.length--
    }
  }
}

function notFound(kind: 'parameter' | 'variable', name: string, link: string): ArmTemplateError {
  return invalid(`The template ${kind} '${name}' is not found. Please see ${link} for usage details.`)
}

/** The sentence that ARM puts around every complaint about a template. */
function invalid(detail: string): ArmTemplateError {
  return new ArmTemplateError('invalid', `Deployment template validation failed: '${detail}'.`)
}
