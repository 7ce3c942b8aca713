import { randomBytes } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Dispatcher } from 'undici'
import type { Call } from './call.js'
import { forward, UpstreamError } from './forward.js'
import { requestHeaders } from './headers.js'
import { Problem } from './problem.js'
import { checkRedirect } from './redirect.js'
import type { Reply, ReplyHeaders } from './reply.js'
import { isAccepted } from './websocket-handshake.js'
import { protocolsFor } from './websocket-protocols.js'

/** A provider's side of a websocket, right behind the handshake. */
export interface UpstreamWebsocket {
  readonly socket: Duplex
  /** Of its answer. */
  readonly headers: IncomingHttpHeaders
  readonly firstByteMs: number
}

/**
 * Opens a websocket to the call's destination, which is chosen already. `undefined` if the provider declined: its
 * answer then is the caller's. Throws a `Problem` if it gave none, or none that is a handshake.
 *
 * The key of the handshake is our own. What proves that the provider took part in this handshake is the hash of a
 * key that nobody else knows, and what a caller has written there is nothing that a provider needs.
 *
 * No extension is offered. The router would not have to understand one, as it passes frames on unread; but a
 * length that depends on what the text repeats gives away, to whoever counts the bytes of the TLS
 * connections on both sides, what this router is there to hide.
 */
export async function openUpstream(call: Call, offered: readonly string[]): Promise<UpstreamWebsocket | undefined> {
  const [destination] = call.destinations
  if (destination === undefined) throw new Error('the pipeline has not chosen a key')
  const { provider, base, path, key, isRouters } = destination
  const { egress, settings } = call.context
  const handshake = { key: randomBytes(16).toString('base64'), protocols: protocolsFor(offered, isRouters) }
  const startedAt = performance.now()
  let upgraded: (answer: Upgraded) => void = () => undefined
  const upgrade = new Promise<Upgraded>((resolve) => (upgraded = resolve))
  const refusal = forward(
    {
      dispatcher: egress.dispatcher(provider).compose(upgradeTo(upgraded)),
      origin: base.origin,
      method: 'GET',
      path: `${base.basePath}${path}${call.query}`,
      headers: {
        ...requestHeaders(call.headers, provider.auth, key, { usesRouterKey: isRouters }),
        'sec-websocket-version': '13',
        'sec-websocket-key': handshake.key,
        ...(handshake.protocols.length > 0 ? { 'sec-websocket-protocol': handshake.protocols.join(', ') } : {})
      },
      body: null
    },
    new BoundedReply(call.reply),
    call,
    {
      idleMs: settings.limits.idleMs,
      adapt: (status, headers) => checkRedirect(destination, status, headers)
    }
  ).catch((error: unknown) => {
    throw error instanceof UpstreamError ? error.problem : error
  })
  const answer = await Promise.race([upgrade, refusal])
  if ('outcome' in answer) {
    if (answer.outcome !== 'declined') {
      const { outcome, upstreamStatus, firstByteMs } = answer
      Object.assign(call.record, { outcome, upstreamStatus, firstByteMs: Math.round(firstByteMs) })
    }
    return undefined
  }
  const { socket, headers } = answer
  call.record.upstreamStatus = 101
  if (isAccepted(headers, handshake)) return { socket, headers, firstByteMs: performance.now() - startedAt }
  socket.destroy()
  throw new Problem('upstream_failed', 'the provider did not answer the handshake of a websocket as it must')
}

interface Upgraded {
  readonly socket: Duplex
  readonly headers: IncomingHttpHeaders
}

/** Makes a request of undici one that leaves HTTP; what becomes of an answer that stays is up to its handler. */
const upgradeTo =
  (upgraded: (answer: Upgraded) => void): Dispatcher.DispatcherComposeInterceptor =>
  (dispatch) =>
  (options, handler) =>
    dispatch({ ...options, upgrade: 'websocket' }, new UpgradeHandler(handler, upgraded))

class UpgradeHandler implements Dispatcher.DispatchHandler {
  constructor(
    private readonly inner: Dispatcher.DispatchHandler,
    private readonly upgraded: (answer: Upgraded) => void
  ) {}

  onRequestUpgrade(
    _: Dispatcher.DispatchController,
    _status: number,
    headers: IncomingHttpHeaders,
    socket: Duplex
  ): void {
    // undici is done with it and need not listen any more, and an error that nobody hears ends the process.
    socket.on('error', () => undefined)
    this.upgraded({ socket, headers })
  }

  onRequestStart(controller: Dispatcher.DispatchController, context: unknown): void {
    this.inner.onRequestStart?.(controller, context)
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number, headers: IncomingHttpHeaders): void {
    this.inner.onResponseStart?.(controller, status, headers)
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.inner.onResponseData?.(controller, chunk)
  }

  onResponseEnd(controller: Dispatcher.DispatchController, trailers: IncomingHttpHeaders): void {
    this.inner.onResponseEnd?.(controller, trailers)
  }

  onResponseError(controller: Dispatcher.DispatchController, error: Error): void {
    this.inner.onResponseError?.(controller, error)
  }
}

/** Of an answer that declines a handshake: it says why, and is no place to hold a slot for a download. */
const longestRefusal = 64 * 1024

class BoundedReply implements Reply {
  #left = longestRefusal

  constructor(private readonly inner: Reply) {}

  get started(): boolean {
    return this.inner.started
  }

  get bytesOut(): number {
    return this.inner.bytesOut
  }

  start(status: number, headers: ReplyHeaders): void {
    if (Number(headers['content-length'] ?? 0) > longestRefusal) throw tooLarge()
    this.inner.start(status, headers)
  }

  write(chunk: Uint8Array): boolean {
    this.#left -= chunk.length
    if (this.#left < 0) throw tooLarge()
    return this.inner.write(chunk)
  }

  onDrain(resume: () => void): void {
    this.inner.onDrain(resume)
  }

  end(): void {
    this.inner.end()
  }

  breakOff(): void {
    this.inner.breakOff()
  }

  problem(problem: Problem): void {
    this.inner.problem(problem)
  }
}

const tooLarge = (): Problem =>
  new Problem('answer_too_large', `the provider declined with an answer of more than ${longestRefusal} bytes`)
