import type { Socket } from 'node:net'
import { addressGroup } from './access.js'
import type { Call } from './call.js'
import type { Pool } from './pool.js'

/**
 * No client of today sends its next request before the answer. Answers that wait behind another one
 * make Node stop reading, and then it does not see either that the caller has gone.
 */
const maximumCallsAtOnce = 16

/**
 * Open connections with the calls that run on each. A number and no flag: a caller may send several
 * requests at once on one connection. Of those only the first has a response that notices when
 * the connection ends, so the others are told from here.
 */
export class Connections {
  readonly #open = new Map<Socket, Set<Call>>()
  /** Connections on which TLS is still to be agreed on, by their other end. */
  readonly #handshakes = new Map<string, Socket>()
  readonly #ending = new WeakSet<Socket>()

  constructor(private readonly pool: Pool) {}

  get size(): number {
    return this.#open.size
  }

  /** Answers that have begun and not ended. */
  get answering(): number {
    let count = 0
    for (const running of this.#open.values()) for (const { plain } of running) if (plain.started) count++
    return count
  }

  /** False if there is no room for it, and it is broken. */
  add(socket: Socket): boolean {
    const leave = this.pool.enter(addressGroup(socket.remoteAddress))
    if (leave === undefined) {
      socket.destroy()
      return false
    }
    this.#watch(socket)
    socket.once('close', leave)
    return true
  }

  /** The same for a connection that begins with a handshake of TLS. */
  addHandshake(socket: Socket): void {
    if (!this.add(socket)) return
    const peer = peerOf(socket)
    this.#handshakes.set(peer, socket)
    socket.once('close', () => {
      if (this.#handshakes.get(peer) === socket) this.#handshakes.delete(peer)
    })
  }

  /**
   * The handshake is over: calls come on `secured`, which Node has put around the socket that was added.
   * Which one that was is told by its other end alone.
   */
  secure(secured: Socket): void {
    const peer = peerOf(secured)
    const socket = this.#handshakes.get(peer)
    if (socket === undefined) {
      secured.destroy()
      return
    }
    this.#handshakes.delete(peer)
    this.#open.delete(socket)
    this.#watch(secured)
  }

  /**
   * False if the call is not to be answered: its connection has more than it may, and is broken, or ends with the
   * answer to a call before.
   */
  begin(call: Call): boolean {
    const { socket } = call.request
    const running = this.#open.get(socket)
    if (running === undefined || socket.destroyed || this.#ending.has(socket)) return false
    if (running.size >= maximumCallsAtOnce) {
      socket.destroy()
      return false
    }
    running.add(call)
    call.onClose(() => running.delete(call))
    return true
  }

  /** What comes behind this call is not served: RFC 9112 section 9.6 for whoever announces the end of a connection. */
  endWith({ request }: Call): void {
    this.#ending.add(request.socket)
  }

  /** The calls that run on a connection, in the order of their requests. */
  running(socket: Socket): readonly Call[] {
    return [...(this.#open.get(socket) ?? [])]
  }

  /** Also those that never sent a whole request, which the server does not count as idle. */
  closeIdle(): void {
    for (const [socket, running] of this.#open) {
      if (running.size === 0) socket.destroy()
    }
  }

  /** Also those that left HTTP, which the server does not know any more. */
  closeAll(): void {
    for (const socket of this.#open.keys()) socket.destroy()
  }

  #watch(socket: Socket): void {
    const running = new Set<Call>()
    this.#open.set(socket, running)
    socket.once('close', () => {
      this.#open.delete(socket)
      for (const call of running) call.close()
    })
  }
}

/** No two open connections of one listener have the same. */
const peerOf = ({ remoteAddress, remotePort, localAddress }: Socket): string =>
  `${remoteAddress} ${remotePort} ${localAddress}`
