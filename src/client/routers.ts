import type { TrustPolicy, VerifiedEvidence } from '../verify/index.js'
import { mostAddresses } from './addresses.js'
import { AttestedRouter, type AttestedRouterOptions, tell, waitFor } from './attested-router.js'
import { type AddressFailure, AttestationError, CallError, CheckError, isWrong, NoAddressError } from './errors.js'
import { routerUrl } from './http.js'
import type { RouterVerdict } from './verify-router.js'

/** What does not change, or who gives it: asked before each call, so it should have it at hand. */
export type Source<T> = T | ((look: Look) => T | Promise<T>)

export interface Look {
  /** What was at hand a moment ago is not enough: no address answers, or the list of them has just changed. */
  readonly fresh: boolean
}

/** What happens to addresses beside the calls; each is told once, and not again before something else has happened there. */
export type AddressEvent =
  /** Calls go to another address than the last one. */
  | { readonly what: 'moved'; readonly from: string; readonly to: string }
  /** Nothing is sent to this address until it passes again; `AttestationError` and `call.other-server` are *checked and wrong*. */
  | ({ readonly what: 'failed' } & AddressFailure)
  /** What is new there cannot be read, and what was read before stays in force. */
  | { readonly what: 'kept'; readonly source: 'addresses' | 'trust'; readonly error: unknown }

export interface RoutersOptions extends Omit<AttestedRouterOptions, 'url' | 'trust' | 'onVerdict' | 'onNoVerdict'> {
  /** Base URLs, the best first. */
  readonly addresses: Source<readonly string[]>
  readonly trust: Source<TrustPolicy>
  readonly onVerdict: ((verdict: RouterVerdict, address: string) => void) | undefined
  readonly onNoVerdict?: ((error: CheckError, address: string) => void) | undefined
  readonly onEvent?: ((event: AddressEvent) => void) | undefined
  /** So long a call waits for the evidence of one address where there are others; ten seconds if left out. */
  readonly patienceMs?: number | undefined
}

/** An address whose evidence was verified, for one call. */
export interface Route {
  readonly address: string
  readonly keys: VerifiedEvidence
  readonly router: AttestedRouter
  /** To be called where the call came to nothing, and nobody knows why: the next one verifies first. */
  doubt(this: void): void
}

const usualPatienceMs = 10_000
/** Before an address that has failed is asked again, twice as long each time; a call that has no other asks at once. */
const firstPauseMs = 1000
const longestPauseMs = 60_000
/** Of addresses that are asked again while calls go elsewhere. */
const mostProbes = 2

interface Entry {
  readonly address: string
  readonly router: AttestedRouter
  failures: number
  failedAtMs: number
  /** By the last event about it. */
  told: 'wrong' | 'unreachable' | 'nothing'
}

/**
 * The addresses of one router, each with evidence of its own. A call goes to the first of them that is verified. Those
 * before it are verified meanwhile, so that calls go back to the best without waiting for it. Where none is verified
 * they are, one after the other. The list is not trusted: whoever writes it can keep calls from being answered, and no more.
 */
export class Routers {
  readonly #entries = new Map<string, Entry>()
  readonly #addresses: Kept<readonly string[]>
  readonly #policies: Kept<TrustPolicy>
  #list: readonly string[] = []
  #trust: TrustPolicy | undefined
  #inUse: string | undefined

  constructor(private readonly options: RoutersOptions) {
    const kept = (source: 'addresses' | 'trust') => (error: unknown) => this.#tell({ what: 'kept', source, error })
    this.#addresses = new Kept(options.addresses, 'the list of addresses', requireAddresses, kept('addresses'))
    this.#policies = new Kept(options.trust, 'the trust policy', (trust) => trust, kept('trust'))
    this.#list = this.#addresses.last ?? []
    this.#trust = this.#policies.last
  }

  /** As of the last look; the best first. */
  get list(): readonly string[] {
    return this.#list
  }

  /** As of the last look. */
  get trust(): TrustPolicy | undefined {
    return this.#trust
  }

  /** Where calls go, or will: the last that one went to, else the first that is verified, else the first. */
  get current(): string | undefined {
    return this.#inUse ?? this.#list.find((address) => this.#entryOf(address).router.hasKeys) ?? this.#list[0]
  }

