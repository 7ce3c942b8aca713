/** An error in OpenAI's words and shape; `param` is the path of the member that is wrong. */
export class RequestError extends Error {
  override readonly name = 'RequestError'

  constructor(
    readonly status: number,
    message: string,
    readonly param: string | null,
    readonly code: string | null
  ) {
    super(message)
  }
}

export function missingParameter(param: string): RequestError {
  return new RequestError(400, `Missing required parameter: '${param}'.`, param, 'missing_required_parameter')
}

export function invalidValue(param: string, expected?: string): RequestError {
  const hint = expected === undefined ? '' : ` Expected ${expected}.`
  return new RequestError(400, `Invalid value for '${param}'.${hint}`, param, 'invalid_value')
}

/** What OpenAI can do and this provider cannot: said, so that nobody takes it for done. */
export function unsupported(param: string, instead: string): RequestError {
  return new RequestError(400, `This provider does not have this '${param}': ${instead}.`, param, 'unsupported_value')
}
