// Reads HTTP/1.1 messages off a connection at the least cost: head as text, body as it comes, with
// a length, in chunks, or without a body. Enough for answers and requests that this bench provokes.
const endOfHead = Buffer.from('\r\n\r\n')
const endOfLine = Buffer.from('\r\n')
const nothing = Buffer.alloc(0)

const inHead = 0
const inBody = 1
const inChunk = 2
const beforeChunk = 3
const inTrailer = 4

export class MessageReader {
  #state = inHead
  #left = 0
  /** A head or a line of which the end has not come yet. */
  #rest = nothing

  /** `onHead(text)`, then `onData(bytes)` for pieces of the body, then `onEnd()`. */
  constructor({ onHead, onData, onEnd }) {
    this.onHead = onHead
    this.onData = onData
    this.onEnd = onEnd
  }

  push(chunk) {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    this.#rest = nothing
    let at = 0
    while (at < bytes.length) {
      if (this.#state === inBody || this.#state === inChunk) {
        const end = Math.min(bytes.length, at + this.#left)
        this.#left -= end - at
        const piece = bytes.subarray(at, end)
        at = end
        // Before the callback: it may write, and then the next message may come.
        const complete = this.#left === 0 && this.#state === inBody
        if (complete) this.#state = inHead
        else if (this.#left === 0) this.#state = beforeChunk
        this.onData(piece)
        if (complete) this.onEnd()
        continue
      }
      const mark = this.#state === inHead ? endOfHead : endOfLine
      const end = bytes.indexOf(mark, at)
      if (end === -1) {
        this.#rest = bytes.subarray(at)
        return
      }
      const text = bytes.latin1Slice(at, end)
      at = end + mark.length
      this.#take(text)
    }
  }

  #take(text) {
    switch (this.#state) {
      case inHead: {
        this.#left = Number(/\r\ncontent-length: *(\d+)/i.exec(text)?.[1] ?? 0)
        if (this.#left > 0) this.#state = inBody
        else if (/\r\ntransfer-encoding: *chunked/i.test(text)) this.#state = beforeChunk
        this.onHead(text)
        if (this.#state === inHead) this.onEnd()
        return
      }
      case beforeChunk:
        // The end of the chunk before.
        if (text === '') return
        this.#left = Number.parseInt(text, 16)
        this.#state = this.#left === 0 ? inTrailer : inChunk
        return
      case inTrailer:
        if (text !== '') return
        this.#state = inHead
        this.onEnd()
        return
      default:
        throw new Error('a line within a body')
    }
  }
}
