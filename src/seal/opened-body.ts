import { concatBytes } from '../base/bytes.js'
import { utf8 } from '../base/encoding.js'
import { frameKind, frameKinds, lengthBytes, maximumAnswerFrameBytes, tagBytes } from './ehbp.js'
import { badSealedAnswer, truncatedAnswer } from './errors.js'
import { unpad } from './padding.js'
import type { ResponseKeys } from './response-keys.js'

/**
 * Opens the frames of an answer. Gives the data of each, and returns the receipt of the end frame:
 * `undefined` if it is empty, and in plain EHBP, where there is no end frame.
 *
 * Throws a `SealError`: `bad_sealed_answer` if a frame is malformed or not authentic or something
 * follows the end, `truncated_answer` if the body ends before the answer does. In plain EHBP an
 * answer that was cut between two frames cannot be told from a whole one.
 */
export async function* openFrames(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  keys: ResponseKeys,
  /** What the frames of the extension are bound to; undefined in plain EHBP. */
  contextHash: Uint8Array | undefined
): AsyncGenerator<Uint8Array<ArrayBuffer>, string | undefined> {
  const bytes = new ByteReader(reader)
  for (let index = 0; ; index++) {
    const frame = await readFrame(bytes, contextHash !== undefined)
    if (frame === undefined) {
      if (contextHash !== undefined) throw truncatedAnswer()
      return undefined
    }
    const { kind, ciphertext } = frame
    const data = await openFrame(keys, index, kind, ciphertext, contextHash)
    if ((kind & frameKind.end) !== 0) {
      if (await bytes.hasMore()) throw badSealedAnswer()
      return data.length === 0 ? undefined : decodeReceipt(data)
    }
    if (data.length > 0) yield data
  }
}

interface Frame {
  readonly kind: number
  readonly ciphertext: Uint8Array<ArrayBuffer>
}

/** `undefined` at the end of the body. */
async function readFrame(bytes: ByteReader, isExtended: boolean): Promise<Frame | undefined> {
  for (;;) {
    if (!(await bytes.hasMore())) return undefined
    const length = new DataView((await bytes.read(lengthBytes)).buffer).getUint32(0)
    if (length === 0 && !isExtended) continue
    const kindBytes = isExtended ? 1 : 0
    if (length < kindBytes + tagBytes || length > maximumAnswerFrameBytes) throw badSealedAnswer()
    const frame = await bytes.read(length)
    const kind = isExtended ? (frame[0] ?? frameKinds) : frameKind.data
    if (kind >= frameKinds) throw badSealedAnswer()
    return { kind, ciphertext: frame.subarray(kindBytes) }
  }
}

async function openFrame(
  keys: ResponseKeys,
  index: number,
  kind: number,
  ciphertext: Uint8Array,
  contextHash: Uint8Array | undefined
): Promise<Uint8Array<ArrayBuffer>> {
  const additionalData = contextHash === undefined ? new Uint8Array() : concatBytes(Uint8Array.of(kind), contextHash)
  try {
    const plaintext = await keys.openFrame(index, ciphertext, additionalData)
    return (kind & frameKind.padded) === 0 ? plaintext : unpad(plaintext)
  } catch {
    throw badSealedAnswer()
  }
}

/** A JWS is ASCII; what else stands there is for `verifyReceipt` to refuse. */
export function decodeReceipt(data: Uint8Array): string {
  try {
    return utf8.decode(data)
  } catch {
    throw badSealedAnswer()
  }
}

/** A buffer grows by this factor, so that the time stays linear and a length field alone costs nothing. */
const growth = 2
const leastCapacity = 65_536

/** Reads by count what a stream gives in chunks of its own. */
class ByteReader {
  /** What came and was not read yet. */
  #rest: Uint8Array = new Uint8Array()

  constructor(private readonly reader: ReadableStreamDefaultReader<Uint8Array>) {}

  /** False at the end of the stream. */
  async hasMore(): Promise<boolean> {
    while (this.#rest.length === 0) {
      const { done, value } = await this.reader.read()
      if (done) return false
      this.#rest = value
    }
    return true
  }

  /** Throws `truncated_answer` if the stream ends before. */
  async read(length: number): Promise<Uint8Array<ArrayBuffer>> {
    let buffer = new Uint8Array(Math.min(length, leastCapacity))
    let filled = 0
    while (filled < length) {
      if (!(await this.hasMore())) throw truncatedAnswer()
      const taken = this.#rest.subarray(0, length - filled)
      this.#rest = this.#rest.subarray(taken.length)
      if (filled + taken.length > buffer.length) {
        const grown = new Uint8Array(Math.min(length, growth * (filled + taken.length)))
        grown.set(buffer.subarray(0, filled))
        buffer = grown
      }
      buffer.set(taken, filled)
      filled += taken.length
    }
    return buffer
  }
}
