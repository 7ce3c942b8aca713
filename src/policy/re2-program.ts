import { code, type Node, Re2SyntaxError } from './re2-syntax.js'

const maximumStates = 2_000

/** One state of the automaton: `next` and `other` are indexes, -1 while they are not known. */
export interface State {
  readonly kind: 'class' | 'split' | 'start' | 'end' | 'match'
  readonly accepts?: (character: number) => boolean
  next: number
  other: number
}

/** A pattern, ready to be looked for: state 0 is where it begins. */
export interface Program {
  readonly states: readonly State[]
  /** False if every path begins with `^`, and so none behind the first character. */
  readonly searching: boolean
}

/** Compiles a tree; throws a `Re2SyntaxError` if it needs too many states. */
export function compileNode(node: Node): Program {
  const states = new Compiler().compile(node)
  return { states, searching: beginsAnywhere(states) }
}

/**
 * Whether the pattern is found anywhere in the text; takes time linear in the text. `spend` pays for each character
 * with the states that it is held against, and undefined is returned once it refuses.
 */
export function isFoundIn(
  { states, searching }: Program,
  text: string,
  spend: (steps: number) => boolean
): boolean | undefined {
  return run(states, searching, text, spend)
}

class Compiler {
  private readonly states: State[] = []

  compile(node: Node): readonly State[] {
    const match = this.add({ kind: 'match', next: -1, other: -1 })
    const first = this.build(node, match)
    // The program begins where it is looked for: at index 0.
    const entry = this.states.length
    this.add({ kind: 'split', next: first, other: first })
    return [...this.states.slice(entry), ...this.states.slice(0, entry)].map((state) => shift(state))
  }

  /** Builds the states for a node that continues at `after`; returns where it begins. */
  private build(node: Node, after: number): number {
    switch (node.kind) {
      case 'class':
        return this.add({ kind: 'class', accepts: acceptor(node), next: after, other: -1 })
      case 'start':
      case 'end':
        return this.add({ kind: node.kind, next: after, other: -1 })
      case 'sequence':
        return node.nodes.reduceRight((following, inner) => this.build(inner, following), after)
      case 'choice':
        return node.nodes
          .map((inner) => this.build(inner, after))
          .reduceRight((other, first) => this.add({ kind: 'split', next: first, other }))
      case 'repeat':
        return this.repeat(node, after)
    }
  }

  private repeat({ node, minimum, maximum }: Extract<Node, { kind: 'repeat' }>, after: number): number {
    let first = after
    if (maximum === Number.POSITIVE_INFINITY) {
      const loop = this.add({ kind: 'split', next: -1, other: after })
      const body = this.build(node, loop)
      const state = this.states[loop]
      if (state !== undefined) state.next = body
      first = loop
    } else {
      for (let i = minimum; i < maximum; i++) {
        first = this.add({ kind: 'split', next: this.build(node, first), other: after })
      }
    }
    for (let i = 0; i < minimum; i++) first = this.build(node, first)
    return first
  }

  private add(state: State): number {
    if (this.states.length >= maximumStates) throw new Re2SyntaxError('the pattern is too large')
    return this.states.push(state) - 1
  }
}

/** The entry state moved from the end to the front, so every other index grows by one. */
function shift(state: State): State {
  return { ...state, next: state.next + 1, other: state.other + 1 }
}

/** False if every path begins with `^`, and so none behind the first character. */
function beginsAnywhere(program: readonly State[]): boolean {
  const reached = new Set<number>()
  const pending = [0]
  for (let index = pending.pop(); index !== undefined; index = pending.pop()) {
    const state = program[index]
    if (state === undefined || reached.has(index)) continue
    reached.add(index)
    if (state.kind === 'split') pending.push(state.next, state.other)
    else if (state.kind !== 'start') return true
  }
  return false
}

/** Follows all paths at once. A path may begin at every character, since the match is a search. */
function run(
  program: readonly State[],
  searching: boolean,
  text: string,
  spend: (steps: number) => boolean
): boolean | undefined {
  if (!spend(program.length)) return undefined
  const characters = [...text].map(code)
  // Where each state was last reached: one array for the whole run.
  const lastReached = new Int32Array(program.length).fill(-1)
  let current: readonly number[] = []
  for (let position = 0; position <= characters.length; position++) {
    const step: Step = { program, position, atEnd: position === characters.length, lastReached, reading: [] }
    if (current.some((state) => follow(state, step)) || follow(0, step)) return true
    const character = characters[position]
    if (character === undefined) return false
    if (!searching && step.reading.length === 0) return false
    if (!spend(1 + step.reading.length)) return undefined
    current = step.reading.filter((state) => state.accepts?.(character)).map((state) => state.next)
  }
  return false
}

interface Step {
  readonly program: readonly State[]
  readonly position: number
  readonly atEnd: boolean
  readonly lastReached: Int32Array
  /** States that read the next character. */
  readonly reading: State[]
}

/** Adds the states that are reached without reading; true if one of them is the match. */
function follow(from: number, { program, position, atEnd, lastReached, reading }: Step): boolean {
  const pending = [from]
  for (let index = pending.pop(); index !== undefined; index = pending.pop()) {
    const state = program[index]
    if (state === undefined || lastReached[index] === position) continue
    lastReached[index] = position
    if (state.kind === 'match') return true
    if (state.kind === 'class') reading.push(state)
    else if (state.kind === 'split') pending.push(state.other, state.next)
    else if (state.kind === 'start' ? position === 0 : atEnd) pending.push(state.next)
  }
  return false
}

function acceptor({ ranges, negated, fold }: Extract<Node, { kind: 'class' }>): (character: number) => boolean {
  const inRanges = (character: number): boolean => ranges.some(([low, high]) => low <= character && character <= high)
  if (!fold) return (character) => inRanges(character) !== negated
  return (character) => spellings(character).some(inRanges) !== negated
}

/** What `(?i)` takes for one letter: both cases, and the Kelvin sign and the long s for k and s. */
function spellings(character: number): readonly number[] {
  if (character === 0x212a) return [character, code('k'), code('K')]
  if (character === 0x017f) return [character, code('s'), code('S')]
  if (character > 0x7f) return [character]
  const letter = String.fromCodePoint(character)
  return [code(letter.toLowerCase()), code(letter.toUpperCase())]
}
