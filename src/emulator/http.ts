import type { IncomingHttpHeaders } from 'node:http'

/**
 * What every emulated service speaks. Handlers know no sockets, so a service can be tested by
 * calling it; `server.ts` adapts them to node:https and node:http.
 */
export interface EmulatorRequest {
  readonly method: string
  /** Decoded path, repeated slashes collapsed, no trailing slash except for `/` itself. */
  readonly path: string
  /** Decoded names and values: the Key Vault client sends `api%2Dversion`. */
  readonly query: URLSearchParams
  readonly headers: IncomingHttpHeaders
  readonly body: Uint8Array
  /** `https://127.0.0.1:PORT` of the listener that took the request, for absolute URLs in answers. */
  readonly origin: string
  /** Aborted when the caller hangs up. */
  readonly signal: AbortSignal
}

export interface EmulatorResponse {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  /** Sent as JSON unless it is bytes or a stream of bytes; `undefined` sends no body. */
  readonly body?: unknown
}

export type Handler = (request: EmulatorRequest) => Promise<EmulatorResponse>

/** An error answer. Handlers throw it; the server turns it into a response with Azure's body shape. */
export class ServiceError extends Error {
  override readonly name = 'ServiceError'
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly details: {
      /** Key Vault's `innererror.code`, for example `ForbiddenByRbac`. */
      readonly innerCode?: string
      readonly details?: readonly unknown[]
      readonly headers?: Readonly<Record<string, string>>
    } = {}
  ) {
    super(message)
  }
}

/** The emulator is strict: an operation it lacks says so by name instead of guessing. */
export function notImplemented(request: Pick<EmulatorRequest, 'method' | 'path'>): ServiceError {
  return new ServiceError(501, 'NotImplemented', `not implemented: ${request.method} ${request.path}`)
}

/** Parses a JSON body; a body that is not JSON is the caller's error, in ARM's words. */
export function jsonBody(request: EmulatorRequest): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(request.body)) as unknown
  } catch {
    throw new ServiceError(
      400,
      'InvalidRequestContent',
      'The request content was invalid and could not be deserialized.'
    )
  }
}
