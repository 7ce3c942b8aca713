import { concatBytes, equalBytes } from '../base/bytes.js'
import { decodeBase64 } from '../base/encoding.js'
import {
  contextTag,
  type DerElement,
  derTag,
  expectTag,
  readBitString,
  readBoolean,
  readChildren,
  readDer,
  readOid,
  readSequence,
  readSmallUnsigned,
  readTime,
  readUnsigned
} from './der.js'
import { type CurveName, curveSize, type HashName, type SignatureScheme, verifySignature } from './web-crypto.js'

/** An X.509 v3 certificate (RFC 5280), parsed and not verified. */
export interface Certificate {
  readonly der: Uint8Array
  /** What the signature covers. */
  readonly tbs: Uint8Array
  readonly issuer: Uint8Array
  readonly subject: Uint8Array
  readonly notBefore: Date
  readonly notAfter: Date
  /** SubjectPublicKeyInfo, as WebCrypto imports it. */
  readonly publicKey: Uint8Array
  readonly keyType: { readonly type: 'RSA'; readonly bits: number } | { readonly type: 'EC'; readonly curve: CurveName }
  readonly signatureAlgorithm: CertificateSignatureAlgorithm
  readonly signature: Uint8Array
  /** By object identifier. */
  readonly extensions: ReadonlyMap<string, Extension>
}

export interface Extension {
  readonly critical: boolean
  /** Contents of extnValue's OCTET STRING. */
  readonly value: Uint8Array
}

/** As the certificate states it. For ECDSA the curve is that of the issuer's key. */
export type CertificateSignatureAlgorithm =
  Exclude<SignatureScheme, { name: 'ECDSA' }> | { readonly name: 'ECDSA'; readonly hash: HashName }

const maximumDerLength = 16 * 1024
const maximumPemLength = 64 * 1024

