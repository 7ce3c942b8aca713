import { ProxyProblem } from './failures.js'

/**
 * How many bytes of content a proxy holds for all of its calls together. Without it a thousand calls, or a router
 * that answers each with one endless frame, could make it hold whatever they like.
 */
export class HeldBudget {
  #held = 0

  constructor(private readonly maximumBytes: number) {}

  /** Now, over all calls. */
  get held(): number {
    return this.#held
  }

  /** What one call holds. */
  open(): HeldBytes {
    return new HeldBytes((change) => {
      if (change > 0 && this.#held + change > this.maximumBytes) throw overload()
      this.#held += change
    })
  }
}

/** The share of one call; whoever has it releases all of it in the end. */
export class HeldBytes {
  #own = 0
  /** Why this call was refused more, if it was. */
  failure: ProxyProblem | undefined

  constructor(private readonly change: (bytes: number) => void) {}

  /** Throws a `ProxyProblem` with code `local_overload` where that would be too much for all calls together. */
  add(bytes: number): void {
    try {
      this.change(bytes)
    } catch (error) {
      if (error instanceof ProxyProblem) this.failure = error
      throw error
    }
    this.#own += bytes
  }

  release(bytes = this.#own): void {
    const given = Math.min(bytes, this.#own)
    this.#own -= given
    this.change(-given)
  }
}

/**
 * The response with a body that counts each piece that is read of it. Whoever opens what is sealed there releases
 * the pieces when it has passed on what was in them.
 */
export function countedBody(response: Response, held: HeldBytes): Response {
  const { body, status, headers } = response
  // A `Response` with another status cannot be made, and nobody reads the body of such a one.
  if (body === null || status < 200 || status > 599) return response
  const reader = body.getReader()
  const counted = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await reader.read()
        if (done) {
          controller.close()
          return
        }
        try {
          held.add(value.length)
        } catch (error) {
          reader.cancel(error).catch(() => undefined)
          throw error
        }
        controller.enqueue(value)
      },
      cancel: (reason) => reader.cancel(reason)
    },
    { highWaterMark: 0 }
  )
  return new Response(counted, { status, headers })
}

const overload = (): ProxyProblem =>
  new ProxyProblem({
    status: 503,
    code: 'local_overload',
    message: 'the calls that run hold as much as this proxy takes; send it again when some of them have ended',
    headers: { 'retry-after': '1' }
  })
