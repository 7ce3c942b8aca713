import type { ProxyStatus } from '../status.js'
import { ago, byId, clock, make, sign, write } from './elements.js'

/** The first thing that is seen: what can be said of the router, in one line. */
export function showVerdict(status: ProxyStatus): void {
  const look = lookOf(status)
  document.body.dataset['look'] = look
  byId('verdict-sign').replaceChildren(sign(look))
  const simulated = status.simulated && status.verifiedAt !== null
  byId('tape').hidden = !simulated
  const { line, words } = verdictWords(status, look)
  write('verdict-line', line)
  document.title = `${line} – confrouter proxy`
  write('verdict-words', words + openWords(status))
  write('verdict-when', whenWords(status))
  byId('wrong').replaceChildren(...(look === 'rejected' ? wrongChecks(status) : []))
  write('base-url', status.baseUrl)
  write('router-url', status.router)
  const button = byId<HTMLButtonElement>('verify')
  button.disabled = status.verifying
  button.textContent = status.verifying ? 'Verifying…' : 'Verify now'
}

export function lookOf({ state, simulated }: ProxyStatus): string {
  return state === 'trusted' && simulated ? 'simulated' : state
}

export function verdictWords(status: ProxyStatus, look: string): { readonly line: string; readonly words: string } {
  switch (look) {
    case 'trusted':
      return {
        line: 'Trusted',
        words:
          'The evidence passes every check that your trust policy demands, up to a root key of AMD. Every call is sealed to keys that only this router has.'
      }
    case 'simulated':
      return {
        line: 'Simulated: nothing is protected',
        words:
          'The checks pass, but the chain ends in a root key that is not AMD’s: no hardware is behind it. Use it to try things out, and never with data that matters.'
      }
    case 'rejected':
      return {
        line: 'Rejected: nothing is sent',
        words: `The evidence does not hold${status.simulated ? ', and its root is not AMD’s' : ''}. Calls are answered with an error until it does.`
      }
    case 'unavailable':
      return {
        line: 'Could not check',
        words: `The last attempt came to no verdict: ${status.problem?.message ?? ''}. That says nothing against the router, and nothing for it.`
      }
    default:
      return {
        line: 'Not checked yet',
        words: 'Nothing has been sent. The first call, or the button, verifies the router.'
      }
  }
}

/** What the trust policy does not ask for stands beside the verdict, so that nobody takes it for checked; warnings too. */
export function openWords({ checks, state }: ProxyStatus): string {
  if (state !== 'trusted') return ''
  const open = checks.filter(({ outcome }) => outcome === 'not-required').length
  const warnings = checks.flatMap(({ title, warning }) =>
    warning === null ? [] : [` Warning: ${title}, but ${warning}.`]
  )
  const left = open === 0 ? '' : ` Your trust policy leaves ${open} of ${checks.length} checks open.`
  return left + warnings.join('')
}

export function whenWords({ verifiedAt, maximumAgeSeconds: age, state }: ProxyStatus): string {
  if (verifiedAt === null) return ''
  const isOld = age !== 'any' && Date.now() - Date.parse(verifiedAt) > age * 1000
  const old = isOld && state === 'trusted' ? ` Older than ${age} s: the next call verifies first.` : ''
  return `Last verdict at ${clock(verifiedAt)}, ${ago(verifiedAt)}.${old}`
}

/** The first of what differs; the table has all of it. */
export function wrongChecks({ checks, keyEndpoints = [] }: ProxyStatus): HTMLElement[] {
  const most = 4
  const endpoints = keyEndpoints.flatMap((check) =>
    check.outcome === 'mismatch'
      ? [{ ...check, title: 'another key stands beside the evidence', claim: check.path }]
      : []
  )
  const wrong = [...endpoints, ...checks.filter(({ outcome }) => outcome === 'mismatch')]
  const shown = wrong
    .slice(0, most)
    .map(({ title, claim, expected, actual }) =>
      make(
        'li',
        {},
        make('strong', {}, `Fails: ${title}`),
        make('span', { class: 'claim' }, claim),
        make(
          'dl',
          {},
          make('dt', {}, 'expected'),
          make('dd', {}, expected ?? ''),
          make('dt', {}, 'found'),
          make('dd', {}, actual ?? '')
        )
      )
    )
  const more = wrong.length - shown.length
  if (more > 0) shown.push(make('li', {}, make('a', { href: '#checks-title' }, `and ${more} more`)))
  return shown
}
