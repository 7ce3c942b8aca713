import { concatBytes } from '../base/bytes.js'
import { utf8 } from '../base/encoding.js'
import { counterNonce } from './counter-nonce.js'
import { keyBytes, nonceBytes, responseLabels, tagBytes } from './ehbp.js'

/** Opens what the router seals for one answer. What is not authentic rejects with WebCrypto's `OperationError`. */
export interface ResponseKeys {
  /** Frame number `index`, from 0. */
  openFrame(
    this: void,
    index: number,
    ciphertext: Uint8Array,
    additionalData: Uint8Array
  ): Promise<Uint8Array<ArrayBuffer>>
  openReceipt(this: void, ciphertext: Uint8Array): Promise<Uint8Array<ArrayBuffer>>
}

/** The derivation of EHBP's answers (docs/wire-format.md), the one of RFC 9458 section 4.4 with its own nonce. */
export async function deriveResponseKeys({
  exported,
  encapsulatedKey,
  nonce
}: {
  /** What the context of the request exports for answers, 32 bytes. */
  readonly exported: Uint8Array
  readonly encapsulatedKey: Uint8Array
  readonly nonce: Uint8Array
}): Promise<ResponseKeys> {
  const pseudoRandomKey = await hmac(concatBytes(encapsulatedKey, nonce), exported)
  const expand = async (label: string, length: number): Promise<Uint8Array> =>
    // RFC 5869 section 2.3: one block is enough for every length here.
    (await hmac(pseudoRandomKey, concatBytes(utf8.encode(label), Uint8Array.of(1)))).subarray(0, length)
  const key = await importAesKey(await expand(responseLabels.key, keyBytes))
  const baseNonce = await expand(responseLabels.nonce, nonceBytes)
  return {
    openFrame: (index, ciphertext, additionalData) =>
      decrypt(key, counterNonce(baseNonce, index), ciphertext, additionalData),
    openReceipt: async (ciphertext) =>
      decrypt(
        await importAesKey(await expand(responseLabels.receiptKey, keyBytes)),
        await expand(responseLabels.receiptNonce, nonceBytes),
        ciphertext,
        new Uint8Array()
      )
  }
}

async function hmac(key: Uint8Array, data: Uint8Array): Promise<Uint8Array> {
  const algorithm = { name: 'HMAC', hash: 'SHA-256' }
  const imported = await crypto.subtle.importKey('raw', concatBytes(key), algorithm, false, ['sign'])
  return new Uint8Array(await crypto.subtle.sign('HMAC', imported, concatBytes(data)))
}

async function importAesKey(key: Uint8Array): Promise<CryptoKey> {
  return crypto.subtle.importKey('raw', concatBytes(key), 'AES-GCM', false, ['decrypt'])
}

async function decrypt(
  key: CryptoKey,
  nonce: Uint8Array,
  ciphertext: Uint8Array,
  additionalData: Uint8Array
): Promise<Uint8Array<ArrayBuffer>> {
  const parameters = {
    name: 'AES-GCM',
    iv: nonce as Uint8Array<ArrayBuffer>,
    additionalData: additionalData as Uint8Array<ArrayBuffer>,
    tagLength: 8 * tagBytes
  }
  return new Uint8Array(await crypto.subtle.decrypt(parameters, key, ciphertext as Uint8Array<ArrayBuffer>))
}