const rsaPss = '1.2.840.113549.1.1.10'
const mgf1 = '1.2.840.113549.1.1.8'
const hashes: Readonly<Record<string, HashName>> = {
  '2.16.840.1.101.3.4.2.1': 'SHA-256',
  '2.16.840.1.101.3.4.2.2': 'SHA-384',
  '2.16.840.1.101.3.4.2.3': 'SHA-512'
}
const signatureAlgorithms: Readonly<Record<string, CertificateSignatureAlgorithm>> = {
  '1.2.840.113549.1.1.11': { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' },
  '1.2.840.113549.1.1.12': { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-384' },
  '1.2.840.113549.1.1.13': { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-512' },
  '1.2.840.10045.4.3.2': { name: 'ECDSA', hash: 'SHA-256' },
  '1.2.840.10045.4.3.3': { name: 'ECDSA', hash: 'SHA-384' },
  '1.2.840.10045.4.3.4': { name: 'ECDSA', hash: 'SHA-512' }
}
const rsaEncryption = '1.2.840.113549.1.1.1'
const ecPublicKey = '1.2.840.10045.2.1'
const curves: Readonly<Record<string, CurveName>> = { '1.2.840.10045.3.1.7': 'P-256', '1.3.132.0.34': 'P-384' }

/**
 * Parses one certificate. Throws a `TypeError` for anything that is not DER, not version 3, has an
 * extension twice, or an algorithm outside RSA (PKCS #1, PSS) and ECDSA on P-256 or P-384 with SHA-2.
 */
export function parseCertificate(der: Uint8Array, label: string): Certificate {
  if (der.length > maximumDerLength) throw new TypeError(`${label} is longer than ${maximumDerLength} bytes`)
  const [tbs, algorithm, signature, ...rest] = readSequence(readDer(der, label), label)
  if (tbs === undefined || algorithm === undefined || rest.length > 0)
    throw new TypeError(`${label} is not a certificate`)
  const [version, serial, innerAlgorithm, issuer, validity, subject, publicKey, ...optional] = readSequence(tbs, label)
  const versionNumber = readChildren(expectTag(version, contextTag(0), `${label} version`), `${label} version`)
  if (versionNumber.length !== 1 || readSmallUnsigned(versionNumber[0], `${label} version`) !== 2) {
    throw new TypeError(`${label} is not an X.509 version 3 certificate`)
  }
  expectTag(serial, derTag.integer, `${label} serial number`)
  if (innerAlgorithm === undefined || !equalBytes(innerAlgorithm.encoding, algorithm.encoding)) {
    throw new TypeError(`${label} names two different signature algorithms`)
  }
  const [notBefore, notAfter] = readSequence(validity, `${label} validity`)
  const { octets, unused } = readBitString(signature, `${label} signature`)
  if (unused !== 0) throw new TypeError(`${label} signature is not whole octets`)
  return {
    der,
    tbs: tbs.encoding,
    issuer: expectTag(issuer, derTag.sequence, `${label} issuer`).encoding,
    subject: expectTag(subject, derTag.sequence, `${label} subject`).encoding,
    notBefore: readTime(notBefore, `${label} notBefore`),
    notAfter: readTime(notAfter, `${label} notAfter`),
    publicKey: expectTag(publicKey, derTag.sequence, `${label} public key`).encoding,
    keyType: readKeyType(publicKey, `${label} public key`),
    signatureAlgorithm: readSignatureAlgorithm(algorithm, `${label} signature algorithm`),
    signature: octets,
    extensions: readExtensions(optional, label)
  }
}

/**
 * Certificates of a PEM text (RFC 7468), in its order. Only line breaks and spaces may stand
 * outside the blocks. At most 64 KiB and 8 certificates.
 */
export function parsePemCertificates(pem: string, label: string): Certificate[] {
  if (pem.length > maximumPemLength) throw new TypeError(`${label} is longer than ${maximumPemLength} characters`)
  const block = /-----BEGIN CERTIFICATE-----\r?\n([A-Za-z0-9+/=\r\n]+?)\r?\n?-----END CERTIFICATE-----/g
  const bodies = [...pem.matchAll(block)].map(([, body]) => body ?? '')
  if (bodies.length === 0 || bodies.length > 8 || pem.replace(block, '').trim() !== '') {
    throw new TypeError(`${label} is not a text of 1 to 8 PEM certificates`)
  }
  return bodies.map((body, i) => {
    const place = `certificate ${i + 1} of ${label}`
    return parseCertificate(decodeBase64(body.replace(/[\r\n]/g, ''), place), place)
  })
}

/**
 * Whether `issuer`'s key made the signature. Says nothing about names, dates or the right to issue.
 * Rejects if the signature or the key is malformed.
 */
export async function isSignedBy(certificate: Certificate, issuer: Certificate): Promise<boolean> {
  const { signatureAlgorithm: algorithm, signature, tbs } = certificate
  const { keyType, publicKey } = issuer
  if (algorithm.name === 'ECDSA') {
    if (keyType.type !== 'EC') return false
    const scheme: SignatureScheme = { name: 'ECDSA', hash: algorithm.hash, namedCurve: keyType.curve }
    return verifySignature(scheme, publicKey, ecdsaFromDer(signature, keyType.curve), tbs)
  }
  return keyType.type === 'RSA' && verifySignature(algorithm, publicKey, signature, tbs)
}

/** ECDSA-Sig-Value (RFC 3279 section 2.2.3) as r ‖ s. */
function ecdsaFromDer(signature: Uint8Array, curve: CurveName): Uint8Array {
  const label = 'ECDSA signature'
  const parts = readSequence(readDer(signature, label), label).map((part) => readUnsigned(part, label))
  const size = curveSize[curve]
  if (parts.length !== 2 || parts.some((part) => part.length > size)) throw new TypeError(`${label} is malformed`)
  return concatBytes(...parts.flatMap((part) => [new Uint8Array(size - part.length), part]))
}

function readKeyType(element: DerElement | undefined, label: string): Certificate['keyType'] {
  const [algorithm, key] = readSequence(element, label)
  const [oid, parameters] = readSequence(algorithm, label)
  const name = readOid(oid, label)
  if (name === ecPublicKey) {
    const curve = curves[readOid(parameters, label)]
    if (curve === undefined) throw new TypeError(`${label} is on a curve other than P-256 and P-384`)
    return { type: 'EC', curve }
  }
  if (name !== rsaEncryption) throw new TypeError(`${label} is of type ${name}, not RSA or EC`)
  const modulus = readUnsigned(readSequence(readDer(readBitString(key, label).octets, label), label)[0], label)
  return { type: 'RSA', bits: modulus.length * 8 - Math.clz32(modulus[0] ?? 0) + 24 }
}

function readSignatureAlgorithm(element: DerElement, label: string): CertificateSignatureAlgorithm {
  const [oid, parameters] = readSequence(element, label)
  const name = readOid(oid, label)
  if (name === rsaPss) return readPssParameters(parameters, label)
  const algorithm = signatureAlgorithms[name]
  if (algorithm === undefined) throw new TypeError(`${label} ${name} is not supported`)
  return algorithm
}

/**
 * RSASSA-PSS-params (RFC 4055 section 3.1). The hash must be stated: its default is SHA-1. AMD writes
 * the trailer field's default out in some certificates, against DER, so it may be there or not.
 */
function readPssParameters(element: DerElement | undefined, label: string): CertificateSignatureAlgorithm {
  const fields = new Map(readSequence(element, label).map((field) => [field.tag, field]))
  const field = (n: number): DerElement | undefined => {
    const explicit = fields.get(contextTag(n))
    return explicit && readChildren(explicit, label)[0]
  }
  const hash = hashes[readOid(readSequence(field(0), label)[0], label)]
  const [generator, generatorHash] = readSequence(field(1), label)
  const mgfHash = hashes[readOid(readSequence(generatorHash, label)[0], label)]
  if (hash === undefined || mgfHash !== hash || readOid(generator, label) !== mgf1) {
    throw new TypeError(`${label} is not PSS with MGF1 and one SHA-2 hash`)
  }
  const trailer = field(3)
  if (trailer !== undefined && readSmallUnsigned(trailer, label) !== 1) {
    throw new TypeError(`${label} has an unknown trailer field`)
  }
  return { name: 'RSA-PSS', hash, saltLength: readSmallUnsigned(field(2), label) }
}

/** Nothing but the extensions may follow the key: unique identifiers are of the past (RFC 5280 section 4.1.2.8). */
function readExtensions(optional: readonly DerElement[], label: string): Map<string, Extension> {
  const extensions = new Map<string, Extension>()
  if (optional.length === 0) return extensions
  const wrapper = expectTag(optional[0], contextTag(3), `${label} extensions`)
  if (optional.length > 1) throw new TypeError(`${label} has fields after its extensions`)
  for (const entry of readSequence(readDer(wrapper.contents, `${label} extensions`), `${label} extensions`)) {
    const fields = readSequence(entry, `${label} extension`)
    const name = readOid(fields[0], `${label} extension`)
    const value = expectTag(fields.at(-1), derTag.octetString, `${label} extension ${name}`).contents
    if (fields.length > 3) throw new TypeError(`${label} extension ${name} is malformed`)
    if (extensions.has(name)) throw new TypeError(`${label} has the extension ${name} twice`)
    const critical = fields.length === 3 && readBoolean(fields[1], `${label} extension ${name}`)
    extensions.set(name, { critical, value })
  }
  return extensions
}
