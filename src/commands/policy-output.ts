import { printableLine } from '../terminal/printable.js'

/**
 * Lines that have texts of a policy, a template or a file in them, for the terminal. Each stays one line: a newline in
 * it would begin another one that we did not write, and a control character could erase it.
 */
export function printableLines(lines: readonly string[]): string {
  return lines
    .map((line) => {
      const indent = /^ */.exec(line)?.[0] ?? ''
      return `${indent}${printableLine(line.replace(/[\r\n\u2028\u2029]+/g, ' '), Number.POSITIVE_INFINITY)}`
    })
    .join('\n')
}
