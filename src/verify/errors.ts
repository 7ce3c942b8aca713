/**
 * Stable codes of everything that this folder throws. Evidence that can be read and is wrong throws
 * nothing: it is a verdict.
 */
export type VerifyErrorCode =
  | 'evidence.unreadable'
  | 'evidence.too-large'
  | 'trust.invalid'
  /** There is no WebCrypto here, so nothing can be verified: a page that did not come over https, for one. */
  | 'verify.unsupported'

/** Somebody has to read them, and hostile evidence can have any number. */
const maximumProblems = 20

/** The evidence document or the trust policy is not of its form; {@link VerifyError.problems} lists the reasons, at most 20 of them. */
export class VerifyError extends Error {
  override readonly name = 'VerifyError'
  readonly problems: readonly string[]

  constructor(
    readonly code: VerifyErrorCode,
    subject: string,
    problems: readonly string[]
  ) {
    const listed = shortened(problems)
    super(`${subject}: ${listed.join('; ')}`)
    this.problems = listed
  }
}

function shortened(problems: readonly string[]): readonly string[] {
  const more = problems.length - maximumProblems
  return more > 0 ? [...problems.slice(0, maximumProblems), `and ${more} more`] : problems
}
