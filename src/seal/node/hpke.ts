import { createDecipheriv, type DecipherGCM } from 'node:crypto'
import { concatBytes } from '../../base/bytes.js'
import { utf8 } from '../../base/encoding.js'
import { counterNonce } from '../counter-nonce.js'
import { nonceBytes, tagBytes } from '../ehbp.js'
import { type CurveKeyPair, decapsulate } from './hpke-kem.js'
import { hpkeLabel, labeledExpand, labeledExtract } from './labeled-hkdf.js'

/** RFC 9180 section 7.3. */
export interface HpkeAead {
  readonly id: number
  readonly cipher: 'aes-128-gcm' | 'aes-256-gcm'
  /** Nk, in bytes. */
  readonly keyLength: number
}

export const aes256Gcm: HpkeAead = { id: 0x0002, cipher: 'aes-256-gcm', keyLength: 32 }

/**
 * RFC 9180 section 5.1, SetupBaseR for DHKEM(X25519, HKDF-SHA256) and HKDF-SHA256, with everything
 * that depends on `info` alone worked out once.
 *
 * What it returns throws an `Error` for an encapsulated key that gives no shared secret.
 */
export function hpkeReceiver(
  info: Uint8Array,
  aead: HpkeAead = aes256Gcm
): (encapsulatedKey: Uint8Array, key: CurveKeyPair) => HpkeReceiver {
  const suiteId = concatBytes(utf8.encode('HPKE'), Uint8Array.of(0x00, 0x20, 0x00, 0x01, aead.id >> 8, aead.id & 0xff))
  const empty = new Uint8Array()
  const pskIdHash = labeledExtract(empty, hpkeLabel(suiteId, 'psk_id_hash'), empty)
  const infoHash = labeledExtract(empty, hpkeLabel(suiteId, 'info_hash'), info)
  const context = concatBytes(Uint8Array.of(modeBase), pskIdHash, infoHash)
  const labels = {
    secret: hpkeLabel(suiteId, 'secret'),
    key: hpkeLabel(suiteId, 'key'),
    baseNonce: hpkeLabel(suiteId, 'base_nonce'),
    exporter: hpkeLabel(suiteId, 'exp'),
    exported: hpkeLabel(suiteId, 'sec')
  }
  return (encapsulatedKey, key) => {
    const secret = labeledExtract(decapsulate(encapsulatedKey, key), labels.secret, empty)
    return new HpkeReceiver(
      aead.cipher,
      labeledExpand(secret, labels.key, aead.keyLength, context),
      labeledExpand(secret, labels.baseNonce, nonceBytes, context),
      labeledExpand(secret, labels.exporter, 32, context),
      labels.exported
    )
  }
}

const modeBase = 0x00

/** The context of a receiver, RFC 9180 section 5.2 and 5.3. */
export class HpkeReceiver {
  /** Counts what was opened; whatever does not open does not count. */
  #sequence = 0

  constructor(
    private readonly cipher: HpkeAead['cipher'],
    private readonly key: Uint8Array,
    private readonly baseNonce: Uint8Array,
    private readonly exporterSecret: Uint8Array,
    private readonly exportedLabel: Uint8Array
  ) {}

  /** Opens a whole ciphertext. Throws an `Error` if it is not the next one of this context. */
  open(additionalData: Uint8Array, ciphertext: Uint8Array): Uint8Array {
    const end = ciphertext.length - tagBytes
    if (end < 0) throw new Error('the ciphertext is shorter than a tag')
    const decipher = this.decipher(additionalData)
    const plaintext = decipher.update(ciphertext.subarray(0, end))
    this.accept(decipher, ciphertext.subarray(end))
    return plaintext
  }

  /**
   * For a ciphertext that comes in pieces. What the decipher gives is authentic only once `accept`
   * has returned: until then it must not leave whoever holds it.
   */
  decipher(additionalData: Uint8Array): DecipherGCM {
    const decipher = createDecipheriv(this.cipher, this.key, counterNonce(this.baseNonce, this.#sequence), {
      authTagLength: tagBytes
    })
    return additionalData.length === 0 ? decipher : decipher.setAAD(additionalData)
  }

  /** Throws an `Error` if the tag is not that of what went through the decipher. */
  accept(decipher: DecipherGCM, tag: Uint8Array): void {
    decipher.setAuthTag(tag)
    decipher.final()
    this.#sequence++
  }

  /** RFC 9180 section 5.3; `length` is in bytes. */
  export(context: Uint8Array, length: number): Uint8Array {
    return labeledExpand(this.exporterSecret, this.exportedLabel, length, context)
  }
}
