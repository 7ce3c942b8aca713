import { AsyncLocalStorage } from 'node:async_hooks'
import type { TrustPolicy } from '../../verify/index.js'
import { createFetch, type CreateFetchOptions } from '../create-fetch.js'
import { CheckError } from '../errors.js'
import type { Fetch } from '../http.js'
import type { ReceiptResult } from '../receipt-check.js'
import { longestVerificationMs, type RouterVerdict, verifyRouter } from '../verify-router.js'

export interface WatchedRouterOptions {
  /** Base URL. */
  readonly url: string
  readonly trust: TrustPolicy
  readonly fetch: Fetch
  readonly transport: CreateFetchOptions['transport']
  readonly now: () => Date
  readonly onVerdict: (verdict: RouterVerdict) => void
}

/** A router, talked to through a verified fetch alone, and what is known of it by now. */
export class WatchedRouter {
  #fetch: Fetch
  #running: Promise<RouterVerdict> | undefined
  #verdict: { readonly verdict: RouterVerdict; readonly at: Date } | undefined
  #problem: { readonly error: CheckError; readonly at: Date } | undefined
  /** Which call a receipt belongs to: the fetch tells a path alone, and two calls may have the same. */
  readonly #receiptOf = new AsyncLocalStorage<(result: ReceiptResult) => void>()

  /** Throws a `CallError` with code `call.url` for a URL that no router has. */
  constructor(private readonly options: WatchedRouterOptions) {
    this.#fetch = this.#newFetch()
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
    return this.#running !== undefined
  }

  /** Sends a call, once the router is verified; fails as `createFetch` says. */
  async send(url: URL, init: RequestInit, onReceipt: (result: ReceiptResult) => void): Promise<Response> {
    try {
      return await this.#receiptOf.run(onReceipt, () => this.#fetch(url, init))
    } catch (error) {
      this.#noteProblem(error)
      throw error
    }
  }

  /** Verifies now. A rejection is a verdict; throws a {@link CheckError} if there is none. */
  verify(): Promise<RouterVerdict> {
    this.#running ??= this.#verifyNow().finally(() => (this.#running = undefined))
    return this.#running
  }

  async #verifyNow(): Promise<RouterVerdict> {
    const { url, trust, fetch, now } = this.options
    try {
      const signal = AbortSignal.timeout(longestVerificationMs)
      const verdict = await verifyRouter({ url, trust, fetch, now, signal })
      // A fetch has its own view of the router; one that has none yet asks before it sends anything.
      if (verdict.verdict === 'rejected') this.#fetch = this.#newFetch()
      this.#noteVerdict(verdict)
      return verdict
    } catch (error) {
      this.#noteProblem(error)
      throw error
    }
  }

  #newFetch(): Fetch {
    const { url, trust, fetch, transport, now } = this.options
    return createFetch({
      url,
      trust,
      fetch,
      transport,
      now,
      onVerdict: (verdict) => this.#noteVerdict(verdict),
      onReceipt: (result) => this.#receiptOf.getStore()?.(result)
    })
  }

  #noteVerdict(verdict: RouterVerdict): void {
    this.#verdict = { verdict, at: this.options.now() }
    this.#problem = undefined
    this.options.onVerdict(verdict)
  }

  #noteProblem(error: unknown): void {
    if (error instanceof CheckError) this.#problem = { error, at: this.options.now() }
  }
}
