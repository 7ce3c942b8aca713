import { createCipheriv } from 'node:crypto'
import { encodeHex, utf8 } from '../../base/encoding.js'
import { counterNonce } from '../counter-nonce.js'
import { frameKind, keyBytes, lengthBytes, nonceBytes, responseLabels, tagBytes } from '../ehbp.js'
import { pad } from '../padding.js'
import { hkdfExpand, hkdfExtract } from './hkdf.js'

export interface SealedResponse {
  /** Lower-case hex for `Ehbp-Response-Nonce`. */
  readonly nonce: string
  /**
   * One frame, ready to be written; several for 16 MiB and more. Padded if the caller asked for it. An empty
   * plaintext gives an empty buffer.
   */
  seal(plaintext: Uint8Array): Buffer
  /** The end frame with the receipt, which may be empty; an empty buffer in plain EHBP. */
  end(receipt: string): Buffer
  /** For the header or trailer `Confrouter-Receipt` of plain EHBP. Once for each answer. */
  sealReceipt(receipt: string): string
}

export interface ResponseSecrets {
  /** What the context of the request exports for answers, 32 bytes. */
  readonly exported: Uint8Array
  readonly encapsulatedKey: Uint8Array
  /** 32 random bytes, new for each answer. */
  readonly nonce: Uint8Array
}

/** What the extension adds: the hash that frames are bound to, and whether they are padded. */
export interface ResponseBinding {
  readonly contextHash: Uint8Array
  readonly pad: boolean
}

/** The answer to a sealed request; without `binding` in plain EHBP. */
export function sealedResponse(
  { exported, encapsulatedKey, nonce }: ResponseSecrets,
  binding: ResponseBinding | undefined
): SealedResponse {
  const pseudoRandomKey = hkdfExtract(Buffer.concat([encapsulatedKey, nonce]), exported)
  return new FrameSealer(encodeHex(nonce), pseudoRandomKey, binding)
}

/** Longest plaintext of one frame, far below what a caller refuses. Padded it fills its bucket. */
const longestPiece = 16 * 1024 ** 2 - 1

const labels = {
  key: utf8.encode(responseLabels.key),
  nonce: utf8.encode(responseLabels.nonce),
  receiptKey: utf8.encode(responseLabels.receiptKey),
  receiptNonce: utf8.encode(responseLabels.receiptNonce)
}

class FrameSealer implements SealedResponse {
  readonly #key: Uint8Array
  readonly #baseNonce: Uint8Array
  readonly #additionalData: Buffer | undefined
  #frames = 0
  #hasEnded = false
  #hasReceipt = false

  constructor(
    readonly nonce: string,
    private readonly pseudoRandomKey: Uint8Array,
    private readonly binding: ResponseBinding | undefined
  ) {
    this.#key = hkdfExpand(pseudoRandomKey, keyBytes, labels.key)
    this.#baseNonce = hkdfExpand(pseudoRandomKey, nonceBytes, labels.nonce)
    this.#additionalData = binding && Buffer.concat([Buffer.alloc(1), binding.contextHash])
  }

  seal(plaintext: Uint8Array): Buffer {
    if (this.#hasEnded) throw new Error('the sealed answer has ended')
    if (plaintext.length <= longestPiece) {
      return plaintext.length === 0 ? Buffer.alloc(0) : this.#frame(frameKind.data, plaintext)
    }
    const frames: Buffer[] = []
    for (let offset = 0; offset < plaintext.length; offset += longestPiece) {
      frames.push(this.#frame(frameKind.data, plaintext.subarray(offset, offset + longestPiece)))
    }
    return Buffer.concat(frames)
  }

  end(receipt: string): Buffer {
    if (this.#hasEnded) throw new Error('the sealed answer has ended')
    this.#hasEnded = true
    return this.binding === undefined ? Buffer.alloc(0) : this.#frame(frameKind.end, utf8.encode(receipt))
  }

  sealReceipt(receipt: string): string {
    // A second text under this key and nonce would give both away.
    if (this.#hasReceipt || this.binding !== undefined) throw new Error('the answer has its receipt elsewhere')
    this.#hasReceipt = true
    const key = hkdfExpand(this.pseudoRandomKey, keyBytes, labels.receiptKey)
    const nonce = hkdfExpand(this.pseudoRandomKey, nonceBytes, labels.receiptNonce)
    const cipher = createCipheriv('aes-256-gcm', key, nonce)
    const ciphertext = [cipher.update(receipt, 'utf8'), cipher.final(), cipher.getAuthTag()]
    return Buffer.concat(ciphertext).toString('base64url')
  }

  #frame(kind: number, plaintext: Uint8Array): Buffer {
    const isPadded = this.binding?.pad === true
    const cipher = createCipheriv('aes-256-gcm', this.#key, counterNonce(this.#baseNonce, this.#frames++), {
      authTagLength: tagBytes
    })
    const padded = isPadded ? pad(plaintext) : plaintext
    const headBytes = this.#additionalData === undefined ? lengthBytes : lengthBytes + 1
    const frame = Buffer.allocUnsafe(headBytes + padded.length + tagBytes)
    frame.writeUInt32BE(frame.length - lengthBytes, 0)
    if (this.#additionalData !== undefined) {
      const wireKind = isPadded ? kind | frameKind.padded : kind
      frame.writeUInt8(wireKind, lengthBytes)
      this.#additionalData[0] = wireKind
      cipher.setAAD(this.#additionalData)
    }
    frame.set(cipher.update(padded), headBytes)
    cipher.final()
    frame.set(cipher.getAuthTag(), headBytes + padded.length)
    return frame
  }
}
