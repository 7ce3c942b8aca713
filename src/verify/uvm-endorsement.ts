import { equalBytes } from '../base/bytes.js'
import { encodeHex, utf8 } from '../base/encoding.js'
import { isJsonObject } from '../base/json.js'
import { type Cbor, decodeCbor, epochTag, isBytes, Tagged } from './cbor.js'
import { type Certificate, parseCertificate } from './certificate.js'
import { chainProblems, isAuthority } from './certificate-chain.js'
import { attempt, shown } from './check.js'
import { signatureInput } from './cose.js'
import { parseStrictJson } from './strict-json.js'
import { digest, type SignatureScheme, verifySignature } from './web-crypto.js'

/**
 * A signed statement of the launch measurement of a utility VM: COSE_Sign1 (RFC 9052) with the
 * certificate chain in the protected header (RFC 9360). Parsed, not verified.
 */
export interface UvmEndorsement {
  readonly protectedHeader: Uint8Array
  readonly payload: Uint8Array
  readonly signature: Uint8Array
  readonly algorithm: SignatureScheme
  /** Leaf first. */
  readonly chain: readonly Certificate[]
  /** SHA-256 that the header states for the leaf, if it does. */
  readonly leafSha256: Uint8Array | undefined
  readonly issuer: string | undefined
  readonly feed: string | undefined
  /** Every version number that header and payload state. */
  readonly svns: readonly number[]
  /** 96 hex characters. */
  readonly launchMeasurement: string
  /** When it was signed, by the signer's word. */
  readonly signedAt: Date | undefined
}

/** COSE header parameters: RFC 9052 section 3.1, RFC 9597 (CWT claims), RFC 9360 section 2, RFC 9995 (hash envelope). */
const header = {
  algorithm: 1,
  critical: 2,
  contentType: 3,
  cwtClaims: 15,
  x5chain: 33,
  x5t: 34,
  payloadHash: 258,
  preimageContentType: 259,
  payloadLocation: 260
} as const
/** CWT claims (RFC 8392). */
const cwt = { issuer: 1, subject: 2, issuedAt: 6 } as const
const coseSign1Tag = 18
const coseSha256 = -16
const coseSha384 = -43
/** A media type, by name and by its CoAP number (RFC 7252 section 12.3). */
const octetStream: readonly unknown[] = ['application/octet-stream', 42]
/** SHA-384, as the firmware measures a guest. */
const measurementLength = 48

const algorithms = new Map<unknown, SignatureScheme>([
  [-37, { name: 'RSA-PSS', hash: 'SHA-256', saltLength: 32 }],
  [-38, { name: 'RSA-PSS', hash: 'SHA-384', saltLength: 48 }],
  [-39, { name: 'RSA-PSS', hash: 'SHA-512', saltLength: 64 }],
  [-7, { name: 'ECDSA', hash: 'SHA-256', namedCurve: 'P-256' }],
  [-35, { name: 'ECDSA', hash: 'SHA-384', namedCurve: 'P-384' }]
])

/**
 * Parses an endorsement in either form: issuer and feed as text-labelled headers with the payload as JSON, or
 * as CWT claims with the 48 bytes of the measurement as payload (a hash envelope; written from descriptions,
 * no sample was at hand). The CBOR must be strict ({@link decodeCbor}). Throws
 * an `Error` for everything else.
 */
