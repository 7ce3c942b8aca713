/**
 * Stable codes of this folder. Everything that can go wrong while a payload is opened is one code
 * with one message, so that an answer tells a sender nothing about which check failed.
 */
export type SealErrorCode =
  | 'bad_encrypted_payload'
  | 'bad_sealed_request'
  | 'stale_key'
  | 'bad_sealed_answer'
  | 'unsealed_answer'
  | 'truncated_answer'
  | 'bad_receipt'
  | 'unsupported'
  | 'invalid_request'
  | 'invalid_provider_key'
  | 'invalid_envelope'
  | 'invalid_response_key'
  | 'invalid_key'
  | 'invalid_secrets'
  | 'unsigned_secrets'
  | 'foreign_signer'
  | 'bad_signature'
  | 'other_deployment'
  | 'invalid_runtime_data'

export class SealError extends Error {
  override readonly name = 'SealError'

  constructor(
    readonly code: SealErrorCode,
    message: string
  ) {
    super(message)
  }
}

/** Existing clients look for these words and then fetch the router's key again. */
export const badEncryptedPayload = (): SealError =>
  new SealError('bad_encrypted_payload', 'bad encrypted payload: fetch the key of this router again and seal to it')

/** Of a sealed body: whatever is wrong with the headers, the frames or what they are bound to. */
export const badSealedRequest = (): SealError =>
  new SealError('bad_sealed_request', 'the sealed request is malformed or was altered')

/** Nothing of the request has been used: it may be sent again, sealed to the key of today. */
export const staleKey = (): SealError =>
  new SealError('stale_key', 'the request is sealed to another key: fetch the key of this router again and seal to it')

/** One message: why a forged answer does not open is of use to the forger alone. */
export const badSealedAnswer = (): SealError =>
  new SealError('bad_sealed_answer', 'the answer is not sealed to this request')

/** The connection may have failed or been cut: the answer may be asked for again. */
export const truncatedAnswer = (): SealError =>
  new SealError('truncated_answer', 'the sealed answer ends before its end')
