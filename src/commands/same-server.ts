import { UserError } from '../base/user-error.js'
import type { VerifiedEvidence } from '../client/index.js'
import type { VerificationAccess } from './app.js'

/** Longest wait for an answer that is not even looked at, in milliseconds. */
const longestMs = 10_000

/**
 * Evidence may be passed on by somebody whose own certificate nobody has signed: then the TLS key decides who
 * answers. Throws a {@link UserError} of fault `evidence` for another key than the evidence names, and of
 * fault `cloud` if the key could not be seen within `limitMs`: whoever is in between can also break the
 * connection, or let it hang.
 */
export async function requireSameServer(
  { transport, isUnsigned }: Pick<VerificationAccess, 'transport' | 'isUnsigned'>,
  url: string,
  evidence: VerifiedEvidence,
  signal: AbortSignal,
  limitMs = longestMs
): Promise<void> {
  if (!isUnsigned(url)) return
  const ending = AbortSignal.any([signal, AbortSignal.timeout(limitMs)])
  try {
    const response = await transport(evidence)(new URL('/healthz', url), { redirect: 'manual', signal: ending })
    await response.body?.cancel()
  } catch (error) {
    signal.throwIfAborted()
    const { CallError } = await import('../client/index.js')
    if (error instanceof CallError) {
      throw new UserError('evidence', 'verify.other-server', error.message, {
        why: 'the evidence is genuine, and whoever answers at this address is not the router that it is about'
      })
    }
    throw new UserError(
      'cloud',
      'verify.not-checked',
      `could not check: no answer from ${new URL(url).origin} over TLS`,
      {
        why: 'nobody has signed its certificate, and its key could not be compared with the one in the evidence',
        next: ['run the same command again'],
        cause: error
      }
    )
  }
}
