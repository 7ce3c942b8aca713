import { createServer, type IncomingMessage, type Server, type ServerOptions, type ServerResponse } from 'node:http'
import { createServer as createSecureServer, type ServerOptions as SecureServerOptions } from 'node:https'
import type { Socket } from 'node:net'
import { answerFailure } from './answer-failure.js'
import { CallerGoneError, hasBody } from './body.js'
import { Call } from './call.js'
import type { RouterContext } from './context.js'
import { openToPages } from './cross-origin.js'
import { maximumConnections } from './guards.js'
import { recognizeSeal } from './opening.js'
import { Problem } from './problem.js'
import { checkHead } from './request-head.js'
import { logCall } from './request-log.js'
import { findRoute } from './routes.js'
import type { TlsIdentity } from './self-signed.js'
import { limitUnreadBody } from './unread-body.js'
import { handleUpgrade } from './websocket.js'
import { RouterRequest } from './websocket-request.js'

/** Of both servers. */
const options = {
  // A request's header in 15 s, and all of it in an hour: the largest upload at 1.2 Mbit/s. Between two pieces of
  // a body there is less time, and for one that is held whole.
  headersTimeout: 15_000,
  requestTimeout: 3_600_000,
  connectionsCheckingInterval: 5_000,
  keepAliveTimeout: 65_000,
  maxHeaderSize: 16 * 1024,
  insecureHTTPParser: false,
  // Asked for below, so that whoever leaves it out gets an answer of ours.
  requireHostHeader: false,
  IncomingMessage: RouterRequest
} satisfies ServerOptions<typeof RouterRequest>

/** The HTTP server, not listening yet. */
export function createRouterServer(context: RouterContext): Server {
  const server = createServer(options, (request, response) => void handle(context, request, response))
  server.on('connection', (socket) => context.connections.add(socket))
  return withLimits(server, context)
}

/** The same behind TLS, which ends in here with a key that nobody else has. */
export function createTlsServer(context: RouterContext, identity: TlsIdentity): Server {
  const server = createSecureServer({ ...options, ...tlsOptions(identity) }, (request, response) => {
    void handle(context, request, response)
  })
  // Counted before the handshake, which costs more than the connection.
  server.on('connection', (socket: Socket) => context.connections.addHandshake(socket))
  server.on('secureConnection', (socket) => context.connections.secure(socket))
  return withLimits(server, context)
}

const tlsOptions = ({ key, certificate }: TlsIdentity): SecureServerOptions => ({
  key,
  cert: certificate,
  minVersion: 'TLSv1.2',
  ALPNProtocols: ['http/1.1'],
  handshakeTimeout: 10_000
})

function withLimits(server: Server, context: RouterContext): Server {
  const { limits, workers } = context.settings
  // Node would drop what is beyond its number without a word, an `Origin` or a header of sealing for one.
  server.maxHeadersCount = 0
  // A worker that has all it may would give a connection back for another one, for ever when none has room:
  // there, and for both servers together, `Connections` is the limit.
  if (workers === 1) server.maxConnections = maximumConnections(limits)
  // An expectation that nobody knows is no reason for an answer that nobody logs.
  server.on('checkExpectation', (request, response) => void handle(context, request, response))
  server.on('upgrade', (request, socket, head) => handleUpgrade(context, request, socket, head))
  server.on('clientError', (error, socket: Socket) => refuseMalformed(context, error, socket))
  return server
}

async function handle(context: RouterContext, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const call = new Call(context, request, response)
  if (!context.connections.begin(call)) return
  const closed = new Promise<void>((resolve) => call.onClose(resolve))
  try {
    checkHead(call.request)
    recognizeSeal(call)
    const route = findRoute(call)
    call.record.route = route.path
    if (route.fromPages) call.plain.always(openToPages)
    refuseUnexpectedBody(call.request)
    await route.handle(call)
  } catch (error) {
    if (!(error instanceof CallerGoneError) && !call.gone) answerFailure(call, error)
  }
  // Only now is it known whether the caller got all of the answer.
  await closed
  limitUnreadBody(request)
  if (call.gone && call.record.outcome === 'ok') call.record.outcome = 'caller_gone'
  logCall(call)
}

/** A body with a method that has none is how requests are smuggled past proxies. */
function refuseUnexpectedBody(request: IncomingMessage): void {
  const { method } = request
  if ((method === 'GET' || method === 'HEAD') && hasBody(request)) {
    throw new Problem('unexpected_body', `a ${method} request cannot have a body`, { headers: { connection: 'close' } })
  }
}

/**
 * What the parser refuses never becomes a request, so it is answered on the bare connection. Other
 * errors are of the connection itself, of a handshake of TLS for one, and there is nobody to answer.
 */
function refuseMalformed({ connections }: RouterContext, error: NodeJS.ErrnoException, socket: Socket): void {
  const { code = '' } = error
  const isOfRequest = code.startsWith('HPE_') || code === 'ERR_HTTP_REQUEST_TIMEOUT'
  if (!socket.writable || !isOfRequest || !isNextToAnswer(connections.running(socket))) {
    socket.destroy()
    return
  }
  const [status, message] =
    code === 'HPE_HEADER_OVERFLOW'
      ? ['431 Request Header Fields Too Large', 'the header is too large']
      : code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? ['408 Request Timeout', 'the request did not come in time']
        : ['400 Bad Request', 'the request is not valid HTTP']
  const body = JSON.stringify(new Problem('invalid_request', message))
  socket.end(
    `HTTP/1.1 ${status}\r\ncontent-type: application/json; charset=utf-8\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`
  )
}

/**
 * Whether the next bytes on a connection are read as the answer to what is malformed there: to a request that has not
 * become a call, or to the body of the only call. Behind another request they would be the answer to that one, or a
 * part of it, with nothing to tell the caller so.
 */
function isNextToAnswer([call, ...others]: readonly Call[]): boolean {
  return call === undefined || (others.length === 0 && !call.request.complete && !call.response.headersSent)
}