  /** Whether a call would have keys at once. */
  get hasKeys(): boolean {
    return [...this.#entries.values()].some(({ router }) => router.hasKeys)
  }

  get isVerifying(): boolean {
    return [...this.#entries.values()].some(({ router }) => router.isVerifying)
  }

  /**
   * Gives one address after the other to `send` until it succeeds. Goes on to the next only where nothing was sent:
   * the address could not be verified, or `send` failed with a `CallError` that says so. Throws the error of a single
   * address as it is, and a {@link NoAddressError} for several.
   */
  async begin<T>(
    send: (route: Route) => Promise<T>,
    { signal, once = false }: { readonly signal: AbortSignal | undefined; readonly once?: boolean }
  ): Promise<T> {
    const failed = new Map<string, AddressFailure>()
    await waitFor(this.#look(false), signal)
    for (;;) {
      const entry = this.#best(failed)
      if (entry === undefined) {
        if (failed.size > 0 && (await waitFor(this.#isOtherNow(failed), signal))) continue
        throw noneOf([...failed.values()])
      }
      const { address, router } = entry
      try {
        const keys = await this.#keysOf(entry, failed, signal)
        const several = this.#list.length > 1
        const sent = await send({ address, keys, router, doubt: () => several && router.doubt() })
        this.#use(address)
        return sent
      } catch (error) {
        signal?.throwIfAborted()
        if (!isAboutAddress(error)) throw error
        if (error instanceof CallError) {
          this.#fail(entry, error)
          // What was begun of a stream is gone.
          if (once) throw error
        }
        failed.set(address, { address, error })
      }
    }
  }

  /** Verifies now: the first address that passes, else the verdict of the only one. Throws what {@link begin} throws. */
  async verify(): Promise<RouterVerdict & { readonly address: string }> {
    await this.#look(true)
    const failures: AddressFailure[] = []
    for (const address of this.#list) {
      const entry = this.#entryOf(address)
      const { router } = entry
      try {
        const verdict = await this.#patient(entry, router.verify(), this.#list.length > 1)
        if (verdict.verdict === 'trusted' || this.#list.length === 1) return { ...verdict, address }
        failures.push({ address, error: new AttestationError(verdict.checks, verdict.keyEndpoints) })
      } catch (error) {
        if (!isAboutAddress(error)) throw error
        failures.push({ address, error })
      }
    }
    throw noneOf(failures)
  }

  /** Looks whether anything is new, and verifies addresses before the one in use, while nobody calls. */
  async tend(): Promise<void> {
    await this.#look(false)
    this.#probe(this.#list.findIndex((address) => this.#entryOf(address).router.hasKeys))
  }

  /** The list before the trust: whoever publishes both writes the trust first, so no address is new to it. */
  async #look(fresh: boolean): Promise<void> {
    const list = await this.#addresses.get({ fresh })
    const isNew = list !== this.#list && list.join() !== this.#list.join()
    const trust = await this.#policies.get({ fresh: fresh || isNew })
    if (isNew) {
      this.#list = list
      for (const address of this.#entries.keys()) if (!list.includes(address)) this.#entries.delete(address)
      if (this.#inUse !== undefined && !list.includes(this.#inUse)) this.#inUse = undefined
    }
    // A source may parse it anew each time.
    if (trust === this.#trust || JSON.stringify(trust) === JSON.stringify(this.#trust)) return
    this.#trust = trust
    for (const entry of this.#entries.values()) entry.failures = 0
  }

  /** Whether there is by now an address that this call has not tried, or another policy to try all of them by. */
  async #isOtherNow(failed: Map<string, AddressFailure>): Promise<boolean> {
    const trust = this.#trust
    await this.#look(true)
    if (trust !== this.#trust) failed.clear()
    return this.#list.some((address) => !failed.has(address))
  }

  /** Of those that this call has not tried. */
  #best(failed: ReadonlyMap<string, AddressFailure>): Entry | undefined {
    const untried = this.#list.filter((address) => !failed.has(address)).map((address) => this.#entryOf(address))
    const verified = untried.find(({ router }) => router.hasKeys)
    if (verified === undefined) return untried.find((entry) => this.#isDue(entry)) ?? untried[0]
    this.#probe(this.#list.indexOf(verified.address))
    return verified
  }

  /** Verifies what stands before that place and is not verified. A call that goes elsewhere does not wait for it. */
  #probe(place: number): void {
    const better = this.#list.slice(0, Math.max(0, place)).map((address) => this.#entryOf(address))
    const free = mostProbes - better.filter(({ router }) => router.isVerifying).length
    const due = better.filter((entry) => !entry.router.hasKeys && !entry.router.isVerifying && this.#isDue(entry))
    for (const { router } of due.slice(0, Math.max(0, free))) router.verify().catch(() => undefined)
  }

  #isDue({ failures, failedAtMs }: Entry): boolean {
    if (failures === 0) return true
    const passedMs = this.options.now().getTime() - failedAtMs
    // A clock that went back says nothing.
    return passedMs < 0 || passedMs >= Math.min(longestPauseMs, firstPauseMs * 2 ** (failures - 1))
  }

  #keysOf(
    entry: Entry,
    failed: ReadonlyMap<string, AddressFailure>,
    signal: AbortSignal | undefined
  ): Promise<VerifiedEvidence> {
    const hasOthers = this.#list.some((each) => each !== entry.address && !failed.has(each))
    return this.#patient(entry, entry.router.keys(signal), hasOthers)
  }

  /** The same; where others can be asked instead, it is not waited for as long. What comes later is for the next call. */
  async #patient<T>(entry: Entry, result: Promise<T>, hasOthers: boolean): Promise<T> {
    if (!hasOthers) return result
    const { patienceMs = usualPatienceMs } = this.options
    const limit = AbortSignal.timeout(patienceMs)
    try {
      return await waitFor(result, limit)
    } catch (error) {
      if (error !== limit.reason) throw error
      const seconds = patienceMs / 1000
      const late = new CheckError('check.network', `no evidence from ${entry.address} within ${seconds} seconds`)
      this.#fail(entry, late)
      throw late
    }
  }

  #entryOf(address: string): Entry {
    const known = this.#entries.get(address)
    if (known !== undefined) return known
    const { onVerdict, onNoVerdict, ...options } = this.options
    const router = new AttestedRouter({
      ...options,
      url: address,
      trust: () => this.#trust ?? unread(),
      onVerdict: (verdict) => {
        if (verdict.verdict === 'trusted') Object.assign(entry, { failures: 0, told: 'nothing' })
        else this.#fail(entry, new AttestationError(verdict.checks, verdict.keyEndpoints))
        return onVerdict?.(verdict, address)
      },
      onNoVerdict: (error) => {
        this.#fail(entry, error)
        return onNoVerdict?.(error, address)
      }
    })
    const entry: Entry = { address, router, failures: 0, failedAtMs: 0, told: 'nothing' }
    this.#entries.set(address, entry)
    return entry
  }

  #fail(entry: Entry, error: AddressFailure['error']): void {
    const { address, router } = entry
    if (error instanceof CallError && this.#list.length > 1) router.doubt()
    entry.failures++
    entry.failedAtMs = this.options.now().getTime()
    // Keys that are still good are used, and this was an attempt to replace them early.
    const kind = isWrong({ address, error }) ? 'wrong' : 'unreachable'
    if (router.hasKeys || entry.told === kind || this.#entries.get(address) !== entry) return
    entry.told = kind
    this.#tell({ what: 'failed', address, error })
  }

  #use(to: string): void {
    const from = this.#inUse
    this.#inUse = to
    if (from !== undefined && from !== to) this.#tell({ what: 'moved', from, to })
  }

  #tell(event: AddressEvent): void {
    tell(this.options.onEvent, event)
  }
}

/** The last value that could be had of a source. */
class Kept<T> {
  #given: T | undefined
  last: T | undefined
  #problem: string | undefined

  constructor(
    private readonly source: Source<T>,
    private readonly name: string,
    private readonly check: (value: T) => T,
    private readonly onProblem: (error: unknown) => void
  ) {
    if (typeof source !== 'function') this.last = check(source)
  }

  /** Throws a {@link CheckError} where there never was one. */
  async get(look: Look): Promise<T> {
    if (typeof this.source !== 'function' && this.last !== undefined) return this.last
    try {
      const given = await (this.source as (look: Look) => T | Promise<T>)(look)
      // What was checked is not checked again before each call.
      if (given !== this.#given || this.last === undefined) this.last = this.check(given)
      this.#given = given
      this.#problem = undefined
      return this.last
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error)
      if (this.last === undefined) {
        throw new CheckError('check.source', `${this.name} cannot be read: ${problem}`, undefined, error)
      }
      if (problem !== this.#problem) this.onProblem(error)
      this.#problem = problem
      return this.last
    }
  }
}

/** Each once. Throws a `CallError`. */
function requireAddresses(list: readonly string[]): readonly string[] {
  const wrong = list.find((address) => routerUrl(address, '/') === undefined)
  if (wrong !== undefined) throw new CallError('call.url', 'the URL of the router must be http or https and no more')
  if (list.length === 0 || list.length > mostAddresses) {
    throw new CallError('call.url', `there must be 1 to ${mostAddresses} addresses`)
  }
  return [...new Set(list)]
}

const isAboutAddress = (error: unknown): error is AddressFailure['error'] =>
  error instanceof AttestationError ||
  (error instanceof CheckError && error.code !== 'check.source') ||
  (error instanceof CallError && error.nothingSent && ['call.network', 'call.other-server'].includes(error.code))

function noneOf(failures: readonly AddressFailure[]): Error {
  const [first, ...others] = failures
  return first !== undefined && others.length === 0 ? first.error : new NoAddressError(failures)
}

/** An address is made known by a look, which ends with the policy. */
const unread = (): never => {
  throw new Error('the trust policy has not been read')
}
