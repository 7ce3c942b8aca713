import { isJsonObject, type Json } from '../base/json.js'

/** What an ARM deployment knows of its surroundings. */
export interface DeploymentContext {
  readonly subscriptionId: string
  readonly tenantId: string
  readonly resourceGroup: { readonly name: string; readonly location: string }
}

/** Where an expression looks names up; both throw an `ArmTemplateError` for an unknown name. */
export interface ExpressionScope {
  parameter(name: string): Json
  variable(name: string): Json
  /** Absent where a template is read before its place of deployment is known. */
  readonly context: DeploymentContext | undefined
}

/**
 * A template that cannot be evaluated. `invalid`: Azure would refuse it as well, and `message` is
 * ARM's wording. `unsupported`: Azure may accept it, this evaluator does not know how.
 */
export class ArmTemplateError extends Error {
  override readonly name = 'ArmTemplateError'
  readonly code = 'InvalidTemplate'

  constructor(
    readonly kind: 'invalid' | 'unsupported',
    message: string,
    options?: ErrorOptions
  ) {
    super(message, options)
  }
}

/** ARM's own limit on the length of an expression. */
const maximumExpression = 24_576
const maximumText = 1_048_576
const maximumNesting = 64
const maximumNodes = 100_000

/** True for a text that ARM evaluates: in brackets, and the first bracket not doubled. */
export function isExpression(text: string): boolean {
  return text.startsWith('[') && text.endsWith(']') && !text.startsWith('[[')
}

/**
 * The value of a text in a template: an expression is evaluated, `[[x]` stands for `[x]`, anything
 * else is itself. Throws an `ArmTemplateError` that quotes the expression.
 */
export function evaluateText(text: string, scope: ExpressionScope): Json {
  if (text.startsWith('[[') && text.endsWith(']')) return text.slice(1)
  if (!isExpression(text)) return text
  if (text.length > maximumExpression) {
    throw new ArmTemplateError('invalid', `an expression is longer than ${maximumExpression} characters`)
  }
  const source = text.slice(1, -1)
  const value = evaluate(new ExpressionParser(source).parse(), { ...bind(scope), source })
  if (countNodes(value, maximumNodes) === 0) {
    throw new ArmTemplateError('invalid', `'${text}' stands for more than ${maximumNodes} values`)
  }
  return value
}

/** Evaluates every text in a value, depth first; member names are taken as they are. */
export function evaluateDeep(value: Json, scope: ExpressionScope, depth = 0): Json {
  if (depth > maximumNesting) throw new ArmTemplateError('invalid', 'the template is nested too deeply')
  if (typeof value === 'string') return evaluateText(value, scope)
  if (isJsonObject(value)) {
    return Object.fromEntries(
      Object.entries(value).map(([key, member]) => [key, evaluateDeep(member, scope, depth + 1)])
    )
  }
  if (Array.isArray(value)) return (value as readonly Json[]).map((item) => evaluateDeep(item, scope, depth + 1))
  return value
}

/** The text of a scalar inside a longer text. Booleans have .NET's capitals. */
export function scalarText(value: Json): string | undefined {
  if (typeof value === 'string') return value
  if (typeof value === 'boolean') return value ? 'True' : 'False'
  return typeof value === 'number' ? String(value) : undefined
}

type Expression =
  | { readonly kind: 'literal'; readonly value: string | number }
  | { readonly kind: 'call'; readonly name: string; readonly arguments: readonly Expression[] }
  | { readonly kind: 'member'; readonly of: Expression; readonly key: Expression }

class ExpressionParser {
  private offset = 0

  constructor(private readonly source: string) {}

  parse(): Expression {
    const expression = this.expression(0)
    if (this.peek() !== '') throw this.unexpected('the end of the expression')
    return expression
  }

  private expression(depth: number): Expression {
    if (depth > maximumNesting) throw new ArmTemplateError('invalid', `'${this.source}' is nested too deeply`)
    let expression = this.primary(depth)
    for (;;) {
      if (this.take('.')) {
        const name = this.match(/[A-Za-z_][A-Za-z0-9_]*/y)
        if (name === undefined) throw this.unexpected('a property name')
        expression = { kind: 'member', of: expression, key: { kind: 'literal', value: name } }
      } else if (this.take('[')) {
        const key = this.expression(depth + 1)
        this.expect(']')
        expression = { kind: 'member', of: expression, key }
      } else {
        return expression
      }
    }
  }

