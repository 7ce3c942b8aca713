import { Problem } from './problem.js'

/** Byte offsets of a value in a JSON text: from its first byte to the one after its last. */
export interface Span {
  readonly start: number
  readonly end: number
}

/**
 * Finds members at the top level of a JSON object without parsing the rest of it: the bytes that
 * are passed on stay the caller's own, with large numbers and the order of members untouched, and
 * megabytes of images are not copied. The provider judges the rest of the text.
 *
 * Throws a `Problem` with code `invalid_json`: no object, unbalanced, text behind its end, or one of
 * the named members twice, because two parsers could then read two different models.
 */
export function findMembers(json: Uint8Array, names: ReadonlySet<string>): ReadonlyMap<string, Span> {
  const scanner = new Scanner(json)
  const found = new Map<string, Span>()
  scanner.expect(openBrace)
  if (scanner.peek() === closeBrace) {
    scanner.expect(closeBrace)
  } else {
    for (;;) {
      const name = scanner.key()
      scanner.expect(colon)
      const span = scanner.value()
      if (names.has(name)) {
        if (found.has(name)) throw new Problem('invalid_json', `the member "${name}" is there twice`, { param: name })
        found.set(name, span)
      }
      if (scanner.peek() === closeBrace) break
      scanner.expect(comma)
    }
    scanner.expect(closeBrace)
  }
  scanner.expectEnd()
  return found
}

const quote = 0x22
const backslash = 0x5c
const comma = 0x2c
const colon = 0x3a
const openBracket = 0x5b
const closeBracket = 0x5d
const openBrace = 0x7b
const closeBrace = 0x7d

class Scanner {
  readonly #json: Buffer
  #at = 0

  constructor(json: Uint8Array) {
    this.#json = Buffer.from(json.buffer, json.byteOffset, json.byteLength)
  }

  /** The next byte that is not white space, without taking it. */
  peek(): number | undefined {
    while (isSpace(this.#json[this.#at])) this.#at++
    return this.#json[this.#at]
  }

  expect(byte: number): void {
    if (this.peek() !== byte) throw malformed()
    this.#at++
  }

  expectEnd(): void {
    if (this.peek() !== undefined) throw malformed()
  }

  key(): string {
    if (this.peek() !== quote) throw malformed()
    const start = this.#at
    this.#skipString()
    // Only a key with an escape needs a parser; it could be a spelling of a name that we look for.
    const text = this.#json.toString('utf8', start, this.#at)
    if (!text.includes('\\')) return text.slice(1, -1)
    try {
      return String(JSON.parse(text))
    } catch {
      throw malformed()
    }
  }

  value(): Span {
    const first = this.peek()
    const start = this.#at
    if (first === quote) this.#skipString()
    else if (first === openBrace || first === openBracket) this.#skipNested()
    else this.#skipScalar()
    return { start, end: this.#at }
  }

  #skipString(): void {
    let end = this.#at
    do {
      end = this.#json.indexOf(quote, end + 1)
      if (end === -1) throw malformed()
    } while (this.#isEscaped(end))
    this.#at = end + 1
  }

  #isEscaped(quoteAt: number): boolean {
    let at = quoteAt
    while (this.#json[at - 1] === backslash) at--
    return (quoteAt - at) % 2 === 1
  }

  #skipNested(): void {
    let depth = 0
    do {
      const byte = this.#json[this.#at]
      if (byte === undefined) throw malformed()
      if (byte === quote) {
        this.#skipString()
        continue
      }
      if (byte === openBrace || byte === openBracket) depth++
      if (byte === closeBrace || byte === closeBracket) depth--
      this.#at++
    } while (depth > 0)
  }

  /** A number, `true`, `false` or `null`. */
  #skipScalar(): void {
    const start = this.#at
    while (isScalarByte(this.#json[this.#at])) this.#at++
    if (this.#at === start) throw malformed()
  }
}

const isSpace = (byte: number | undefined): boolean => byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09

const isScalarByte = (byte: number | undefined): boolean =>
  byte !== undefined && byte > 0x20 && byte < 0x7f && !notScalar.has(byte)

const notScalar = new Set([quote, comma, colon, openBracket, closeBracket, openBrace, closeBrace])

const malformed = (): Problem => new Problem('invalid_json', 'the body must be one JSON object')
