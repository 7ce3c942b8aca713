import { TLSSocket } from 'node:tls'
import { type Sha256Hex, sha256Hex } from '../base/digest.js'
import { OtherTlsKey } from '../steps/index.js'

/**
 * `fetch` for a router's own TLS, whose certificate no authority signs: what counts is its key. With a
 * key given, a connection to anybody else is ended before a byte of a request is sent over it. With
 * `any` everybody is talked to, which is for what everybody may read. Never for other hosts.
 */
export function routerFetch(key: Sha256Hex | 'any'): typeof fetch {
  let byKey: Promise<typeof fetch> | undefined
  return async (input, init) => (await (byKey ??= makeFetch(key)))(input, init)
}

async function makeFetch(key: Sha256Hex | 'any'): Promise<typeof fetch> {
  const { Agent, buildConnector, fetch: undiciFetch } = await import('undici')
  // A resumed session would show no certificate.
  const connect = buildConnector({ rejectUnauthorized: false, maxCachedSessions: 0 })
  // Who waits, and for how long, is for the caller to say.
  const dispatcher = new Agent({
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: (options, callback) => {
      connect(options, (...result) => {
        if (result[0] === null && key !== 'any') {
          const shown = keyOf(result[1])
          if (shown !== key) {
            result[1].destroy()
            callback(new OtherTlsKey(shown), null)
            return
          }
        }
        callback(...result)
      })
    }
  })
  return ((target: string, options: object) =>
    undiciFetch(target, { ...options, dispatcher })) as unknown as typeof fetch
}

/** SHA-256 of the SubjectPublicKeyInfo in DER; undefined for a connection without TLS. */
function keyOf(socket: unknown): Sha256Hex | undefined {
  const certificate = socket instanceof TLSSocket ? socket.getPeerX509Certificate() : undefined
  return certificate && sha256Hex(certificate.publicKey.export({ type: 'spki', format: 'der' }))
}
