import { createCipheriv, createHmac, createPrivateKey, createPublicKey, diffieHellman } from 'node:crypto'
import type { HpkeSender } from '../../../src/seal/ehbp-client.js'

/**
 * The sending half of HPKE's base mode (RFC 9180 sections 4.1, 5.1, 5.2, 5.3) with a chosen
 * ephemeral key, so that vectors have one text. Written from the RFC without the code under test.
 */
export function hpkeSender({
  recipient,
  ephemeralSecret,
  info,
  aead = 2
}: {
  recipient: Uint8Array
  /** 32 bytes of RFC 7748. */
  ephemeralSecret: Uint8Array
  info: string | Uint8Array
  /** AEAD id: 1 is AES-128-GCM, 2 is AES-256-GCM. */
  aead?: 1 | 2
}): HpkeSender & { readonly sharedSecret: Buffer } {
  const ephemeral = createPrivateKey({
    key: Buffer.concat([Buffer.from('302e020100300506032b656e04220420', 'hex'), ephemeralSecret]),
    format: 'der',
    type: 'pkcs8'
  })
  const enc = createPublicKey(ephemeral).export({ format: 'der', type: 'spki' }).subarray(-32)
  const spki = Buffer.concat([Buffer.from('302a300506032b656e032100', 'hex'), recipient])
  const dh = diffieHellman({
    privateKey: ephemeral,
    publicKey: createPublicKey({ key: spki, format: 'der', type: 'spki' })
  })

  const kem = Buffer.from('4b454d0020', 'hex')
  const suite = Buffer.from(`48504b450020000100${aead.toString(16).padStart(2, '0')}`, 'hex')
  const sharedSecret = expand(
    kem,
    extract(kem, '', 'eae_prk', dh),
    'shared_secret',
    Buffer.concat([enc, recipient]),
    32
  )
  const context = Buffer.concat([
    Buffer.from([0]),
    extract(suite, '', 'psk_id_hash', ''),
    extract(suite, '', 'info_hash', info)
  ])
  const secret = extract(suite, sharedSecret, 'secret', '')
  const key = expand(suite, secret, 'key', context, 16 * aead)
  const baseNonce = expand(suite, secret, 'base_nonce', context, 12)
  const exporter = expand(suite, secret, 'exp', context, 32)
  let sequence = 0n
  return {
    encapsulatedKey: Uint8Array.from(enc),
    sharedSecret,
    seal: async (plaintext, additionalData) => {
      const nonce = Buffer.from(baseNonce)
      nonce.writeBigUInt64BE(nonce.readBigUInt64BE(4) ^ sequence++, 4)
      const cipher = createCipheriv(aead === 1 ? 'aes-128-gcm' : 'aes-256-gcm', key, nonce).setAAD(additionalData)
      return Uint8Array.from(Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]))
    },
    export: async (label, length) => expand(suite, exporter, 'sec', Buffer.from(label), length)
  }
}

type Bytes = string | Uint8Array

function extract(suite: Buffer, salt: Bytes, label: string, ikm: Bytes): Buffer {
  return createHmac('sha256', salt).update('HPKE-v1').update(suite).update(label).update(ikm).digest()
}

function expand(suite: Buffer, prk: Buffer, label: string, info: Buffer, length: number): Buffer {
  const head = Buffer.from([0, length])
  const mac = createHmac('sha256', prk).update(head).update('HPKE-v1').update(suite).update(label).update(info)
  return mac
    .update(Buffer.from([1]))
    .digest()
    .subarray(0, length)
}
