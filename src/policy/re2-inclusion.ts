import { type Program, type State } from './re2-program.js'
import type { Compiled, Spend } from './re2.js'
import { code, type Node } from './re2-syntax.js'

/** Characters that are read, by all automata together, before it is given up: some patterns need very many. */
const maximumReads = 100_000

/**
 * A shortest text that is found by `one` and by none of `others`; `none` if there is no such text, and undefined if
 * that was not decided within bounds, or within what `spend` allows. Both automata read the same texts side by side,
 * one character for each class of characters that no pattern tells apart.
 */
export function textOnlyIn(
  { node, program: one }: Compiled,
  others: readonly Compiled[],
  spend: Spend
): { readonly text: string } | 'none' | undefined {
  const many = others.map(({ program }) => program)
  const size = many.reduce((sum, { states }) => sum + states.length, one.states.length)
  if (!spend(size)) return undefined
  const characters = representatives([node, ...others.map((other) => other.node)])
  const begin: Situation = { one: initial, many: many.map(() => initial), text: '' }
  const seen = new Set([keyOf(begin)])
  const pending = [begin]
  let reads = 0
  for (let index = 0; index < pending.length; index++) {
    const situation = pending[index]
    if (situation === undefined) break
    if (accepts(one, situation.one) && !many.some((program, i) => accepts(program, reachedOf(situation, i)))) {
      return { text: situation.text }
    }
    for (const character of characters) {
      reads += 1 + many.length
      if (reads > maximumReads || !spend(weightOf(situation))) return undefined
      const next: Situation = {
        one: read(one, situation.one, character),
        many: many.map((program, i) => read(program, reachedOf(situation, i), character)),
        text: situation.text + String.fromCodePoint(character)
      }
      const key = keyOf(next)
      if (seen.has(key) || isDead(one, next.one)) continue
      seen.add(key)
      pending.push(next)
    }
  }
  return 'none'
}

/** Whether some text that begins with `start` may be found. */
export function mayBeginWith({ program }: Pick<Compiled, 'program'>, start: string): boolean {
  let reached = initial
  for (const character of start) reached = read(program, reached, code(character))
  return !isDead(program, reached)
}

/** What it takes to read one more character: the states of all automata. */
function weightOf({ one, many }: Situation): number {
  return many.reduce((sum, { states }) => sum + 1 + states.length, 1 + one.states.length)
}

/** Where one automaton is after some characters. */
interface Reached {
  readonly atStart: boolean
  /** It has been found already, and whatever follows does not change that. */
  readonly found: boolean
  /** States to go on from, in ascending order. */
  readonly states: readonly number[]
}

interface Situation {
  readonly one: Reached
  readonly many: readonly Reached[]
  readonly text: string
}

const initial: Reached = { atStart: true, found: false, states: [] }

function reachedOf({ many }: Situation, index: number): Reached {
  return many[index] ?? initial
}

/** Nothing that is read from here on can be found. */
function isDead({ searching }: Program, { atStart, found, states }: Reached): boolean {
  return !searching && !atStart && !found && states.length === 0
}

function accepts(program: Program, reached: Reached): boolean {
  return reached.found || closure(program, reached, true).found
}

function read(program: Program, reached: Reached, character: number): Reached {
  const { found, reading } = closure(program, reached, false)
  // Once found, the states make no difference, and leaving them out keeps the situations few.
  if (reached.found || found) return { atStart: false, found: true, states: [] }
  const next = reading.filter((state) => state.accepts?.(character)).map((state) => state.next)
  return { atStart: false, found: false, states: [...new Set(next)].sort((a, b) => a - b) }
}

/** What is reached without reading. A path may begin at every character, since a match is a search. */
function closure({ states }: Program, { atStart, states: from }: Reached, atEnd: boolean) {
  const reading: State[] = []
  const visited = new Set<number>()
  const pending = [...from, 0]
  let found = false
  for (let index = pending.pop(); index !== undefined; index = pending.pop()) {
    const state = states[index]
    if (state === undefined || visited.has(index)) continue
    visited.add(index)
    if (state.kind === 'match') found = true
    else if (state.kind === 'class') reading.push(state)
    else if (state.kind === 'split') pending.push(state.next, state.other)
    else if (state.kind === 'start' ? atStart : atEnd) pending.push(state.next)
  }
  return { found, reading }
}

function keyOf({ one, many }: Situation): string {
  return [one, ...many].map(({ atStart, found, states }) => `${atStart}${found}${states.join()}`).join('|')
}

const letterBounds = ['A', '[', 'a', '{'].map(code)

/** One character of each kind: a kind begins where some class begins or has just ended. Readable ones first. */
function representatives(nodes: readonly Node[]): readonly number[] {
  const bounds = new Set([code('x'), 0, 0xe000])
  const visit = (node: Node): void => {
    switch (node.kind) {
      case 'class':
        for (const [low, high] of node.ranges) {
          for (const bound of [low, high + 1]) bounds.add(bound)
          if (node.fold) for (const bound of folded(low, high)) bounds.add(bound)
        }
        return
      case 'sequence':
      case 'choice':
        return node.nodes.forEach(visit)
      case 'repeat':
        return visit(node.node)
      default:
        return
    }
  }
  nodes.forEach(visit)
  const isCharacter = (bound: number) => bound <= 0x10ffff && (bound < 0xd800 || bound > 0xdfff)
  const isReadable = (bound: number) => bound > 0x20 && bound < 0x7f
  return [...bounds].filter(isCharacter).sort((a, b) => Number(isReadable(b)) - Number(isReadable(a)) || a - b)
}

/** Under `(?i)` a range holds the other case of its letters too, and what Unicode folds to k and s. */
function folded(low: number, high: number): readonly number[] {
  const ends = [low, high, low + 1, high + 1]
  return [
    ...ends,
    ...ends.map((end) => end + 32),
    ...ends.map((end) => end - 32),
    ...letterBounds,
    0x212a,
    0x212b,
    0x017f,
    0x0180
  ].filter((bound) => bound >= 0)
}
