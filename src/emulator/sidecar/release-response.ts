import {
  constants,
  createDecipheriv,
  createPrivateKey,
  privateDecrypt,
  verify,
  X509Certificate,
  type KeyObject
} from 'node:crypto'
import { isIP } from 'node:net'
import { decodeBase64, decodeBase64Url, encodeBase64Url, utf8 } from '../../base/encoding.js'
import { isJsonObject, type Json, type JsonObject } from '../../base/json.js'
import { SidecarFailure } from './failure.js'

export interface ReleaseTrust {
  /** Host of the vault, without port: the leaf must be for it. */
  readonly host: string
  /** PEM of the roots in which the leaf's chain may end, whatever root the response carries. */
  readonly roots: string
  readonly now: Date
}

/**
 * Verifies a vault's release response and unwraps the key in it. Checks what the real sidecar
 * checks: the signature by the leaf, and the leaf's chain, host, dates and usage. Like the real one it
 * looks neither at the key's identifier nor at the policy: a caller that needs a certain key
 * compares it with what the vault publishes.
 *
 * @returns the private key as JWK members in alphabetical order
 */
export function openReleaseResponse(jws: string, wrappingKey: KeyObject, trust: ReleaseTrust): JsonObject {
  const { header, payload, signed, signature } = parseJws(jws)
  const chain = certificateChain(header)
  verifySignature(header, chain[0], signed, signature)
  verifyChain(chain, trust)
  const request = objectMember(payload, 'request')
  const key = objectMember(objectMember(objectMember(payload, 'response'), 'key'), 'key')
  const ciphertext = decode(stringMember(decodeJson(stringMember(key, 'key_hsm')), 'ciphertext'))
  const secret = unwrap(ciphertext, wrappingKey, stringMember(request, 'enc'))
  return toJwk(secret, stringMember(key, 'kty'), key['key_ops'] ?? null)
}

type Chain = readonly [X509Certificate, ...X509Certificate[]]

function parseJws(jws: string): { header: JsonObject; payload: JsonObject; signed: Uint8Array; signature: Uint8Array } {
  const [head, body, signature, ...rest] = jws.split('.')
  if (head === undefined || body === undefined || signature === undefined || rest.length > 0) {
    throw new SidecarFailure('JWS has an invalid number of parts')
  }
  return {
    header: decodeJson(head),
    payload: decodeJson(body),
    signed: utf8.encode(`${head}.${body}`),
    signature: decode(signature)
  }
}

function certificateChain(header: JsonObject): Chain {
  const list: unknown = header['x5c']
  const texts = Array.isArray(list) ? (list as unknown[]) : []
  try {
    const [leaf, ...others] = texts.map((text) => new X509Certificate(decodeBase64(String(text), 'x5c')))
    if (leaf !== undefined && others.length <= 8) return [leaf, ...others]
  } catch {
    // Reported below.
  }
  throw new SidecarFailure('the certificate chain of the JWS cannot be parsed')
}

const signatureHashes: Readonly<Record<string, string>> = { RS256: 'sha256', RS384: 'sha384', RS512: 'sha512' }

function verifySignature(header: JsonObject, leaf: X509Certificate, signed: Uint8Array, signature: Uint8Array): void {
  const algorithm = header['alg']
  const hash = typeof algorithm === 'string' ? signatureHashes[algorithm] : undefined
  if (hash === undefined || leaf.publicKey.asymmetricKeyType !== 'rsa') {
    throw new SidecarFailure('JWS has an unsupported signature algorithm')
  }
  if (!verify(hash, signed, leaf.publicKey, signature)) {
    throw new SidecarFailure('verification of JWS signature failed: crypto/rsa: verification error')
  }
}

const serverAuthentication = '1.3.6.1.5.5.7.3.1'

function verifyChain(chain: Chain, { host, roots, now }: ReleaseTrust): void {
  const [leaf, ...others] = chain
  const refuse = (reason: string): SidecarFailure =>
    new SidecarFailure(`verification of leaf's certificate chain failed: x509: ${reason}`)
  if ((isIP(host) === 0 ? leaf.checkHost(host) : leaf.checkIP(host)) === undefined) {
    throw refuse(`certificate is not valid for ${host}`)
  }
  if (!(leaf.keyUsage ?? []).includes(serverAuthentication)) {
    throw refuse('certificate specifies an incompatible key usage')
  }
  const trusted = certificatesIn(roots)
  let certificate: X509Certificate = leaf
  for (let depth = 0; ; depth++) {
    requireInForce(certificate, now, refuse)
    const root = trusted.find((candidate) => issued(candidate, certificate))
    if (root !== undefined) return requireInForce(root, now, refuse)
    const issuer = others.slice(0, -1).find((candidate) => issued(candidate, certificate))
    if (issuer === undefined || depth > 8) throw refuse('certificate signed by unknown authority')
    certificate = issuer
  }
}

