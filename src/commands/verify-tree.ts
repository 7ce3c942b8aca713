import { chainOfTrust, type Link } from '../client/chain-of-trust.js'
import type { Check } from '../client/index.js'
import type { Terminal } from '../terminal/index.js'

type Appearance = Terminal['styles']['stdout']

/** Draws the chain of trust with what was found for each claim, and what was expected wherever that differs. */
export function drawChain(checks: readonly Check[], looks: Appearance): string {
  const byClaim = new Map(checks.map((check) => [check.claim, check]))
  const lines: string[] = []
  const draw = (link: Link, first: string, rest: string): void => {
    const own = link.claims.flatMap((claim) => byClaim.get(claim) ?? [])
    lines.push(`${first}${signOf(own, looks)} ${link.text}`)
    const links = link.links ?? []
    const bar = links.length === 0 ? '  ' : '│ '
    for (const check of own) lines.push(...remarks(check, looks).map((line) => `${rest}${looks.dim(bar)}  ${line}`))
    for (const [index, child] of links.entries()) {
      const isLast = index === links.length - 1
      draw(child, `${rest}${isLast ? '└─' : '├─'}`, `${rest}${isLast ? '  ' : '│ '}`)
    }
  }
  for (const link of chainOfTrust) draw(link, '', '')
  return lines.join('\n')
}

function signOf(checks: readonly Check[], { green, red, dim, symbols }: Appearance): string {
  if (checks.some(({ outcome }) => outcome === 'mismatch')) return red(symbols.failed)
  return checks.every(({ outcome }) => outcome === 'not-required') ? dim(symbols.skipped) : green(symbols.done)
}

function remarks(check: Check, { red, dim, bold, yellow }: Appearance): string[] {
  switch (check.outcome) {
    case 'match':
      return [
        `${check.claim}: ${dim(check.actual)}`,
        ...(check.warning === undefined ? [] : [yellow(`${check.claim}: ${check.warning}`)])
      ]
    case 'not-required':
      return [dim(`${check.claim}: ${check.reason}`)]
    case 'mismatch':
      return [red(`${bold(check.claim)} does not match`), `  expected ${check.expected}`, `  found    ${check.actual}`]
    default:
      return check satisfies never
  }
}
