import { isAlias, isMap, isNode, isScalar, isSeq, LineCounter, parseDocument, type Node, type Range } from 'yaml'
import type { ConfigProblem, Origin } from './config-error.js'

const maxCharacters = 256 * 1024
const maxDepth = 16
const maxSyntaxProblems = 20

export interface YamlSource {
  /** Plain values; maps have no prototype. */
  readonly value: unknown
  /** False when the text is not one YAML document: then `value` says nothing. */
  readonly readable: boolean
  readonly problems: readonly ConfigProblem[]
  /** Position of a value, or of its key when `key` is given, or of the nearest ancestor. */
  readonly originOf: (path: readonly PropertyKey[], key?: string) => Origin
}

/**
 * Reads YAML 1.2 (core schema) as data with positions. Aliases, merge keys and tags are refused:
 * a configuration does not need them, and without them a short text cannot become a large value.
 */
export function readYaml(text: string, fileName: string): YamlSource {
  const lines = new LineCounter()
  const positions = new Map<string, number>()
  const problems: ConfigProblem[] = []

  const originAt = (offset: number): Origin => {
    const { line, col } = lines.linePos(offset)
    return { source: 'file', place: `${fileName}:${line}:${col}`, line, column: col }
  }
  const report = (offset: number, path: readonly PropertyKey[], message: string) => {
    problems.push({ ...originAt(offset), path: dotted(path), message })
  }
  const originOf = (path: readonly PropertyKey[], key?: string): Origin => {
    const keyOffset = key === undefined ? undefined : positions.get(positionKey([...path, key], 'key'))
    if (keyOffset !== undefined) return originAt(keyOffset)
    for (let length = path.length; length > 0; length--) {
      const offset = positions.get(positionKey(path.slice(0, length), 'value'))
      if (offset !== undefined) return originAt(offset)
    }
    return { source: 'file', place: fileName }
  }
  const unreadable = (): YamlSource => ({ value: undefined, readable: false, problems, originOf })

  if (text.length > maxCharacters) {
    problems.push({
      source: 'file',
      place: fileName,
      path: '',
      message: `the file has ${text.length} characters, expected at most ${maxCharacters}`
    })
    return unreadable()
  }

  // Duplicate keys are found below, where the path is known. Pretty errors would quote the text.
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: false, version: '1.2' })
  const faults = [...document.errors, ...document.warnings].sort((a, b) => a.pos[0] - b.pos[0])
  if (faults.length > 0) {
    const reported = new Set<number>()
    for (const { code, pos } of faults) {
      const { line } = lines.linePos(pos[0])
      // One slip makes the parser stumble several times in one line.
      if (reported.has(line) || reported.size === maxSyntaxProblems) continue
      reported.add(line)
      report(pos[0], [], syntaxProblems[code] ?? 'this is not valid YAML')
    }
    return unreadable()
  }

  const value = read(document.contents, [])
  return { value, readable: true, problems, originOf }

  function read(node: Node | null, path: readonly PropertyKey[]): unknown {
    if (node === null) return null
    const start = startOf(node)
    if (path.length > maxDepth) {
      report(start, path, `the value is nested more than ${maxDepth} levels deep`)
      return undefined
    }
    if (isAlias(node)) {
      report(start, path, 'an alias (*name) is not supported here, repeat the value')
      return undefined
    }
    if (node.tag !== undefined && !coreTags.has(node.tag)) {
      report(start, path, 'a tag (!name) is not supported here')
      return undefined
    }
    if (isMap(node)) return readMap(node.items, path)
    if (isSeq(node)) return node.items.map((item, i) => readChild(item, [...path, i], start))
    return isScalar(node) ? node.value : undefined
  }

  function readMap(items: readonly { key: unknown; value: unknown }[], path: readonly PropertyKey[]): unknown {
    const map: Record<string, unknown> = Object.create(null) as Record<string, unknown>
    for (const { key, value } of items) {
      const start = isNode(key) ? startOf(key) : 0
      if (!isScalar(key) || typeof key.value !== 'string') {
        report(start, path, 'a key must be plain text')
        continue
      }
      const keyPath = [...path, key.value]
      if (key.value === '__proto__') {
        // Not every library treats it as a key like any other; none may pass over it in silence.
        report(start, keyPath, `the key ${key.value} is not allowed`)
        continue
      }
      const first = positions.get(positionKey(keyPath, 'key'))
      if (first !== undefined) {
        const { line } = lines.linePos(first)
        report(start, keyPath, `${dotted(keyPath)} is given twice, first in line ${line}`)
        continue
      }
      positions.set(positionKey(keyPath, 'key'), start)
      const child = readChild(value, keyPath, start)
      if (child !== undefined) map[key.value] = child
    }
    return map
  }

  function readChild(node: unknown, path: readonly PropertyKey[], fallback: number): unknown {
    // An absent value has no place of its own: its key's is the best there is.
    const empty = !isNode(node) || (isScalar(node) && node.value === null)
    positions.set(positionKey(path, 'value'), empty ? fallback : startOf(node))
    return isNode(node) ? read(node, path) : null
  }
}

