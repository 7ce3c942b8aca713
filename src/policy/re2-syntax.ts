/**
 * The part of RE2 that policies use, as a tree.
 *
 * What is not described here is refused: literals, `.`, classes with ranges and `\d \w \s`, groups, `|`,
 * `* + ?` and counts (lazy or not, which makes no difference to a match), `^`, `$`, `(?i)`.
 */
export class Re2SyntaxError extends Error {
  override readonly name = 'Re2SyntaxError'
}

const maximumPattern = 4_096
const maximumRepeat = 1_000
const maximumDepth = 100

/** Reads a pattern; throws a `Re2SyntaxError` for what is malformed, too large or not supported. */
export function parseRe2(pattern: string): Node {
  if (pattern.length > maximumPattern) throw new Re2SyntaxError(`a pattern is longer than ${maximumPattern}`)
  return new PatternParser([...pattern]).parse()
}

/** A pattern that is found in exactly one text if it is anchored: that text. */
export function literalNode(text: string): Node {
  const nodes = [...text].map((character): Node => {
    const only: Range = [code(character), code(character)]
    return { kind: 'class', ranges: [only], negated: false, fold: false }
  })
  return { kind: 'sequence', nodes: [{ kind: 'start' }, ...nodes, { kind: 'end' }] }
}

/** Code points from first to last, both included. */
export type Range = readonly [number, number]

export type Node =
  | { readonly kind: 'class'; readonly ranges: readonly Range[]; readonly negated: boolean; readonly fold: boolean }
  | { readonly kind: 'start' | 'end' }
  | { readonly kind: 'sequence' | 'choice'; readonly nodes: readonly Node[] }
  | ({ readonly kind: 'repeat'; readonly node: Node } & Bounds)

interface Bounds {
  readonly minimum: number
  readonly maximum: number
  /** Written in braces: RE2 limits the product of such counts that stand in each other. */
  readonly counted: boolean
}

const digits: readonly Range[] = [range('0', '9')]
const words: readonly Range[] = [range('0', '9'), range('A', 'Z'), range('_', '_'), range('a', 'z')]
const spaces: readonly Range[] = [range('\t', '\n'), range('\f', '\r'), range(' ', ' ')]
const newline: readonly Range[] = [range('\n', '\n')]

const classEscapes: Readonly<Record<string, { readonly ranges: readonly Range[]; readonly negated: boolean }>> = {
  d: { ranges: digits, negated: false },
  D: { ranges: digits, negated: true },
  w: { ranges: words, negated: false },
  W: { ranges: words, negated: true },
  s: { ranges: spaces, negated: false },
  S: { ranges: spaces, negated: true }
}

const controlEscapes: Readonly<Record<string, string>> = { a: '\x07', f: '\f', n: '\n', r: '\r', t: '\t', v: '\v' }

class PatternParser {
  private offset = 0
  private fold = false

  constructor(private readonly source: readonly string[]) {}

  parse(): Node {
    const node = this.choice(0)
    if (this.offset < this.source.length) throw this.error('unexpected ")"')
    return node
  }

  private choice(depth: number): Node {
    if (depth > maximumDepth) throw this.error('too many nested groups')
    // A flag set inside a group ends with the group.
    const outer = this.fold
    const nodes = [this.sequence(depth)]
    while (this.take('|')) nodes.push(this.sequence(depth))
    this.fold = outer
    return { kind: 'choice', nodes }
  }

  private sequence(depth: number): Node {
    const nodes: Node[] = []
    for (;;) {
      const next = this.source[this.offset]
      if (next === undefined || next === '|' || next === ')') return { kind: 'sequence', nodes }
      const node = this.atom(depth)
      if (node !== undefined) nodes.push(this.repeated(node))
    }
  }

  /** Undefined for a flag, which is no part of what is matched. */
  private atom(depth: number): Node | undefined {
    const next = this.next()
    switch (next) {
      case '(':
        return this.group(depth)
      case '[':
        return this.bracket()
      case '.':
        return { kind: 'class', ranges: newline, negated: true, fold: false }
      case '^':
        return { kind: 'start' }
      case '$':
        return { kind: 'end' }
      case '\\':
        return this.escape()
      case '*':
      case '+':
      case '?':
        throw this.error(`"${next}" has nothing to repeat`)
      default:
        return this.literal(next)
    }
  }

  private group(depth: number): Node | undefined {
    if (this.take('?')) {
      const flag = this.take('i')
      if (flag && this.take(')')) {
        this.fold = true
        return undefined
      }
      if (!this.take(':')) throw this.error('only (?i), (?:…) and (?i:…) are supported')
      const outer = this.fold
      this.fold ||= flag
      const node = this.closedGroup(depth)
      this.fold = outer
      return node
    }
    return this.closedGroup(depth)
  }

  private closedGroup(depth: number): Node {
    const node = this.choice(depth + 1)
    if (!this.take(')')) throw this.error('missing ")"')
    return node
  }

  private repeated(node: Node): Node {
    const bounds = this.quantifier()
    if (bounds === undefined) return node
    // A lazy quantifier finds a match exactly where a greedy one does.
    this.take('?')
    if (this.quantifier() !== undefined) throw this.error('a quantifier follows a quantifier')
    if (node.kind === 'start' || node.kind === 'end') throw this.error('an anchor cannot be repeated')
    const repeat = { kind: 'repeat', node, ...bounds } as const
    if (repetitions(repeat) > maximumRepeat) throw this.error('counts in each other multiply beyond the limit')
    return repeat
  }

