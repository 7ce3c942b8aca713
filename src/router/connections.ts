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

  constructor(private readonly pool: Pool) {}

  add(socket: Socket): void {
    const leave = this.pool.enter(addressGroup(socket.remoteAddress))
    if (leave === undefined) {
      socket.destroy()
      return
    }
    const running = new Set<Call>()
    this.#open.set(socket, running)
    socket.once('close', () => {
      leave()
      this.#open.delete(socket)
      for (const call of running) call.close()
    })
  }

  /** False if the call is not to be answered: its connection has more than it may, and is broken. */
  begin(call: Call): boolean {
    const { socket } = call.request
    const running = this.#open.get(socket)
    if (running === undefined || socket.destroyed) return false
    if (running.size >= maximumCallsAtOnce) {
      socket.destroy()
      return false
    }
    running.add(call)
    call.onClose(() => running.delete(call))
    return true
  }

  /** Also those that never sent a whole request, which the server does not count as idle. */
  closeIdle(): void {
    for (const [socket, running] of this.#open) {
      if (running.size === 0) socket.destroy()
    }
  }
}