export function parseUvmEndorsement(bytes: Uint8Array): UvmEndorsement {
  const message = decodeCbor(bytes, [coseSign1Tag, epochTag], 'endorsement')
  if (!(message instanceof Tagged) || message.tag !== coseSign1Tag || !Array.isArray(message.value)) {
    throw new TypeError('endorsement is not a tagged COSE_Sign1')
  }
  const [protectedHeader, unprotectedHeader, payload, signature] = message.value as readonly Cbor[]
  const whole = message.value.length === 4 && unprotectedHeader instanceof Map
  if (!whole || !isBytes(protectedHeader) || !isBytes(payload) || !isBytes(signature)) {
    throw new TypeError('endorsement is not a COSE_Sign1 with its payload inside')
  }
  const headers = requireMap(decodeCbor(protectedHeader, [epochTag], 'protected header'), 'protected header')
  requireApart(headers, unprotectedHeader)
  if (headers.has(header.critical) || unprotectedHeader.has(header.critical))
    throw new TypeError('endorsement has critical headers that are not understood')
  const algorithm = algorithms.get(headers.get(header.algorithm))
  if (algorithm === undefined)
    throw new TypeError(`COSE algorithm ${shown(headers.get(header.algorithm))} is not supported`)
  const statement = readPayload(payload, headers)
  const claims = readClaims(headers)
  return {
    protectedHeader,
    payload,
    signature,
    algorithm,
    chain: readChain(headers.get(header.x5chain)),
    leafSha256: readLeafDigest(headers.get(header.x5t)),
    ...claims,
    launchMeasurement: statement.launchMeasurement,
    svns: [...statement.svns, ...claims.svns]
  }
}

/**
 * What is wrong with the signature and its chain. Certificates are judged at the signing time, where
 * there is one: leaves live for about a year and endorsements are used for longer. Trust in the chain
 * comes from its fingerprint in the issuer, which is another claim.
 */
export async function endorsementProblems(endorsement: UvmEndorsement): Promise<string[]> {
  const { chain, algorithm, leafSha256, protectedHeader, payload, signature, signedAt } = endorsement
  const problems = await chainProblems(chain, signedAt)
  const [leaf] = chain
  if (leaf === undefined) return ['no certificates']
  const isIssuer = await attempt(() => isAuthority(leaf))
  if (!isIssuer.ok || isIssuer.value) problems.push('the leaf certificate is a certification authority')
  if (leafSha256 !== undefined && !equalBytes(leafSha256, await digest('SHA-256', leaf.der))) {
    problems.push('x5t is not the digest of the leaf certificate')
  }
  const verified = await attempt(() =>
    verifySignature(algorithm, leaf.publicKey, signature, signatureInput(protectedHeader, payload))
  )
  if (!verified.ok || !verified.value) problems.push('signature does not verify under the leaf certificate')
  return problems
}

function readChain(value: unknown): Certificate[] {
  const list: readonly unknown[] = Array.isArray(value) ? value : [value]
  if (list.length > 8) throw new TypeError('endorsement has more than 8 certificates')
  return list.map((der, i) => {
    if (!isBytes(der)) throw new TypeError('endorsement has no certificate chain')
    return parseCertificate(der, `certificate ${i + 1} of the endorsement`)
  })
}

function readLeafDigest(value: unknown): Uint8Array | undefined {
  if (value === undefined) return undefined
  const [algorithm, leafDigest] = Array.isArray(value) ? (value as readonly unknown[]) : []
  if (algorithm !== coseSha256 || !isBytes(leafDigest)) throw new TypeError('x5t is not a SHA-256')
  return leafDigest
}

function readClaims(
  headers: ReadonlyMap<unknown, unknown>
): Pick<UvmEndorsement, 'issuer' | 'feed' | 'signedAt'> & { svns: number[] } {
  const cwtClaims = headers.has(header.cwtClaims)
    ? requireMap(headers.get(header.cwtClaims), 'CWT claims')
    : new Map<unknown, unknown>()
  const signingTime = headers.get('signingtime')
  if (signingTime !== undefined && !(signingTime instanceof Tagged && signingTime.tag === epochTag)) {
    throw new TypeError('signingtime is not an epoch time')
  }
  const seconds = one('signing time', signingTime?.value, epochOf(cwtClaims.get(cwt.issuedAt)))
  const svn = cwtClaims.get('svn')
  return {
    issuer: optionalText('issuer', one('issuer', headers.get('iss'), cwtClaims.get(cwt.issuer))),
    feed: optionalText('feed', one('feed', headers.get('feed'), cwtClaims.get(cwt.subject))),
    signedAt: seconds === undefined ? undefined : readEpoch(seconds),
    svns: svn === undefined ? [] : [readSvn(svn)]
  }
}

type Statement = Pick<UvmEndorsement, 'launchMeasurement'> & { svns: number[] }

