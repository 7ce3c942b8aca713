/** Makes the chunks of a stream out of the chunks of another, and a value when it is through. */
export type Transformation<Outcome> = (
  reader: ReadableStreamDefaultReader<Uint8Array>
) => AsyncGenerator<Uint8Array<ArrayBuffer>, Outcome>

export interface PulledStream<Outcome> {
  readonly stream: ReadableStream<Uint8Array<ArrayBuffer>>
  /** What the transformation returned; rejects if it failed or if nobody read so far. */
  readonly outcome: Promise<Outcome>
}

/**
 * A stream that does nothing before somebody reads: each chunk is made when it is asked for, and none
 * is queued. Cancelling it cancels the source; a failure of the transformation does too.
 *
 * Whoever does not ask for the outcome is not told of its failure either.
 */
export function pulledStream<Outcome>(
  source: ReadableStream<Uint8Array>,
  transform: Transformation<Outcome>
): PulledStream<Outcome> {
  const reader = source.getReader()
  const chunks = transform(reader)
  const outcome = new Deferred<Outcome>()
  const stream = new ReadableStream<Uint8Array<ArrayBuffer>>(
    {
      async pull(controller) {
        try {
          const next = await chunks.next()
          if (next.done !== true) return controller.enqueue(next.value)
          outcome.resolve(next.value)
          controller.close()
        } catch (error) {
          outcome.reject(error)
          // What it says of its own end matters no more.
          reader.cancel(error).catch(() => undefined)
          throw error
        }
      },
      async cancel(reason) {
        outcome.reject(reason ?? new Error('the stream was cancelled before its end'))
        await reader.cancel(reason)
      }
    },
    { highWaterMark: 0 }
  )
  return { stream, outcome: outcome.promise }
}

class Deferred<Value> {
  readonly promise: Promise<Value>
  #resolve: (value: Value) => void = () => undefined
  #reject: (reason: unknown) => void = () => undefined

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.promise.catch(() => undefined)
  }

  resolve(value: Value): void {
    this.#resolve(value)
  }

  reject(reason: unknown): void {
    this.#reject(reason)
  }
}
