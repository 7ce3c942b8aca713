import { randomUUID } from 'node:crypto'
import { createServer as createHttpServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { type EmulatorRequest, type EmulatorResponse, type Handler, ServiceError } from './http.js'
import { isLocalCaller } from './local-caller.js'

export interface ServeOptions {
  readonly handler: Handler
  /** 0 takes a free one. */
  readonly port: number
  /** Without it the listener speaks plain HTTP. */
  readonly tls?: { readonly key: string; readonly certificate: string } | undefined
  /** Largest request body in bytes; ARM's own limit is 4 MiB. */
  readonly bodyLimit?: number
  readonly log?: ((line: string) => void) | undefined
}

export interface RunningServer {
  readonly origin: string
  readonly port: number
  close(): Promise<void>
}

const defaultBodyLimit = 4 * 1024 * 1024

/** Listens on 127.0.0.1 and nowhere else. Rejects with the system's error, `EADDRINUSE` if the port is taken. */
export async function serve(options: ServeOptions): Promise<RunningServer> {
  const server: Server = options.tls
    ? createHttpsServer({ key: options.tls.key, cert: options.tls.certificate })
    : createHttpServer()
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(options.port, '127.0.0.1', () => {
      server.off('error', reject)
      resolve()
    })
  })
  const { port } = server.address() as AddressInfo
  const origin = `${options.tls ? 'https' : 'http'}://127.0.0.1:${port}`
  server.on('request', (incoming: IncomingMessage, outgoing: ServerResponse) => {
    void answer(incoming, outgoing, origin, options)
  })
  return {
    origin,
    port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      })
  }
}

async function answer(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  origin: string,
  options: ServeOptions
): Promise<void> {
  const startedAt = performance.now()
  const requestId = randomUUID()
  const hangUp = new AbortController()
  outgoing.once('close', () => hangUp.abort())
  let response: EmulatorResponse
  let path = '?'
  try {
    const target = parseTarget(incoming.url ?? '/')
    path = target.path
    if (!isLocalCaller(incoming.headers, incoming.socket.localPort)) throw foreignCaller()
    const body = await readBody(incoming, options.bodyLimit ?? defaultBodyLimit)
    response = await options.handler({
      method: incoming.method ?? 'GET',
      ...target,
      headers: incoming.headers,
      body,
      origin,
      signal: hangUp.signal
    })
  } catch (error) {
    response = errorResponse(error, options.log)
  }
  try {
    await send(incoming, outgoing, response, requestId)
  } catch {
    // The caller hung up or the handler's stream failed: a broken connection is the only honest answer left.
    outgoing.destroy()
  }
  options.log?.(
    `${incoming.method} ${withoutSecrets(path)} ${response.status} ${Math.round(performance.now() - startedAt)} ms`
  )
}

function foreignCaller(): ServiceError {
  return new ServiceError(
    403,
    'ForeignCaller',
    'The emulator answers programs of this machine that address it as 127.0.0.1 or localhost, and no web pages.'
  )
}

/**
 * Splits a request target. `PUT //subscriptions/…` is what the authorization client sends, and
 * `new URL` alone would take `subscriptions` for a host.
 */
function parseTarget(target: string): Pick<EmulatorRequest, 'path' | 'query'> {
  const [rawPath = '/', ...rest] = target.split('?')
  let decoded: string
  try {
    decoded = decodeURIComponent(rawPath)
  } catch {
    throw new ServiceError(400, 'InvalidRequestUri', 'The request URI is not valid percent-encoding.')
  }
  const path = decoded.replace(/\/{2,}/g, '/').replace(/(.)\/$/, '$1')
  return { path: path.startsWith('/') ? path : `/${path}`, query: new URLSearchParams(rest.join('?')) }
}

async function readBody(incoming: IncomingMessage, limit: number): Promise<Uint8Array> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > limit) {
      throw new ServiceError(
        413,
        'RequestContentTooLarge',
        `The request content size exceeds the maximum size of '${limit}' bytes.`
      )
    }
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/** ARM's body shape, and Key Vault's when the error has an inner code. */
export function errorResponse(error: unknown, log?: (line: string) => void): EmulatorResponse {
  if (!(error instanceof ServiceError)) {
    log?.(`internal error: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`)
    return {
      status: 500,
      body: { error: { code: 'InternalServerError', message: 'Encountered an internal server error.' } }
    }
  }
  return {
    status: error.status,
    ...(error.details.headers ? { headers: error.details.headers } : {}),
    body: errorBody(error)
  }
}

function errorBody(error: ServiceError): { readonly error: Readonly<Record<string, unknown>> } {
  return {
    error: {
      code: error.code,
      message: error.message,
      ...(error.details.details ? { details: error.details.details } : {}),
      ...(error.details.innerCode ? { innererror: { code: error.details.innerCode } } : {})
    }
  }
}

async function send(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  response: EmulatorResponse,
  requestId: string
): Promise<void> {
  const headers: Record<string, string> = {
    'cache-control': 'no-cache',
    'x-ms-request-id': requestId,
    'x-ms-correlation-request-id': single(incoming.headers['x-ms-correlation-request-id']) ?? requestId,
    ...response.headers
  }
  const clientRequestId = single(incoming.headers['x-ms-client-request-id'])
  if (clientRequestId) headers['x-ms-client-request-id'] = clientRequestId
  if (isPollingHint(response) && !isAzureCli(incoming)) delete headers['retry-after']
  const body = encodeBody(response.body, headers)
  if (body !== undefined && !isStream(body)) headers['content-length'] = String(body.byteLength)
  outgoing.writeHead(response.status, headers)
  if (incoming.method === 'HEAD' || body === undefined) {
    outgoing.end()
  } else if (isStream(body)) {
    for await (const chunk of body) {
      if (outgoing.destroyed) return
      if (!outgoing.write(chunk)) await drained(outgoing)
    }
    outgoing.end()
  } else {
    outgoing.end(body)
  }
}

/**
 * `az` polls every 30 seconds unless it is told otherwise, and the SDKs wait as long as they are
 * told instead of their own interval: so the hint goes to `az` alone.
 */
function isPollingHint(response: EmulatorResponse): boolean {
  return response.status < 300 && response.headers?.['retry-after'] !== undefined
}

function isAzureCli(incoming: IncomingMessage): boolean {
  return incoming.headers['user-agent']?.includes('AZURECLI/') ?? false
}

function encodeBody(
  body: unknown,
  headers: Record<string, string>
): Uint8Array | AsyncIterable<Uint8Array> | undefined {
  if (body === undefined || body instanceof Uint8Array || isStream(body)) return body
  headers['content-type'] ??= 'application/json; charset=utf-8'
  return new TextEncoder().encode(JSON.stringify(body))
}

function isStream(body: unknown): body is AsyncIterable<Uint8Array> {
  return typeof body === 'object' && body !== null && Symbol.asyncIterator in body
}

function drained(outgoing: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    outgoing.once('drain', resolve)
    outgoing.once('close', resolve)
  })
}

function single(header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header[0] : header
}

const maxLoggedPath = 300

/** The path of an instance's endpoints is what authorizes its container. A line feed would forge a line. */
function withoutSecrets(path: string): string {
  const shown = path.replace(/^\/instances\/[^/]+/, '/instances/…').slice(0, maxLoggedPath)
  return shown.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, '?')
}