/** A path as people write it: `providers.openai.apiKey`, `access.tokensSha256[2]`. */
export function dotted(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, part) => {
    if (typeof part === 'number') return `${text}[${part}]`
    return text === '' ? String(part) : `${text}.${String(part)}`
  }, '')
}

function positionKey(path: readonly PropertyKey[], kind: 'key' | 'value'): string {
  return `${kind}${JSON.stringify(path.map(String))}`
}

function startOf(node: { range?: Range | null | undefined }): number {
  return node.range?.[0] ?? 0
}

const coreTags: ReadonlySet<string> = new Set(
  ['map', 'seq', 'str', 'int', 'float', 'bool', 'null'].map((name) => `tag:yaml.org,2002:${name}`)
)

/** Own words for each code of the parser, because its messages quote the text, which may hold a secret. */
const syntaxProblems: Readonly<Record<string, string>> = {
  ALIAS_PROPS: 'an alias cannot have an anchor or a tag',
  BAD_ALIAS: 'an alias (*name) is not supported here, repeat the value',
  BAD_COLLECTION_TYPE: 'the tag does not fit the value',
  BAD_DIRECTIVE: 'an unsupported directive (%NAME)',
  BAD_DQ_ESCAPE: 'an invalid escape sequence in a double-quoted text',
  BAD_INDENT: 'the indentation does not fit the lines before, or a bracket is not closed',
  BAD_PROP_ORDER: 'an anchor or tag in the wrong place',
  BAD_SCALAR_START: 'a value cannot begin with this character, put it in quotes',
  BLOCK_AS_IMPLICIT_KEY:
    'a key inside a value: is a line break missing, or are quotes missing around a text with ": "?',
  BLOCK_IN_FLOW: 'an indented block cannot stand inside brackets',
  KEY_OVER_1024_CHARS: 'a key is longer than 1024 characters',
  MISSING_CHAR: 'a closing quote, a bracket, a comma or a space is missing',
  MULTILINE_IMPLICIT_KEY: 'a key must be in one line: is a colon missing?',
  MULTIPLE_ANCHORS: 'more than one anchor',
  MULTIPLE_DOCS: 'a second document (---) begins, expected one',
  MULTIPLE_TAGS: 'more than one tag',
  NON_STRING_KEY: 'a key must be plain text',
  RESOURCE_EXHAUSTION: 'brackets or lists are nested too deeply',
  TAB_AS_INDENT: 'a tab is used for indentation, expected spaces',
  TAG_RESOLVE_FAILED: 'a tag (!name) is not supported here',
  UNEXPECTED_TOKEN: 'unexpected text: is a colon or an indentation missing?'
}