  private primary(depth: number): Expression {
    this.peek()
    const text = this.match(/'(?:[^']|'')*'/y)
    if (text !== undefined) return { kind: 'literal', value: text.slice(1, -1).replaceAll("''", "'") }
    const number = this.match(/-?[0-9]{1,15}(?![0-9.])/y)
    if (number !== undefined) return { kind: 'literal', value: Number(number) }
    const name = this.match(/[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*(?=\s*\()/y)
    if (name === undefined) throw this.unexpected('a function call, a string or a number')
    this.expect('(')
    const values: Expression[] = []
    if (!this.take(')')) {
      do values.push(this.expression(depth + 1))
      while (this.take(','))
      this.expect(')')
    }
    return { kind: 'call', name, arguments: values }
  }

  private peek(): string {
    this.match(/\s*/y)
    return this.source.charAt(this.offset)
  }

  private take(mark: string): boolean {
    if (this.peek() !== mark) return false
    this.offset++
    return true
  }

  private expect(mark: string): void {
    if (!this.take(mark)) throw this.unexpected(`'${mark}'`)
  }

  private match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.offset
    const found = pattern.exec(this.source)?.[0]
    this.offset += found?.length ?? 0
    return found
  }

  private unexpected(expected: string): ArmTemplateError {
    return new ArmTemplateError(
      'invalid',
      `Unable to parse language expression '${this.source}': expected ${expected} at offset ${this.offset}.`
    )
  }
}

interface Evaluation extends ExpressionScope {
  /** The whole expression, for messages. */
  readonly source: string
}

function bind(scope: ExpressionScope): ExpressionScope {
  return {
    parameter: (name) => scope.parameter(name),
    variable: (name) => scope.variable(name),
    context: scope.context
  }
}

function evaluate(expression: Expression, scope: Evaluation): Json {
  switch (expression.kind) {
    case 'literal':
      return expression.value
    case 'member':
      return memberOf(evaluate(expression.of, scope), evaluate(expression.key, scope), expression.key, scope)
    case 'call':
      return call(
        expression.name,
        expression.arguments.map((argument) => evaluate(argument, scope)),
        scope
      )
  }
}

function memberOf(value: Json, key: Json, written: Expression, scope: Evaluation): Json {
  if (Array.isArray(value) && typeof key === 'number') {
    const item = (value as readonly Json[])[key]
    if (item !== undefined) return item
  }
  if (isJsonObject(value) && typeof key === 'string') {
    // ARM's property names ignore case; an exact match wins.
    const name = Object.hasOwn(value, key)
      ? key
      : Object.keys(value).find((candidate) => candidate.toLowerCase() === key.toLowerCase())
    const member = name === undefined ? undefined : value[name]
    if (member !== undefined) return member
  }
  // A key that was computed may be a secret parameter; one that is written is in the source anyway.
  const shown = written.kind === 'literal' ? ` '${String(written.value)}'` : ''
  throw new ArmTemplateError('invalid', `The language expression property${shown} doesn't exist in '${scope.source}'.`)
}

type TemplateFunction = (values: readonly Json[], scope: Evaluation) => Json

/** Function names ignore case. What is not here is refused, never guessed. */
const templateFunctions: ReadonlyMap<string, TemplateFunction> = new Map<string, TemplateFunction>([
  ['parameters', (values, scope) => scope.parameter(onlyName('parameters', values, scope))],
  ['variables', (values, scope) => scope.variable(onlyName('variables', values, scope))],
  ['concat', concat],
  ['format', format],
  ['resourcegroup', resourceGroup],
  ['subscription', subscription],
  ['resourceid', resourceId]
])

function call(name: string, values: readonly Json[], scope: Evaluation): Json {
  const templateFunction = templateFunctions.get(name.toLowerCase())
  if (templateFunction === undefined) {
    throw new ArmTemplateError('unsupported', `the template function '${name}' in '[${scope.source}]' is not supported`)
  }
  return templateFunction(values, scope)
}

function onlyName(called: string, values: readonly Json[], scope: Evaluation): string {
  const [name] = values
  if (values.length !== 1 || typeof name !== 'string') throw badArguments(called, 'one name', scope)
  return name
}

function concat(values: readonly Json[], scope: Evaluation): Json {
  if (values.length === 0) throw badArguments('concat', 'at least one argument', scope)
  if (values.every((value) => Array.isArray(value))) return concatLists(values as readonly (readonly Json[])[], scope)
  return joined(
    values.map((value) => textOf('concat', value, scope)),
    scope
  )
}

