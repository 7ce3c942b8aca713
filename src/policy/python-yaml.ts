import { isJsonObject, type Json } from '../base/json.js'

/**
 * Documents as PyYAML's `dump_all` writes them, which is how confcom rewrites a manifest: members sorted, two spaces,
 * lists not indented, lines of words broken behind column 80, `---` between documents. Texts that need double quotes
 * are not broken over lines, which PyYAML does: the same data in other bytes.
 */
export function pythonYaml(documents: readonly Json[]): string {
  return documents
    .map((document) => `${node(document, { indent: 0, column: 0, isInList: false }).trimStart()}\n`)
    .join('---\n')
}

/** Where a node stands: `column` is where it begins, `indent` where its further lines do. */
interface Place {
  readonly indent: number
  readonly column: number
  readonly isInList: boolean
}

/** A node behind `key:` or `-`: it begins with a space, or with a line break where it is a block. */
function node(value: Json, place: Place): string {
  if (Array.isArray(value)) return list(value as readonly Json[], place)
  if (isJsonObject(value)) return mapping(value, place)
  if (typeof value === 'string') return ` ${text(value, place)}`
  return ` ${JSON.stringify(value)}`
}

function mapping(object: Readonly<Record<string, Json>>, { indent, isInList }: Place): string {
  const members = Object.entries(object).sort(([a], [b]) => byCodePoint(a, b))
  if (members.length === 0) return ' {}'
  const lines = members.map(([key, value]) => {
    const name = text(key, undefined)
    const inner = Array.isArray(value) ? indent : indent + 2
    return `${name}:${node(value, { indent: inner, column: indent + name.length + 2, isInList: false })}`
  })
  const between = `\n${' '.repeat(indent)}`
  return `${isInList ? ' ' : between}${lines.join(between)}`
}

/** A list in a mapping stands below its key; one in a list stands behind the dash. */
function list(items: readonly Json[], { indent, isInList }: Place): string {
  if (items.length === 0) return ' []'
  const between = `\n${' '.repeat(indent)}`
  const inner: Place = { indent: indent + 2, column: indent + 2, isInList: true }
  return `${isInList ? ' ' : between}${items.map((item) => `-${node(item, inner)}`).join(between)}`
}

/** A key has no place, since it is never broken over lines. */
function text(value: string, place: Place | undefined): string {
  if (needsDoubleQuotes(value) || (place === undefined && value.includes('\n'))) {
    return JSON.stringify(value).replace(/[\u007f-\uffff]/g, escaped)
  }
  if (isPlain(value)) return place === undefined ? value : wrapped(value, place, place.column)
  const inner = value.replaceAll("'", "''")
  return `'${place === undefined ? inner : wrapped(inner, place, place.column + 1)}'`
}

function escaped(character: string): string {
  return `\\u${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}`
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
