import { utf8 } from '../base/encoding.js'
import type { Span } from './json-members.js'
import { invalidMultipart, type PartHeaders, parsePartHeaders } from './part-headers.js'
import { Problem } from './problem.js'

/** The part `model`; offsets are in bytes of the whole body. */
export interface ModelPart extends Span {
  readonly value: string
  /** Digits of the part's own `Content-Length`, as OkHttp sends it. */
  readonly lengthDigits: Span | undefined
}

const longestHeaders = 8 * 1024
const longestModel = 256
const mostParts = 1000

const cr = 0x0d
const lf = 0x0a
const dash = 0x2d

/**
 * Finds the part `model` of a multipart/form-data body (RFC 7578, RFC 2046 section 5.1) whose bytes come
 * piece by piece. Keeps no content but the model: time is linear in the bytes, memory is constant.
 *
 * The whole body is looked at, also when the model is known: a second `model` behind a large file
 * would be the one that another parser takes. What is in a part's headers is judged by
 * {@link parsePartHeaders}; here it is where a part ends. Two parsers agree on that because
 *
 * - `--` and the boundary stand nowhere but in a delimiter: at the beginning, or behind CRLF which
 *   is not itself the end of the headers. Some parsers take one behind LF, behind CR, or anywhere.
 * - behind them comes CRLF or `--`, no white space and nothing else: some skip what others take for a
 *   longer boundary, and so for content.
 * - nothing but one CRLF is before the first delimiter, or behind the last one. Some would read on.
 * - a part's own `Content-Length` is true, should there be one.
 *
 * All throw a `Problem`: `invalid_multipart`, or `invalid_model` for a value that no model can have.
 */
export class ModelScanner {
  readonly #delimiter: Buffer
  /** What can still be the beginning of a delimiter, with the CRLF before it. */
  readonly #undecided: number
  #state: 'content' | 'behind-delimiter' | 'headers' | 'closed' = 'content'
  /** The beginning of the next window: bytes that came and are not decided. */
  #carry: Buffer = Buffer.alloc(0)
  /** Bytes of the whole body that are decided. */
  #offset = 0
  #parts = 0
  /** The part whose content is being read; before the first part there is none. */
  #part: PartHeaders | undefined
  #contentLength = 0
  readonly #headers = Buffer.allocUnsafe(longestHeaders)
  #headersLength = 0
  readonly #value = Buffer.allocUnsafe(longestModel)
  #lengthDigits: Span | undefined
  #behindEnd = 0
  #model: ModelPart | undefined

  constructor(boundary: string) {
    this.#delimiter = Buffer.from(`--${boundary}`, 'latin1')
    this.#undecided = '\r\n'.length + this.#delimiter.length - 1
  }

  /** Known as soon as the part is complete. */
  get model(): ModelPart | undefined {
    return this.#model
  }

  /** Whether the closing delimiter was seen. */
  get closed(): boolean {
    return this.#state === 'closed'
  }

