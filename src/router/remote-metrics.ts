import { retryLater } from './problem.js'
import type { FromWorker } from './worker-messages.js'

/** Longer than the primary waits for the other workers. */
const longestMs = 3000

/** `GET /metrics` in a worker: it is answered for the whole router, by the primary. */
export class RemoteMetrics {
  #last = 0
  readonly #waiting = new Map<number, (text: string) => void>()

  constructor(private readonly send: (message: FromWorker) => void) {}

  render(): Promise<string> {
    const id = this.#last++
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => {
        this.#waiting.delete(id)
        reject(retryLater('overloaded', 'the router has no time to count', 1))
      }, longestMs)
      this.#waiting.set(id, (text) => {
        clearTimeout(late)
        this.#waiting.delete(id)
        resolve(text)
      })
      this.send({ kind: 'get-metrics', id })
    })
  }

  receive({ id, text }: { readonly id: number; readonly text: string }): void {
    this.#waiting.get(id)?.(text)
  }
}
