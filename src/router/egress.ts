import dns from 'node:dns'
import { createHash } from 'node:crypto'
import type { LookupFunction, Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { Agent, buildConnector, Client, type Dispatcher, Pool } from 'undici'
import { isPrivateAddress } from './private-address.js'
import type { Provider } from './providers.js'
import type { Limits } from './settings.js'

/** The only way out of the router, but for the sidecar. */
export interface Egress {
  dispatcher(provider: Provider): Dispatcher
  /** Breaks every open connection. */
  close(): Promise<void>
}

/** The server at the other end of the connection that a request goes over. */
export interface Peer {
  /** Lower-case hex SHA-256 of its SubjectPublicKeyInfo; `undefined` without TLS. */
  readonly spkiSha256: string | undefined
}

/** A request of undici that is told which connection it goes over, as soon as that is known. */
export interface PeerOptions {
  readonly onPeer?: (peer: Peer) => void
}

class PrivateAddressError extends Error {
  override readonly name = 'PrivateAddressError'
  readonly code = 'EGRESS_PRIVATE'
}

/** Follows no redirect, uses no proxy of the environment, and always checks certificates. */
export function createEgress(limits: Limits, lookup: typeof dns.lookup = dns.lookup): Egress {
  const connect = {
    timeout: 10_000,
    rejectUnauthorized: true,
    // A session that is taken up again shows no certificate, and receipts say which key a provider showed.
    maxCachedSessions: 0
  }
  const options = {
    headersTimeout: limits.firstByteMs,
    bodyTimeout: limits.idleMs,
    keepAliveTimeout: 30_000,
    // One call at a time on a connection: a slow stream must not stand before another caller's answer,
    // and a call's peer is that of its connection.
    pipelining: 1,
    factory: (origin: string | URL, options: object) =>
      new Pool(origin, { ...options, factory: (origin, options) => new PeerClient(origin, options) })
  }
  const open = new Agent({ ...options, connect: { ...connect, lookup: publicAddresses(lookup) } })
  const withPrivate = new Agent({ ...options, connect })
  return {
    dispatcher: (provider) => (provider.allowPrivate ? withPrivate : open),
    close: async () => {
      await Promise.all([open.destroy(), withPrivate.destroy()])
    }
  }
}

/** One connection at a time, and what is known of the server at its other end. */
class PeerClient extends Client {
  readonly #peer: { spkiSha256: string | undefined }

  constructor(origin: URL, { connect, ...options }: Client.Options) {
    const peer: { spkiSha256: string | undefined } = { spkiSha256: undefined }
    const connector = typeof connect === 'function' ? connect : buildConnector({ ...connect })
    super(origin, {
      ...options,
      connect: (target, callback) =>
        connector(target, (...result) => {
          const [error, socket] = result
          if (error !== null) {
            callback(error, null)
            return
          }
          peer.spkiSha256 = spkiSha256(socket)
          if (peer.spkiSha256 === undefined && origin.protocol === 'https:') {
            socket.destroy()
            callback(new Error('the provider showed no certificate'), null)
          } else callback(null, socket)
        })
    })
    this.#peer = peer
  }

  override dispatch(options: Dispatcher.DispatchOptions & PeerOptions, handler: Dispatcher.DispatchHandler): boolean {
    options.onPeer?.(this.#peer)
    return super.dispatch(options, handler)
  }
}

function spkiSha256(socket: Socket): string | undefined {
  const certificate = socket instanceof TLSSocket ? socket.getPeerX509Certificate() : undefined
  if (certificate === undefined) return undefined
  return createHash('sha256')
    .update(certificate.publicKey.export({ type: 'spki', format: 'der' }))
    .digest('hex')
}

/**
 * Looks a name up for the connection that is about to be made, so that a name cannot be public when
 * it is checked and private when it is used.
 */
export function publicAddresses(lookup: typeof dns.lookup): LookupFunction {
  return (hostname, options, callback) => {
    lookup(hostname, { ...options, all: true }, (error, addresses) => {
      const [first] = addresses ?? []
      if (error !== null) callback(error, '', 0)
      else if (first === undefined || addresses.some(({ address }) => isPrivateAddress(address))) {
        callback(new PrivateAddressError(`${hostname} has a private address`), '', 0)
      } else if (options.all === true) callback(null, addresses)
      else callback(null, first.address, first.family)
    })
  }
}