  push(chunk: Uint8Array): void {
    let window = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    const carried = this.#carry.length
    if (carried > 0) {
      // Only the seam is joined. Where the chunk is longer than that, all that was carried is decided there.
      const seam = Buffer.concat([this.#carry, window.subarray(0, this.#undecided + 1)])
      const decided = this.#scan(seam)
      window = decided < carried ? seam.subarray(decided) : window.subarray(decided - carried)
      if (decided < carried || window.length === 0) {
        this.#carry = window
        return
      }
    }
    // A copy, so that a few bytes do not keep a chunk in memory.
    this.#carry = Buffer.from(window.subarray(this.#scan(window)))
  }

  /** The body has ended. */
  end(): void {
    // One byte behind the end is half a CRLF.
    if (!this.closed || this.#behindEnd === 1) throw invalidMultipart('ends before its closing delimiter')
  }

  /** Returns how many bytes of the window are decided; the others wait for more. */
  #scan(window: Buffer): number {
    let at = 0
    while (at < window.length) {
      const next = this.#step(window, at)
      this.#offset += next - at
      if (next === at) break
      at = next
    }
    return at
  }

  #step(window: Buffer, at: number): number {
    switch (this.#state) {
      case 'content':
        return this.#readContent(window, at)
      case 'behind-delimiter':
        return this.#readBehindDelimiter(window, at)
      case 'headers':
        return this.#readHeaders(window, at)
      case 'closed':
        return this.#readBehindEnd(window, at)
      default:
        return this.#state satisfies never
    }
  }

  #readContent(window: Buffer, at: number): number {
    const delimiter = window.indexOf(this.#delimiter, at)
    if (delimiter === -1) {
      const decided = Math.max(at, window.length - this.#undecided)
      this.#takeContent(window, at, decided)
      return decided
    }
    const isFirst = this.#part === undefined && delimiter === at
    const end = isFirst ? at : delimiter - 2
    if (!isFirst && !(end >= at && window[end] === cr && window[end + 1] === lf)) {
      throw invalidMultipart('contains its boundary where no part ends')
    }
    this.#takeContent(window, at, end)
    this.#endPart(this.#offset + end - at)
    this.#state = 'behind-delimiter'
    return delimiter + this.#delimiter.length
  }

  #takeContent(window: Buffer, start: number, end: number): void {
    if (start === end) return
    if (this.#part === undefined) throw invalidMultipart('does not begin with its boundary')
    if (this.#part.isModel) {
      if (this.#contentLength + end - start > longestModel) throw invalidModel()
      window.copy(this.#value, this.#contentLength, start, end)
    }
    this.#contentLength += end - start
  }

  #endPart(end: number): void {
    if (this.#part === undefined) return
    const { isModel, asciiOnly, length } = this.#part
    if (length !== undefined && Number(length.text) !== this.#contentLength) {
      throw invalidMultipart('has a part that is not as long as its Content-Length says')
    }
    if (!isModel) return
    const value = parseModelText(this.#value.subarray(0, this.#contentLength), asciiOnly)
    this.#model = { value, start: end - this.#contentLength, end, lengthDigits: this.#lengthDigits }
  }

  #readBehindDelimiter(window: Buffer, at: number): number {
    const first = window[at]
    const second = window[at + 1]
    if (second === undefined) return at
    if (first === cr && second === lf) {
      this.#state = 'headers'
      this.#headersLength = 0
    } else if (first === dash && second === dash) {
      this.#state = 'closed'
    } else {
      throw invalidMultipart('contains its boundary where no part ends')
    }
    return at + 2
  }

  #readHeaders(window: Buffer, at: number): number {
    const before = this.#headersLength
    const copied = window.copy(this.#headers, before, at)
    this.#headersLength += copied
    const end = this.#headers.subarray(0, this.#headersLength).indexOf('\r\n\r\n', Math.max(0, before - 3))
    if (end === -1) {
      if (this.#headersLength === longestHeaders) throw invalidMultipart('has a part with too long headers')
      return at + copied
    }
    const next = at + end + 4 - before
    this.#beginPart(this.#headers.subarray(0, end), this.#offset - before)
    this.#state = 'content'
    return next
  }

  #beginPart(headers: Buffer, offset: number): void {
    if (++this.#parts > mostParts) throw invalidMultipart('has too many parts')
    this.#part = parsePartHeaders(headers)
    this.#contentLength = 0
    if (!this.#part.isModel) return
    if (this.#model !== undefined) throw invalidMultipart('has two parts "model"')
    const { length } = this.#part
    this.#lengthDigits = length && { start: offset + length.start, end: offset + length.end }
  }

  #readBehindEnd(window: Buffer, at: number): number {
    for (let next = at; next < window.length; next++) {
      if (window[next] !== [cr, lf][this.#behindEnd++]) throw invalidMultipart('goes on behind its closing delimiter')
    }
    return window.length
  }
}

/** Throws a `Problem` with code `invalid_model`. */
function parseModelText(bytes: Uint8Array, asciiOnly: boolean): string {
  let value
  try {
    value = utf8.decode(bytes)
  } catch {
    throw invalidModel()
  }
  if (!isModelText(value)) throw invalidModel()
  if (asciiOnly && value.length !== Buffer.byteLength(value)) throw invalidModel()
  return value
}

/** Whether it can be a model's name in a form: in one line, so it cannot hold a delimiter. */
export function isModelText(value: string): boolean {
  const bytes = Buffer.byteLength(value)
  return bytes > 0 && bytes <= longestModel && !control.test(value)
}

/** Line ends of all kinds, other control characters, and the byte order mark that some decoders take away. */
const control = /[\0-\x1f\x7f-\x9f\u2028\u2029\ufeff]/

const invalidModel = (): Problem =>
  new Problem('invalid_model', `"model" must be a text of 1 to ${longestModel} bytes in UTF-8, in one line`, {
    param: 'model'
  })
