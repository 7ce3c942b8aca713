import dns from 'node:dns'
import type { LookupFunction } from 'node:net'
import { Agent, type Dispatcher } from 'undici'
import { isPrivateAddress } from './private-address.js'
import type { Provider } from './providers.js'
import type { Limits } from './settings.js'

/** The only way out of the router, but for the sidecar. */
export interface Egress {
  dispatcher(provider: Provider): Dispatcher
  /** Breaks every open connection. */
  close(): Promise<void>
}

class PrivateAddressError extends Error {
  override readonly name = 'PrivateAddressError'
  readonly code = 'EGRESS_PRIVATE'
}

/** Follows no redirect, uses no proxy of the environment, and always checks certificates. */
export function createEgress(limits: Limits, lookup: typeof dns.lookup = dns.lookup): Egress {
  const connect = { timeout: 10_000, rejectUnauthorized: true }
  const timeouts = {
    headersTimeout: limits.firstByteMs,
    bodyTimeout: limits.idleMs,
    keepAliveTimeout: 30_000,
    // One call at a time on a connection: a slow stream must not stand before another caller's answer.
    pipelining: 1
  }
  const open = new Agent({ ...timeouts, connect: { ...connect, lookup: publicAddresses(lookup) } })
  const withPrivate = new Agent({ ...timeouts, connect })
  return {
    dispatcher: (provider) => (provider.allowPrivate ? withPrivate : open),
    close: async () => {
      await Promise.all([open.destroy(), withPrivate.destroy()])
    }
  }
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
