import { IncomingMessage } from 'node:http'

/**
 * A request as this router's servers read it: of all upgrades, only a websocket leaves HTTP.
 *
 * A server that listens to `upgrade` gets every upgrade there, and nothing in this Node can tell it
 * which to decline. Others are to be ignored, as RFC 9110 section 7.8 allows and as it was without
 * a listener: the JDK's client offers `h2c` with every request, and must get its answer.
 */
export class RouterRequest extends IncomingMessage {
  #offered = false

  /** Node writes what its parser found, and then asks whether the request leaves HTTP. */
  set upgrade(offered: boolean | null) {
    // The constructor of the class above writes too, before there are fields.
    if (#offered in this) this.#offered = offered === true
  }

  get upgrade(): boolean {
    return this.#offered && offersWebsocket(this.headers.upgrade)
  }
}

const offersWebsocket = (protocols = ''): boolean =>
  protocols.split(',').some((protocol) => /^\s*websocket\s*(\/|$)/i.test(protocol))
