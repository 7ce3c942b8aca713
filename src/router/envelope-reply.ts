import { sealHeaders } from '../seal/ehbp.js'
import { isJsonObject } from '../base/json.js'
import { type ResponseKey, sealResponse } from '../seal/node/envelope.js'
import type { Call } from './call.js'
import { Problem } from './problem.js'
import { BodyTooLargeError, Collector } from './read-at-most.js'
import { receiptFor } from './receipt.js'
import type { Reply, ReplyHeaders } from './reply.js'

/** A whole answer is held to seal it; the form is for calls that are not streams. */
const maximumAnswerBytes = 32 * 1024 ** 2

/**
 * Seals one JSON answer to the caller's key. The status stays in the open, the body does not,
 * errors of the router and of the provider included. Nothing is sent before the answer is whole, so
 * whatever fails on the way still becomes an error that the caller can read.
 */
export class EnvelopeReply implements Reply {
  #status = 0
  #answer = new Collector(maximumAnswerBytes)

  constructor(
    private readonly call: Call,
    private readonly key: ResponseKey
  ) {}

  get started(): boolean {
    return this.call.plain.started
  }

  get bytesOut(): number {
    return this.call.plain.bytesOut
  }

  start(status: number, _headers: ReplyHeaders): void {
    this.#status = status
    // What came of an answer that broke off, before this one of another place.
    this.#answer = new Collector(maximumAnswerBytes)
  }

  write(chunk: Uint8Array): boolean {
    // Sealed it is a third longer, and waits in that form until the caller has read it.
    this.call.hold(Math.ceil((chunk.length * 4) / 3))
    try {
      this.#answer.add(chunk)
    } catch (error) {
      if (!(error instanceof BodyTooLargeError)) throw error
      throw new Problem('answer_too_large', 'the answer of the provider is too large for this form of sealing')
    }
    return true
  }

  onDrain(resume: () => void): void {
    resume()
  }

  end(): void {
    const answer = this.#answer.bytes
    // From here on the sealed form takes its place in memory.
    this.#answer = new Collector(0)
    if (!isJson(answer)) {
      throw new Problem(
        'upstream_not_json',
        `the provider answered with status ${this.#status} and a body that is not JSON`
      )
    }
    this.#send(this.#status, answer)
  }

  breakOff(): void {
    this.call.plain.breakOff()
  }

  problem(problem: Problem): void {
    this.#send(problem.status, Buffer.from(JSON.stringify(problem)), problem.headers)
  }

  #send(status: number, answer: Uint8Array, headers: ReplyHeaders = {}): void {
    const sealed = sealResponse(answer, this.key)
    const receipt = receiptFor(this.call, status, answer.length)
    this.call.plain.json(status, sealed.answer, { ...headers, [sealHeaders.receipt]: sealed.sealReceipt(receipt) })
  }
}

function isJson(bytes: Buffer): boolean {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'))
    return isJsonObject(value) || Array.isArray(value)
  } catch {
    return false
  }
}
