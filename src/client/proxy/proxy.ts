import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TrustPolicy } from '../../verify/index.js'
import type { CreateFetchOptions } from '../create-fetch.js'
import { type Fetch, routerUrl } from '../http.js'
import type { AddressEvent, Source } from '../routers.js'
import type { RouterVerdict } from '../verify-router.js'
import { refuse, send, sendJson } from './answers.js'
import { CallLog, type CallRecord } from './call-log.js'
import { CheckError, NoAddressError } from '../errors.js'
import { ProxyProblem, refusalOf } from './failures.js'
import { forward } from './forward.js'
import { foreignness } from './guard.js'
import { HeldBudget } from './held-bytes.js'
import { icon, page, pageHeaders } from './page/page.js'
import type { BodyLimits } from './request-body.js'
import { every, type Every, keepVerified } from './renewal.js'
import { statusOf } from './status.js'
import { WatchedRouter } from './watched-router.js'

export interface ProxyOptions {
  /** Base URL of the router. */
  readonly url?: string | undefined
  /** In its place: base URLs of all of its addresses, the best first, as in `createFetch`. */
  readonly addresses?: Source<readonly string[]> | undefined
  readonly trust: Source<TrustPolicy>
  /** What makes the connections to router and attestation provider; the platform's own if left out. */
  readonly fetch?: Fetch | undefined
  /** What makes the connections for calls, as in `createFetch`. */
  readonly transport?: CreateFetchOptions['transport']
  readonly now?: (() => Date) | undefined
  /** On 127.0.0.1, which is the only address; 0 for any that is free. */
  readonly port: number
  readonly limits?: Partial<ProxyLimits> | undefined
  /** What makes it look again and again whether evidence ages; timers of Node if left out. */
  readonly every?: Every | undefined
  /** Whether each verification also compares the keys that the router publishes beside its evidence, as `verifyRouter` does. */
  readonly compareKeyEndpoints?: boolean | undefined
  /** Told of each verdict, also of one that rejects, and of the address that it is about. */
  readonly onVerdict?: ((verdict: RouterVerdict, address: string) => void) | undefined
  /** Told of addresses that fail, and of what cannot be read. */
  readonly onEvent?: ((event: AddressEvent) => void) | undefined
  /** Told of each call when it has ended. */
  readonly onCall?: ((call: CallRecord) => void) | undefined
}

export interface ProxyLimits extends BodyLimits {
  /** Most bytes of content that are held for all calls together; a call that would need more is refused. */
  readonly totalHeldBytes: number
  /** How long calls may go on after `close`. */
  readonly graceMs: number
}

/** An endpoint on this machine whose calls go sealed to one verified router. */
export interface Proxy {
  /**
   * Verifies the router, listening or not. A rejection is a verdict; throws a `CheckError` if there is no
   * verdict, and a `NoAddressError` if none of several addresses passes.
   */
  verify(): Promise<RouterVerdict & { readonly address: string }>
  /** Listens, and from then on verifies again before evidence ages; gives the origin, without a slash at its end. Fails with Node's error if the port is taken. */
  listen(): Promise<string>
  /** Takes no more calls, waits for those that run, and ends those that run for too long. */
  close(): Promise<void>
}

const usualLimits: ProxyLimits = {
  bodyBytes: 256 * 1024 * 1024,
  heldBytes: 8 * 1024 * 1024,
  totalHeldBytes: 256 * 1024 * 1024,
  idleMs: 60_000,
  graceMs: 10_000
}

/** More connections than the programs of one person have. */
const maximumConnections = 1000

/**
 * A proxy before one router, for programs that speak to OpenAI's API. It verifies the router and seals
 * every call by `createFetch`; there is no way through it in plain text. Throws a `CallError` with
 * code `call.url` for a URL that no router has.
 */
