import { expect } from '@jest/globals'
import type { EmulatorRequest, EmulatorResponse, Handler } from '../../../../src/emulator/http.js'
import { ServiceError } from '../../../../src/emulator/http.js'

/** JSON whose shape the assertion itself checks. */
export type Loose = ReturnType<typeof JSON.parse>

export interface TestRequest {
  readonly method?: string
  readonly headers?: Record<string, string>
  readonly body?: unknown
  readonly signal?: AbortSignal
}

/** A request as the server would hand it to a handler; `target` is path and query. */
export function request(target: string, options: TestRequest = {}): EmulatorRequest {
  const [path = '/', query = ''] = target.split('?')
  const { body } = options
  const text = typeof body === 'string' ? body : body === undefined ? '' : JSON.stringify(body)
  return {
    method: options.method ?? (body === undefined ? 'GET' : 'POST'),
    path,
    query: new URLSearchParams(query),
    headers: options.headers ?? {},
    body: body instanceof Uint8Array ? body : new TextEncoder().encode(text),
    origin: 'https://127.0.0.1:1',
    signal: options.signal ?? new AbortController().signal
  }
}

export async function call(
  handler: Handler,
  target: string,
  options?: TestRequest
): Promise<EmulatorResponse & { body: Loose }> {
  return (await handler(request(target, options))) as EmulatorResponse & { body: Loose }
}

/** The error that the handler throws; a test that gets an answer instead fails. */
export async function refusal(handler: Handler, target: string, options?: TestRequest): Promise<ServiceError> {
  try {
    await handler(request(target, options))
  } catch (error) {
    expect(error).toBeInstanceOf(ServiceError)
    return error as ServiceError
  }
  throw new Error(`${target} was answered, a refusal was expected`)
}