function concatLists(lists: readonly (readonly Json[])[], scope: Evaluation): Json {
  if (lists.reduce((total, { length }) => total + length, 0) > maximumNodes) {
    throw new ArmTemplateError('invalid', `'[${scope.source}]' stands for more than ${maximumNodes} values`)
  }
  return lists.flat()
}

/** .NET composite formatting without alignment and format strings. */
function format(values: readonly Json[], scope: Evaluation): Json {
  const [pattern, ...items] = values
  if (typeof pattern !== 'string') throw badArguments('format', 'a format string first', scope)
  let length = pattern.length
  return pattern.replace(/\{\{|\}\}|\{([0-9]{1,4})\}|[{}]/g, (mark, index: string | undefined) => {
    if (mark === '{{') return '{'
    if (mark === '}}') return '}'
    const item = index === undefined ? undefined : items[Number(index)]
    if (item === undefined) throw badArguments('format', `an argument for '${mark}'`, scope)
    const text = textOf('format', item, scope)
    checkLength((length += text.length), scope)
    return text
  })
}

function resourceGroup(values: readonly Json[], scope: Evaluation): Json {
  const { subscriptionId, resourceGroup: group } = contextOf('resourceGroup', values, scope)
  return {
    id: `/subscriptions/${subscriptionId}/resourceGroups/${group.name}`,
    name: group.name,
    type: 'Microsoft.Resources/resourceGroups',
    location: group.location
  }
}

function subscription(values: readonly Json[], scope: Evaluation): Json {
  const { subscriptionId, tenantId } = contextOf('subscription', values, scope)
  return { id: `/subscriptions/${subscriptionId}`, subscriptionId, tenantId }
}

/** `resourceId([subscription], [resource group], 'Namespace/type/…', name, …)`: as many names as types. */
function resourceId(values: readonly Json[], scope: Evaluation): Json {
  const context = contextOf('resourceId', [], scope)
  const texts = values.map((value) => textOf('resourceId', value, scope))
  const at = texts.findIndex((text) => text.includes('/'))
  const [namespace, ...types] = (texts[at] ?? '').split('/')
  const names = texts.slice(at + 1)
  if (at < 0 || at > 2 || types.length === 0 || names.length !== types.length || types.includes('')) {
    throw badArguments('resourceId', 'a resource type and one name for each of its segments', scope)
  }
  const subscriptionId = at === 2 ? (texts[0] ?? '') : context.subscriptionId
  const group = at === 0 ? context.resourceGroup.name : (texts[at - 1] ?? '')
  const path = types.flatMap((type, index) => ['/', type, '/', names[index] ?? ''])
  return joined(
    ['/subscriptions/', subscriptionId, '/resourceGroups/', group, '/providers/', namespace ?? '', ...path],
    scope
  )
}

function contextOf(called: string, values: readonly Json[], scope: Evaluation): DeploymentContext {
  if (values.length !== 0) throw badArguments(called, 'no arguments', scope)
  if (scope.context === undefined) {
    throw new ArmTemplateError(
      'unsupported',
      `'[${scope.source}]' depends on where the template is deployed, which is not known here`
    )
  }
  return scope.context
}

function textOf(called: string, value: Json, scope: Evaluation): string {
  const text = scalarText(value)
  if (text === undefined) throw badArguments(called, 'texts, numbers or booleans', scope)
  return text
}

/**
 * What is left of `budget` after counting the values in `value`; 0 when there are more. Variables
 * that hold each other twice are small in memory and endless when written out.
 */
function countNodes(value: Json, budget: number): number {
  let left = budget - 1
  if (typeof value !== 'object' || value === null) return Math.max(left, 0)
  for (const member of Object.values(value) as readonly Json[]) {
    if (left <= 0) return 0
    left = countNodes(member, left)
  }
  return Math.max(left, 0)
}

function joined(texts: readonly string[], scope: Evaluation): string {
  checkLength(
    texts.reduce((total, { length }) => total + length, 0),
    scope
  )
  return texts.join('')
}

/** Asked before a text is made: variables that double each other could fill the memory from a small template. */
function checkLength(length: number, scope: Evaluation): void {
  if (length <= maximumText) return
  throw new ArmTemplateError('invalid', `'[${scope.source}]' is longer than ${maximumText} characters`)
}

function badArguments(called: string, expected: string, scope: Evaluation): ArmTemplateError {
  return new ArmTemplateError(
    'invalid',
    `Unable to evaluate template language function '${called}' in '${scope.source}': expected ${expected}.`
  )
}
