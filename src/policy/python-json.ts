import type { Json } from '../base/json.js'
import { JsonNumber, type JsonNode } from './json-text.js'

/**
 * JSON as Python's `json.dumps` writes it with `ensure_ascii`. The hash of the policy text is what
 * the hardware attests, so the spelling of every character is part of the interface.
 */
export interface PythonJsonStyle {
  /** Spaces for each level; without it everything is on one line without white space. */
  readonly indent?: number
  readonly sortKeys: boolean
}

export function pythonJson(value: JsonNode | Json, style: PythonJsonStyle): string {
  return write(value, style, '')
}

function write(value: JsonNode | Json, style: PythonJsonStyle, indentation: string): string {
  if (value === null) return 'null'
  if (typeof value === 'boolean') return value ? 'true' : 'false'
  if (typeof value === 'string') return pythonString(value)
  if (typeof value === 'number') return Number.isInteger(value) ? BigInt(value).toString() : pythonFloat(value)
  if (value instanceof JsonNumber) return pythonNumber(value)
  const deeper = style.indent === undefined ? '' : indentation + ' '.repeat(style.indent)
  if (isList(value)) {
    return enclose(
      '[',
      value.map((item) => write(item, style, deeper)),
      ']',
      style,
      indentation,
      deeper
    )
  }
  const members = value instanceof Map ? [...value] : Object.entries(value)
  if (style.sortKeys) members.sort(([a], [b]) => (a < b ? -1 : 1))
  const colon = style.indent === undefined ? ':' : ': '
  const lines = members.map(([key, member]) => `${pythonString(key)}${colon}${write(member, style, deeper)}`)
  return enclose('{', lines, '}', style, indentation, deeper)
}

function enclose(
  open: string,
  items: readonly string[],
  close: string,
  style: PythonJsonStyle,
  indentation: string,
  deeper: string
): string {
  if (items.length === 0 || style.indent === undefined) return open + items.join(',') + close
  return `${open}\n${deeper}${items.join(`,\n${deeper}`)}\n${indentation}${close}`
}

/** `Array.isArray` does not narrow a read-only array. */
function isList(value: object): value is readonly (JsonNode | Json)[] {
  return Array.isArray(value)
}

const shortEscapes: Readonly<Record<string, string>> = {
  '"': '\\"',
  '\\': '\\\\',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\b': '\\b',
  '\f': '\\f'
}

/** Python escapes all but space to tilde, UTF-16 unit by unit: DEL too, and half a surrogate pair as itself. */
function pythonString(text: string): string {
  const escaped = text.replace(
    /["\\]|[^\x20-\x7e]/g,
    (unit) => shortEscapes[unit] ?? `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`
  )
  return `"${escaped}"`
}

function pythonNumber(number: JsonNumber): string {
  if (number.isInteger) return BigInt(number.text).toString()
  return pythonFloat(Number(number.text))
}

/**
 * Python's `repr` of a double: the shortest digits that read back, like JavaScript's, but with an
 * exponent below 1e-4 and from 1e16, and always with a point or an exponent.
 */
export function pythonFloat(value: number): string {
  if (!Number.isFinite(value)) throw new RangeError('a number is too large for JSON')
  if (value === 0) return Object.is(value, -0) ? '-0.0' : '0.0'
  const [mantissa = '', exponentText = ''] = value.toExponential().split('e')
  const exponent = Number(exponentText)
  if (exponent < -4 || exponent >= 16) {
    return `${mantissa}e${exponent < 0 ? '-' : '+'}${String(Math.abs(exponent)).padStart(2, '0')}`
  }
  const digits = mantissa.replace(/[-.]/g, '')
  const sign = value < 0 ? '-' : ''
  if (exponent < 0) return `${sign}0.${'0'.repeat(-exponent - 1)}${digits}`
  const whole = digits.slice(0, exponent + 1).padEnd(exponent + 1, '0')
  return `${sign}${whole}.${digits.slice(exponent + 1) || '0'}`
}