export function createProxy(options: ProxyOptions): Proxy {
  const { url = nowhere, addresses, trust, port } = options
  const now = options.now ?? (() => new Date())
  const limits = { ...usualLimits, ...options.limits }
  const budget = new HeldBudget(limits.totalHeldBytes)
  const calls = new CallLog(now, options.onCall ?? (() => undefined))
  const router = new WatchedRouter({
    url,
    addresses,
    trust,
    fetch: options.fetch ?? ((input, init) => globalThis.fetch(input, init)),
    transport: options.transport,
    now,
    compareKeyEndpoints: options.compareKeyEndpoints ?? false,
    onVerdict: options.onVerdict ?? (() => undefined),
    onEvent: options.onEvent ?? (() => undefined)
  })

  const server = createServer(
    // The body has its own limits: a long one over a slow line takes its time.
    { maxHeaderSize: 32 * 1024, headersTimeout: 20_000, requestTimeout: 0, keepAliveTimeout: 65_000 },
    (request, response) => {
      handle(request, response).catch((error: unknown) => refuse(response, refusalOf(error)))
    }
  )
  server.maxConnections = maximumConnections
  let origin = ''
  let stopRenewal = (): void => undefined

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { port: own } = server.address() as AddressInfo
    const foreign = foreignness(request, own)
    if (foreign !== undefined) throw problem(403, 'foreign_page', foreign)
    const local = localUrl(request)
    const target = local && targetOf(local)
    if (target !== undefined) {
      const record = calls.begin(request.method ?? '', target.pathname)
      await forward(request, response, { target, router, limits, budget, record })
      return
    }
    await answerPage(local?.pathname, request, response)
    request.resume()
  }

  async function answerPage(
    path: string | undefined,
    request: IncomingMessage,
    response: ServerResponse
  ): Promise<void> {
    switch (path) {
      case '/':
        requireMethod(request, 'GET', 'HEAD')
        return send(response, 200, pageHeaders, page)
      case '/favicon.svg':
        requireMethod(request, 'GET', 'HEAD')
        return send(response, 200, { 'content-type': 'image/svg+xml' }, icon)
      case '/status.json':
        requireMethod(request, 'GET', 'HEAD')
        return sendJson(response, 200, status())
      case '/verify':
        requireMethod(request, 'POST')
        await router.verify().catch(passOverNoVerdict)
        return sendJson(response, 200, status())
      default:
        throw problem(404, 'not_found', 'this proxy has /v1/…, /providers/… and a page at /')
    }
  }

  /** Below the router's URL, if it is a call for the router. */
  function targetOf({ pathname, search }: URL): URL | undefined {
    return /^\/(?:v1|providers)\/./.test(pathname) ? routerUrl(url, pathname + search) : undefined
  }

  const status = () =>
    statusOf(router, { baseUrl: `${origin}/v1`, calls: calls.records, isList: addresses !== undefined })

  return {
    verify: () => router.verify(),
    async listen() {
      server.listen(port, '127.0.0.1')
      await once(server, 'listening')
      stopRenewal = keepVerified(router, { now, every: options.every ?? every })
      return (origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    },
    async close() {
      stopRenewal()
      if (!server.listening) return
      const closed = new Promise((resolve) => server.close(resolve))
      // A connection that is kept alive would hold the server open after its last call.
      const idle = setInterval(() => server.closeIdleConnections(), 50)
      const late = setTimeout(() => server.closeAllConnections(), limits.graceMs)
      await closed
      clearInterval(idle)
      clearTimeout(late)
    }
  }
}

/** Below which calls are written where their address is chosen later. It is the address of nobody (RFC 6761). */
const nowhere = 'http://router.invalid'

/** As a browser would read the request line, so that no other spelling of a path leads elsewhere. */
function localUrl({ url = '' }: IncomingMessage): URL | undefined {
  if (!url.startsWith('/') || !URL.canParse(`http://proxy${url}`)) return undefined
  const parsed = new URL(`http://proxy${url}`)
  return parsed.host === 'proxy' ? parsed : undefined
}

function requireMethod({ method = '' }: IncomingMessage, ...allowed: readonly string[]): void {
  if (allowed.includes(method)) return
  throw problem(405, 'method_not_allowed', `this path takes ${allowed.join(', ')}`, { allow: allowed.join(', ') })
}

/** The status says it. */
function passOverNoVerdict(error: unknown): void {
  if (!(error instanceof CheckError || error instanceof NoAddressError)) throw error
}

const problem = (status: number, code: string, message: string, headers = {}): ProxyProblem =>
  new ProxyProblem({ status, code, message, headers: { 'x-should-retry': 'false', ...headers } })
