import { constants, createHash, verify, X509Certificate } from 'node:crypto'
import { decode, encode, Tagged } from 'cborg'
import { equalBytes } from '../../../base/bytes.js'
import { encodeBase64Url, encodeHex, utf8 } from '../../../base/encoding.js'
import { isJsonObject } from '../../../base/json.js'

export interface EndorsedUvm {
  readonly issuer: string
  readonly feed: string
  /** Security version as the document has it: a decimal string. */
  readonly guestSvn: string
  /** Lower-case hex, 96 characters. */
  readonly launchMeasurement: string
}

/**
 * Verifies a UVM endorsement: COSE_Sign1 (RFC 9052) by a certificate that its did:x509 issuer covers,
 * the issuer a trusted one, the endorsed measurement that of the report. Throws a `TypeError`.
 */
export function verifyUvmEndorsement(
  document: Uint8Array,
  measurement: Uint8Array,
  trustedIssuers: readonly string[]
): EndorsedUvm {
  const { protectedBytes, payload, signature } = parseCoseSign1(document)
  const header = parseHeader(protectedBytes)
  verifyChain(header.chain, header.signedAt)
  verifySignature(header, protectedBytes, payload, signature)
  if (!trustedIssuers.includes(header.issuer))
    throw new TypeError('the UVM endorsement has an issuer that is not trusted')
  requireIssuerCovers(header)
  const endorsed = parsePayload(payload)
  if (endorsed.launchMeasurement !== encodeHex(measurement)) {
    throw new TypeError('the UVM endorsement is for another launch measurement')
  }
  return { issuer: header.issuer, feed: header.feed, ...endorsed }
}

interface Header {
  readonly algorithm: number
  readonly chain: readonly [X509Certificate, ...X509Certificate[]]
  readonly issuer: string
  readonly feed: string
  readonly signedAt: Date
}

const maximumLength = 256 * 1024

function parseCoseSign1(document: Uint8Array) {
  if (document.length > maximumLength) throw new TypeError('the UVM endorsement is too long')
  const value = decodeCbor(document)
  const parts: unknown = value instanceof Tagged && value.tag === 18 ? value.value : undefined
  if (!Array.isArray(parts) || parts.length !== 4) throw new TypeError('the UVM endorsement is not a COSE_Sign1')
  const [protectedBytes, , payload, signature] = parts as unknown[]
  if (!isBytes(protectedBytes) || !isBytes(payload) || !isBytes(signature)) {
    throw new TypeError('the UVM endorsement is not a COSE_Sign1 with its payload inside')
  }
  return { protectedBytes, payload, signature }
}

function parseHeader(bytes: Uint8Array): Header {
  const map = decodeCbor(bytes)
  if (!(map instanceof Map)) throw new TypeError('the protected header of the UVM endorsement is not a map')
  const fields = map as ReadonlyMap<unknown, unknown>
  const [algorithm, issuer, feed, time] = [
    fields.get(1),
    fields.get('iss'),
    fields.get('feed'),
    fields.get('signingtime')
  ]
  const certificates = certificateList(fields.get(33))
  const [leaf, ...authorities] = certificates.map((der) => new X509Certificate(der))
  if (leaf === undefined || authorities.length === 0)
    throw new TypeError('the UVM endorsement has no certificate chain')
  const thumbprint = fields.get(34)
  if (thumbprint !== undefined && !isThumbprintOf(thumbprint, leaf)) {
    throw new TypeError('the UVM endorsement names another certificate than it carries')
  }
  if (typeof algorithm !== 'number' || typeof issuer !== 'string' || typeof feed !== 'string') {
    throw new TypeError('the UVM endorsement lacks its algorithm, issuer or feed')
  }
  if (!(time instanceof Tagged) || time.tag !== 1 || typeof time.value !== 'number') {
    throw new TypeError('the UVM endorsement does not say when it was signed')
  }
  return { algorithm, chain: [leaf, ...authorities], issuer, feed, signedAt: new Date(time.value * 1000) }
}

