/** Lines of the same text that are shown around a difference. */
const around = 2
/** A difference is to be read by a person; what is beyond this is counted. */
const maximumShown = 120
/** The table of the comparison has the product of both; larger middles are shown as replaced whole. */
const maximumCells = 4_000_000

/** Two texts as `diff -u` shows them: lines with `-` are of the first only, lines with `+` of the second. */
export function unifiedDifference(
  first: readonly string[],
  second: readonly string[],
  names: { readonly from: string; readonly to: string }
): string {
  const lines = editsOf(first, second)
  const isNear = (index: number) => lines.slice(Math.max(0, index - around), index + around + 1).some(isChanged)
  const shown: string[] = []
  let isGap = false
  for (const [index, line] of lines.entries()) {
    if (isNear(index)) {
      if (isGap || shown.length === 0) shown.push('@@')
      shown.push(line)
    }
    isGap = !isNear(index)
  }
  const rest = shown.length - maximumShown
  const more = rest > 0 ? [`… and ${rest} more lines`] : []
  return [`--- ${names.from}`, `+++ ${names.to}`, ...shown.slice(0, maximumShown), ...more].join('\n')
}

function isChanged(line: string): boolean {
  return !line.startsWith(' ')
}

/** Every line of both with its sign, in order. What both begin and end with needs no search. */
function editsOf(first: readonly string[], second: readonly string[]): readonly string[] {
  let start = 0
  while (start < first.length && start < second.length && first[start] === second[start]) start++
  let end = 0
  const room = Math.min(first.length, second.length) - start
  while (end < room && first.at(-1 - end) === second.at(-1 - end)) end++
  const middle = editsOfMiddle(first.slice(start, first.length - end), second.slice(start, second.length - end))
  const same = (lines: readonly string[]) => lines.map((line) => ` ${line}`)
  return [...same(first.slice(0, start)), ...middle, ...same(first.slice(first.length - end))]
}

/** By the longest common subsequence, from the ends to the beginning. */
function editsOfMiddle(first: readonly string[], second: readonly string[]): readonly string[] {
  const removed = (lines: readonly string[]) => lines.map((line) => `-${line}`)
  const added = (lines: readonly string[]) => lines.map((line) => `+${line}`)
  if (first.length * second.length > maximumCells) return [...removed(first), ...added(second)]
  const width = second.length + 1
  const common = new Uint32Array((first.length + 1) * width)
  const at = (i: number, j: number) => common[i * width + j] ?? 0
  for (let i = first.length - 1; i >= 0; i--) {
    for (let j = second.length - 1; j >= 0; j--) {
      common[i * width + j] = first[i] === second[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1))
    }
  }
  const edits: string[] = []
  let [i, j] = [0, 0]
  while (i < first.length && j < second.length) {
    if (first[i] === second[j]) {
      edits.push(` ${first[i] ?? ''}`)
      i++
      j++
    } else if (at(i + 1, j) >= at(i, j + 1)) edits.push(`-${first[i++] ?? ''}`)
    else edits.push(`+${second[j++] ?? ''}`)
  }
  return [...edits, ...removed(first.slice(i)), ...added(second.slice(j))]
}
