import type { Check, Claim } from '../client/index.js'
import type { Terminal } from '../terminal/index.js'

type Appearance = Terminal['styles']['stdout']

/** One link of the chain of trust: who says it, what is compared, and what hangs on it. */
interface Link {
  readonly text: string
  readonly claims: readonly Claim[]
  readonly links?: readonly Link[]
}

/** Every claim once, each below what vouches for it. */
const chain: readonly Link[] = [
  {
    text: 'root key (ARK), by its pinned SHA-256',
    claims: ['ark.pinned'],
    links: [
      {
        text: 'signs ASK, and that the key of this chip (VCEK)',
        claims: ['vcek.chain', 'vcek.hwid', 'vcek.tcb'],
        links: [
          {
            text: 'signs the report of the guest',
            claims: ['report.format', 'report.signature'],
            links: [
              { text: 'firmware: patch levels at least the minimum', claims: ['tcb.minimum'] },
              {
                text: 'guest: no debugging, no migration, VMPL',
                claims: ['guest.debug', 'guest.migration', 'guest.vmpl']
              },
              {
                text: 'MEASUREMENT = utility VM in a signed endorsement',
                claims: ['uvm.measurement'],
                links: [
                  {
                    text: 'signed by its maker, as this feed, at least this version',
                    claims: ['uvm.signature', 'uvm.issuer', 'uvm.feed', 'uvm.svn']
                  }
                ]
              },
              {
                text: 'HOST_DATA = policy that is expected',
                claims: ['hostData'],
                links: [{ text: 'and SHA-256 of the policy text', claims: ['ccePolicy.digest'] }]
              },
              {
                text: 'REPORT_DATA = SHA-256 of the runtime data',
                claims: ['reportData'],
                links: [
                  { text: 'which has the keys of the router', claims: ['runtimeData.keys'] },
                  { text: 'and the nonce that was sent', claims: ['nonce'] }
                ]
              }
            ]
          }
        ]
      }
    ]
  },
  {
    text: 'attestation service',
    claims: ['maa.issuer'],
    links: [
      {
        text: 'signs a token, not too old',
        claims: ['maa.signature', 'maa.time'],
        links: [
          { text: 'about a confidential container that it finds compliant', claims: ['maa.type', 'maa.compliance'] },
          {
            text: 'and the same guest',
            claims: ['maa.hostData', 'maa.debug', 'maa.vmpl', 'maa.measurement']
          },
          { text: 'with the same keys', claims: ['maa.reportData', 'maa.runtime'] }
        ]
      }
    ]
  }
]

/** Draws the chain of trust, with what was expected and found wherever that differs. */
export function drawChain(checks: readonly Check[], looks: Appearance): string {
  const byClaim = new Map(checks.map((check) => [check.claim, check]))
  const lines: string[] = []
  const draw = (link: Link, first: string, rest: string): void => {
    const own = link.claims.flatMap((claim) => byClaim.get(claim) ?? [])
    lines.push(`${first}${signOf(own, looks)} ${link.text}  ${looks.dim(link.claims.join(', '))}`)
    const links = link.links ?? []
    const bar = links.length === 0 ? '  ' : '│ '
    for (const check of own) lines.push(...remarks(check, looks).map((line) => `${rest}${looks.dim(bar)}  ${line}`))
    for (const [index, child] of links.entries()) {
      const isLast = index === links.length - 1
      draw(child, `${rest}${isLast ? '└─' : '├─'}`, `${rest}${isLast ? '  ' : '│ '}`)
    }
  }
  for (const link of chain) draw(link, '', '')
  return lines.join('\n')
}

function signOf(checks: readonly Check[], { green, red, dim, symbols }: Appearance): string {
  if (checks.some(({ outcome }) => outcome === 'mismatch')) return red(symbols.failed)
  return checks.every(({ outcome }) => outcome === 'not-required') ? dim(symbols.skipped) : green(symbols.done)
}

function remarks(check: Check, { red, dim, bold, yellow }: Appearance): string[] {
  switch (check.outcome) {
    case 'match':
      return check.warning === undefined ? [] : [yellow(`${check.claim}: ${check.warning}`)]
    case 'not-required':
      return [dim(`${check.claim}: ${check.reason}`)]
    case 'mismatch':
      return [red(`${bold(check.claim)} does not match`), `  expected ${check.expected}`, `  found    ${check.actual}`]
    default:
      return check satisfies never
  }
}
