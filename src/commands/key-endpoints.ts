import type { KeyEndpointCheck, VerifiedEvidence } from '../client/index.js'
import type { DifferingKeyEndpoint } from '../client/mismatches.js'
import type { App, VerificationAccess } from './app.js'

/**
 * Compares the keys that a verified router publishes beside its evidence. Warns of each that could not be compared.
 * Which differ is for the caller to judge.
 */
export async function compareKeyEndpoints(
  { terminal, signal }: Pick<App, 'terminal' | 'signal'>,
  { transport }: Pick<VerificationAccess, 'transport'>,
  url: string,
  evidence: VerifiedEvidence
): Promise<readonly KeyEndpointCheck[]> {
  const { checkKeyEndpoints } = await import('../client/index.js')
  const checks = await checkKeyEndpoints({ url, evidence, fetch: transport(evidence), signal })
  warnOfUnchecked(terminal, checks)
  return checks
}

/** A router need not serve them, and still somebody should know that nothing was compared. */
export function warnOfUnchecked({ warn }: Pick<App['terminal'], 'warn'>, checks: readonly KeyEndpointCheck[]): void {
  for (const check of checks) {
    if (check.outcome === 'unchecked') {
      warn(`the key at ${check.path} was not compared with the evidence: ${check.reason}`)
    }
  }
}

/** The problem of a rejection for their sake alone, in words. */
export function otherKeyProblem(endpoints: readonly DifferingKeyEndpoint[]): string {
  return `the key endpoint differs from the evidence: ${endpoints.map(({ path }) => path).join(', ')}`
}

export const otherKeyWhy =
  'whoever answers there offers a key that the verified router does not have, as somebody in between would; a router that has just taken a new key looks the same for a moment'