/** x5chain (RFC 9360): one certificate as bytes, or several in an array, the leaf first. */
function certificateList(value: unknown): Uint8Array[] {
  const list: unknown[] = isBytes(value) ? [value] : Array.isArray(value) ? value : []
  if (list.length > 8 || !list.every(isBytes))
    throw new TypeError('the certificate chain of the UVM endorsement is malformed')
  return list
}

function isThumbprintOf(value: unknown, leaf: X509Certificate): boolean {
  if (!Array.isArray(value)) return false
  const [hash, digest] = value as unknown[]
  return hash === -16 && isBytes(digest) && equalBytes(digest, sha256(leaf.raw))
}

/** Each certificate signed by the next, the last by itself, all of them valid when the document was signed. */
function verifyChain(chain: Header['chain'], signedAt: Date): void {
  chain.forEach((certificate, index) => {
    const issuer = chain[index + 1] ?? certificate
    if (!issuer.ca || !certificate.checkIssued(issuer) || !certificate.verify(issuer.publicKey)) {
      throw new TypeError('the certificate chain of the UVM endorsement does not hold together')
    }
    const at = signedAt.getTime()
    if (Date.parse(certificate.validFrom) > at || at > Date.parse(certificate.validTo)) {
      throw new TypeError('a certificate of the UVM endorsement was not valid when it was signed')
    }
  })
}

/** PS256, PS384 and PS512 (RFC 8230), with a salt as long as the hash. */
const hashes: ReadonlyMap<number, readonly [hash: string, saltLength: number]> = new Map([
  [-37, ['sha256', 32]],
  [-38, ['sha384', 48]],
  [-39, ['sha512', 64]]
])

function verifySignature(header: Header, protectedBytes: Uint8Array, payload: Uint8Array, signature: Uint8Array): void {
  const [hash, saltLength] = hashes.get(header.algorithm) ?? []
  const key = header.chain[0].publicKey
  if (hash === undefined || key.asymmetricKeyType !== 'rsa') {
    throw new TypeError('the UVM endorsement is signed with an algorithm that is not supported')
  }
  const message = encode(['Signature1', protectedBytes, new Uint8Array(0), payload])
  const parameters = { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength }
  if (!verify(hash, message, parameters, signature)) throw new TypeError('the UVM endorsement signature is not valid')
}

/** did:x509 version 0: an authority of the chain by its hash, and a usage that the leaf must have. */
function requireIssuerCovers(header: Header): void {
  const [, fingerprint, usage] = /^did:x509:0:sha256:([\w-]{43})::eku:([\d.]+)$/.exec(header.issuer) ?? []
  const [leaf, ...authorities] = header.chain
  const named = authorities.some((authority) => encodeBase64Url(sha256(authority.raw)) === fingerprint)
  if (usage === undefined || !named || !(leaf.keyUsage ?? []).includes(usage)) {
    throw new TypeError('the UVM endorsement is not signed by the issuer that it names')
  }
}

function parsePayload(payload: Uint8Array): Pick<EndorsedUvm, 'guestSvn' | 'launchMeasurement'> {
  let value: unknown
  try {
    value = JSON.parse(utf8.decode(payload))
  } catch {
    throw new TypeError('the payload of the UVM endorsement is not JSON')
  }
  const fields = isJsonObject(value) ? value : {}
  const [guestSvn, launchMeasurement] = [fields['x-ms-sevsnpvm-guestsvn'], fields['x-ms-sevsnpvm-launchmeasurement']]
  if (typeof guestSvn !== 'string' || !/^\d{1,9}$/.test(guestSvn) || typeof launchMeasurement !== 'string') {
    throw new TypeError('the payload of the UVM endorsement lacks its measurement or version')
  }
  return { guestSvn, launchMeasurement }
}

function decodeCbor(bytes: Uint8Array): unknown {
  try {
    return decode(bytes, { useMaps: true, rejectDuplicateMapKeys: true, tags: Tagged.preserve(1, 18) })
  } catch {
    throw new TypeError('the UVM endorsement is not CBOR')
  }
}

function isBytes(value: unknown): value is Uint8Array {
  return value instanceof Uint8Array
}

function sha256(data: Uint8Array): Uint8Array {
  return createHash('sha256').update(data).digest()
}
