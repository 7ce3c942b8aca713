import { type IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { sealHeaders } from '../seal/ehbp.js'
import { answerFailure } from './answer-failure.js'
import { admit, authorize, refusePlain, takeSlot } from './admission.js'
import { CallerGoneError } from './body.js'
import { Call } from './call.js'
import type { RouterContext } from './context.js'
import { chooseKeys } from './credentials.js'
import { responseHeaders } from './headers.js'
import { runPipeline, type Step } from './pipeline.js'
import { Problem } from './problem.js'
import { checkHead } from './request-head.js'
import { logCall } from './request-log.js'
import { findRoute } from './routes.js'
import { targetByPath } from './targets.js'
import { acceptFor, type Handshake, readHandshake } from './websocket-handshake.js'
import { takeKey } from './websocket-protocols.js'
import { relay } from './websocket-relay.js'
import { targetBySession } from './websocket-target.js'
import { openUpstream, type UpstreamWebsocket } from './websocket-upstream.js'

/**
 * Serves a request that wants to become a websocket (RFC 6455), for the `upgrade` event of every server that takes
 * calls: the handshake goes through what other calls go through, and then bytes pass both ways. Frames are not
 * looked at: what the two ends have agreed on, and how they end it, is between them.
 *
 * `head` is what came behind the request, which is data of the websocket or nothing.
 */
export function handleUpgrade(context: RouterContext, request: IncomingMessage, stream: Duplex, head: Buffer): void {
  const { socket } = request
  // The server has taken its listeners away, and an error that nobody hears ends the process.
  socket.on('error', ignore)
  stream.on('error', ignore)
  const response = new ServerResponse(request)
  const call = new Call(context, request, response)
  try {
    // Throws if another answer has the connection, which also one of the server itself may be.
    response.assignSocket(socket)
  } catch {
    // That one would mix with what comes now, and no client sends a handshake behind another request.
    socket.destroy()
    return
  }
  if (!context.connections.begin(call)) {
    socket.destroy()
    return
  }
  if (head.length > 0) stream.unshift(head)
  void serve(call, stream)
}

const ignore = (): void => undefined

async function serve(call: Call, stream: Duplex): Promise<void> {
  const { record } = call
  const closed = new Promise<void>((resolve) => call.onClose(resolve))
  const release = attendToAnswer(call, stream)
  const upstream = await open(call)
  if (upstream !== undefined) {
    release()
    await join(call, upstream)
  }
  await closed
  if (upstream === undefined && call.gone && record.outcome === 'ok') record.outcome = 'caller_gone'
  logCall(call)
}

/**
 * Does for an answer what a server does for those to requests that do not leave HTTP. Gives the
 * function that ends this.
 */
function attendToAnswer(call: Call, stream: Duplex): () => void {
  const { response } = call
  const { socket } = call.request
  const onDrain = (): void => void response.emit('drain')
  const onEnd = (): void => {
    if (!response.writableEnded) socket.destroy()
  }
  socket.on('drain', onDrain)
  socket.once('end', onEnd)
  call.plain.always({ connection: 'close' })
  response.once('finish', () => {
    call.close()
    socket.end()
    // A connection that is closed while bytes of the caller are unread is reset, and the answer lost.
    stream.resume()
    const late = setTimeout(() => socket.destroy(), 1000)
    socket.once('close', () => clearTimeout(late))
  })
  return () => {
    socket.off('drain', onDrain)
    socket.off('end', onEnd)
  }
}

/** Opens the provider's side and then the caller's; `undefined` if the caller got an answer that ends the call. */
async function open(call: Call): Promise<UpstreamWebsocket | undefined> {
  let upstream: UpstreamWebsocket | undefined
  try {
    checkHead(call.request)
    refuseBody(call.request)
    refuseSeal(call.request)
    const target = findTarget(call)
    const { key, protocols } = readHandshake(call.request)
    const offered = takeKey(call, protocols)
    await runPipeline(call, [admit, authorize, takeSlot, refusePlain, target, chooseKeys])
    upstream = await openUpstream(call, offered)
    if (upstream !== undefined) accept(call, upstream, key)
    return upstream
  } catch (error) {
    upstream?.socket.destroy()
    if (!(error instanceof CallerGoneError) && !call.gone) answerFailure(call, error)
    return undefined
  }
}

/** What is announced as a body could be taken for the websocket's first bytes, or the other way round. */
function refuseBody({ headers }: IncomingMessage): void {
  if (headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined) {
    throw new Problem('unexpected_body', 'the request that opens a websocket cannot have a body')
  }
}

/** Nothing of a websocket is sealed, and whoever asks for it must not believe that it is. */
function refuseSeal({ headers }: IncomingMessage): void {
  if (Object.values(sealHeaders).some((name) => headers[name] !== undefined)) {
    throw new Problem('invalid_request', 'a websocket cannot be sealed')
  }
}

function findTarget(call: Call): Step {
  if (call.path === '/v1/realtime') {
    call.record.route = call.path
    return targetBySession
  }
  const { path } = findRoute(call)
  call.record.route = path
  if (path === '/providers/*') return targetByPath
  throw new Problem('invalid_request', 'this path is no websocket')
}

function accept({ id, response }: Call, { headers }: UpstreamWebsocket, key: Handshake['key']): void {
  // The sub-protocol is among what is passed on. A length is of no use to an answer without a body, and does harm.
  const { 'content-length': _, ...passedOn } = responseHeaders(headers)
  response.writeHead(101, {
    ...passedOn,
    'x-confrouter-request-id': id,
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-accept': acceptFor(key)
  })
  response.flushHeaders()
}

async function join(call: Call, { socket: upstream, firstByteMs }: UpstreamWebsocket): Promise<void> {
  const { context, record, plain, request } = call
  record.firstByteMs = Math.round(firstByteMs)
  const { outcome, bytesIn, bytesOut } = await relay(request.socket, upstream, context.settings.limits.idleMs)
  record.bytesIn = bytesIn
  plain.bytesOut = bytesOut
  // A caller that goes says so, or its connection fails; without either it was broken here, by the shutdown.
  const isBroken = outcome === 'caller_gone' && request.socket.errored === null
  record.outcome = isBroken && context.state.stage === 'stopping' ? 'stopping' : outcome
}
