import type { DecipherGCM } from 'node:crypto'
import { frameKind, frameKinds, lengthBytes, tagBytes } from '../ehbp.js'
import { badSealedRequest, SealError, staleKey } from '../errors.js'
import { unpad } from '../padding.js'
import type { HpkeReceiver } from './hpke.js'

/**
 * Takes the frames of a sealed request apart, however the bytes come. What is deciphered of a frame
 * stays here until its tag was verified. Once something failed, every further call fails alike.
 */
export class FrameOpener {
  readonly #head: Buffer
  #headBytes = 0
  #frame: OpeningFrame | undefined
  #opened = 0
  #hasEnded = false
  #failure: Error | undefined
  readonly #additionalData: Buffer

  constructor(
    private readonly receiver: HpkeReceiver,
    /** What the frames of the extension are bound to; undefined in plain EHBP. */
    private readonly contextHash: Uint8Array | undefined,
    /** What a length field may say at most. */
    private readonly maximumFrameBytes: number
  ) {
    this.#head = Buffer.alloc(contextHash === undefined ? lengthBytes : lengthBytes + 1)
    this.#additionalData = contextHash === undefined ? Buffer.alloc(0) : Buffer.concat([Buffer.alloc(1), contextHash])
  }

  get authenticated(): boolean {
    return this.#opened > 0
  }

  /** Bytes taken in of the frame that is not whole. */
  get held(): number {
    return this.#headBytes + (this.#frame?.received ?? 0)
  }

  /** Plaintexts that became whole, in order. */
  push(chunk: Uint8Array): Uint8Array[] {
    return this.#attempt(() => {
      const plaintexts: Uint8Array[] = []
      for (let offset = 0; offset < chunk.length;) {
        // Nothing may follow the end, or the sender and we would not agree on what was sent.
        if (this.#hasEnded) throw badSealedRequest()
        if (this.#frame === undefined) offset += this.#readHead(chunk, offset)
        else offset += this.#frame.push(chunk, offset)
        if (this.#frame?.isWhole === true) {
          const plaintext = this.#open(this.#frame)
          if (plaintext.length > 0) plaintexts.push(plaintext)
        }
      }
      return plaintexts
    })
  }

  end(): void {
    this.#attempt(() => {
      const isComplete = this.contextHash === undefined ? this.#opened > 0 : this.#hasEnded
      if (!isComplete || this.held > 0) throw badSealedRequest()
    })
  }

  /** Returns how many bytes it took. */
  #readHead(chunk: Uint8Array, offset: number): number {
    const taken = Math.min(this.#head.length - this.#headBytes, chunk.length - offset)
    this.#head.set(chunk.subarray(offset, offset + taken), this.#headBytes)
    this.#headBytes += taken
    if (this.#headBytes < lengthBytes) return taken
    const length = this.#head.readUInt32BE(0)
    const kindBytes = this.#head.length - lengthBytes
    if (length === 0 && kindBytes === 0) {
      this.#headBytes = 0
      return taken
    }
    if (length > this.maximumFrameBytes || length < kindBytes + tagBytes) throw badSealedRequest()
    if (this.#headBytes < this.#head.length) return taken
    const kind = kindBytes === 0 ? frameKind.data : this.#head.readUInt8(lengthBytes)
    if (kind >= frameKinds) throw badSealedRequest()
    if (kindBytes > 0) this.#additionalData[0] = kind
    this.#frame = new OpeningFrame(kind, length - kindBytes, this.receiver.decipher(this.#additionalData))
    return taken
  }

  /** Verifies the tag, and only then gives the plaintext away. */
  #open(frame: OpeningFrame): Uint8Array {
    try {
      this.receiver.accept(frame.decipher, frame.tag)
    } catch {
      // In plain EHBP nothing tells a stale key from a forgery, and the sender can mend the first.
      throw this.contextHash === undefined && this.#opened === 0 ? staleKey() : badSealedRequest()
    }
    this.#opened++
    this.#frame = undefined
    this.#headBytes = 0
    const data = (frame.kind & frameKind.padded) === 0 ? frame.plaintext : unpad(frame.plaintext)
    if ((frame.kind & frameKind.end) !== 0) {
      this.#hasEnded = true
      // The trailer block, for which requests have no use yet.
      if (data.length > 0) throw badSealedRequest()
    }
    return data
  }

  #attempt<Result>(act: () => Result): Result {
    if (this.#failure !== undefined) throw this.#failure
    try {
      return act()
    } catch (error) {
      this.#frame = undefined
      this.#failure = error instanceof SealError ? error : badSealedRequest()
      throw this.#failure
    }
  }
}

/** The plaintext grows by this factor over what came, so that a length field alone costs nothing. */
const growth = 8
const leastCapacity = 65_536

/** One frame: deciphered as it comes, so that its ciphertext and its plaintext are never held both. */
class OpeningFrame {
  readonly tag = Buffer.alloc(tagBytes)
  #plaintext: Buffer = Buffer.alloc(0)
  #deciphered = 0
  #tagLength = 0
  readonly #length: number

  constructor(
    readonly kind: number,
    /** Of ciphertext and tag. */
    bytes: number,
    readonly decipher: DecipherGCM
  ) {
    this.#length = bytes - tagBytes
  }

  get received(): number {
    return this.#deciphered + this.#tagLength
  }

  get isWhole(): boolean {
    return this.#tagLength === tagBytes
  }

  /** Not authentic before the tag was verified. */
  get plaintext(): Uint8Array {
    return this.#plaintext.subarray(0, this.#length)
  }

  /** Returns how many bytes it took. */
  push(chunk: Uint8Array, offset: number): number {
    const ciphertext = chunk.subarray(offset, offset + this.#length - this.#deciphered)
    if (ciphertext.length > 0) this.#keep(this.decipher.update(ciphertext))
    const start = offset + ciphertext.length
    const tag = chunk.subarray(start, start + tagBytes - this.#tagLength)
    this.tag.set(tag, this.#tagLength)
    this.#tagLength += tag.length
    return ciphertext.length + tag.length
  }

  #keep(part: Buffer): void {
    if (part.length === this.#length) {
      this.#plaintext = part
    } else {
      const needed = this.#deciphered + part.length
      if (needed > this.#plaintext.length) {
        const grown = Buffer.allocUnsafe(Math.min(this.#length, Math.max(leastCapacity, growth * needed)))
        grown.set(this.#plaintext.subarray(0, this.#deciphered))
        this.#plaintext = grown
      }
      this.#plaintext.set(part, this.#deciphered)
    }
    this.#deciphered += part.length
  }
}
