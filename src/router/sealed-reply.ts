import { sealHeaders } from '../seal/ehbp.js'
import type { OpenedRequest, SealedResponse } from '../seal/node/ehbp.js'
import type { Call } from './call.js'
import { Problem } from './problem.js'
import { receiptFor } from './receipt.js'
import type { Reply, ReplyHeaders } from './reply.js'

/**
 * What stands in the open beside a sealed answer: what a client needs to read it and to come back.
 * The rest is for the caller alone (names of organisations, rates, what a provider says of itself).
 */
const inTheOpen = ['content-type', 'retry-after', 'retry-after-ms', 'x-should-retry', 'x-request-id'] as const

/** Longest answer that is held for a receipt in its header. */
const longestHeld = 1024 ** 2

/** Statuses whose answers have no body, so nothing in them could be authenticated. */
const withoutBody = new Set([204, 205, 304])

/**
 * Seals an answer chunk by chunk (docs/wire-format.md, EHBP and its extension): every chunk of the
 * provider is one frame and goes out at once. At the end stands the receipt: in the end frame, or
 * in a trailer, or, where the caller asked for it and the answer is short, in a header.
 */
export class SealedReply implements Reply {
  #response: SealedResponse | undefined
  #status = 0
  #headers: ReplyHeaders = {}
  #bytes = 0
  #held: Uint8Array[] | undefined

  constructor(
    private readonly call: Call,
    private readonly request: OpenedRequest
  ) {}

  get started(): boolean {
    return this.call.plain.started
  }

  get bytesOut(): number {
    return this.call.plain.bytesOut
  }

  start(status: number, headers: ReplyHeaders): void {
    const { 'content-encoding': encoding = 'identity', 'content-type': type = '' } = headers
    if (encoding !== 'identity') {
      throw new Problem('upstream_encoded', 'the provider compressed its answer, which nobody asked it to', {
        // It has done its work, and would do it again.
        headers: { 'x-should-retry': 'false' }
      })
    }
    // A status in the open that says "no body" would be believed; with a body its end is authenticated.
    this.#status = this.#isExtended && withoutBody.has(status) ? 200 : status
    this.#headers = headers
    this.#bytes = 0
    this.#held = undefined
    if (this.#wantsHeader && !String(type).startsWith('text/event-stream')) this.#held = []
    else this.#begin(undefined)
  }

  write(chunk: Uint8Array): boolean {
    this.#bytes += chunk.length
    if (this.#held === undefined) return this.#send(chunk)
    this.call.hold(chunk.length)
    this.#held.push(chunk)
    return this.#bytes <= longestHeld || this.#release(undefined)
  }

  onDrain(resume: () => void): void {
    this.call.plain.onDrain(resume)
  }

  end(): void {
    const receipt = receiptFor(this.call, this.#status, this.#bytes)
    if (this.#held !== undefined) this.#release(receipt)
    else if (this.#hasTrailer) {
      this.call.plain.addTrailers({ [sealHeaders.receipt]: this.#open.sealReceipt(receipt) })
    }
    const last = this.#open.end(receipt)
    if (last.length > 0) this.call.plain.write(last)
    this.call.plain.end()
  }

  breakOff(): void {
    this.call.plain.breakOff()
  }

  problem(problem: Problem): void {
    this.start(problem.status, {
      ...problem.headers,
      'content-type': 'application/json; charset=utf-8',
      'cache-control': 'no-store'
    })
    this.write(Buffer.from(JSON.stringify(problem)))
    this.end()
  }

  get #isExtended(): boolean {
    return this.call.seal?.extension !== undefined
  }

  /** HTTP/1.0, which nginx speaks to the servers behind it unless it is told otherwise, has no trailers. */
  get #hasTrailer(): boolean {
    return !this.#isExtended && !withoutBody.has(this.#status) && this.call.request.httpVersion !== '1.0'
  }

  get #wantsHeader(): boolean {
    return !this.#isExtended && this.call.request.headers[sealHeaders.receipt] === 'header'
  }

  get #open(): SealedResponse {
    if (this.#response === undefined) throw new Error('the sealed answer has not begun')
    return this.#response
  }

  #begin(receipt: string | undefined): void {
    const { 'content-type': type = '' } = this.#headers
    const response = this.request.startResponse(this.#status, String(type))
    this.#response = response
    const headers: Record<string, string | string[]> = {
      [sealHeaders.responseNonce]: response.nonce,
      'cache-control': 'no-store'
    }
    for (const name of inTheOpen) {
      const value = this.#headers[name]
      if (value !== undefined) headers[name] = value
    }
    if (receipt !== undefined) headers[sealHeaders.receipt] = response.sealReceipt(receipt)
    else if (this.#hasTrailer) headers['trailer'] = sealHeaders.receipt
    this.call.plain.start(this.#status, headers)
  }

  /** Sends what was held, with the receipt in the header if it is known by now. */
  #release(receipt: string | undefined): boolean {
    const held = this.#held ?? []
    this.#held = undefined
    this.#begin(receipt)
    let more = true
    for (const chunk of held) more = this.#send(chunk)
    return more
  }

  #send(chunk: Uint8Array): boolean {
    return chunk.length === 0 || this.call.plain.write(this.#open.seal(chunk))
  }
}
