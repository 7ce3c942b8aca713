import type { ReplayVerdict } from '../seal/node/replay-guard.js'
import type { Rate, Replays, SharedGuards } from './guards.js'
import { retryLater } from './problem.js'
import type { Answer, Answers, Ask, Asks } from './worker-messages.js'

interface Waiting {
  readonly resolve: (answer: Answer) => void
  readonly reject: (error: Error) => void
}

/**
 * The guards of a worker: it asks the primary, which counts for all workers. The questions of one tick
 * go in one message. Without an answer in time the call is refused: an uncounted one would be free.
 */
export class RemoteGuards implements SharedGuards {
  readonly addressRate = this.#rate('addressRate')
  readonly callRate = this.#rate('callRate')
  readonly evidenceRate = this.#rate('evidenceRate')
  readonly replays: Replays = {
    check: (encapsulatedKey, timeMs) =>
      this.#ask({ encapsulatedKey: Buffer.from(encapsulatedKey).toString('base64'), timeMs }) as Promise<ReplayVerdict>
  }
  #batch = 0
  #asks: Ask[] = []
  #waiting: Waiting[] = []
  readonly #sent = new Map<number, { readonly waiting: readonly Waiting[]; readonly timer: NodeJS.Timeout }>()

  constructor(
    private readonly send: (asks: Asks) => void,
    private readonly timeoutMs = 1000
  ) {}

  /** An answer that comes too late is for nobody. */
  receive({ batch, answers }: Answers): void {
    const sent = this.#sent.get(batch)
    if (sent === undefined) return
    this.#sent.delete(batch)
    clearTimeout(sent.timer)
    for (const [index, { resolve, reject }] of sent.waiting.entries()) {
      const answer = answers[index]
      if (answer === undefined) reject(notCounted())
      else resolve(answer)
    }
  }

  #rate(rate: 'addressRate' | 'callRate' | 'evidenceRate'): Rate {
    return { take: (caller) => this.#ask({ rate, caller }) as Promise<number> }
  }

  #ask(ask: Ask): Promise<Answer> {
    return new Promise((resolve, reject) => {
      // After all that this tick reads from connections.
      if (this.#asks.length === 0) setImmediate(() => this.#send())
      this.#asks.push(ask)
      this.#waiting.push({ resolve, reject })
    })
  }

  #send(): void {
    const batch = this.#batch++
    const asks = this.#asks
    // Timers come before what was received: after a tick that took long the answer may be there already.
    const timer = setTimeout(() => setImmediate(() => this.#giveUp(batch)), this.timeoutMs)
    this.#sent.set(batch, { waiting: this.#waiting, timer })
    this.#asks = []
    this.#waiting = []
    this.send({ kind: 'asks', batch, asks })
  }

  #giveUp(batch: number): void {
    const sent = this.#sent.get(batch)
    this.#sent.delete(batch)
    for (const { reject } of sent?.waiting ?? []) reject(notCounted())
  }
}

const notCounted = (): Error => retryLater('overloaded', 'the router has no time to count this call', 1)