  private quantifier(): Bounds | undefined {
    if (this.take('*')) return { minimum: 0, maximum: Number.POSITIVE_INFINITY, counted: false }
    if (this.take('+')) return { minimum: 1, maximum: Number.POSITIVE_INFINITY, counted: false }
    if (this.take('?')) return { minimum: 0, maximum: 1, counted: false }
    if (this.source[this.offset] !== '{') return undefined
    const found = /^\{([0-9]{1,4})(,([0-9]{0,4}))?\}/.exec(this.source.slice(this.offset, this.offset + 12).join(''))
    // RE2 takes other braces for themselves; that is left out, since it is more often a slip.
    if (found === null) throw this.error('"{" must be escaped or begin a count')
    this.offset += found[0].length
    const minimum = Number(found[1])
    const upper = found[2] === undefined ? minimum : found[3] === '' ? Number.POSITIVE_INFINITY : Number(found[3])
    if (minimum > maximumRepeat || (Number.isFinite(upper) && upper > maximumRepeat) || upper < minimum) {
      throw this.error('a count is out of range')
    }
    return { minimum, maximum: upper, counted: true }
  }

  private escape(): Node {
    const next = this.next()
    const known = this.classEscape(next)
    if (known !== undefined) return { kind: 'class', ...known, fold: false }
    return this.literal(this.escaped(next))
  }

  /** Under (?i), RE2 folds `\w` as well: it then holds the Kelvin sign and the long s. */
  private classEscape(letter: string): (typeof classEscapes)[string] | undefined {
    if (this.fold && /^[wW]$/.test(letter)) throw this.error(`"\\${letter}" is not supported under (?i)`)
    return classEscapes[letter]
  }

  private escaped(next: string): string {
    const control = controlEscapes[next]
    if (control !== undefined) return control
    if (/^[!-/:-@[-`{-~]$/.test(next)) return next
    throw this.error(`"\\${next}" is not supported`)
  }

  private bracket(): Node {
    const negated = this.take('^')
    const ranges: Range[] = []
    do {
      const first = this.next()
      if (first === '[' && [':', '.', '='].includes(this.source[this.offset] ?? '')) {
        throw this.error('named classes are not supported')
      }
      const known = first === '\\' ? this.classEscape(this.source[this.offset] ?? '') : undefined
      if (known !== undefined) {
        this.next()
        ranges.push(...(known.negated ? complement(known.ranges) : known.ranges))
        continue
      }
      const low = first === '\\' ? this.escaped(this.next()) : first
      const high = this.rangeEnd() ?? low
      if (code(high) < code(low)) throw this.error('a range ends before it begins')
      if (this.fold) this.checkFold(low, high)
      ranges.push([code(low), code(high)])
    } while (!this.take(']'))
    return { kind: 'class', ranges, negated, fold: this.fold }
  }

  private rangeEnd(): string | undefined {
    if (this.source[this.offset] !== '-' || this.source[this.offset + 1] === ']') return undefined
    this.next()
    const end = this.next()
    if (end !== '\\') return end
    return this.escaped(this.next())
  }

  private literal(character: string): Node {
    if (this.fold) this.checkFold(character)
    const only: Range = [code(character), code(character)]
    return { kind: 'class', ranges: [only], negated: false, fold: this.fold }
  }

  /** Case folding beyond ASCII differs between Unicode versions. */
  private checkFold(...characters: readonly string[]): void {
    if (characters.some((character) => code(character) > 0x7f)) {
      throw this.error('(?i) is supported for ASCII only')
    }
  }

  private next(): string {
    const character = this.source[this.offset]
    if (character === undefined) throw this.error('the pattern ends too early')
    this.offset++
    return character
  }

  private take(character: string): boolean {
    if (this.source[this.offset] !== character) return false
    this.offset++
    return true
  }

  private error(problem: string): Re2SyntaxError {
    return new Re2SyntaxError(`${problem} (character ${this.offset} of the pattern)`)
  }
}

/** The product of the counts that stand in each other, the largest there is; one of {0} repeats nothing. */
function repetitions(node: Node): number {
  switch (node.kind) {
    case 'sequence':
    case 'choice':
      return node.nodes.reduce((largest, inner) => Math.max(largest, repetitions(inner)), 1)
    case 'repeat': {
      if (!node.counted) return repetitions(node.node)
      const count = Number.isFinite(node.maximum) ? node.maximum : node.minimum
      return node.maximum === 0 ? 1 : Math.max(count, 1) * repetitions(node.node)
    }
    default:
      return 1
  }
}

function complement(ranges: readonly Range[]): readonly Range[] {
  const gaps: Range[] = []
  let from = 0
  for (const [low, high] of ranges) {
    if (low > from) gaps.push([from, low - 1])
    from = high + 1
  }
  gaps.push([from, 0x10ffff])
  return gaps
}

function range(first: string, last: string): Range {
  return [code(first), code(last)]
}

export function code(character: string): number {
  return character.codePointAt(0) ?? 0
}
