/**
 * Errors as callers see them: OpenAI's shape, with a stable code. The message is written for the
 * caller alone; logs carry the code.
 */
const problems = {
  invalid_request: [400, 'invalid_request_error'],
  invalid_path: [400, 'invalid_request_error'],
  invalid_json: [400, 'invalid_request_error'],
  invalid_model: [400, 'invalid_request_error'],
  invalid_nonce: [400, 'invalid_request_error'],
  unexpected_body: [400, 'invalid_request_error'],
  unsupported_by_provider: [400, 'invalid_request_error'],
  invalid_multipart: [400, 'invalid_request_error'],
  bad_encrypted_payload: [400, 'invalid_request_error'],
  bad_sealed_request: [400, 'invalid_request_error'],
  bad_sealed_key: [400, 'invalid_request_error'],
  request_expired: [400, 'invalid_request_error'],
  invalid_envelope: [400, 'invalid_request_error'],
  invalid_response_key: [400, 'invalid_request_error'],
  stream_not_supported: [400, 'invalid_request_error'],
  missing_api_key: [401, 'authentication_error'],
  invalid_authorization: [401, 'authentication_error'],
  invalid_access_token: [401, 'authentication_error'],
  encryption_required: [403, 'permission_error'],
  own_key_required: [403, 'permission_error'],
  key_of_another_provider: [403, 'permission_error'],
  not_found: [404, 'invalid_request_error'],
  unknown_provider: [404, 'invalid_request_error'],
  method_not_allowed: [405, 'invalid_request_error'],
  request_timeout: [408, 'invalid_request_error'],
  request_replayed: [409, 'invalid_request_error'],
  body_too_large: [413, 'invalid_request_error'],
  unsupported_media_type: [415, 'invalid_request_error'],
  stale_key: [422, 'invalid_request_error'],
  upgrade_required: [426, 'invalid_request_error'],
  rate_limited: [429, 'rate_limit_error'],
  internal_error: [500, 'server_error'],
  upstream_failed: [502, 'upstream_error'],
  upstream_unreachable: [502, 'upstream_error'],
  upstream_not_json: [502, 'upstream_error'],
  upstream_encoded: [502, 'upstream_error'],
  redirect_refused: [502, 'upstream_error'],
  answer_too_large: [502, 'upstream_error'],
  egress_refused: [502, 'upstream_error'],
  attestation_failed: [502, 'server_error'],
  not_ready: [503, 'server_error'],
  stopping: [503, 'server_error'],
  overloaded: [503, 'server_error'],
  upstream_timeout: [504, 'upstream_error']
} as const satisfies Record<string, readonly [number, string]>

export type ProblemCode = keyof typeof problems

export class Problem extends Error {
  override readonly name = 'Problem'
  readonly status: number
  readonly param: string | null
  readonly headers: Readonly<Record<string, string>>

  constructor(
    readonly code: ProblemCode,
    message: string,
    { param, headers }: { param?: string; headers?: Readonly<Record<string, string>> } = {}
  ) {
    super(message)
    this.status = problems[code][0]
    this.param = param ?? null
    this.headers = headers ?? {}
  }

  /** The body of the answer. */
  toJSON(): object {
    const { message, code, param } = this
    return { error: { message, type: problems[code][1], code, param } }
  }
}

/** For answers that ask the caller to come back; `Retry-After` is in whole seconds, at least 1. */
export function retryLater(code: ProblemCode, message: string, seconds: number): Problem {
  return new Problem(code, message, { headers: { 'retry-after': String(Math.max(1, Math.ceil(seconds))) } })
}

/**
 * The answer to what was sealed to another key, in the form that EHBP clients know (RFC 9457). A relay
 * may rewrite statuses and bodies, so the same is said in a header of ours.
 */
export class StaleKeyProblem extends Problem {
  constructor() {
    super(
      'stale_key',
      'the request was sealed to another key; verify the evidence of this router again and seal to its key',
      {
        headers: { 'content-type': 'application/problem+json', 'confrouter-seal-error': 'key-config' }
      }
    )
  }

  override toJSON(): object {
    return {
      type: 'urn:ietf:params:ehbp:error:key-config',
      title: this.message,
      status: this.status,
      ...super.toJSON()
    }
  }
}
