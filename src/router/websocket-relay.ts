import type { Duplex } from 'node:stream'

export interface Relayed {
  readonly outcome: 'ok' | 'caller_gone' | 'caller_stalled' | 'upstream_broke_off' | 'upstream_timeout'
  /** From the caller. */
  readonly bytesIn: number
  /** To the caller. */
  readonly bytesOut: number
}

/** Once one side has said its last byte, the other one gets so long for what is under way. */
const longestClosingMs = 30_000

/**
 * Passes bytes both ways, with back-pressure and as they come, until the caller's side is closed; the other one
 * then closes as well. An end of one side is passed on, and a failure of one side breaks the other one. After
 * `idleMs` without a byte both are broken; the outcome says which side it was that did not read.
 *
 * Whoever gives a side listens to its errors; what one means is seen here when the side closes, which it then does.
 */
export function relay(caller: Duplex, upstream: Duplex, idleMs: number): Promise<Relayed> {
  return new Promise((resolve) => new Relay(caller, upstream, idleMs, resolve).start())
}

class Relay {
  readonly #idle: NodeJS.Timeout
  #closing: NodeJS.Timeout | undefined
  #outcome: Relayed['outcome'] | undefined
  #bytesIn = 0
  #bytesOut = 0

  constructor(
    private readonly caller: Duplex,
    private readonly upstream: Duplex,
    private readonly idleMs: number,
    private readonly resolve: (result: Relayed) => void
  ) {
    this.#idle = setTimeout(() => this.#stop(this.#whoStalled()), idleMs)
  }

  start(): void {
    const { caller, upstream } = this
    this.#pass(caller, upstream, (bytes) => (this.#bytesIn += bytes))
    this.#pass(upstream, caller, (bytes) => (this.#bytesOut += bytes))
    for (const side of [caller, upstream]) {
      if (side.closed) this.#closed(side)
      else side.once('close', () => this.#closed(side))
    }
  }

  #pass(from: Duplex, to: Duplex, count: (bytes: number) => void): void {
    // Else Node would end our half by itself, before what is under way the other way.
    from.allowHalfOpen = true
    from.on('data', (chunk: Buffer) => {
      count(chunk.length)
      this.#idle.refresh()
      if (!to.write(chunk)) from.pause()
    })
    to.on('drain', () => from.resume())
    from.once('end', () => {
      to.end()
      this.#closing ??= setTimeout(() => this.#stop('ok'), Math.min(this.idleMs, longestClosingMs))
    })
  }

  #closed(side: Duplex): void {
    const { caller, upstream } = this
    // Both have said their last byte: the other side closes by itself as soon as it has got it.
    if (!caller.readableEnded || !upstream.readableEnded) {
      this.#stop(side === caller ? 'caller_gone' : upstream.readableEnded ? 'ok' : 'upstream_broke_off')
    }
    if (side === caller) {
      // Of the other side nothing more can become known, and nothing of it can be told.
      this.resolve({ outcome: this.#outcome ?? 'ok', bytesIn: this.#bytesIn, bytesOut: this.#bytesOut })
    }
    if (!caller.closed || !upstream.closed) return
    clearTimeout(this.#idle)
    clearTimeout(this.#closing)
  }

  #stop(outcome: Relayed['outcome']): void {
    this.#outcome ??= outcome
    this.caller.destroy()
    this.upstream.destroy()
  }

  #whoStalled(): Relayed['outcome'] {
    return this.upstream.writableNeedDrain ? 'upstream_timeout' : 'caller_stalled'
  }
}
