import { AttestationError, CallError, CheckError, isWrong, NoAddressError } from '../errors.js'
import { describeMismatches } from '../mismatches.js'

/** An answer of the proxy's own, in the form of OpenAI's errors. */
export interface Refusal {
  readonly status: number
  /** Stable; scripts rely on it. */
  readonly code: string
  readonly message: string
  readonly headers?: Readonly<Record<string, string>> | undefined
}

/** Something that the proxy refuses by itself. */
export class ProxyProblem extends Error {
  override readonly name = 'ProxyProblem'

  constructor(readonly refusal: Refusal) {
    super(refusal.message)
  }
}

/** The caller went away: there is nobody to answer. */
export class CallerLeft extends Error {
  override readonly name = 'CallerLeft'
}

/** OpenAI's SDKs would send the request again, although nothing of it is wrong that time mends. */
const doNotRetry = { 'x-should-retry': 'false' } as const

/** What a caller is told of a call that failed before its answer began. Nothing in it is content. */
export function refusalOf(error: unknown): Refusal {
  if (error instanceof ProxyProblem) return error.refusal
  if (error instanceof AttestationError) return attestationFailed(error)
  if (error instanceof NoAddressError) return noAddress(error)
  if (error instanceof CheckError) {
    const message = `the router could not be checked, and nothing was sent: ${error.message}${systemCode(error)}`
    return { status: 503, code: 'attestation_unavailable', message }
  }
  if (error instanceof CallError) {
    const code = error.code.replace(/[.-]/g, '_')
    const isCallers = error.code === 'call.unsealable' || error.code === 'call.url'
    return {
      status: isCallers ? 400 : 502,
      code,
      message: `${error.message}${systemCode(error)}`,
      headers: isCallers ? doNotRetry : undefined
    }
  }
  return { status: 500, code: 'internal_error', message: 'the proxy failed; this is a bug of confrouter' }
}

function attestationFailed(error: AttestationError): Refusal {
  const message = `the evidence of the router was rejected, and nothing was sent: ${describeMismatches(error)}`
  return { status: 503, code: 'attestation_failed', message, headers: doNotRetry }
}

/** What is wrong stays apart from what could not be checked. Only where all is wrong is it of no use to come back. */
function noAddress(error: NoAddressError): Refusal {
  const wrong = error.failures.filter(isWrong)
  return {
    status: 503,
    code: wrong.length > 0 ? 'attestation_failed' : 'attestation_unavailable',
    message: error.message,
    headers: wrong.length === error.failures.length ? doNotRetry : undefined
  }
}

/** For example ` (ECONNREFUSED)`, where a cause has such a code. */
function systemCode(error: unknown): string {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const code: unknown = 'code' in cause ? cause.code : undefined
    if (typeof code === 'string' && /^[A-Z][A-Z0-9_]{2,40}$/.test(code)) return ` (${code})`
  }
  return ''
}
