import { AsyncLocalStorage } from 'node:async_hooks'
import type { TrustPolicy } from '../../verify/index.js'
import { type CreateFetchOptions, fetchOver, routersOf } from '../create-fetch.js'
import type { CheckError } from '../errors.js'
import type { Fetch } from '../http.js'
import type { ReceiptResult } from '../receipt-check.js'
import type { AddressEvent, Routers, Source } from '../routers.js'
import type { RouterVerdict } from '../verify-router.js'
import { countedBody, type HeldBytes } from './held-bytes.js'

export interface WatchedRouterOptions {
  /** Base URL below which calls are given to {@link WatchedRouter.send}. */
  readonly url: string
  /** Where they go, if that is not the same. */
  readonly addresses: Source<readonly string[]> | undefined
  readonly trust: Source<TrustPolicy>
  readonly fetch: Fetch
  readonly transport: CreateFetchOptions['transport']
  readonly now: () => Date
  readonly compareKeyEndpoints: boolean
  readonly onVerdict: (verdict: RouterVerdict, address: string) => void
  readonly onEvent: (event: AddressEvent) => void
}

/** What belongs to one call and not to its path: two calls may have the same. */
export interface CallContext {
  readonly onReceipt: (result: ReceiptResult) => void
  /** Counts what is held of the answer. */
  readonly held: HeldBytes
}

/** What is known of one address by now. */
export interface Known {
  /** The last verdict and when it was reached, whoever asked for it. */
  readonly verdict?: { readonly verdict: RouterVerdict; readonly at: Date } | undefined
  /** Why the last attempt since then came to no verdict. */
  readonly problem?: { readonly error: CheckError; readonly at: Date } | undefined
}

/** A router, talked to through a verified fetch alone, and what is known of its addresses by now. Both share one verification. */
export class WatchedRouter {
  readonly #routers: Routers
  readonly #fetch: Fetch
  readonly #known = new Map<string, Known>()
  readonly #call = new AsyncLocalStorage<CallContext>()

  /** Throws a `CallError` with code `call.url` for a URL that no router has. */
  constructor(private readonly options: WatchedRouterOptions) {
    const { fetch, transport } = options
    this.#routers = routersOf({
      ...options,
      onVerdict: (verdict, address) => {
        this.#note(address, { verdict: { verdict, at: options.now() } })
        options.onVerdict(verdict, address)
      },
      onNoVerdict: (error, address) =>
        this.#note(address, { ...this.known(address), problem: { error, at: options.now() } })
    })
    this.#fetch = fetchOver(this.#routers, {
      ...options,
      transport: (evidence) => this.#counted(transport?.(evidence) ?? fetch),
      onReceipt: (result) => this.#call.getStore()?.onReceipt(result)
    })
  }

  /** Where calls go by now. */
  get address(): string {
    return this.#routers.current ?? this.options.url
  }

  /** All of them, as they were last read; the best first. */
  get addresses(): readonly string[] {
    return this.#routers.list
  }

  /** In force, once it was read. */
  get trust(): TrustPolicy | undefined {
    return this.#routers.trust
  }

  known(address: string): Known {
    return this.#known.get(address) ?? {}
  }

  /** Of the address in use. */
  get verdict(): Known['verdict'] {
    return this.known(this.address).verdict
  }

  /** Of the address in use. */
  get problem(): Known['problem'] {
    return this.known(this.address).problem
  }

  get isVerifying(): boolean {
    return this.#routers.isVerifying
  }

  /** Whether calls have keys now. After a change of the trust policy a verdict of before may be worth nothing. */
  get hasKeys(): boolean {
    return this.#routers.hasKeys
  }

  /** Sends a call, once the router is verified; fails as `createFetch` says. */
  send(url: URL, init: RequestInit, call: CallContext): Promise<Response> {
    return this.#call.run(call, () => this.#fetch(url, init))
  }

  /** Verifies now. A rejection is a verdict; throws a {@link CheckError} if there is none, and a `NoAddressError` if no address of several passes. */
  verify(): Promise<RouterVerdict & { readonly address: string }> {
    return this.#routers.verify()
  }

  /** Reads what may be new, and looks after addresses that are not in use. Never fails. */
  async tend(): Promise<void> {
    // Where nothing could ever be read, calls say so.
    await this.#routers.tend().catch(() => undefined)
  }

  /** A sealed answer is held until the end of a frame, whose length whoever answers has chosen. */
  #counted(connect: Fetch): Fetch {
    return async (input, init) => {
      const response = await connect(input, init)
      const held = this.#call.getStore()?.held
      return held === undefined ? response : countedBody(response, held)
    }
  }

  #note(address: string, known: Known): void {
    this.#known.set(address, known)
    for (const each of this.#known.keys()) {
      if (each !== address && !this.#routers.list.includes(each)) this.#known.delete(each)
    }
  }
}
