import type { Json } from '../base/json.js'

/**
 * A number as it is spelled in a text. `1.0` and `1` are one value to JavaScript and two to the
 * tool whose output is reproduced here, and seccomp arguments use all 64 bits.
 */
export class JsonNumber {
  constructor(readonly text: string) {}

  get isInteger(): boolean {
    return !/[.eE]/.test(this.text)
  }
}

/** JSON with the order of members and the spelling of numbers kept. */
export type JsonNode = null | boolean | string | JsonNumber | readonly JsonNode[] | Map<string, JsonNode>

/** What a repeated member means. `last` is what JavaScript, Python and most services do. */
export type DuplicateMembers = 'refuse' | 'last'

export class JsonTextError extends Error {
  override readonly name = 'JsonTextError'

  constructor(
    readonly problem: string,
    readonly offset: number
  ) {
    super(`${problem} at offset ${offset}`)
  }
}

const maximumDepth = 100
const numberToken = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y

/** Parses RFC 8259 text, nothing before or after it but white space; throws a `JsonTextError`. */
export function parseJsonText(text: string, duplicates: DuplicateMembers): JsonNode {
  const { node, end } = parseJsonPrefix(text, 0, duplicates)
  const rest = skipSpace(text, end)
  if (rest !== text.length) throw new JsonTextError('unexpected text after the value', rest)
  return node
}

/** Parses the value that begins at `offset` and says where it ends; throws a `JsonTextError`. */
export function parseJsonPrefix(
  text: string,
  offset: number,
  duplicates: DuplicateMembers
): { readonly node: JsonNode; readonly end: number } {
  const parser = new Parser(text, duplicates, skipSpace(text, offset))
  const node = parser.value(0)
  return { node, end: parser.offset }
}

/** The plain JavaScript value of a node. Numbers become doubles. */
export function toJson(node: JsonNode): Json {
  if (node instanceof JsonNumber) return Number(node.text)
  if (node instanceof Map) return Object.fromEntries([...node].map(([key, member]) => [key, toJson(member)]))
  if (Array.isArray(node)) return node.map(toJson)
  return node as null | boolean | string
}

class Parser {
  constructor(
    private readonly text: string,
    private readonly duplicates: DuplicateMembers,
    public offset: number
  ) {}

  value(depth: number): JsonNode {
    if (depth > maximumDepth) throw this.error(`more than ${maximumDepth} levels of nesting`)
    switch (this.text[this.offset]) {
      case '{':
        return this.object(depth)
      case '[':
        return this.array(depth)
      case '"':
        return this.string()
      case 't':
        return this.word('true', true)
      case 'f':
        return this.word('false', false)
      case 'n':
        return this.word('null', null)
      default:
        return this.number()
    }
  }

  private object(depth: number): JsonNode {
    const members = new Map<string, JsonNode>()
    this.step()
    if (this.take('}')) return members
    do {
      this.space()
      if (this.text[this.offset] !== '"') throw this.error('expected a member name')
      const start = this.offset
      const name = this.string()
      if (this.duplicates === 'refuse' && members.has(name)) {
        throw new JsonTextError(`member ${JSON.stringify(name)} appears twice`, start)
      }
      if (!this.take(':')) throw this.error('expected ":"')
      this.space()
      members.set(name, this.value(depth + 1))
    } while (this.take(','))
    if (!this.take('}')) throw this.error('expected "," or "}"')
    return members
  }

  private array(depth: number): JsonNode {
    const items: JsonNode[] = []
    this.step()
    if (this.take(']')) return items
    do {
      this.space()
      items.push(this.value(depth + 1))
    } while (this.take(','))
    if (!this.take(']')) throw this.error('expected "," or "]"')
    return items
  }

  private string(): string {
    if (this.text[this.offset] !== '"') throw this.error('malformed string')
    // A loop and no pattern: a long text with many escapes would exhaust the stack of the pattern engine.
    let end = this.offset + 1
    while (end < this.text.length && this.text[end] !== '"') end += this.text[end] === '\\' ? 2 : 1
    const value = decodeString(this.text.slice(this.offset, end + 1))
    if (value === undefined) throw this.error('malformed string')
    this.offset = end + 1
    return value
  }

  private number(): JsonNode {
    const token = this.match(numberToken)
    if (token === undefined) throw this.error('expected a value')
    return new JsonNumber(token)
  }

  private word<T>(word: string, value: T): T {
    if (!this.text.startsWith(word, this.offset)) throw this.error('expected a value')
    this.offset += word.length
    return value
  }

  private match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.offset
    const token = pattern.exec(this.text)?.[0]
    this.offset += token?.length ?? 0
    return token
  }

  private take(mark: string): boolean {
    this.space()
    if (this.text[this.offset] !== mark) return false
    this.offset++
    return true
  }

  private step(): void {
    this.offset++
  }

  private space(): void {
    this.offset = skipSpace(this.text, this.offset)
  }

  private error(problem: string): JsonTextError {
    return new JsonTextError(problem, this.offset)
  }
}

/** Undefined for a token that is cut, or has escapes or control characters that RFC 8259 section 7 forbids. */
function decodeString(token: string): string | undefined {
  try {
    return JSON.parse(token) as string
  } catch {
    return undefined
  }
}

function skipSpace(text: string, offset: number): number {
  let end = offset
  while (end < text.length && ' \t\n\r'.includes(text.charAt(end))) end++
  return end
}
