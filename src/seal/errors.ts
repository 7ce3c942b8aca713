/**
 * Stable codes of this folder. Everything that can go wrong while a payload is opened is one code
 * with one message, so that an answer tells a sender nothing about which check failed.
 */
export type SealErrorCode =
  | 'bad_encrypted_payload'
  | 'bad_sealed_answer'
  | 'invalid_envelope'
  | 'invalid_response_key'
  | 'invalid_key'
  | 'invalid_secrets'
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
