import type { Check } from '../verify/index.js'
import type { KeyEndpointCheck } from './key-endpoints.js'
import { differing, mismatchNames } from './mismatches.js'

/** Why evidence could not be checked. Scripts rely on these; none of them says anything about trust. */
export type CheckErrorCode =
  /** The URL is not one that is called: another scheme, or an attestation provider without https. */
  | 'check.url'
  /** No answer: name, connection, TLS, redirect. */
  | 'check.network'
  /** The caller's signal ended it. */
  | 'check.aborted'
  /** An answer with another status than 200. */
  | 'check.status'
  /** An answer that is too long or not of its form. */
  | 'check.unreadable'
  /** Nothing says where the router is, or what it has to be: what would say so cannot be read. */
  | 'check.source'

/** *Could not check*: to be tried again. A rejected verdict, *checked and wrong*, is no error of this kind. */
export class CheckError extends Error {
  override readonly name = 'CheckError'

  constructor(
    readonly code: CheckErrorCode,
    message: string,
    /** HTTP status, with `check.status`. */
    readonly status?: number,
    cause?: unknown,
    /** When whoever answered with that status wants to be asked again, if it says so. */
    readonly retryAfterSeconds?: number
  ) {
    super(message, cause === undefined ? undefined : { cause })
  }
}

/**
 * *Checked and wrong*: the evidence of the router was rejected, and nothing was sent. `checks` are those
 * that do not match, with what was expected and what was found.
 */
export class AttestationError extends Error {
  override readonly name = 'AttestationError'
  readonly code = 'attestation.rejected'
  readonly checks: readonly Check[]
  /** Key endpoints that differ from the evidence, where they were compared. */
  readonly keyEndpoints: readonly KeyEndpointCheck[]

  constructor(checks: readonly Check[], keyEndpoints: readonly KeyEndpointCheck[] = []) {
    super(`the evidence of the router was rejected: ${mismatchNames({ checks, keyEndpoints }).join(', ')}`)
    this.checks = checks.filter(({ outcome }) => outcome === 'mismatch')
    this.keyEndpoints = differing(keyEndpoints)
  }
}

/** Why a sealed call gave no answer. */
export type CallErrorCode =
  | 'call.url'
  | 'call.network'
  | 'call.aborted'
  /** The router cannot open what was sealed: its key is another one. Verify again, then repeat. */
  | 'call.stale-key'
  /** An answer with a status other than 2xx; {@link CallError.answer} is what was sealed in it, if it was. */
  | 'call.refused'
  /** An answer with a 2xx status that is not sealed to this call, is too long or is no JSON. */
  | 'call.unsealed'
  /** The server is not the one that the evidence is about: another TLS key. Nothing was sent to it. */
  | 'call.other-server'
  /** The request cannot be sealed: a method that the router does not take, or a key that is none. Nothing was sent. */
  | 'call.unsealable'

export interface CallErrorDetails {
  readonly status?: number | undefined
  readonly answer?: unknown
  readonly hint?: string | undefined
  readonly nothingSent?: boolean | undefined
  readonly cause?: unknown
}

/** Messages hold no content: neither of the request nor of the answer. */
export class CallError extends Error {
  override readonly name = 'CallError'
  readonly status: number | undefined
  /** The opened answer; undefined if it was not sealed. The envelope form does not authenticate its sender. */
  readonly answer: unknown
  /**
   * With `call.refused`: the code of an error in the open, such as `rate_limited` or `overloaded`. Nobody
   * vouches for it; it may help a person, and must decide nothing about trust.
   */
  readonly hint: string | undefined
  /** No byte of the call has left: it can be made again. Where this is false, it may have been served. */
  readonly nothingSent: boolean

  constructor(
    readonly code: CallErrorCode,
    message: string,
    details: CallErrorDetails = {}
  ) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.status = details.status
    this.answer = details.answer
    this.hint = details.hint
    this.nothingSent = details.nothingSent ?? unsent.includes(code)
  }
}

/** With these nothing was sent, whatever else. */
const unsent: readonly CallErrorCode[] = ['call.url', 'call.other-server', 'call.unsealable']

/** Why one address of a router was of no use; nothing of the call was sent there. */
export interface AddressFailure {
  readonly address: string
  readonly error: AttestationError | CheckError | CallError
}

/** *Checked and wrong*: the evidence, or the TLS key of the server. All else could not be checked or reached. */
export const isWrong = ({ error }: AddressFailure): boolean =>
  error instanceof AttestationError || (error instanceof CallError && error.code === 'call.other-server')

/**
 * None of several addresses could be used, and nothing of the call was sent to any of them. `addresses.rejected` if at
 * least one of them was checked and is wrong; with `addresses.unavailable` nothing is known against any of them.
 */
export class NoAddressError extends Error {
  override readonly name = 'NoAddressError'
  readonly code: 'addresses.rejected' | 'addresses.unavailable'

  constructor(
    /** In the order in which they were tried. */
    readonly failures: readonly AddressFailure[]
  ) {
    const wrong = failures.filter(isWrong)
    super(
      `no address of the router could be used, and nothing was sent. ${[
        ...listed('checked and wrong', wrong),
        ...listed(
          'could not be checked or reached',
          failures.filter((failure) => !isWrong(failure))
        )
      ].join('. ')}`
    )
    this.code = wrong.length > 0 ? 'addresses.rejected' : 'addresses.unavailable'
  }
}

/** So many are named in a message. */
const named = 8

function listed(what: string, failures: readonly AddressFailure[]): string[] {
  if (failures.length === 0) return []
  const each = failures.slice(0, named).map(({ address, error }) => `${address} (${error.message})`)
  return [`${what}: ${each.join(', ')}${failures.length > named ? `, and ${failures.length - named} more` : ''}`]
}
