import type { CallRecord } from '../call-log.js'
import { clock, make, size } from './elements.js'

/** The last calls, newest first. There is no content in them to show. */
export function callRows(calls: readonly CallRecord[]): HTMLElement[] {
  if (calls.length === 0) {
    return [make('tr', {}, make('td', { colspan: '4', class: 'none' }, 'No calls yet.'))]
  }
  return calls.map((call) =>
    make(
      'tr',
      { class: call.state },
      make(
        'th',
        { scope: 'row' },
        make('span', { class: 'method' }, call.method),
        ` ${call.path}`,
        make('span', { class: 'at' }, clock(call.at))
      ),
      make('td', { class: 'number status' }, statusWords(call)),
      make(
        'td',
        { class: 'number' },
        `${size(call.requestBytes)} → ${size(call.responseBytes)}`,
        make('span', { class: 'took' }, time(call))
      ),
      make('td', {}, ...receiptWords(call))
    )
  )
}

export function statusWords({ state, status }: CallRecord): string {
  const number = status === null ? '' : `${status} `
  switch (state) {
    case 'running':
      return `${number}running`
    case 'broken':
      return `${number}broken off`
    case 'left':
      return `${number}caller left`
    default:
      return number
  }
}

export function time({ milliseconds }: CallRecord): string {
  return milliseconds === null ? '…' : `${milliseconds} ms`
}

export function receiptWords({ receipt, problem, state }: CallRecord): (Node | string)[] {
  if (receipt !== null) {
    const { provider, origin, model } = receipt
    if (provider === null) return ['no provider was called']
    return [
      make('span', { class: 'provider' }, provider),
      ...(model === null ? [] : [` ${model}`]),
      make('span', { class: 'claim' }, origin ?? '')
    ]
  }
  if (problem !== null) return [make('span', { class: 'problem' }, problem)]
  return [state === 'answered' ? 'no receipt' : '']
}
