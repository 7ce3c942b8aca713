import type { Check } from '../verify/index.js'
import type { KeyEndpointCheck } from './key-endpoints.js'

/** What decides a verdict. */
export interface Compared {
  readonly checks: readonly Check[]
  readonly keyEndpoints?: readonly KeyEndpointCheck[] | undefined
}

export type DifferingKeyEndpoint = Extract<KeyEndpointCheck, { readonly outcome: 'mismatch' }>

/** Claims that do not hold and key endpoints that show another key, by name; of a rejection there is at least one. */
export function mismatchNames({ checks, keyEndpoints }: Compared): string[] {
  const wrong = checks.flatMap(({ claim, outcome }) => (outcome === 'mismatch' ? [claim] : []))
  return [...wrong, ...differing(keyEndpoints).map(({ path }) => `${path} has another key`)]
}

/** The same with what was expected and what was found; for people. */
export function describeMismatches({ checks, keyEndpoints }: Compared): string {
  const values = ({ expected, actual }: { readonly expected: string; readonly actual: string }): string =>
    `(expected ${expected}, found ${actual})`
  return [
    ...checks.flatMap((check) => (check.outcome === 'mismatch' ? [`${check.claim} ${values(check)}`] : [])),
    ...differing(keyEndpoints).map((check) => `${check.path} has another key ${values(check)}`)
  ].join('; ')
}

/** Those that show another key than the evidence. */
export function differing(keyEndpoints: readonly KeyEndpointCheck[] = []): DifferingKeyEndpoint[] {
  return keyEndpoints.filter((check): check is DifferingKeyEndpoint => check.outcome === 'mismatch')
}