function issued(issuer: X509Certificate, certificate: X509Certificate): boolean {
  return issuer.ca && certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey)
}

function requireInForce(certificate: X509Certificate, now: Date, refuse: (reason: string) => SidecarFailure): void {
  const at = now.getTime()
  if (Date.parse(certificate.validFrom) > at || at > Date.parse(certificate.validTo)) {
    throw refuse('certificate has expired or is not yet valid')
  }
}

function certificatesIn(pem: string): X509Certificate[] {
  return (pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []).map(
    (block) => new X509Certificate(block)
  )
}

const oaepHashes: Readonly<Record<string, string>> = {
  CKM_RSA_AES_KEY_WRAP: 'sha1',
  RSA_AES_KEY_WRAP_256: 'sha256',
  RSA_AES_KEY_WRAP_384: 'sha384'
}

/** RSA-OAEP of an AES-256 key, as long as the modulus, then RFC 5649 key wrap with padding. */
function unwrap(ciphertext: Uint8Array, wrappingKey: KeyObject, algorithm: string): Uint8Array {
  const oaepHash = oaepHashes[algorithm]
  if (oaepHash === undefined) throw new SidecarFailure(`unsupported key wrap algorithm ${algorithm}`)
  const keyLength = (wrappingKey.asymmetricKeyDetails?.modulusLength ?? 0) / 8
  // The real sidecar indexes past the end here and answers 500 without a body; so does this one.
  if (ciphertext.length <= keyLength) throw new RangeError('wrapped key is cut short')
  try {
    const aesKey = privateDecrypt(
      { key: wrappingKey, oaepHash, padding: constants.RSA_PKCS1_OAEP_PADDING },
      ciphertext.subarray(0, keyLength)
    )
    const decipher = createDecipheriv('id-aes256-wrap-pad', aesKey, Uint8Array.of(0xa6, 0x59, 0x59, 0xa6))
    return Buffer.concat([decipher.update(ciphertext.subarray(keyLength)), decipher.final()])
  } catch {
    throw new SidecarFailure('failed to unwrap the released key')
  }
}

function toJwk(secret: Uint8Array, kty: string, operations: Json): JsonObject {
  switch (kty) {
    case 'oct':
    case 'oct-HSM':
      return { k: encodeBase64Url(secret), key_ops: operations, kty: 'oct' }
    case 'RSA':
    case 'RSA-HSM':
      return alphabetical({ ...exportKey(secret, 'rsa'), key_ops: operations })
    case 'EC':
    case 'EC-HSM':
      return alphabetical({ ...exportKey(secret, 'ec'), key_ops: operations })
    default:
      throw new SidecarFailure(`released key type ${kty} not supported`)
  }
}

function alphabetical(object: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(object).sort(([a], [b]) => (a < b ? -1 : 1)))
}

function exportKey(pkcs8: Uint8Array, type: 'rsa' | 'ec'): JsonObject {
  try {
    const key = createPrivateKey({ key: Buffer.from(pkcs8), format: 'der', type: 'pkcs8' })
    if (key.asymmetricKeyType === type) return { ...(key.export({ format: 'jwk' }) as JsonObject) }
  } catch {
    // Reported below.
  }
  throw new SidecarFailure('the released key cannot be parsed')
}

function decodeJson(part: string): JsonObject {
  try {
    const value: unknown = JSON.parse(utf8.decode(decode(part)))
    if (isJsonObject(value)) return value
  } catch {
    // Reported below.
  }
  throw new SidecarFailure('JWS part is not a JSON object')
}

function decode(text: string): Uint8Array {
  try {
    return decodeBase64Url(text, 'JWS part')
  } catch {
    throw new SidecarFailure('JWS part is not base64url')
  }
}

function objectMember(object: JsonObject, name: string): JsonObject {
  const value = object[name]
  if (!isJsonObject(value)) throw new SidecarFailure(`release response has no ${name}`)
  return value
}

function stringMember(object: JsonObject, name: string): string {
  const value = object[name]
  if (typeof value !== 'string') throw new SidecarFailure(`release response has no ${name}`)
  return value
}
