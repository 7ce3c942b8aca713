import { CallError, type VerifiedEvidence } from '../client/index.js'
import { OtherTlsKey } from '../steps/index.js'
import { routerFetch } from './router-fetch.js'

/** How a router is reached whose TLS may end in its container, with a certificate that no authority has signed. */
export interface RouterTransport {
  /** For evidence and for the attestation service. */
  readonly fetch: typeof fetch
  /** For calls, once the router is verified. */
  readonly transport: (evidence: VerifiedEvidence) => typeof fetch
  /** Whether evidence was read from here over a certificate that nobody has signed. */
  readonly isUnsigned: (url: string) => boolean
}

/**
 * Evidence is for everybody and proves itself, so it is read from a router whose certificate nobody has
 * signed. From then on its TLS key has to be the one that the verified evidence names: no call goes to
 * anybody else. A router whose certificate is signed is reached like any other server.
 */
export function routerTransport(send: typeof fetch): RouterTransport {
  const unsigned = new Set<string>()
  const anybody = routerFetch('any')
  const byKey = new Map<string, typeof fetch>()
  return {
    isUnsigned: (url) => unsigned.has(new URL(url).origin),
    fetch: async (input, init) => {
      try {
        return await send(input, init)
      } catch (error) {
        const url = new URL(input instanceof Request ? input.url : String(input))
        if (!url.pathname.endsWith('/.well-known/confrouter') || !isOfUnsigned(error)) throw error
        unsigned.add(url.origin)
        return anybody(input, init)
      }
    },
    transport: (evidence) => async (input, init) => {
      const { origin } = new URL(input instanceof Request ? input.url : String(input))
      if (!unsigned.has(origin)) return send(input, init)
      if (evidence.tls === undefined) {
        throw new CallError(
          'call.other-server',
          `nobody has signed the certificate of ${origin}, and the evidence names no TLS key`
        )
      }
      const pinned = byKey.get(evidence.tls) ?? routerFetch(evidence.tls)
      byKey.set(evidence.tls, pinned)
      try {
        return await pinned(input, init)
      } catch (error) {
        if (!((error as { cause?: unknown }).cause instanceof OtherTlsKey)) throw error
        throw new CallError('call.other-server', `${origin} shows another TLS key than the evidence names`)
      }
    }
  }
}

/** OpenSSL's words for a chain that begins and ends with the server itself. */
function isOfUnsigned(error: unknown): boolean {
  const { code } = ((error as { cause?: unknown }).cause ?? {}) as { code?: unknown }
  return code === 'DEPTH_ZERO_SELF_SIGNED_CERT'
}
