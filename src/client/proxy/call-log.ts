import type { ReceiptResult } from '../receipt-check.js'

/** One call through the proxy, for the page and the terminal: what can be told of it without its content. */
export interface CallRecord {
  readonly id: number
  /** UTC, ISO 8601. */
  readonly at: string
  readonly method: string
  /** Without query. */
  readonly path: string
  /** `running`; whole; refused by the proxy or not sent; broken off by the router; left by the caller. */
  readonly state: 'running' | 'answered' | 'refused' | 'broken' | 'left'
  readonly status: number | null
  /** Lengths of the bodies before they were sealed. */
  readonly requestBytes: number
  readonly responseBytes: number
  /** From the head of the request to the end of the answer. */
  readonly milliseconds: number | null
  readonly receipt: ReceiptSummary | null
  /** A code, or a sentence about the receipt. */
  readonly problem: string | null
}

export interface ReceiptSummary {
  /** `null` if no provider was called. */
  readonly provider: string | null
  readonly origin: string | null
  readonly model: string | null
}

const kept = 50

/** The last calls, newest first. */
export class CallLog {
  readonly #records: CallRecord[] = []
  #count = 0

  constructor(
    private readonly now: () => Date,
    private readonly onEnd: (call: CallRecord) => void
  ) {}

  get records(): readonly CallRecord[] {
    return this.#records
  }

  begin(method: string, path: string): RunningCall {
    const call: CallRecord = {
      id: ++this.#count,
      at: this.now().toISOString(),
      method,
      path,
      state: 'running',
      status: null,
      requestBytes: 0,
      responseBytes: 0,
      milliseconds: null,
      receipt: null,
      problem: null
    }
    this.#records.unshift(call)
    this.#records.length = Math.min(this.#records.length, kept)
    return new RunningCall(call, (changed) => this.#replace(changed), this.onEnd)
  }

  /** It is not there any more where fifty others have begun since. */
  #replace(call: CallRecord): void {
    const index = this.#records.findIndex(({ id }) => id === call.id)
    if (index !== -1) this.#records[index] = call
  }
}

/** The entry of a call while it runs. */
export class RunningCall {
  readonly #startMs = performance.now()

  constructor(
    private record: CallRecord,
    private readonly onChange: (call: CallRecord) => void,
    private readonly onEnd: (call: CallRecord) => void
  ) {}

  note(changes: Partial<Pick<CallRecord, 'status' | 'requestBytes' | 'responseBytes'>>): void {
    this.#change(changes)
  }

  end(state: Exclude<CallRecord['state'], 'running'>, problem: string | null = null): void {
    const milliseconds = Math.round(performance.now() - this.#startMs)
    this.#change({ state, milliseconds, ...(problem === null ? {} : { problem }) })
    this.onEnd(this.record)
  }

  #change(changes: Partial<CallRecord>): void {
    this.record = { ...this.record, ...changes }
    this.onChange(this.record)
  }

  /** Comes with the end of the answer or after it. */
  receipt(result: ReceiptResult): void {
    if ('problem' in result) {
      this.#change({ problem: result.problem })
      return
    }
    const { upstream, model, before = [] } = result.receipt
    // Those that had the prompt, and whose answer was not the one.
    const earlier = before.length === 0 ? '' : ` (before: ${before.map(({ provider }) => provider).join(', ')})`
    this.#change({
      receipt: {
        provider: upstream === null ? null : `${upstream.provider}${earlier}`,
        origin: upstream?.origin ?? null,
        model
      }
    })
  }
}
