import type { Sha256Hex } from '../base/digest.js'
import type { Run } from './run.js'

/** How a router is reached. */
export interface RouterAddress {
  readonly url: string
  /** For this router alone. */
  readonly fetch: typeof fetch
}

/** The router behind a URL; one with TLS shows the key named, or any as long as nothing is known of it. */
export function routerAt(run: Run, url: string, tlsKey: Sha256Hex | 'any'): RouterAddress {
  return { url, fetch: url.startsWith('https:') ? run.routerFetch(tlsKey) : run.fetch }
}

/** The other end of a connection showed another TLS key than the one that was asked for; nothing was sent to it. */
export class OtherTlsKey extends Error {
  override readonly name = 'OtherTlsKey'

  /** SHA-256 of the SubjectPublicKeyInfo that was shown; undefined if none was. */
  constructor(readonly shown: Sha256Hex | undefined) {
    super('another TLS key')
  }
}

/** Status and JSON body. Rejects if nothing answers. */
export function look(run: Run, router: RouterAddress, path: string): Promise<{ status: number; body: unknown }> {
  return within(run, lookSeconds, async (signal) => {
    const response = await router.fetch(router.url + path, { redirect: 'error', signal })
    const text = await response.text()
    return { status: response.status, body: text.length < 65536 ? parse(text) : undefined }
  })
}

/** The same, or undefined while nothing answers. */
export async function get(
  run: Run,
  router: RouterAddress,
  path: string
): Promise<{ status: number; body: unknown } | undefined> {
  try {
    return await look(run, router, path)
  } catch (error) {
    if (run.signal.aborted) throw error
    return undefined
  }
}

const lookSeconds = 10
/** For evidence and sealed calls, which wait for the attestation provider and the model. */
export const callSeconds = 90

/**
 * Runs `work` with a signal that ends it in time. A timer of its own: on Node 20 the signal of
 * `AbortSignal.timeout` that only an `AbortSignal.any` holds may be collected and never fire.
 */
export async function within<T>(run: Run, seconds: number, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController()
  const abort = () => controller.abort()
  const timer = setTimeout(abort, seconds * 1000)
  run.signal.addEventListener('abort', abort, { once: true })
  try {
    return await work(controller.signal)
  } finally {
    clearTimeout(timer)
    run.signal.removeEventListener('abort', abort)
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}