function readPayload(payload: Uint8Array, headers: ReadonlyMap<unknown, unknown>): Statement {
  const contentType = headers.get(header.contentType)
  const isRaw = contentType === undefined || octetStream.includes(contentType)
  if (isRaw && headers.has(header.cwtClaims)) return readRawMeasurement(payload, headers)
  if (contentType !== 'application/json') {
    throw new TypeError(`endorsement content type is ${shown(contentType)}, not "application/json"`)
  }
  const statement = parseStrictJson(utf8.decode(payload), 'endorsement payload')
  const launchMeasurement = isJsonObject(statement) ? statement['x-ms-sevsnpvm-launchmeasurement'] : undefined
  if (!isJsonObject(statement) || typeof launchMeasurement !== 'string' || !/^[0-9a-f]{96}$/.test(launchMeasurement)) {
    throw new TypeError('endorsement payload has no launch measurement of 96 lower-case hex characters')
  }
  const stated = [statement['x-ms-sevsnpvm-guestsvn'], statement['x-ms-sevsnpvm-guestsvn-int']]
  return { launchMeasurement, svns: stated.filter((svn) => svn !== undefined).map(readSvn) }
}

/**
 * The payload is the digest itself. In a hash envelope that says of what: a digest of some document, even
 * one by the same signer, is not a measurement.
 */
function readRawMeasurement(payload: Uint8Array, headers: ReadonlyMap<unknown, unknown>): Statement {
  const hash = headers.get(header.payloadHash)
  const preimage = headers.get(header.preimageContentType)
  const isEnvelope = [header.payloadHash, header.preimageContentType, header.payloadLocation].some((label) => {
    return headers.has(label)
  })
  if (isEnvelope && hash !== coseSha384) throw new TypeError(`endorsement is by the hash ${shown(hash)}`)
  if (preimage !== undefined && !octetStream.includes(preimage)) {
    throw new TypeError(`endorsement is of ${shown(preimage)}, not of a measurement`)
  }
  if (payload.length !== measurementLength) throw new TypeError('endorsement payload is not 48 bytes')
  return { launchMeasurement: encodeHex(payload), svns: [] }
}

/** A version number, given as a number or as its decimal digits. */
export function readSvn(value: unknown): number {
  const svn = typeof value === 'string' && /^(?:0|[1-9]\d{0,9})$/.test(value) ? Number(value) : value
  if (typeof svn !== 'number' || !Number.isSafeInteger(svn) || svn < 0)
    throw new TypeError(`${shown(value)} is not an SVN`)
  return svn
}

/** Claim 6 is a number (RFC 8392 section 3.1.6), and tagged as a time by some signers all the same. */
function epochOf(value: unknown): unknown {
  return value instanceof Tagged && value.tag === epochTag ? value.value : value
}

function readEpoch(seconds: unknown): Date {
  const valid = typeof seconds === 'number' && seconds >= 0 && seconds < 2 ** 33
  if (!valid) throw new TypeError('signing time is not a number of seconds')
  return new Date(Math.floor(seconds) * 1000)
}

/** A value that two headers may state: they must not disagree. */
function one(name: string, ...stated: unknown[]): unknown {
  const values = [...new Set(stated.filter((value) => value !== undefined))]
  if (values.length > 1) throw new TypeError(`endorsement states two different values for ${name}`)
  return values[0]
}

function optionalText(name: string, value: unknown): string | undefined {
  if (value !== undefined && typeof value !== 'string') throw new TypeError(`endorsement ${name} is not a text`)
  return value
}

function requireMap(value: unknown, name: string): ReadonlyMap<unknown, unknown> {
  if (!(value instanceof Map)) throw new TypeError(`${name} is not a map`)
  return value
}

/** A label in both headers makes the message malformed (RFC 9052 section 3). The unprotected one is not read otherwise. */
function requireApart(headers: ReadonlyMap<unknown, unknown>, unprotected: ReadonlyMap<unknown, unknown>): void {
  for (const label of unprotected.keys()) {
    if (headers.has(label)) throw new TypeError(`endorsement states the header ${shown(label)} twice`)
  }
}
