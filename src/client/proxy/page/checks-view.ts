import type { ShownCheck } from '../status.js'
import { make, outcomeWord, sign } from './elements.js'

/** The table of all checks, in parts. */
export function checkRows(checks: readonly ShownCheck[], onlyWrong: boolean): HTMLElement[] {
  const rows: HTMLElement[] = []
  let part = ''
  for (const check of checks) {
    if (onlyWrong && check.outcome !== 'mismatch') continue
    if (partOf(check.claim) !== part) {
      part = partOf(check.claim)
      rows.push(make('tr', { class: 'group' }, make('th', { colspan: '4', scope: 'colgroup' }, part)))
    }
    rows.push(checkRow(check))
  }
  if (rows.length === 0) {
    const words = checks.length === 0 ? 'Nothing has been checked yet.' : 'Nothing differs.'
    rows.push(make('tr', {}, make('td', { colspan: '4', class: 'none' }, words)))
  }
  return rows
}

export function partOf(claim: string): string {
  if (claim.startsWith('uvm.')) return 'Utility VM'
  if (claim.startsWith('maa.')) return 'Attestation service'
  return /^(?:hostData|ccePolicy|reportData|runtimeData|nonce)/.test(claim) ? 'Policy and keys' : 'Hardware'
}

export function checkRow({ claim, title, outcome, expected, actual, reason, warning }: ShownCheck): HTMLElement {
  const values =
    reason !== null
      ? [make('td', { colspan: '2', class: 'reason' }, reason)]
      : [
          make('td', { 'data-label': 'expected' }, make('code', {}, expected ?? '–')),
          make('td', { 'data-label': 'found' }, make('code', {}, actual ?? '–'))
        ]
  return make(
    'tr',
    { class: outcome },
    make('td', { class: 'outcome' }, sign(outcome), outcomeWord(outcome)),
    make(
      'th',
      { scope: 'row' },
      title,
      make('span', { class: 'claim' }, claim),
      ...(warning === null ? [] : [make('span', { class: 'warning' }, `Warning: ${warning}`)])
    ),
    ...values
  )
}
