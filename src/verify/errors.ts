/**
 * Stable codes of everything that this folder throws. Evidence that can be read and is wrong throws
 * nothing: it is a verdict.
 */
export type VerifyErrorCode = 'evidence.unreadable' | 'evidence.too-large' | 'trust.invalid'

/** The evidence document or the trust policy is not of its form; {@link VerifyError.problems} lists every reason. */
export class VerifyError extends Error {
  override readonly name = 'VerifyError'

  constructor(
    readonly code: VerifyErrorCode,
    subject: string,
    readonly problems: readonly string[]
  ) {
    super(`${subject}: ${problems.join('; ')}`)
  }
}
