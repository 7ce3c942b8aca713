import { printable } from './printable.js'

/** Names and values below each other; a value has one or more lines. */
export type TableRow = readonly [name: string, lines: readonly string[]]

const smallest = 20

/**
 * Rows as text, values broken to `width` characters: at spaces where there are some, and within a word that is longer than
 * a line. What stands in them is made printable.
 */
export function renderTable(rows: readonly TableRow[], width: number): string {
  const margin = Math.max(0, ...rows.map(([name]) => name.length)) + 2
  const room = Math.max(smallest, width - margin)
  return rows
    .flatMap(([name, lines]) => {
      const broken = lines.flatMap((line) => brokenLine(printable(line), room))
      return (broken.length === 0 ? ['–'] : broken).map(
        (line, index) => `${(index === 0 ? name : '').padEnd(margin)}${line}`
      )
    })
    .map((line) => line.trimEnd())
    .join('\n')
}

/** Further lines of one value are set in by two, so that the next value is seen to begin. */
function brokenLine(line: string, room: number): readonly string[] {
  const lines: string[] = []
  let rest = line
  while (rest.length > room) {
    const space = rest.lastIndexOf(' ', room)
    const at = space > smallest / 2 ? space : room
    lines.push(rest.slice(0, at))
    rest = `  ${rest.slice(at).trimStart()}`
  }
  return [...lines, rest]
}
