import { AsyncLocalStorage } from 'node:async_hooks'
import type { TrustPolicy } from '../../verify/index.js'
import type { AttestedRouter } from '../attested-router.js'
import { attestedRouter, type CreateFetchOptions, fetchOver } from '../create-fetch.js'
import type { CheckError } from '../errors.js'
import type { Fetch } from '../http.js'
import type { ReceiptResult } from '../receipt-check.js'
import type { RouterVerdict } from '../verify-router.js'
import { countedBody, type HeldBytes } from './held-bytes.js'

export interface WatchedRouterOptions {
  /** Base URL. */
  readonly url: string
  readonly trust: TrustPolicy
  readonly fetch: Fetch
  readonly transport: CreateFetchOptions['transport']
  readonly now: () => Date
  readonly compareKeyEndpoints: boolean
  readonly onVerdict: (verdict: RouterVerdict) => void
}

/** What belongs to one call and not to its path: two calls may have the same. */
export interface CallContext {
  readonly onReceipt: (result: ReceiptResult) => void
  /** Counts what is held of the answer. */
  readonly held: HeldBytes
}

/** A router, talked to through a verified fetch alone, and what is known of it by now. Both share one verification. */
export class WatchedRouter {
  readonly #router: AttestedRouter
  readonly #fetch: Fetch
  #verdict: { readonly verdict: RouterVerdict; readonly at: Date } | undefined
  #problem: { readonly error: CheckError; readonly at: Date } | undefined
  readonly #call = new AsyncLocalStorage<CallContext>()

  /** Throws a `CallError` with code `call.url` for a URL that no router has. */
  constructor(private readonly options: WatchedRouterOptions) {
    const { fetch, transport } = options
    this.#router = attestedRouter({
      ...options,
      onVerdict: (verdict) => this.#noteVerdict(verdict),
      onNoVerdict: (error) => (this.#problem = { error, at: options.now() })
    })
    this.#fetch = fetchOver(this.#router, {
      ...options,
      transport: (evidence) => this.#counted(transport?.(evidence) ?? fetch),
      onReceipt: (result) => this.#call.getStore()?.onReceipt(result)
    })
  }

  /** The last verdict and when it was reached, whoever asked for it. */
  get verdict(): { readonly verdict: RouterVerdict; readonly at: Date } | undefined {
    return this.#verdict
  }

  /** Why the last attempt since then came to no verdict. */
  get problem(): { readonly error: CheckError; readonly at: Date } | undefined {
    return this.#problem
  }

  get isVerifying(): boolean {
    return this.#router.isVerifying
  }

  /** Sends a call, once the router is verified; fails as `createFetch` says. */
  send(url: URL, init: RequestInit, call: CallContext): Promise<Response> {
    return this.#call.run(call, () => this.#fetch(url, init))
  }

  /** Verifies now. A rejection is a verdict; throws a {@link CheckError} if there is none. */
  verify(): Promise<RouterVerdict> {
    return this.#router.verify()
  }

  /** A sealed answer is held until the end of a frame, whose length whoever answers has chosen. */
  #counted(connect: Fetch): Fetch {
    return async (input, init) => {
      const response = await connect(input, init)
      const held = this.#call.getStore()?.held
      return held === undefined ? response : countedBody(response, held)
    }
  }

  #noteVerdict(verdict: RouterVerdict): void {
    this.#verdict = { verdict, at: this.options.now() }
    this.#problem = undefined
    this.options.onVerdict(verdict)
  }
}
