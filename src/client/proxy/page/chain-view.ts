import type { ProxyStatus } from '../status.js'
import type { Chain, ChainPart } from '../chain.js'
import { make, outcomeWord, sign } from './elements.js'

/** Draws the chain: the hardware's line, and what hangs on its report. */
export function drawChain({ line, branches }: Chain, state: ProxyStatus['state'], simulated: boolean): HTMLElement[] {
  const [root, ...others] = line
  return [
    make(
      'ol',
      { class: 'line', 'aria-label': 'From the root key to the report' },
      ...(root === undefined ? [] : [chainPart(root, simulated, rootRemark(root, simulated))]),
      ...others.map((part) => chainPart(part, false, ''))
    ),
    make('p', { class: 'rail' }, 'What the report, and so the hardware, says of the router'),
    make(
      'ul',
      { class: 'branches', 'aria-label': 'What hangs on the report' },
      ...branches.map((part) => chainPart(part, false, ''))
    ),
    chainEnd([...line, ...branches], state, simulated)
  ]
}

/** Whose root it is: the one thing that decides whether there is hardware at all. */
export function rootRemark({ outcome }: ChainPart, simulated: boolean): string {
  if (simulated) return ', but is not AMD’s'
  return outcome === 'match' ? ', and is AMD’s' : ''
}

export function chainPart(
  { id, title, vouched, compared, outcome, value }: ChainPart,
  simulated: boolean,
  remark: string
): HTMLElement {
  return make(
    'li',
    { class: `part ${outcome}${simulated ? ' simulated' : ''}`, id: `part-${id}` },
    make('p', { class: 'vouched' }, vouched),
    make('h3', {}, sign(outcome), title),
    make('p', { class: 'compared' }, compared),
    ...(value === null ? [] : [make('code', { title: value }, value)]),
    make('p', { class: 'outcome' }, partWords(outcome) + remark)
  )
}

export function partWords(outcome: ChainPart['outcome']): string {
  return outcome === 'not-required' ? 'left open by your trust policy' : outcomeWord(outcome)
}

/** What the chain is for: keys to which calls are sealed, or none. */
export function chainEnd(parts: readonly ChainPart[], state: ProxyStatus['state'], simulated: boolean): HTMLElement {
  const outcomes = parts.map(({ outcome }) => outcome)
  if (outcomes.includes('mismatch')) {
    return make('p', { class: 'end mismatch' }, sign('mismatch'), 'The chain is broken: nothing is sent.')
  }
  if (outcomes.includes('unknown')) {
    return make('p', { class: 'end' }, sign('unknown'), 'Nothing is sent before the chain is checked.')
  }
  if (state === 'unavailable') {
    const words = 'This is how it was. Calls go on only while that evidence is young enough.'
    return make('p', { class: 'end' }, sign('unknown'), words)
  }
  const open = outcomes.includes('not-required') ? ' Your trust policy leaves a part of the chain open.' : ''
  const words = simulated
    ? 'Your calls are sealed to the keys of the router, but no hardware keeps those keys from whoever runs it.'
    : 'Your calls are sealed to the keys of the router. Whoever is between sees paths, sizes and times.'
  return make('p', { class: `end match${simulated ? ' simulated' : ''}` }, sign('lock'), words + open)
}
