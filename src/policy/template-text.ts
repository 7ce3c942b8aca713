import { isJsonObject, type Json, type JsonObject } from '../base/json.js'
import { UserError } from '../base/user-error.js'
import { ArmTemplateError, evaluateDeep, evaluateText, isExpression, scalarText } from './arm-expression.js'
import type { DeploymentContext, ExpressionScope } from './arm-expression.js'
import { declaredParameters, findName, templateScope } from './arm-template.js'
import { field, templateError } from './template-fields.js'

/** `[parameters('x')]` or `[variables('x')]` anywhere in a text, as confcom finds it; names as long as ARM has them. */
const reference = /\[(parameters|variables)\(\s*'([^./]{1,255}?)'\s*\)\]/

export interface ValueWithoutParameter {
  readonly parameter: string
}

/**
 * The texts of one template with its parameters. Two readings meet here. ARM evaluates a text that
 * is an expression as a whole and nothing else; confcom replaces one reference anywhere in a text.
 * Whole expressions are evaluated, which for a single reference is the same; embedded references
 * are replaced as confcom does, with a warning, since the container will be given the raw text.
 */
export class TemplateTexts {
  readonly warnings: string[] = []
  private readonly scope: ExpressionScope
  private readonly declared: JsonObject
  private readonly values: JsonObject

  /** `parameterFile` is the JSON of a parameter file: `{ parameters: { name: { value } } }`. */
  constructor(
    template: JsonObject,
    parameterFile: JsonObject | undefined,
    context: DeploymentContext | undefined,
    /** The texts are what they are; none is an expression. */
    private readonly isPlain = false
  ) {
    this.values = parameterFile === undefined ? {} : parameterValues(parameterFile)
    this.declared = inTemplate('parameters', () => declaredParameters(template))
    for (const name of Object.keys(this.values)) {
      if (findName(this.declared, name) === undefined) {
        throw templateError(`parameter "${name}" of the parameter file is not declared in the template`, {
          next: [`remove "${name}" from the parameter file, or declare it under "parameters" of the template`]
        })
      }
    }
    this.scope = templateScope({ template, parameters: this.values, context })
  }

  /** Evaluates a value with all that it holds; `where` names the place in messages. */
  resolve(value: Json, where: string): Json {
    if (typeof value === 'string') return this.resolveText(value, where)
    if (Array.isArray(value)) {
      return (value as readonly Json[]).map((item, index) => this.resolve(item, `${where}[${index}]`))
    }
    if (isJsonObject(value)) {
      const members = Object.entries(value).map(([key, member]) => [key, this.resolve(member, `${where}.${key}`)])
      return Object.fromEntries(members) as JsonObject
    }
    return value
  }

  /** Evaluates a value only if it is itself an expression, so that its parts can be read one by one. */
  resolveOuter(value: Json | undefined, where: string): Json | undefined {
    return typeof value === 'string' ? this.resolveText(value, where) : value
  }

  /** The value of an environment variable, or the declared parameter that it needs and has no value. */
  environmentValue(text: string, where: string): string | ValueWithoutParameter {
    if (this.isPlain) return text
    const [, kind, name] = reference.exec(text) ?? []
    if (kind === 'parameters' && name !== undefined && !this.hasValue(name, where)) return { parameter: name }
    const value = scalarText(this.resolveText(text, where))
    if (value === undefined) throw templateError(`${where} must be a text, a number or a boolean`)
    return value
  }

  private resolveText(text: string, where: string): Json {
    if (this.isPlain) return text
    if (isExpression(text) || text.startsWith('[[')) return inTemplate(where, () => evaluateText(text, this.scope))
    const found = reference.exec(text)
    if (found === null) return text
    const [expression] = found
    // The white space before it goes with it. Looked for backwards, since a pattern would try it from every space.
    const whole = text.slice(spaceBefore(text, found.index), found.index + expression.length)
    const value = scalarText(inTemplate(where, () => evaluateDeep(expression, this.scope)))
    if (value === undefined) throw templateError(`${where}: ${expression} is not a text, a number or a boolean`)
    this.warnings.push(
      `${where}: Azure evaluates an expression only when it is the whole text, so the container is given ${expression} literally; use [concat(…)]`
    )
    return text.replaceAll(whole, () => value)
  }

  /** confcom takes an empty text, 0 and false of a parameter file for no value, and then ignores the default. */
  private hasValue(written: string, where: string): boolean {
    const name = findName(this.declared, written)
    if (name === undefined) throw templateError(`${where}: parameter "${written}" is not declared in the template`)
    const given = findName(this.values, name)
    if (given !== undefined) return Boolean(field(this.values[given], 'value'))
    const declaration = this.declared[name]
    return (field(declaration, 'defaultValue') ?? null) !== null
  }
}

function spaceBefore(text: string, end: number): number {
  let start = end
  while (start > 0 && /\s/.test(text.charAt(start - 1))) start--
  return start
}

function parameterValues(file: JsonObject): JsonObject {
  const values = field(file, 'parameters')
  if (!isJsonObject(values)) {
    throw templateError('the parameter file has no "parameters" object', {
      next: ['give it the form {"parameters": {"NAME": {"value": …}}}']
    })
  }
  return values
}

function inTemplate<T>(where: string, evaluate: () => T): T {
  try {
    return evaluate()
  } catch (cause) {
    if (!(cause instanceof ArmTemplateError)) throw cause
    throw new UserError('config', 'policy.expression', `${where}: ${cause.message}`, {
      why: 'a policy compares what the container is given, so every expression in it must have a known value.',
      cause
    })
  }
}
