import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { CallerGoneError, hasBody } from './body.js'
import { Call } from './call.js'
import type { RouterContext } from './context.js'
import { openToPages } from './cross-origin.js'
import { maximumConnections } from './guards.js'
import { Problem } from './problem.js'
import { logCall, logUnexpected } from './request-log.js'
import { findRoute } from './routes.js'

/** The HTTP server, not listening yet. */
export function createRouterServer(context: RouterContext): Server {
  const server = createServer(
    {
      // A request's header in 15 s and its body in 5 minutes: 20 MB over a slow line, and no longer.
      headersTimeout: 15_000,
      requestTimeout: 300_000,
      connectionsCheckingInterval: 5_000,
      keepAliveTimeout: 65_000,
      maxHeaderSize: 16 * 1024,
      insecureHTTPParser: false,
      requireHostHeader: true
    },
    (request, response) => void handle(context, request, response)
  )
  server.maxHeadersCount = 100
  server.maxConnections = maximumConnections(context.settings.limits)
  server.on('connection', (socket) => context.connections.add(socket))
  server.on('clientError', refuseMalformed)
  return server
}

async function handle(context: RouterContext, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const call = new Call(context, request, response)
  if (!context.connections.begin(call)) return
  const closed = new Promise<void>((resolve) => call.onClose(resolve))
  try {
    const route = findRoute(call)
    call.record.route = route.path
    if (route.fromPages) call.plain.always(openToPages)
    refuseUnexpectedBody(call)
    await route.handle(call)
  } catch (error) {
    if (!(error instanceof CallerGoneError) && !call.gone) fail(call, error)
  }
  // Only now is it known whether the caller got all of the answer.
  await closed
  if (call.gone && call.record.outcome === 'ok') call.record.outcome = 'caller_gone'
  logCall(call)
}

/** Nothing above this could take a failure of it, and the process would end. */
function fail(call: Call, error: unknown): void {
  try {
    call.fail(toProblem(call, error))
  } catch (failure) {
    logUnexpected(call.context.log, failure, call.id)
    call.record.outcome = 'internal_error'
    call.response.destroy()
  }
}

/** A body with a method that has none is how requests are smuggled past proxies. */
function refuseUnexpectedBody({ method, request }: Call): void {
  if ((method === 'GET' || method === 'HEAD') && hasBody(request)) {
    throw new Problem('unexpected_body', `a ${method} request cannot have a body`, { headers: { connection: 'close' } })
  }
}

function toProblem(call: Call, error: unknown): Problem {
  if (error instanceof Problem) return error
  logUnexpected(call.context.log, error, call.id)
  return new Problem('internal_error', `an unexpected error; its id is ${call.id}`)
}

/** What the parser refuses never becomes a request, so it is answered on the bare connection. */
function refuseMalformed(error: NodeJS.ErrnoException, socket: Socket): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy()
    return
  }
  const [status, message] =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? ['431 Request Header Fields Too Large', 'the header is too large']
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? ['408 Request Timeout', 'the request did not come in time']
        : ['400 Bad Request', 'the request is not valid HTTP']
  const body = JSON.stringify(new Problem('invalid_request', message))
  socket.end(
    `HTTP/1.1 ${status}\r\ncontent-type: application/json; charset=utf-8\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`
  )
}
