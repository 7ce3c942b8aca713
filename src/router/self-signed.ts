import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'
import { type Sha256Hex, sha256Hex } from '../base/digest.js'
import { encodeBase64, utf8 } from '../base/encoding.js'
import {
  bitString,
  explicit,
  implicit,
  integer,
  objectIdentifier,
  octetString,
  sequence,
  set,
  time,
  TRUE,
  utf8String
} from './der.js'

export interface TlsIdentity {
  /** PEM, PKCS #8. It was made in this process and is written nowhere. */
  readonly key: string
  /** PEM, self-signed. */
  readonly certificate: string
  /** SHA-256 of the certificate's SubjectPublicKeyInfo in DER: the member `tls` of the runtime data. */
  readonly spkiSha256: Sha256Hex
}

/** Names the router in its certificate. It says nothing: the address of a router is known to its callers alone. */
const hostName = 'confrouter'

/**
 * Makes a P-256 key and a certificate for it (X.509 v3, RFC 5280) that the key itself has signed.
 *
 * No authority vouches for the name, and none has to. The hash of the public key is part of the
 * runtime data, which the hardware signs together with what this process was measured as; a caller
 * compares it with the key of the connection. So a name, a chain and the time in the certificate decide
 * nothing, and it is valid for longer than any process runs: ten years, from a day before `now` for
 * callers whose clock is behind.
 */
export function createTlsIdentity(now: Date): TlsIdentity {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const spki = publicKey.export({ type: 'spki', format: 'der' })
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    certificate: pem(selfSigned(spki, privateKey, now)),
    spkiSha256: sha256Hex(spki)
  }
}

/** Certificate, RFC 5280 section 4.1. */
function selfSigned(spki: Uint8Array, privateKey: KeyObject, now: Date): Uint8Array {
  const version3 = explicit(0, integer(Uint8Array.of(2)))
  const body = sequence(version3, serialNumber(), algorithm, name, validity(now), name, spki, explicit(3, extensions))
  return sequence(body, algorithm, bitString(sign('sha256', body, privateKey)))
}

/** ecdsa-with-SHA256, which has no parameters (RFC 5758 section 3.2). */
const algorithm = sequence(objectIdentifier('1.2.840.10045.4.3.2'))

/** CN=confrouter; as issuer and as subject. */
const name = sequence(set(sequence(objectIdentifier('2.5.4.3'), utf8String(hostName))))

/** 16 bytes; the first one is between 0x40 and 0x7f, so that the number is positive and as long as it looks. */
function serialNumber(): Uint8Array {
  const [first = 0, ...rest] = randomBytes(16)
  return integer(Uint8Array.of(0x40 | (first & 0x7f), ...rest))
}

function validity(now: Date): Uint8Array {
  const notBefore = new Date(now)
  notBefore.setUTCDate(notBefore.getUTCDate() - 1)
  const notAfter = new Date(notBefore)
  notAfter.setUTCFullYear(notAfter.getUTCFullYear() + 10)
  return sequence(time(notBefore), time(notAfter))
}

const extension = (identifier: string, critical: boolean, value: Uint8Array): Uint8Array =>
  sequence(objectIdentifier(identifier), ...(critical ? [TRUE] : []), octetString(value))

/** RFC 5280 section 4.2.1. A key that may sign no certificate cannot be made an authority by mistake. */
const extensions = sequence(
  // basicConstraints: cA is FALSE, which as the default has no bytes.
  extension('2.5.29.19', true, sequence()),
  // keyUsage: digitalSignature, the first bit.
  extension('2.5.29.15', true, bitString(Uint8Array.of(0x80), 7)),
  // extKeyUsage: serverAuth.
  extension('2.5.29.37', false, sequence(objectIdentifier('1.3.6.1.5.5.7.3.1'))),
  // subjectAltName: dNSName. For those who trust the certificate as a file and say where the name is.
  extension('2.5.29.17', false, sequence(implicit(2, utf8.encode(hostName))))
)

function pem(der: Uint8Array): string {
  const lines = encodeBase64(der).match(/.{1,64}/g) ?? []
  return ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n')
}
