import { isJsonObject, type Json } from '../base/json.js'

/** Who reads what is written. */
export interface YamlOptions {
  /**
   * `any`: YAML 1.2 and Go's YAML too, which take other texts for numbers and booleans than PyYAML does; all such
   * stand in quotes then. `python` if not given, which is what PyYAML writes.
   */
  readonly readers?: 'python' | 'any'
}

/**
 * Documents as PyYAML's `dump_all` writes them, which is how confcom rewrites a manifest: members sorted, two spaces,
 * lists not indented, lines of words broken behind column 80, `---` between documents. Texts that need double quotes
 * are not broken over lines, which PyYAML does: the same data in other bytes.
 */
export function pythonYaml(documents: readonly Json[], { readers = 'python' }: YamlOptions = {}): string {
  const top: Place = { indent: 0, column: 0, isInList: false, readers }
  return documents.map((document) => `${node(document, top).trimStart()}\n`).join('---\n')
}

/** Where a node stands: `column` is where it begins, `indent` where its further lines do. */
interface Place {
  readonly indent: number
  readonly column: number
  readonly isInList: boolean
  readonly readers: 'python' | 'any'
}

/** A node behind `key:` or `-`: it begins with a space, or with a line break where it is a block. */
function node(value: Json, place: Place): string {
  if (Array.isArray(value)) return list(value as readonly Json[], place)
  if (isJsonObject(value)) return mapping(value, place)
  if (typeof value === 'string') return ` ${text(value, place, place.readers)}`
  // YAML 1.1 knows no exponent without a fraction: "1e+21" would be a text.
  return ` ${JSON.stringify(value).replace(/^(-?[0-9]+)e/, '$1.0e')}`
}

function mapping(object: Readonly<Record<string, Json>>, { indent, isInList, readers }: Place): string {
  const members = Object.entries(object).sort(([a], [b]) => byCodePoint(a, b))
  if (members.length === 0) return ' {}'
  const lines = members.map(([key, value]) => {
    const name = text(key, undefined, readers)
    const inner = Array.isArray(value) ? indent : indent + 2
    return `${name}:${node(value, { indent: inner, column: indent + name.length + 2, isInList: false, readers })}`
  })
  const between = `\n${' '.repeat(indent)}`
  return `${isInList ? ' ' : between}${lines.join(between)}`
}

/** A list in a mapping stands below its key; one in a list stands behind the dash. */
function list(items: readonly Json[], { indent, isInList, readers }: Place): string {
  if (items.length === 0) return ' []'
  const between = `\n${' '.repeat(indent)}`
  const inner: Place = { indent: indent + 2, column: indent + 2, isInList: true, readers }
  return `${isInList ? ' ' : between}${items.map((item) => `-${node(item, inner)}`).join(between)}`
}

/** A key has no place, since it is never broken over lines. */
function text(value: string, place: Place | undefined, readers: Place['readers']): string {
  if (needsDoubleQuotes(value) || (place === undefined && value.includes('\n'))) {
    return JSON.stringify(value).replace(/[\u{7f}-\u{10ffff}]/gu, escaped)
  }
  if (isPlain(value) && (readers === 'python' || !mayBeOther.test(value)))
    return place === undefined ? value : wrapped(value, place, place.column)
  const inner = value.replaceAll("'", "''")
  return `'${place === undefined ? inner : wrapped(inner, place, place.column + 1)}'`
}

function escaped(character: string): string {
  const hex = (character.codePointAt(0) ?? 0).toString(16).toUpperCase()
  // A surrogate pair of JSON would be two characters to YAML, and neither is one.
  return hex.length > 4 ? `\\U${hex.padStart(8, '0')}` : `\\u${hex.padStart(4, '0')}`
}

/** Anything that a line of printable ASCII cannot say, or that quotes would change. */
function needsDoubleQuotes(value: string): boolean {
  return /[^\n\x20-\x7e]/.test(value) || / \n/.test(value) || /\n /.test(value)
}

/** Texts that YAML 1.1 takes for something else: booleans, null, numbers, times, merges. */
const notTexts: readonly RegExp[] = [
  /^(?:yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)$/,
  /^(?:~|null|Null|NULL|)$/,
  /^[-+]?(?:0b[0-1_]+|0[0-7_]+|(?:0|[1-9][0-9_]*)|0x[0-9a-fA-F_]+|[1-9][0-9_]*(?::[0-5]?[0-9])+)$/,
  /^(?:[-+]?(?:[0-9][0-9_]*)\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$/,
  /^[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]*)?(?:[ \t]*(?:Z|[-+][0-9]{1,2}(?::[0-9]{2})?))?)?$/,
  /^(?:<<|=)$/
]

/** Whatever begins like a number, and every word that some YAML takes for a boolean, null or a number. */
const mayBeOther = /^(?:[-+.0-9].*|y|n|yes|no|on|off|true|false|null|nan|inf)$/i

function isPlain(value: string): boolean {
  if (notTexts.some((pattern) => pattern.test(value))) return false
  if (value.includes('\n') || value !== value.trim()) return false
  if (/^(?:---|\.\.\.)/.test(value) || /^[#,[\]{}&*!|>'"%@`]/.test(value)) return false
  if (/^[?:-](?: |$)/.test(value)) return false
  return !/:(?: |$)/.test(value) && !/ #/.test(value)
}

const width = 80

/** Breaks at single spaces behind the width. A break of the text itself takes one more than it has. */
function wrapped(value: string, { indent }: Place, begins: number): string {
  const margin = ' '.repeat(indent)
  let column = begins
  return value
    .split(/(\n+| (?! ))/)
    .map((part, index, parts) => {
      const isBreak = part.startsWith('\n')
      const isSpace = part === ' ' && !(parts[index - 1] ?? '').endsWith(' ')
      if (isBreak || (isSpace && index > 0 && column > width)) {
        column = indent
        return `${isBreak ? `\n${part}` : '\n'}${margin}`
      }
      column += part.length
      return part
    })
    .join('')
}

function byCodePoint(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
