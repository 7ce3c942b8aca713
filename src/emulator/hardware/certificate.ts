import { createHash, randomBytes, sign, constants, type KeyObject } from 'node:crypto'
import { isIPv4 } from 'node:net'
import { encodeBase64, utf8 } from '../../base/encoding.js'
import { der } from '../der.js'

/** The signature algorithms that the chains which the emulator imitates use. */
export type SignatureAlgorithm = 'rsa-pss-sha384' | 'rsa-sha256' | 'rsa-sha384' | 'ecdsa-sha256' | 'ecdsa-sha384'

/** Relative distinguished names in order, for example `[['O', 'Example'], ['CN', 'leaf']]`. */
export type DistinguishedName = readonly (readonly ['C' | 'ST' | 'L' | 'O' | 'OU' | 'CN', string])[]

export interface CertificateContent {
  readonly subject: DistinguishedName
  readonly issuer: DistinguishedName
  readonly notBefore: Date
  readonly notAfter: Date
  readonly publicKey: KeyObject
  readonly extensions: readonly Uint8Array[]
}

/** Makes one X.509 v3 certificate (RFC 5280) with a random serial number; DER. */
export function issueCertificate(
  content: CertificateContent,
  signingKey: KeyObject,
  algorithm: SignatureAlgorithm
): Uint8Array {
  const identifier = algorithmIdentifier(algorithm)
  const body = der.sequence(
    der.context(0, smallInteger(2), true),
    serialNumber(),
    identifier,
    name(content.issuer),
    der.sequence(der.time(content.notBefore), der.time(content.notAfter)),
    name(content.subject),
    content.publicKey.export({ format: 'der', type: 'spki' }),
    der.context(3, der.sequence(...content.extensions), true)
  )
  return der.sequence(body, identifier, der.bitString(signature(body, signingKey, algorithm)))
}

/** RFC 7468 text, with a newline at the end. */
export function certificatePem(certificate: Uint8Array): string {
  const lines = encodeBase64(certificate).match(/.{1,64}/g) ?? []
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`
}

export function extension(identifier: string, value: Uint8Array, critical = false): Uint8Array {
  const flag = critical ? [der.boolean(true)] : []
  return der.sequence(der.oid(identifier), ...flag, der.octetString(value))
}

/** The extensions of a certificate authority: it may sign certificates and, with `pathLength`, so many levels below. */
export function authorityExtensions(publicKey: KeyObject, pathLength?: number): Uint8Array[] {
  const limit = pathLength === undefined ? [] : [smallInteger(pathLength)]
  return [
    extension('2.5.29.19', der.sequence(der.boolean(true), ...limit), true),
    // keyCertSign (bit 5) and cRLSign (bit 6).
    extension('2.5.29.15', der.bitString(Uint8Array.of(0x06), 1), true),
    extension('2.5.29.14', der.octetString(keyIdentifier(publicKey)))
  ]
}

/** The extensions of an end entity: it signs data, not certificates. */
export function endEntityExtensions(issuerKey: KeyObject, extendedKeyUsages: readonly string[]): Uint8Array[] {
  const usages =
    extendedKeyUsages.length === 0 ? [] : [extension('2.5.29.37', der.sequence(...extendedKeyUsages.map(der.oid)))]
  return [
    extension('2.5.29.19', der.sequence(), true),
    extension('2.5.29.15', der.bitString(Uint8Array.of(0x80), 7), true),
    ...usages,
    authorityKeyIdentifier(issuerKey)
  ]
}

export function authorityKeyIdentifier(issuerKey: KeyObject): Uint8Array {
  return extension('2.5.29.35', der.sequence(der.context(0, keyIdentifier(issuerKey), false)))
}

/** Host names, and IPv4 addresses as such: a client does not look for an address among the names. */
export function subjectAlternativeName(hosts: readonly string[]): Uint8Array {
  const names = hosts.map((host) =>
    isIPv4(host)
      ? der.context(7, Uint8Array.from(host.split('.').map(Number)), false)
      : der.context(2, utf8.encode(host), false)
  )
  return extension('2.5.29.17', der.sequence(...names))
}

/** A non-negative INTEGER below 2^31. */
export function smallInteger(value: number): Uint8Array {
  return der.integer(Uint8Array.of(value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff))
}

/** Nineteen random bytes behind a fixed one: positive, never zero, under RFC 5280's limit of 20. */
function serialNumber(): Uint8Array {
  return der.integer(Buffer.concat([Uint8Array.of(0x4d), randomBytes(19)]))
}

function keyIdentifier(publicKey: KeyObject): Uint8Array {
  return createHash('sha1')
    .update(publicKey.export({ format: 'der', type: 'spki' }))
    .digest()
}

const attributeTypes = { C: '2.5.4.6', ST: '2.5.4.8', L: '2.5.4.7', O: '2.5.4.10', OU: '2.5.4.11', CN: '2.5.4.3' }

function name(parts: DistinguishedName): Uint8Array {
  return der.sequence(
    ...parts.map(([type, value]) => der.set(der.sequence(der.oid(attributeTypes[type]), der.utf8String(value))))
  )
}

const derNull = Uint8Array.of(0x05, 0)
const sha384 = '2.16.840.1.101.3.4.2.2'

function algorithmIdentifier(algorithm: SignatureAlgorithm): Uint8Array {
  const identifier = (oid: string, ...parameters: Uint8Array[]): Uint8Array => der.sequence(der.oid(oid), ...parameters)
  switch (algorithm) {
    case 'rsa-pss-sha384': {
      const hash = identifier(sha384, derNull)
      return identifier(
        '1.2.840.113549.1.1.10',
        der.sequence(
          der.context(0, hash, true),
          der.context(1, identifier('1.2.840.113549.1.1.8', hash), true),
          der.context(2, smallInteger(48), true)
        )
      )
    }
    case 'rsa-sha256':
      return identifier('1.2.840.113549.1.1.11', derNull)
    case 'rsa-sha384':
      return identifier('1.2.840.113549.1.1.12', derNull)
    case 'ecdsa-sha256':
      return identifier('1.2.840.10045.4.3.2')
    case 'ecdsa-sha384':
      return identifier('1.2.840.10045.4.3.3')
    default:
      return algorithm satisfies never
  }
}

function signature(body: Uint8Array, key: KeyObject, algorithm: SignatureAlgorithm): Uint8Array {
  const hash = algorithm.endsWith('sha256') ? 'sha256' : 'sha384'
  return algorithm === 'rsa-pss-sha384'
    ? sign(hash, body, { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 48 })
    : sign(hash, body, key)
}
